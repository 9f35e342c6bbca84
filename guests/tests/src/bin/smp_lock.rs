//! Several harts on one word: atomic adds, locks, LR/SC, and a message between two.
#![no_std]
#![no_main]

use core::arch::asm;
use core::ptr::{addr_of, addr_of_mut};
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};
use tests::{Checks, bare_test, smp};

bare_test!("smp_lock", run);

const ROUNDS: usize = 20_000;

static ADDED: AtomicUsize = AtomicUsize::new(0);
static EXCHANGED: AtomicUsize = AtomicUsize::new(0);
static HALVES: [AtomicU32; 2] = [AtomicU32::new(0), AtomicU32::new(0)];
static LOCK: AtomicUsize = AtomicUsize::new(0);
/// Guarded by LOCK, and not atomic itself.
static mut GUARDED: [usize; 4] = [0; 4];
static RESERVED: AtomicUsize = AtomicUsize::new(0);
static TICKET: AtomicUsize = AtomicUsize::new(0);
static SERVING: AtomicUsize = AtomicUsize::new(0);
static mut SERVED: usize = 0;
static MESSAGE: AtomicUsize = AtomicUsize::new(0);
static FLAG: AtomicUsize = AtomicUsize::new(0);
static OUT_OF_ORDER: AtomicUsize = AtomicUsize::new(0);

fn run(t: &mut Checks) {
    let mask = smp::harts();
    let harts = mask.count_ones() as usize;
    bare::println!("smp_lock: {harts} harts");
    smp::run(mask, add);
    t.eq(
        "amoadd loses nothing",
        ADDED.load(Ordering::SeqCst),
        harts * ROUNDS,
    );
    smp::run(mask, halves);
    t.eq(
        "word atomics do not disturb the lower half",
        HALVES[0].load(Ordering::SeqCst) as usize,
        harts * ROUNDS,
    );
    t.eq(
        "nor the upper",
        HALVES[1].load(Ordering::SeqCst) as usize,
        harts * ROUNDS,
    );
    smp::run(mask, exchange);
    t.eq(
        "compare and exchange loses nothing",
        EXCHANGED.load(Ordering::SeqCst),
        harts * ROUNDS,
    );
    smp::run(mask, reserve);
    t.eq(
        "lr/sc loses nothing",
        RESERVED.load(Ordering::SeqCst),
        harts * ROUNDS,
    );
    smp::run(mask, guard);
    // SAFETY: all harts are done.
    let guarded = unsafe { addr_of!(GUARDED).read_volatile() };
    for count in guarded {
        t.eq("a lock guards plain memory", count, harts * ROUNDS / 4);
    }
    smp::run(mask, ticket);
    // SAFETY: all harts are done.
    t.eq(
        "a ticket lock too",
        unsafe { addr_of!(SERVED).read_volatile() },
        harts * ROUNDS / 4,
    );
    if harts > 1 {
        smp::run(mask, message);
        t.eq(
            "messages arrive in order",
            OUT_OF_ORDER.load(Ordering::SeqCst),
            0,
        );
    }
}

fn add(_: usize) {
    for _ in 0..ROUNDS {
        ADDED.fetch_add(1, Ordering::Relaxed);
    }
}

fn halves(hart: usize) {
    for round in 0..2 * ROUNDS {
        HALVES[(round + hart) % 2].fetch_add(1, Ordering::Relaxed);
    }
}

fn exchange(_: usize) {
    for _ in 0..ROUNDS {
        while EXCHANGED
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| Some(n + 1))
            .is_err()
        {}
    }
}

fn reserve(_: usize) {
    for _ in 0..ROUNDS {
        // SAFETY: atomics on RESERVED.
        unsafe {
            asm!("1: lr.d t0, ({a})", "addi t0, t0, 1", "sc.d t1, t0, ({a})", "bnez t1, 1b",
                a = in(reg) RESERVED.as_ptr(), out("t0") _, out("t1") _)
        };
    }
}

fn guard(_: usize) {
    for _ in 0..ROUNDS / 4 {
        while LOCK.swap(1, Ordering::Acquire) != 0 {
            core::hint::spin_loop();
        }
        // SAFETY: under the lock.
        unsafe {
            let mut counts = addr_of!(GUARDED).read_volatile();
            counts.iter_mut().for_each(|count| *count += 1);
            addr_of_mut!(GUARDED).write_volatile(counts);
        }
        LOCK.store(0, Ordering::Release);
    }
}

fn ticket(_: usize) {
    for _ in 0..ROUNDS / 4 {
        let mine = TICKET.fetch_add(1, Ordering::Relaxed);
        while SERVING.load(Ordering::Acquire) != mine {
            core::hint::spin_loop();
        }
        // SAFETY: it is our turn.
        unsafe { addr_of_mut!(SERVED).write_volatile(addr_of!(SERVED).read_volatile() + 1) };
        SERVING.store(mine + 1, Ordering::Release);
    }
}

/// Hart 0 writes message and flag with a fence between; the others must never see a flag without
/// its message.
fn message(hart: usize) {
    for round in 1..=ROUNDS {
        if hart == 0 {
            MESSAGE.store(round, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            FLAG.store(round, Ordering::Relaxed);
        } else {
            let flag = FLAG.load(Ordering::Relaxed);
            fence(Ordering::SeqCst);
            if MESSAGE.load(Ordering::Relaxed) < flag {
                OUT_OF_ORDER.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
