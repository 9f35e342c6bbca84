//! Bringing the other harts into a test: they sleep in `wfi` until an IPI, run a function, report.

use crate::trap;
use bare::csr;
use core::sync::atomic::{AtomicUsize, Ordering};

/// The CLINT's software-interrupt registers, one word a hart.
pub const MSIP: usize = 0x200_0000;
const MSIE: usize = 1 << 3;

/// The largest number of harts that the tests' stacks allow.
pub const MAX_HARTS: usize = 8;

static PRESENT: AtomicUsize = AtomicUsize::new(0);
static WORK: AtomicUsize = AtomicUsize::new(0);
static DONE: AtomicUsize = AtomicUsize::new(0);

/// Sets or clears a hart's machine software interrupt.
pub fn set_software_interrupt(hart: usize, on: bool) {
    // SAFETY: a CLINT register.
    unsafe { ((MSIP + 4 * hart) as *mut u32).write_volatile(u32::from(on)) };
}

#[unsafe(no_mangle)]
extern "C" fn other_hart(hart: usize) -> ! {
    csr::set!(mie, MSIE);
    PRESENT.fetch_or(1 << hart, Ordering::SeqCst);
    loop {
        // The IPI itself is waited for: work that was noticed without it would find it later.
        while csr::read!(mip) & MSIE == 0 {
            // SAFETY: sleeps until hart 0's IPI; mstatus.MIE is clear, so no trap is taken.
            unsafe { core::arch::asm!("wfi") };
        }
        set_software_interrupt(hart, false);
        // SAFETY: `start` stored a fn(usize) before it sent the IPI; 0 is None.
        let work: Option<fn(usize)> = unsafe { core::mem::transmute(WORK.load(Ordering::SeqCst)) };
        // A test of the device may send IPIs that mean nothing.
        let Some(work) = work else { continue };
        work(hart);
        DONE.fetch_or(1 << hart, Ordering::SeqCst);
    }
}

/// The mask of harts that came up. Waits a little for late ones.
pub fn harts() -> usize {
    let start = csr::read!(time);
    while csr::read!(time).wrapping_sub(start) < 500_000 {
        core::hint::spin_loop();
    }
    PRESENT.load(Ordering::SeqCst) | 1
}

/// Starts `work` on every hart in `mask` but hart 0.
pub fn start(mask: usize, work: fn(usize)) {
    DONE.store(0, Ordering::SeqCst);
    WORK.store(work as usize, Ordering::SeqCst);
    for hart in (1..MAX_HARTS).filter(|h| mask >> h & 1 == 1) {
        set_software_interrupt(hart, true);
    }
}

/// Runs `work` on every hart in `mask` and on hart 0, and waits for all.
pub fn run(mask: usize, work: fn(usize)) {
    start(mask, work);
    work(0);
    while DONE.load(Ordering::SeqCst) | 1 != mask {
        core::hint::spin_loop();
    }
    // Nothing captured on another hart may be taken for hart 0's.
    trap::take();
}
