//! Running code that may do anything: with any registers, in any mode, by any page table, until it
//! traps for the first time. Nothing that it does to registers or to S-mode's state survives.

use crate::trap::{Mode, Trap};
use bare::csr;
use core::arch::asm;

const MTIMECMP: usize = 0x200_4000;
const MTIE: usize = 1 << 7;
const MPIE: usize = 1 << 7;
const FS: usize = 3 << 13;
/// Ticks after which code that does not trap is interrupted.
const PATIENCE: usize = 20_000;

/// What wild code starts with; the layout is known to wild.s.
#[repr(C)]
pub struct Context {
    x: [usize; 32],
    pc: usize,
    status: usize,
}

unsafe extern "C" {
    fn run_wild(context: *const Context);
}

impl Context {
    /// Code at `pc`, with the same value in all registers.
    pub fn new(mode: Mode, pc: usize, value: usize) -> Self {
        Self {
            x: [value; 32],
            pc,
            status: mode.mpp() | MPIE | FS,
        }
    }

    /// With no interrupts in M-mode: for code that changes what their handler stands on.
    pub fn undisturbed(mut self) -> Self {
        self.status &= !MPIE;
        self
    }

    /// With `value` in register `number`.
    pub fn with(mut self, number: usize, value: usize) -> Self {
        self.x[number] = value;
        self
    }

    /// Runs it, translated by `satp`; its trap is one taken in M-mode.
    pub fn run(&self, satp: usize) -> Trap {
        csr::write!(satp, satp);
        csr::write!(mie, MTIE);
        // SAFETY: all registers are saved before and restored behind; that memory which Rust owns
        // stays as it is, is for the caller, as with any probe.
        unsafe { run_wild(self) };
        let trap = Trap {
            cause: csr::read!(mcause),
            epc: csr::read!(mepc),
            tval: csr::read!(mtval),
            status: csr::read!(mstatus),
            taken_in: Mode::M,
        };
        if trap.cause >> 63 != 0 {
            be_patient();
        }
        trap
    }
}

/// Interrupts wild code only some time from now. To be called first.
pub fn be_patient() {
    let now = csr::read!(time);
    let hart = csr::read!(mhartid);
    // SAFETY: this hart's timer.
    unsafe { ((MTIMECMP + 8 * hart) as *mut usize).write_volatile(now.wrapping_add(PATIENCE)) };
}

/// A page that code is written to, and executed from.
pub struct CodePage(usize);

impl CodePage {
    /// Uses the page at `address`, which belongs to nobody else.
    pub fn new(address: usize) -> Self {
        Self(address)
    }

    /// Writes halfwords from `offset` on. They are executed after [`CodePage::ready`].
    pub fn put(&self, offset: usize, code: &[u16]) {
        for (number, half) in code.iter().enumerate() {
            // SAFETY: the page is the caller's.
            unsafe { ((self.0 + offset + 2 * number) as *mut u16).write_volatile(*half) };
        }
    }

    /// Where the code at `offset` is, once it can be executed.
    pub fn ready(&self, offset: usize) -> usize {
        // SAFETY: a fence.
        unsafe { asm!("fence.i") };
        self.0 + offset
    }
}
