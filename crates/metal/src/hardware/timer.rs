//! The ACLINT (or CLINT): the real machine's clock, each hart's timer, and interrupts from hart
//! to hart.

use super::devices::Registers;

/// Offsets in a CLINT, and of the two devices that an ACLINT splits it into.
const MTIMECMP: usize = 0x4000;
const MTIME: usize = 0xbff8;

/// The device.
#[derive(Clone, Copy, Debug)]
pub struct Timer {
    software: Registers,
    compare: Registers,
    time: Registers,
}

impl Timer {
    /// A CLINT.
    pub fn clint(registers: Registers) -> Self {
        Self {
            software: registers,
            compare: registers.part(MTIMECMP),
            time: registers.part(MTIME),
        }
    }
    /// Now, in ticks.
    pub fn now(&self) -> u64 {
        self.time.read64(0)
    }
    /// Has hart `index` (by its place in the device) interrupted at `ticks`.
    pub fn set(&self, index: usize, ticks: u64) {
        self.compare.write64(8 * index, ticks);
    }
    /// Interrupts hart `index`.
    pub fn kick(&self, index: usize) {
        super::csr::fence_all();
        self.software.write32(4 * index, 1);
    }
    /// Ends the interruption of hart `index`.
    pub fn acknowledge(&self, index: usize) {
        self.software.write32(4 * index, 0);
        super::csr::fence_all();
    }
}
