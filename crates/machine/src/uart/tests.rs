//! The serial port, driven as by a driver.

use super::*;
use crate::conformance::{self, SharedTerminal, Wires};
use crate::uart::registers::register::{DATA, IER, IIR_FCR, LCR, LSR, MCR, MSR, SCRATCH};
use crate::uart::registers::{lsr, mcr, msr};
use alloc::sync::Arc;

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
