//! The clock: time, and the `timer` command, which counts interrupts.

use crate::{machine::Machine, sbi};
use bare::{csr, println};
use core::sync::atomic::{AtomicUsize, Ordering};

const STIE: usize = 1 << 5;
const SIE: usize = 1 << 1;
const TICKS: usize = 5;

static INTERVAL: AtomicUsize = AtomicUsize::new(0);
static DUE: AtomicUsize = AtomicUsize::new(0);
static SEEN: AtomicUsize = AtomicUsize::new(0);
static LATE: AtomicUsize = AtomicUsize::new(0);

/// The time now, in ticks of the platform's clock.
pub fn now() -> usize {
    csr::read!(time)
}

/// Called by the trap handler: notes how late the tick is, and asks for the next.
pub fn on_interrupt() {
    let due = DUE.load(Ordering::Relaxed);
    LATE.store(now().wrapping_sub(due), Ordering::Relaxed);
    let next = due + INTERVAL.load(Ordering::Relaxed);
    DUE.store(next, Ordering::Relaxed);
    if SEEN.fetch_add(1, Ordering::Relaxed) + 1 < TICKS {
        let _ = sbi::set_timer(next);
    } else {
        csr::clear!(sie, STIE);
    }
}

/// The `timer` command.
pub fn command(machine: &Machine) {
    let interval = machine.timebase / 5;
    println!(
        "The clock `time` counts {} Hz. Five interrupts, 200 ms apart; between them the hart sleeps in wfi.",
        machine.timebase
    );
    let start = now();
    INTERVAL.store(interval, Ordering::Relaxed);
    DUE.store(start + interval, Ordering::Relaxed);
    SEEN.store(0, Ordering::Relaxed);
    if let Err(error) = sbi::set_timer(start + interval) {
        println!("The firmware does not set timers (SBI error {error}).");
        return;
    }
    csr::set!(sie, STIE);
    for tick in 1..=TICKS {
        while SEEN.load(Ordering::Relaxed) < tick {
            // With interrupts off, wfi still wakes up when one is pending; it is taken when they
            // go on. So none can slip in between the test above and the wfi.
            // SAFETY: sleeps.
            unsafe { core::arch::asm!("wfi") };
            csr::set!(sstatus, SIE);
            csr::clear!(sstatus, SIE);
        }
        println!(
            "  tick {tick}   at {:>4} ms   {:>5} us late",
            machine.milliseconds(now() - start),
            machine.microseconds(LATE.load(Ordering::Relaxed))
        );
    }
}
