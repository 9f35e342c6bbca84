//! The serial port: a 16550A. What the guest sends is shown at once; what is typed waits in the
//! backend until the guest listens and the FIFO has room, so that nothing is lost.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::ToString;
use alloc::vec::Vec;

use minicbor::bytes::ByteVec;
use ringer_hart::persist::{Persist, PersistError, decode, encode};
use ringer_hart::{BusFault, Width};

use crate::backend::ConsoleBackend;
use crate::device::{Device, IrqLine};
use crate::lock::Lock;

/// Registers, by offset. With DLAB set, 0 and 1 are the divisor latch.
mod register {
    pub const DATA: u64 = 0;
    pub const IER: u64 = 1;
    /// Reads as IIR, writes as FCR.
    pub const IIR_FCR: u64 = 2;
    pub const LCR: u64 = 3;
    pub const MCR: u64 = 4;
    pub const LSR: u64 = 5;
    pub const MSR: u64 = 6;
    pub const SCRATCH: u64 = 7;
}

mod ier {
    pub const RECEIVED: u8 = 1 << 0;
    pub const TRANSMITTER_EMPTY: u8 = 1 << 1;
    pub const LINE_STATUS: u8 = 1 << 2;
    pub const MODEM_STATUS: u8 = 1 << 3;
    pub const ALL: u8 = 0xf;
}

mod iir {
    pub const NONE: u8 = 0x01;
    pub const LINE_STATUS: u8 = 0x06;
    pub const RECEIVED: u8 = 0x04;
    pub const TIMEOUT: u8 = 0x0c;
    pub const TRANSMITTER_EMPTY: u8 = 0x02;
    pub const MODEM_STATUS: u8 = 0x00;
    pub const FIFOS: u8 = 0xc0;
}

mod fcr {
    pub const ENABLE: u8 = 1 << 0;
    pub const CLEAR_RECEIVER: u8 = 1 << 1;
    pub const TRIGGER: u8 = 0xc0;
}

mod lcr {
    pub const DLAB: u8 = 1 << 7;
}

mod mcr {
    pub const DTR: u8 = 1 << 0;
    pub const RTS: u8 = 1 << 1;
    pub const OUT1: u8 = 1 << 2;
    pub const OUT2: u8 = 1 << 3;
    pub const LOOP: u8 = 1 << 4;
    pub const ALL: u8 = 0x1f;
}

mod lsr {
    pub const DATA_READY: u8 = 1 << 0;
    pub const OVERRUN: u8 = 1 << 1;
    pub const BREAK: u8 = 1 << 4;
    pub const HOLDING_EMPTY: u8 = 1 << 5;
    pub const TRANSMITTER_EMPTY: u8 = 1 << 6;
}

mod msr {
    pub const RING_WENT_OFF: u8 = 1 << 2;
    pub const CTS: u8 = 1 << 4;
    pub const DSR: u8 = 1 << 5;
    pub const RING: u8 = 1 << 6;
    pub const DCD: u8 = 1 << 7;
}

const FIFO_SIZE: usize = 16;
/// A guest that looks at the line status so often, and at nothing else, waits for input. One
/// that writes looks once before each byte; one that starts its driver looks once or twice.
const LOOKS: u8 = 4;
/// Divisor at power-on: 9600 baud from the 1.8432 MHz of old.
const DIVISOR: u16 = 12;

#[derive(Clone, minicbor::Encode, minicbor::Decode)]
struct State {
    #[n(0)]
    ier: u8,
    #[n(1)]
    fcr: u8,
    #[n(2)]
    lcr: u8,
    #[n(3)]
    mcr: u8,
    /// Lower half of MSR: what changed since it was read.
    #[n(4)]
    modem_deltas: u8,
    #[n(5)]
    scratch: u8,
    #[n(6)]
    divisor: u16,
    /// Received and not read.
    #[n(7)]
    received: ByteVec,
    #[n(8)]
    overrun: bool,
    /// The transmitter has run empty and the guest was not told yet.
    #[n(9)]
    empty_unreported: bool,
    /// The byte received and not read is a break on the line.
    #[n(10)]
    line_break: Option<bool>,
    /// Received while the guest listened, and taken back when it no longer did: it comes again
    /// before anything else.
    #[n(11)]
    held: Option<ByteVec>,
}

impl State {
    fn new() -> Self {
        Self {
            ier: 0,
            fcr: 0,
            lcr: 0,
            mcr: 0,
            modem_deltas: 0,
            scratch: 0,
            divisor: DIVISOR,
            received: Vec::new().into(),
            overrun: false,
            empty_unreported: false,
            line_break: None,
            held: None,
        }
    }

    fn capacity(&self) -> usize {
        if self.fcr & fcr::ENABLE != 0 {
            FIFO_SIZE
        } else {
            1
        }
    }
    fn trigger(&self) -> usize {
        if self.fcr & fcr::ENABLE == 0 {
            return 1;
        }
        match self.fcr >> 6 {
            0 => 1,
            1 => 4,
            2 => 8,
            _ => 14,
        }
    }
    fn loops_back(&self) -> bool {
        self.mcr & mcr::LOOP != 0
    }
    /// The modem's four lines: the terminal is always there, or in loopback our own outputs.
    fn modem_lines(&self) -> u8 {
        if !self.loops_back() {
            return msr::CTS | msr::DSR | msr::DCD;
        }
        [
            (mcr::RTS, msr::CTS),
            (mcr::DTR, msr::DSR),
            (mcr::OUT1, msr::RING),
            (mcr::OUT2, msr::DCD),
        ]
        .into_iter()
        .filter(|(output, _)| self.mcr & output != 0)
        .fold(0, |lines, (_, input)| lines | input)
    }
    fn set_mcr(&mut self, value: u8) {
        let before = self.modem_lines();
        self.mcr = value & mcr::ALL;
        let after = self.modem_lines();
        let mut changed = (before ^ after) >> 4;
        if after & msr::RING != 0 {
            // Of the ring indicator only the trailing edge counts.
            changed &= !msr::RING_WENT_OFF;
        }
        self.modem_deltas |= changed;
    }
    fn clear_receiver(&mut self) {
        self.received.clear();
        self.line_break = None;
    }
    fn set_fcr(&mut self, value: u8) {
        // Switching the FIFOs on or off clears them.
        if (value ^ self.fcr) & fcr::ENABLE != 0 {
            self.hold();
            self.clear_receiver();
        } else if value & fcr::CLEAR_RECEIVER != 0 {
            self.clear_receiver();
        }
        self.fcr = if value & fcr::ENABLE != 0 {
            value & (fcr::ENABLE | fcr::TRIGGER)
        } else {
            0
        };
    }
    /// Takes back what the guest has not read. Drivers that start, shut down or set the FIFOs
    /// up read and clear what is there; typed bytes are for whoever listens next.
    fn hold(&mut self) {
        if self.loops_back() || self.is_break() {
            return;
        }
        let mut held: Vec<u8> = self.received.drain(..).collect();
        if let Some(later) = self.held.take() {
            held.extend_from_slice(&later);
        }
        // More than one FIFO's worth can only have come by loopback.
        held.truncate(FIFO_SIZE);
        self.held = (!held.is_empty()).then(|| held.into());
    }
    fn set_ier(&mut self, value: u8) {
        if self.ier & !value & ier::RECEIVED != 0 {
            self.hold();
        }
        let rising = value & !self.ier;
        self.ier = value & ier::ALL;
        // The transmitter is always empty; asking for that interrupt raises it at once.
        if rising & ier::TRANSMITTER_EMPTY != 0 {
            self.empty_unreported = true;
        }
    }
    /// A byte arrives on the line.
    fn receive(&mut self, byte: u8) {
        if self.received.len() < self.capacity() {
            self.received.push(byte);
            return;
        }
        self.overrun = true;
        // The FIFO keeps what it has; a lone receive register is overwritten.
        if self.fcr & fcr::ENABLE == 0
            && let Some(last) = self.received.last_mut()
        {
            *last = byte;
        }
    }
    fn is_break(&self) -> bool {
        self.line_break == Some(true) && !self.received.is_empty()
    }
    fn line_status(&self) -> u8 {
        let mut status = lsr::HOLDING_EMPTY | lsr::TRANSMITTER_EMPTY;
        if !self.received.is_empty() {
            status |= lsr::DATA_READY;
        }
        if self.overrun {
            status |= lsr::OVERRUN;
        }
        if self.is_break() {
            status |= lsr::BREAK;
        }
        status
    }
    /// The interrupt of the highest priority, as IIR shows it.
    fn interrupt(&self) -> u8 {
        let enabled = |bit| self.ier & bit != 0;
        if enabled(ier::LINE_STATUS) && (self.overrun || self.is_break()) {
            iir::LINE_STATUS
        } else if enabled(ier::RECEIVED) && self.received.len() >= self.trigger() {
            iir::RECEIVED
        } else if enabled(ier::RECEIVED) && !self.received.is_empty() {
            // All that the backend had is here, so the line is silent: the time-out of four
            // characters has passed.
            iir::TIMEOUT
        } else if enabled(ier::TRANSMITTER_EMPTY) && self.empty_unreported {
            iir::TRANSMITTER_EMPTY
        } else if enabled(ier::MODEM_STATUS) && self.modem_deltas != 0 {
            iir::MODEM_STATUS
        } else {
            iir::NONE
        }
    }
    fn is_possible(&self) -> bool {
        self.ier & !ier::ALL == 0
            && self.mcr & !mcr::ALL == 0
            && self.modem_deltas & !0xf == 0
            && (self.fcr == 0
                || self.fcr & fcr::ENABLE != 0 && self.fcr & !(fcr::ENABLE | fcr::TRIGGER) == 0)
            && self.received.len() <= self.capacity()
            && (self.line_break != Some(true) || self.received.len() == 1)
            && self
                .held
                .as_ref()
                .is_none_or(|held| held.len() <= FIFO_SIZE)
    }
}

struct Port {
    state: State,
    backend: Box<dyn ConsoleBackend>,
    /// Keys that the host sends with a break before each.
    keys: VecDeque<u8>,
    /// Looks at the line status without touching another register meanwhile.
    looks: u8,
}

impl Port {
    /// Takes typed bytes while there is room. In loopback the input is cut off.
    ///
    /// For a guest without receive interrupts it takes one byte at a time, and only while that
    /// guest waits for one ([`LOOKS`]): drivers clear the FIFO and read the data register when
    /// they start, and what is there then is lost.
    fn take_input(&mut self) {
        if self.state.loops_back() || self.state.is_break() {
            return;
        }
        if self.state.received.is_empty() && !self.keys.is_empty() {
            // A break arrives as a zero byte; the key comes when the guest has read that.
            self.state.received.push(0);
            self.state.line_break = Some(true);
            return;
        }
        let limit = if self.state.ier & ier::RECEIVED != 0 {
            self.state.capacity()
        } else {
            1
        };
        let mut room = limit.saturating_sub(self.state.received.len());
        if let Some(held) = &mut self.state.held {
            let count = room.min(held.len());
            self.state.received.extend(held.drain(..count));
            room -= count;
            if held.is_empty() {
                self.state.held = None;
            }
        }
        let mut bytes = [0; FIFO_SIZE];
        if let Some(into) = bytes.get_mut(..room)
            && !into.is_empty()
        {
            let count = self.backend.read(into);
            let taken = into.get(..count).unwrap_or(into);
            self.state.received.extend_from_slice(taken);
        }
    }
    /// Sends a byte, which takes no time: the transmitter runs empty again at once.
    fn transmit(&mut self, byte: u8) {
        if self.state.loops_back() {
            self.state.receive(byte);
        } else {
            self.backend.write(&[byte]);
        }
        self.state.empty_unreported = true;
    }
    fn read_data(&mut self) -> u8 {
        if self.state.received.is_empty() {
            return 0;
        }
        let byte = self.state.received.remove(0);
        if self.state.line_break.take() == Some(true)
            && let Some(key) = self.keys.pop_front()
        {
            self.state.received.push(key);
            return byte;
        }
        if self.state.received.is_empty() && self.state.ier & ier::RECEIVED != 0 {
            self.take_input();
        }
        byte
    }
}

/// The serial port.
pub struct Uart {
    irq: IrqLine,
    port: Lock<Port>,
}

impl Uart {
    /// A serial port with a terminal behind it.
    pub fn new(backend: Box<dyn ConsoleBackend>, irq: IrqLine) -> Self {
        let state = State::new();
        Self {
            irq,
            port: Lock::new(Port {
                state,
                backend,
                keys: VecDeque::new(),
                looks: 0,
            }),
        }
    }
    /// Shows bytes that go past the registers: the SBI's console is the same terminal.
    pub fn write_through(&self, bytes: &[u8]) {
        self.port.lock().backend.write(bytes);
    }
    /// Takes typed bytes past the registers, those in the FIFO first.
    pub fn read_through(&self, into: &mut [u8]) -> usize {
        let mut port = self.port.lock();
        let count = port.state.received.len().min(into.len());
        for (to, from) in into.iter_mut().zip(port.state.received.drain(..count)) {
            *to = from;
        }
        self.drive(&port.state);
        let rest = into.get_mut(count..).unwrap_or_default();
        if rest.is_empty() {
            return count;
        }
        let more = port.backend.read(rest).min(rest.len());
        count + more
    }
    /// Sends a break and then `key`, as Linux takes its SysRq commands from a serial console.
    pub fn send_break_and(&self, key: u8) {
        let mut port = self.port.lock();
        if port.keys.len() < FIFO_SIZE {
            port.keys.push_back(key);
        }
        if port.state.ier & ier::RECEIVED != 0 {
            port.take_input();
        }
        self.drive(&port.state);
    }
    fn drive(&self, state: &State) {
        self.irq.set(state.interrupt() != iir::NONE);
    }
}

impl Device for Uart {
    fn name(&self) -> &str {
        "uart"
    }
    /// Registers are bytes; a wider access reaches the one at its address, as on QEMU.
    fn load(&self, offset: u64, _width: Width) -> Result<u64, BusFault> {
        let mut port = self.port.lock();
        port.looks = match offset {
            register::LSR => port.looks.saturating_add(1),
            _ => 0,
        };
        let latch = port.state.lcr & lcr::DLAB != 0;
        let value = match offset {
            register::DATA if latch => port.state.divisor as u8,
            register::IER if latch => (port.state.divisor >> 8) as u8,
            register::DATA => port.read_data(),
            register::IER => port.state.ier,
            register::IIR_FCR => {
                let cause = port.state.interrupt();
                if cause == iir::TRANSMITTER_EMPTY {
                    port.state.empty_unreported = false;
                }
                let fifos = if port.state.fcr & fcr::ENABLE != 0 {
                    iir::FIFOS
                } else {
                    0
                };
                cause | fifos
            }
            register::LCR => port.state.lcr,
            register::MCR => port.state.mcr,
            register::LSR => {
                // A driver that polls asks here; one with interrupts was given all by `poll`.
                if port.state.received.is_empty() && port.looks >= LOOKS {
                    port.take_input();
                }
                let status = port.state.line_status();
                port.state.overrun = false;
                status
            }
            register::MSR => {
                let deltas = core::mem::take(&mut port.state.modem_deltas);
                port.state.modem_lines() | deltas
            }
            register::SCRATCH => port.state.scratch,
            _ => 0,
        };
        self.drive(&port.state);
        Ok(u64::from(value))
    }
    fn store(&self, offset: u64, _width: Width, value: u64) -> Result<(), BusFault> {
        let value = value as u8;
        let mut port = self.port.lock();
        port.looks = 0;
        let latch = port.state.lcr & lcr::DLAB != 0;
        let divisor = port.state.divisor;
        match offset {
            register::DATA if latch => port.state.divisor = divisor & 0xff00 | u16::from(value),
            register::IER if latch => port.state.divisor = divisor & 0xff | u16::from(value) << 8,
            register::DATA => port.transmit(value),
            register::IER => port.state.set_ier(value),
            register::IIR_FCR => port.state.set_fcr(value),
            register::LCR => port.state.lcr = value,
            register::MCR => port.state.set_mcr(value),
            register::SCRATCH => port.state.scratch = value,
            // LSR and MSR are read-only but for factory tests.
            _ => {}
        }
        if matches!(offset, register::IER | register::IIR_FCR)
            && port.state.ier & ier::RECEIVED != 0
        {
            port.take_input();
        }
        self.drive(&port.state);
        Ok(())
    }
    fn reset(&self) {
        let mut port = self.port.lock();
        port.state = State::new();
        self.drive(&port.state);
    }
    /// Takes input for a guest that waits for interrupts. While it does not, the bytes stay
    /// with the backend: drivers clear the FIFO when they start.
    fn poll(&self) {
        let mut port = self.port.lock();
        if port.state.ier & ier::RECEIVED != 0 {
            port.take_input();
            self.drive(&port.state);
        }
    }
}

impl Persist for Uart {
    fn save(&self) -> Vec<u8> {
        encode(&self.port.lock().state)
    }
    fn restore(&self, bytes: &[u8]) -> Result<(), PersistError> {
        let saved: State = decode("uart", bytes)?;
        if !saved.is_possible() {
            return Err(PersistError::Damaged {
                part: "uart",
                reason: "a register holds bits it does not have".to_string(),
            });
        }
        let mut port = self.port.lock();
        port.state = saved;
        self.drive(&port.state);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{self, SharedTerminal, Wires};
    use alloc::sync::Arc;
    use register::{DATA, IER, IIR_FCR, LCR, LSR, MCR, MSR, SCRATCH};

    struct Bench {
        uart: Uart,
        terminal: SharedTerminal,
        wires: Arc<Wires>,
    }

    impl Bench {
        fn new() -> Self {
            let terminal = SharedTerminal::default();
            let wires = Arc::new(Wires::default());
            let uart = Uart::new(Box::new(terminal.clone()), IrqLine::new(wires.clone(), 10));
            Self {
                uart,
                terminal,
                wires,
            }
        }
        fn read(&self, offset: u64) -> u8 {
            self.uart.load(offset, Width::Byte).unwrap() as u8
        }
        fn write(&self, offset: u64, value: u8) {
            self.uart
                .store(offset, Width::Byte, u64::from(value))
                .unwrap();
        }
        fn interrupts(&self) -> bool {
            self.wires.level(10)
        }
    }

    #[test]
    fn polled_output_and_input() {
        let bench = Bench::new();
        for byte in b"ok" {
            assert_eq!(bench.read(LSR), 0x60);
            bench.write(DATA, *byte);
        }
        assert_eq!(bench.terminal.shown(), "ok");
        bench.terminal.type_in("hi");
        let mut got = Vec::new();
        while (0..LOOKS).any(|_| bench.read(LSR) & lsr::DATA_READY != 0) {
            got.push(bench.read(DATA));
        }
        assert_eq!(got, b"hi");
        assert!(!bench.interrupts());
    }

    #[test]
    fn nothing_typed_is_lost_however_much_it_is() {
        let bench = Bench::new();
        let text: alloc::string::String = ('a'..='z').cycle().take(1000).collect();
        bench.terminal.type_in(&text);
        bench.write(IIR_FCR, fcr::ENABLE | fcr::TRIGGER);
        bench.write(IER, ier::RECEIVED);
        let mut got = Vec::new();
        while bench.interrupts() {
            bench.uart.poll();
            got.push(bench.read(DATA));
        }
        assert_eq!(got, text.as_bytes());
    }

    #[test]
    fn input_stays_with_the_backend_until_the_guest_listens() {
        let bench = Bench::new();
        bench.terminal.type_in("early");
        bench.uart.poll();
        bench.write(IIR_FCR, fcr::ENABLE | fcr::CLEAR_RECEIVER);
        // As Linux's driver starts.
        for register in [LSR, DATA, IIR_FCR, MSR, LSR] {
            bench.read(register);
        }
        assert_eq!(bench.read(DATA), 0);
        bench.write(IER, ier::RECEIVED);
        assert!(bench.interrupts());
        assert_eq!(bench.read(DATA), b'e');
    }

    #[test]
    fn what_a_closing_driver_leaves_comes_again() {
        let bench = Bench::new();
        bench.write(IIR_FCR, fcr::ENABLE);
        bench.write(IER, ier::RECEIVED);
        let text: alloc::string::String = ('a'..='z').collect();
        bench.terminal.type_in(&text);
        bench.uart.poll();
        assert_eq!(bench.read(DATA), b'a');
        // As Linux's driver sets the port up, shuts it down and starts it again.
        bench.write(IIR_FCR, 0);
        bench.write(IIR_FCR, fcr::ENABLE);
        bench.write(IER, 0);
        bench.write(IIR_FCR, fcr::ENABLE | fcr::CLEAR_RECEIVER);
        bench.write(IIR_FCR, 0);
        for register in [LSR, DATA, IIR_FCR, MSR] {
            bench.read(register);
        }
        bench.write(IIR_FCR, fcr::ENABLE);
        let other = Bench::new();
        other.uart.restore(&bench.uart.save()).unwrap();
        for uart in [&bench, &other] {
            uart.write(IER, ier::RECEIVED);
            for expected in b'b'..=b'p' {
                assert_eq!(uart.read(DATA), expected);
            }
        }
        assert_eq!(bench.read(DATA), b'q');
    }

    #[test]
    fn a_break_precedes_its_key() {
        let bench = Bench::new();
        bench.write(IIR_FCR, fcr::ENABLE);
        bench.write(IER, ier::RECEIVED | ier::LINE_STATUS);
        bench.terminal.type_in("ab");
        bench.uart.poll();
        bench.uart.send_break_and(b's');
        let mut got = Vec::new();
        while bench.interrupts() {
            let status = bench.read(LSR) & (lsr::BREAK | lsr::DATA_READY);
            got.push((status, bench.read(DATA)));
        }
        let (data, line_break) = (lsr::DATA_READY, lsr::DATA_READY | lsr::BREAK);
        assert_eq!(
            got,
            [(data, b'a'), (data, b'b'), (line_break, 0), (data, b's')]
        );
        assert_eq!(bench.read(LSR), 0x60);
    }

    #[test]
    fn trigger_level_tells_data_from_timeout() {
        let bench = Bench::new();
        bench.write(IIR_FCR, fcr::ENABLE | 0x80);
        bench.write(IER, ier::RECEIVED);
        bench.terminal.type_in("1234567");
        bench.uart.poll();
        assert!(bench.interrupts());
        assert_eq!(bench.read(IIR_FCR), iir::FIFOS | iir::TIMEOUT);
        bench.terminal.type_in("8");
        bench.uart.poll();
        assert_eq!(bench.read(IIR_FCR), iir::FIFOS | iir::RECEIVED);
        bench.read(DATA);
        assert_eq!(bench.read(IIR_FCR), iir::FIFOS | iir::TIMEOUT);
        bench.write(IIR_FCR, fcr::ENABLE | fcr::CLEAR_RECEIVER);
        assert_eq!(bench.read(IIR_FCR), iir::FIFOS | iir::NONE);
        assert!(!bench.interrupts());
    }

    #[test]
    fn transmitter_empty_is_told_once_for_each_write() {
        let bench = Bench::new();
        bench.write(IER, ier::TRANSMITTER_EMPTY);
        assert!(bench.interrupts());
        assert_eq!(bench.read(IIR_FCR), iir::TRANSMITTER_EMPTY);
        assert!(!bench.interrupts());
        assert_eq!(bench.read(IIR_FCR), iir::NONE);
        bench.write(DATA, b'x');
        assert!(bench.interrupts());
        bench.write(IER, 0);
        assert!(!bench.interrupts());
        // Linux probes whether enabling again raises it again.
        bench.write(IER, ier::TRANSMITTER_EMPTY);
        assert_eq!(bench.read(IIR_FCR), iir::TRANSMITTER_EMPTY);
        bench.write(IER, ier::TRANSMITTER_EMPTY);
        assert_eq!(bench.read(IIR_FCR), iir::NONE);
    }

    #[test]
    fn causes_by_priority() {
        let bench = Bench::new();
        bench.write(IER, ier::ALL);
        // Loopback raises a modem change; sending twice overruns the receiver.
        bench.write(MCR, mcr::LOOP);
        bench.write(DATA, 1);
        bench.write(DATA, 2);
        assert_eq!(bench.read(IIR_FCR), iir::LINE_STATUS);
        assert_eq!(bench.read(LSR), 0x63);
        assert_eq!(bench.read(LSR), 0x61);
        assert_eq!(bench.read(IIR_FCR), iir::RECEIVED);
        assert_eq!(bench.read(DATA), 2);
        assert_eq!(bench.read(IIR_FCR), iir::TRANSMITTER_EMPTY);
        assert_eq!(bench.read(IIR_FCR), iir::MODEM_STATUS);
        assert_eq!(bench.read(MSR), 0x0b);
        assert_eq!(bench.read(IIR_FCR), iir::NONE);
        assert!(!bench.interrupts());
    }

    #[test]
    fn loopback_as_drivers_probe_it() {
        let bench = Bench::new();
        assert_eq!(bench.read(MSR), 0xb0);
        bench.write(MCR, mcr::LOOP | mcr::RTS | mcr::OUT2);
        assert_eq!(bench.read(MSR) & 0xf0, 0x90);
        bench.write(MCR, mcr::LOOP | mcr::DTR | mcr::OUT1);
        assert_eq!(bench.read(MSR) & 0xf0, 0x60);
        bench.write(MCR, mcr::LOOP);
        assert_ne!(bench.read(MSR) & msr::RING_WENT_OFF, 0);
        bench.write(IIR_FCR, fcr::ENABLE);
        for byte in 0..17 {
            bench.write(DATA, byte);
        }
        assert_eq!(bench.read(LSR), 0x63);
        let got: Vec<u8> = (0..16).map(|_| bench.read(DATA)).collect();
        assert_eq!(got, (0..16).collect::<Vec<u8>>());
        assert_eq!(bench.terminal.shown(), "");
    }

    #[test]
    fn divisor_latch_and_scratch() {
        let bench = Bench::new();
        bench.write(LCR, 0x83);
        assert_eq!((bench.read(DATA), bench.read(IER)), (12, 0));
        bench.write(DATA, 0x34);
        bench.write(IER, 0x12);
        assert_eq!((bench.read(DATA), bench.read(IER)), (0x34, 0x12));
        bench.write(LCR, 0x03);
        assert_eq!((bench.read(DATA), bench.read(IER)), (0, 0));
        assert_eq!(bench.terminal.shown(), "");
        bench.write(IER, 0xff);
        assert_eq!(bench.read(IER), 0x0f);
        bench.write(SCRATCH, 0xa5);
        assert_eq!(bench.read(SCRATCH), 0xa5);
    }

    #[test]
    fn the_terminal_is_reached_past_the_registers_in_order() {
        let bench = Bench::new();
        bench.write(IIR_FCR, fcr::ENABLE);
        bench.write(IER, ier::RECEIVED);
        bench.terminal.type_in("abcdefghijklmnopqrs");
        bench.uart.poll();
        let mut bytes = [0; 18];
        assert_eq!(bench.uart.read_through(&mut bytes[..2]), 2);
        assert!(bench.interrupts());
        assert_eq!(bench.uart.read_through(&mut bytes[2..]), 16);
        assert_eq!(&bytes, b"abcdefghijklmnopqr");
        assert!(!bench.interrupts());
        bench.uart.write_through(b"out");
        assert_eq!(bench.terminal.shown(), "out");
    }

    #[test]
    fn state_holds_unread_input() {
        let bench = Bench::new();
        bench.write(IIR_FCR, fcr::ENABLE);
        bench.write(IER, ier::RECEIVED);
        bench.terminal.type_in("abc");
        bench.uart.poll();
        let other = Bench::new();
        other.uart.restore(&bench.uart.save()).unwrap();
        assert!(other.interrupts());
        assert_eq!(other.read(DATA), b'a');
    }

    #[test]
    fn impossible_state_is_refused() {
        let bench = Bench::new();
        let with = |change: fn(&mut State)| {
            let mut state = State::new();
            change(&mut state);
            bench.uart.restore(&encode(&state))
        };
        assert!(with(|_| {}).is_ok());
        assert!(with(|s| s.received.extend([0; 2])).is_err());
        assert!(with(|s| s.ier = 0x10).is_err());
        assert!(with(|s| s.fcr = 0x40).is_err());
        assert!(with(|s| s.mcr = 0x20).is_err());
    }

    #[test]
    fn conforms() {
        conformance::check(|| Arc::new(Bench::new().uart), crate::memory_map::UART.len);
    }
}
