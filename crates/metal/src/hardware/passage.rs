//! The passage between the monitor and a guest: in by `mret`, out by any trap.

use core::cell::UnsafeCell;

use ringer_hart::Hart;
use ringer_isa::csr::mstatus;
use ringer_metal::rewrite::{CLOSED, Frame};

use super::code::Entry;
use super::{csr, stack};

/// One real hart's passage: the memory at its `mscratch` while a guest runs.
#[derive(Default)]
pub struct Passage(UnsafeCell<Frame>);

// SAFETY: only the hart that a passage belongs to passes through it; see `enter`.
unsafe impl Sync for Passage {}

unsafe extern "C" {
    fn enter_guest(registers: *mut u64, frame: *mut Frame);
}

/// Why a guest came back.
#[derive(Clone, Copy, Debug)]
pub struct Trap {
    /// `mcause`, with the interrupt bit.
    pub cause: u64,
    /// `mtval`.
    pub value: u64,
    /// `mepc`: an address of the guest's, or of rewritten code.
    pub pc: u64,
    /// `mstatus` as the guest left it.
    pub status: u64,
    /// `minstret` just before the guest came in.
    pub entered: u64,
    /// `minstret` just after it has left.
    pub left: u64,
}

/// A program that leaves at once, however it is mapped and protected.
#[unsafe(link_section = ".rodata")]
static ECALL: u32 = 0x73;

impl Passage {
    /// Lets `hart`'s code run on the real hart, in U-mode, until it traps. `satp` and the other
    /// CSRs that confine it have been set; `float` are the bits of `mstatus.FS` to run with.
    ///
    /// Each real hart has one passage and only itself uses it.
    // Inlined in two places, it would not take the same number of instructions in both, and what
    // `measure` finds would not hold for guests.
    #[inline(never)]
    pub fn enter(&self, hart: &mut Hart, float: u64) -> Trap {
        // MPP = U. Interrupts for the monitor are taken in U-mode whatever MIE says; `wfi`
        // traps at once (TW), and so do the supervisor's instructions in U-mode.
        let trap = self.pass(hart, hart.pc, mstatus::TW | float);
        hart.pc = trap.pc;
        trap
    }

    /// Lets rewritten code run, from `entry` on, in M-mode, with `hart`'s registers. `satp` has
    /// been set. `hart.pc` stays what it was.
    pub fn enter_rewritten(&self, hart: &mut Hart, entry: Entry) -> Trap {
        self.pass(hart, entry.address(), CLOSED)
    }

    #[inline(always)]
    fn pass(&self, hart: &mut Hart, pc: u64, status: u64) -> Trap {
        csr::write!("mepc", pc);
        csr::write!("mstatus", status);
        let entered = csr::read!("minstret");
        // SAFETY: in U-mode the guest reaches only what its page tables map, and PMP keeps it
        // out of the monitor. Rewritten code computes, loads and stores as the guest would in
        // U-mode, by MPRV, and else changes only the frame (the stretches' own tests show that).
        // trap.s brings back every register that Rust wants preserved, and writes nothing but
        // this frame and the hart's registers.
        unsafe { enter_guest(hart.x.as_mut_ptr(), self.0.get()) };
        let left = csr::read!("minstret");
        Trap {
            pc: csr::read!("mepc"),
            cause: csr::read!("mcause"),
            value: csr::read!("mtval"),
            status: csr::read!("mstatus"),
            entered,
            left,
        }
    }

    /// What rewritten code finds and leaves behind.
    pub fn frame(&mut self) -> &mut Frame {
        self.0.get_mut()
    }

    /// How many instructions of the way in and out are counted with the guest's own.
    pub fn measure(&self) -> u64 {
        let mut hart = Hart::new(0, &raw const ECALL as u64);
        let trap = self.enter(&mut hart, 0);
        trap.left.wrapping_sub(trap.entered)
    }
}

/// The monitor trapped, which it never does: says so and stops the machine.
#[unsafe(no_mangle)]
extern "C" fn monitor_trapped(cause: u64, pc: u64, value: u64) -> ! {
    let why = if stack::is_closed(value) {
        "its stack has overflowed"
    } else {
        "it never does"
    };
    panic!("the monitor trapped, {why}: mcause {cause:#x}, mepc {pc:#x}, mtval {value:#x}")
}
