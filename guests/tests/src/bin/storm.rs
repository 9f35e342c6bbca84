//! A guest that never ends, and keeps its monitor as busy as it can, from all harts.
#![no_std]
#![no_main]

use bare::println;
use core::sync::atomic::{AtomicUsize, Ordering};
use tests::{Checks, bare_test, smp, storm};

bare_test!("storm", run);

static MASK: AtomicUsize = AtomicUsize::new(0);
static WRONG: AtomicUsize = AtomicUsize::new(0);

fn rage(_: usize) {
    let wrong = storm::all(200, MASK.load(Ordering::SeqCst));
    WRONG.fetch_add(wrong, Ordering::SeqCst);
}

fn run(t: &mut Checks) {
    let mask = smp::harts();
    MASK.store(mask, Ordering::SeqCst);
    storm::prepare();
    println!("storm: {} harts", mask.count_ones());
    loop {
        smp::run(mask, rage);
        let wrong = WRONG.load(Ordering::SeqCst);
        if wrong != 0 {
            t.eq("accesses that led astray", wrong, 0);
            return;
        }
    }
}
