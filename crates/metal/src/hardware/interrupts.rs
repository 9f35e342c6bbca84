//! The real PLIC: brings the monitor's own devices' interrupts to one hart.

use super::devices::Registers;

const ENABLE: usize = 0x2000;
const CONTEXT: usize = 0x20_0000;
const CLAIM: usize = 4;

/// One context of the PLIC: a hart in M-mode.
#[derive(Clone, Copy, Debug)]
pub struct Interrupts {
    registers: Registers,
    context: usize,
}

impl Interrupts {
    /// Context `context` of the PLIC at `registers`; nothing is enabled yet.
    pub fn new(registers: Registers, context: usize) -> Self {
        let this = Self { registers, context };
        registers.write32(CONTEXT + 0x1000 * context, 0);
        this
    }
    /// Lets `source` interrupt.
    pub fn enable(&self, source: u32) {
        let source = source as usize;
        self.registers.write32(4 * source, 1);
        let word = ENABLE + 0x80 * self.context + source / 32 * 4;
        let enabled = self.registers.read32(word);
        self.registers.write32(word, enabled | 1 << (source % 32));
    }
    /// Takes up the most urgent interrupt.
    pub fn claim(&self) -> Option<u32> {
        let source = self
            .registers
            .read32(CONTEXT + 0x1000 * self.context + CLAIM);
        (source != 0).then_some(source)
    }
    /// Its source may interrupt again.
    pub fn complete(&self, source: u32) {
        self.registers
            .write32(CONTEXT + 0x1000 * self.context + CLAIM, source);
    }
}
