//! The `bench` command: small loops, measured by the hart's own counters.

use crate::{machine::Machine, sbi, timer};
use bare::{csr, println};
use core::arch::asm;
use core::hint::black_box;
use core::sync::atomic::{AtomicUsize, Ordering};

static WORD: AtomicUsize = AtomicUsize::new(0);
static BUFFER: [AtomicUsize; 8192] = [const { AtomicUsize::new(0) }; 8192];

fn add() {
    for i in 0..2_000_000usize {
        black_box(i);
    }
}

fn divide() {
    let mut n = black_box(usize::MAX);
    for i in 1..100_000 {
        n = black_box(n / (i | 1) + usize::MAX / 2);
    }
}

fn float() {
    let (mut x, k) = (black_box(1.0f64), black_box(1.000_000_1f64));
    for _ in 0..200_000 {
        // SAFETY: arithmetic.
        unsafe { asm!("fmadd.d {0}, {0}, {1}, {1}", inout(freg) x, in(freg) k) };
    }
    black_box(x);
}

fn copy() {
    for round in 0..16 {
        for (i, word) in BUFFER.iter().enumerate() {
            word.store(i + round, Ordering::Relaxed);
        }
        black_box(
            BUFFER
                .iter()
                .map(|w| w.load(Ordering::Relaxed))
                .fold(0, usize::wrapping_add),
        );
    }
}

fn atomic() {
    for _ in 0..200_000 {
        WORD.fetch_add(1, Ordering::SeqCst);
    }
}

fn call() {
    fn fibonacci(n: usize) -> usize {
        if n < 2 {
            n
        } else {
            black_box(fibonacci)(n - 1) + black_box(fibonacci)(n - 2)
        }
    }
    black_box(fibonacci(black_box(22)));
}

fn privileged() {
    for _ in 0..20_000 {
        csr::write!(sscratch, 0);
    }
}

fn firmware() {
    for _ in 0..2_000 {
        sbi::version();
    }
}

const LOOPS: &[(&str, usize, fn())] = &[
    ("counting to two million", 2_000_000, add),
    ("64-bit division", 100_000, divide),
    ("fused multiply-add", 200_000, float),
    ("stores and loads, 64 KiB", 16 * 2 * 8192, copy),
    ("atomic add", 200_000, atomic),
    ("recursive calls", 57_313, call),
    ("CSR write", 20_000, privileged),
    ("call to the firmware", 2_000, firmware),
];

/// The `bench` command.
pub fn command(machine: &Machine) {
    println!(
        "  loop                          rounds  instructions       cycles       us   ns/round"
    );
    for (name, rounds, work) in LOOPS {
        let (time, cycles, instructions) = (timer::now(), csr::read!(cycle), csr::read!(instret));
        work();
        let instructions = csr::read!(instret).wrapping_sub(instructions);
        let cycles = csr::read!(cycle).wrapping_sub(cycles);
        let time = machine.nanoseconds(timer::now() - time);
        println!(
            "  {name:<26} {rounds:>9} {instructions:>13} {cycles:>12} {:>8} {:>6}.{:02}",
            time / 1000,
            time / rounds,
            time * 100 / rounds % 100
        );
    }
}
