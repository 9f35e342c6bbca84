//! The ACLINT, or CLINTs: the real machine's clock, each hart's timer, and interrupts from hart to
//! hart. A machine with several sockets has a CLINT in each.

use super::devices::Registers;

/// The clock that all harts share.
#[derive(Clone, Copy, Debug)]
pub struct Time(Registers);

impl Time {
    /// The clock whose register is the first of these.
    pub fn new(register: Registers) -> Self {
        Self(register)
    }
    /// Now, in ticks.
    pub fn now(self) -> u64 {
        self.0.read64(0)
    }
}

/// One hart's timer, and the interrupt by which others call it.
#[derive(Clone, Copy, Debug)]
pub struct HartTimer {
    software: Registers,
    compare: Registers,
}

impl HartTimer {
    /// By the first of the registers at each place: `msip` and `mtimecmp` of the hart.
    pub fn new(software: Registers, compare: Registers) -> Self {
        Self { software, compare }
    }
    /// Has the hart interrupted at `ticks`.
    pub fn set(self, ticks: u64) {
        self.compare.write64(0, ticks);
    }
    /// Interrupts the hart.
    pub fn kick(self) {
        super::csr::fence_all();
        self.software.write32(0, 1);
    }
    /// Ends the interruption of the hart.
    pub fn acknowledge(self) {
        self.software.write32(0, 0);
        super::csr::fence_all();
    }
}
