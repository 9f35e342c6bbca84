//! The state of the serial port, and what writes to its registers make of it.

use alloc::vec::Vec;

use minicbor::bytes::ByteVec;

use super::registers::{fcr, ier, iir, lsr, mcr, msr};

/// Bytes that a FIFO holds.
pub(super) const FIFO_SIZE: usize = 16;
/// Divisor at power-on: 9600 baud from the 1.8432 MHz of old.
const DIVISOR: u16 = 12;

/// What the guest has set, and what waits for it.
#[derive(Clone, minicbor::Encode, minicbor::Decode)]
pub(super) struct State {
    #[n(0)]
    pub(super) ier: u8,
    #[n(1)]
    pub(super) fcr: u8,
    #[n(2)]
    pub(super) lcr: u8,
    #[n(3)]
    pub(super) mcr: u8,
    /// Lower half of MSR: what changed since it was read.
    #[n(4)]
    pub(super) modem_deltas: u8,
    #[n(5)]
    pub(super) scratch: u8,
    #[n(6)]
    pub(super) divisor: u16,
    /// Received and not read.
    #[n(7)]
    pub(super) received: ByteVec,
    #[n(8)]
    pub(super) overrun: bool,
    /// The transmitter has run empty and the guest was not told yet.
    #[n(9)]
    pub(super) empty_unreported: bool,
    /// The byte received and not read is a break on the line.
    #[n(10)]
    pub(super) line_break: Option<bool>,
    /// Received while the guest listened, and taken back when it no longer did: it comes again
    /// before anything else.
    #[n(11)]
    pub(super) held: Option<ByteVec>,
}

impl State {
    pub(super) fn new() -> Self {
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

    pub(super) fn capacity(&self) -> usize {
        if self.fcr & fcr::ENABLE != 0 {
            FIFO_SIZE
        } else {
            1
        }
    }
    pub(super) fn trigger(&self) -> usize {
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
    pub(super) fn loops_back(&self) -> bool {
        self.mcr & mcr::LOOP != 0
    }
    /// The modem's four lines: the terminal is always there, or in loopback our own outputs.
    pub(super) fn modem_lines(&self) -> u8 {
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
    pub(super) fn set_mcr(&mut self, value: u8) {
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
    pub(super) fn clear_receiver(&mut self) {
        self.received.clear();
        self.line_break = None;
    }
    pub(super) fn set_fcr(&mut self, value: u8) {
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
    pub(super) fn hold(&mut self) {
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
    pub(super) fn set_ier(&mut self, value: u8) {
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
    pub(super) fn receive(&mut self, byte: u8) {
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
    pub(super) fn is_break(&self) -> bool {
        self.line_break == Some(true) && !self.received.is_empty()
    }
    pub(super) fn line_status(&self) -> u8 {
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
    pub(super) fn interrupt(&self) -> u8 {
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
    pub(super) fn is_possible(&self) -> bool {
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
