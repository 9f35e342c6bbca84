//! The passage between the monitor and a guest: in by `mret`, out by any trap.

use core::cell::UnsafeCell;

use ringer_hart::Hart;
use ringer_isa::csr::mstatus;

use super::{csr, stack};

/// What the way back needs. The layout is known to trap.s.
#[repr(C)]
#[derive(Default)]
struct Frame {
    stack: u64,
    registers: u64,
    shelter: u64,
}

/// One real hart's passage.
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
        csr::write!("mepc", hart.pc);
        // MPP = U. Interrupts for the monitor are taken in U-mode whatever MIE says; `wfi`
        // traps at once (TW), and so do the supervisor's instructions in U-mode.
        csr::write!("mstatus", mstatus::TW | float);
        let entered = csr::read!("minstret");
        // SAFETY: the guest reaches only what its page tables map, and PMP keeps it out of the
        // monitor. trap.s brings back every register that Rust wants preserved, and writes
        // nothing but this frame and the hart's registers.
        unsafe { enter_guest(hart.x.as_mut_ptr(), self.0.get()) };
        let left = csr::read!("minstret");
        hart.pc = csr::read!("mepc");
        Trap {
            cause: csr::read!("mcause"),
            value: csr::read!("mtval"),
            status: csr::read!("mstatus"),
            entered,
            left,
        }
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
