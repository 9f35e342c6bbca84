//! The real serial port, a 16550: the one terminal that all guests share.

use super::devices::Registers;

/// Data in and out.
const DATA: usize = 0;
/// Which interrupts are wanted.
const INTERRUPT_ENABLE: usize = 1;
/// FIFO control.
const FIFO: usize = 2;
/// Line status.
const STATUS: usize = 5;

const RECEIVED: u8 = 1 << 0;
const CAN_SEND: u8 = 1 << 5;

/// The port.
#[derive(Clone, Copy, Debug)]
pub struct Serial {
    registers: Registers,
    /// Registers are this many bytes apart, as a power of two.
    shift: u32,
    /// Registers are 32 bits wide.
    wide: bool,
}

impl Serial {
    /// The port with these registers, `shift` and width as the device tree has them.
    pub fn new(registers: Registers, shift: u32, wide: bool) -> Self {
        let port = Self {
            registers,
            shift,
            wide,
        };
        port.write(FIFO, 1);
        port.write(INTERRUPT_ENABLE, RECEIVED);
        port
    }
    fn read(&self, register: usize) -> u8 {
        if self.wide {
            self.registers.read32(register << self.shift) as u8
        } else {
            self.registers.read8(register << self.shift)
        }
    }
    fn write(&self, register: usize, value: u8) {
        if self.wide {
            self.registers.write32(register << self.shift, value.into());
        } else {
            self.registers.write8(register << self.shift, value);
        }
    }
    /// Sends a byte, once the port takes it.
    pub fn send(&self, byte: u8) {
        while self.read(STATUS) & CAN_SEND == 0 {
            core::hint::spin_loop();
        }
        self.write(DATA, byte);
    }
    /// A byte that was received.
    pub fn receive(&self) -> Option<u8> {
        (self.read(STATUS) & RECEIVED != 0).then(|| self.read(DATA))
    }
}
