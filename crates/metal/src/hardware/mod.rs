//! The real machine underneath: the hart's own CSRs, entry and exit, and the few devices that
//! the monitor drives itself. Everything with `unsafe` in this crate lives in this folder.

pub mod code;
pub mod csr;
pub mod devices;
pub mod float;
pub mod interrupts;
pub mod memory;
pub mod passage;
pub mod platform;
pub mod power;
pub mod protection;
pub mod serial;
pub mod stack;
pub mod timer;
pub mod virtio;
pub mod wall_clock;

use core::sync::atomic::{AtomicU32, Ordering};

unsafe extern "C" {
    static harts_released: AtomicU32;
    static first_is_here: AtomicU32;
}

/// This hart came first and is not one that the machine may use: another one shall be the first.
/// Nothing has been set up yet.
pub fn leave_it_to_others() -> ! {
    // SAFETY: it is a word of start.s; no hart writes it but by atomics.
    unsafe { &first_is_here }.store(0, Ordering::Release);
    loop {
        csr::wait();
    }
}

/// Lets the other harts go on from reset. Everything that they share has been set up.
pub fn release_harts() {
    // SAFETY: it is a word of start.s that is only read there.
    unsafe { &harts_released }.store(1, Ordering::Release);
}

/// The most harts that take part; there is a stack for each of them.
pub const MAX_CPUS: usize = 64;

core::arch::global_asm!(
    include_str!("start.s"),
    MAX_CPUS = const MAX_CPUS,
);
core::arch::global_asm!(include_str!("trap.s"));
