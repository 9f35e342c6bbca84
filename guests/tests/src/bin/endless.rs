//! A guest that never ends: one hart runs in a loop with interrupts off, the others wait for an
//! interrupt that they do not enable.
#![no_std]
#![no_main]

use bare::{csr, println};
use tests::{Checks, bare_test, smp};

bare_test!("endless", run);

fn run(_: &mut Checks) {
    csr::write!(mie, 0);
    let mask = smp::harts();
    println!("endless: {} harts", mask.count_ones());
    smp::start(mask & !1, sleep);
    loop {
        // SAFETY: nothing; `pause` would be a hint to let others go on.
        unsafe { core::arch::asm!("nop") };
    }
}

fn sleep(_: usize) {
    csr::write!(mie, 0);
    loop {
        // SAFETY: waits, for ever.
        unsafe { core::arch::asm!("wfi") };
    }
}
