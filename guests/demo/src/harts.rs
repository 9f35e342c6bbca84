//! The `harts` command: starts the other harts by the SBI and lets each report.

use crate::{machine::Machine, paging, sbi, timer};
use bare::{csr, println};
use core::ptr::addr_of_mut;
use core::sync::atomic::{AtomicUsize, Ordering};

const MOST: usize = 8;
const STACK: usize = 8192;

static mut STACKS: [[u128; STACK / 16]; MOST] = [[0; STACK / 16]; MOST];
static ARRIVED: AtomicUsize = AtomicUsize::new(0);
static GO: AtomicUsize = AtomicUsize::new(0);
static DONE: AtomicUsize = AtomicUsize::new(0);
static TOTAL: AtomicUsize = AtomicUsize::new(0);

const ROUNDS: usize = 100_000;

unsafe extern "C" {
    fn hart_entry();
}

/// What every hart does together: all add to one counter, so that a lost update would show.
fn work() {
    for _ in 0..ROUNDS {
        TOTAL.fetch_add(1, Ordering::Relaxed);
    }
}

#[unsafe(no_mangle)]
extern "C" fn hart_main(hart: usize) -> ! {
    csr::write!(satp, paging::satp());
    paging::fence();
    println!(
        "  hart {hart}: started at time {}, satp {:#x}; waiting for the others",
        timer::now(),
        csr::read!(satp)
    );
    ARRIVED.fetch_add(1, Ordering::SeqCst);
    while GO.load(Ordering::SeqCst) == 0 {
        core::hint::spin_loop();
    }
    work();
    DONE.fetch_add(1, Ordering::SeqCst);
    let _ = sbi::stop_this_hart();
    panic!("hart {hart} was to stop");
}

/// The `harts` command.
pub fn command(machine: &Machine) {
    println!("  hart {}: booted this kernel", machine.boot_hart);
    for counter in [&ARRIVED, &GO, &DONE, &TOTAL] {
        counter.store(0, Ordering::SeqCst);
    }
    let mut started = 0;
    for hart in machine
        .harts()
        .filter(|&h| h != machine.boot_hart)
        .take(MOST - 1)
    {
        let stack = addr_of_mut!(STACKS) as usize + (started + 1) * STACK;
        // A hart starts with translation off, at a physical address; the kernel's are the same.
        match sbi::start_hart(hart, hart_entry as *const () as usize, stack) {
            Ok(_) => started += 1,
            Err(error) => println!("  hart {hart}: did not start (SBI error {error})"),
        }
    }
    while ARRIVED.load(Ordering::SeqCst) < started {
        core::hint::spin_loop();
    }
    println!(
        "All {} harts add 1 to the same word {ROUNDS} times, by amoadd:",
        started + 1
    );
    let start = timer::now();
    GO.store(1, Ordering::SeqCst);
    work();
    while DONE.load(Ordering::SeqCst) < started {
        core::hint::spin_loop();
    }
    let elapsed = timer::now() - start;
    let (total, wanted) = (TOTAL.load(Ordering::SeqCst), ROUNDS * (started + 1));
    println!(
        "  the sum is {total}, {} ({} us)",
        if total == wanted {
            "none was lost"
        } else {
            "WRONG"
        },
        machine.microseconds(elapsed)
    );
    for hart in machine.harts() {
        while hart != machine.boot_hart && sbi::hart_state(hart) == "stop pending" {
            core::hint::spin_loop();
        }
        println!("  hart {hart}: {}", sbi::hart_state(hart));
    }
}
