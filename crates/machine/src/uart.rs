//! The serial port: a 16550A. What the guest sends is shown at once; what is typed waits in the
//! backend until the guest listens and the FIFO has room, so that nothing is lost.

mod registers;
mod state;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::ToString;
use alloc::vec::Vec;

use ringer_hart::persist::{Persist, PersistError, decode, encode};
use ringer_hart::{BusFault, Width};

use crate::backend::ConsoleBackend;
use crate::device::{Device, IrqLine};
use crate::lock::Lock;
use registers::{fcr, ier, iir, lcr, register};
use state::{FIFO_SIZE, State};

/// A guest that looks at the line status so often, and at nothing else, waits for input. One
/// that writes looks once before each byte; one that starts its driver looks once or twice.
const LOOKS: u8 = 4;

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
