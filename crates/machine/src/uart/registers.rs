//! The registers of a 16550A and their bits.

/// Registers, by offset. With DLAB set, 0 and 1 are the divisor latch.
pub mod register {
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

/// Causes that may interrupt.
pub mod ier {
    pub const RECEIVED: u8 = 1 << 0;
    pub const TRANSMITTER_EMPTY: u8 = 1 << 1;
    pub const LINE_STATUS: u8 = 1 << 2;
    pub const MODEM_STATUS: u8 = 1 << 3;
    pub const ALL: u8 = 0xf;
}

/// What interrupts, by falling priority, and whether there are FIFOs.
pub mod iir {
    pub const NONE: u8 = 0x01;
    pub const LINE_STATUS: u8 = 0x06;
    pub const RECEIVED: u8 = 0x04;
    pub const TIMEOUT: u8 = 0x0c;
    pub const TRANSMITTER_EMPTY: u8 = 0x02;
    pub const MODEM_STATUS: u8 = 0x00;
    pub const FIFOS: u8 = 0xc0;
}

/// What becomes of the FIFOs.
pub mod fcr {
    pub const ENABLE: u8 = 1 << 0;
    pub const CLEAR_RECEIVER: u8 = 1 << 1;
    pub const TRIGGER: u8 = 0xc0;
}

/// The form of characters, of which only one bit matters here.
pub mod lcr {
    pub const DLAB: u8 = 1 << 7;
}

/// Lines to the modem, and the loopback.
pub mod mcr {
    pub const DTR: u8 = 1 << 0;
    pub const RTS: u8 = 1 << 1;
    pub const OUT1: u8 = 1 << 2;
    pub const OUT2: u8 = 1 << 3;
    pub const LOOP: u8 = 1 << 4;
    pub const ALL: u8 = 0x1f;
}

/// What receiver and transmitter have.
pub mod lsr {
    pub const DATA_READY: u8 = 1 << 0;
    pub const OVERRUN: u8 = 1 << 1;
    pub const BREAK: u8 = 1 << 4;
    pub const HOLDING_EMPTY: u8 = 1 << 5;
    pub const TRANSMITTER_EMPTY: u8 = 1 << 6;
}

/// Lines from the modem.
pub mod msr {
    pub const RING_WENT_OFF: u8 = 1 << 2;
    pub const CTS: u8 = 1 << 4;
    pub const DSR: u8 = 1 << 5;
    pub const RING: u8 = 1 << 6;
    pub const DCD: u8 = 1 << 7;
}
