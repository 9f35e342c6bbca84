//! How the machine is switched off: the test device of QEMU's and Ringer's `virt` boards.

use super::csr;
use super::devices::Registers;

const PASS: u32 = 0x5555;
const FAIL: u32 = 0x3333;

/// The switch, if there is one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Power(Option<Registers>);

impl Power {
    /// The switch with these registers.
    pub fn new(registers: Option<Registers>) -> Self {
        Self(registers)
    }
    /// Switches the machine off, telling whoever waits for it `code`; without a switch, this
    /// hart does nothing more.
    pub fn off(&self, code: u16) -> ! {
        if let Some(registers) = self.0 {
            let word = match code {
                0 => PASS,
                code => u32::from(code) << 16 | FAIL,
            };
            registers.write32(0, word);
        }
        loop {
            csr::wait();
        }
    }
}
