//! An innocent guest: fills its memory, computes something whose result is known, and finds both as
//! they should be, whatever goes on beside it.
#![no_std]
#![no_main]

use bare::{csr, println};
use core::hint::black_box;
use core::ptr::addr_of;
use tests::trap::{self, attempt};
use tests::{Checks, bare_test};

bare_test!("witness", run);

const RAM: usize = 0x8000_0000;
const MIB: usize = 1 << 20;
const ROUNDS: usize = 5000;
/// What `compute` gives for all rounds together, as calculated elsewhere.
const RESULT: usize = 0x2c3b_d83d_2889_dd0b;

unsafe extern "C" {
    static _image_end: u8;
}

fn run(t: &mut Checks) {
    let start = addr_of!(_image_end) as usize;
    let mut end = RAM;
    while attempt(|| {
        trap::load(end);
    })
    .is_none()
    {
        end += MIB;
    }
    println!("witness: {} MiB", (end - RAM) / MIB);
    for at in (start..end).step_by(8) {
        // SAFETY: memory behind the image, which nobody uses.
        unsafe { (at as *mut usize).write_volatile(pattern(at)) };
    }
    let begin = csr::read!(time);
    let (mut result, mut quickest) = (0, usize::MAX);
    for round in 0..ROUNDS {
        let before = csr::read!(time);
        result ^= compute(round);
        quickest = quickest.min(csr::read!(time) - before);
    }
    let elapsed = csr::read!(time) - begin;
    t.eq("the result", result, RESULT);
    let changed = (start..end).step_by(8).filter(|at| {
        // SAFETY: as above.
        unsafe { (*at as *const usize).read_volatile() != pattern(*at) }
    });
    t.eq("doublewords that have changed", changed.count(), 0);
    // Rounds that nothing interrupted tell how long all of them would take alone.
    let share = 100 * quickest * ROUNDS / elapsed.max(1);
    println!("witness: {share} % of the time");
    if share >= 25 {
        println!("witness: a fair share");
    }
}

fn pattern(at: usize) -> usize {
    at.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn compute(seed: usize) -> usize {
    let mut x = black_box(seed);
    for _ in 0..20_000 {
        x = (x.wrapping_mul(6_364_136_223_846_793_005)).wrapping_add(1_442_695_040_888_963_407);
        x ^= x >> 29;
    }
    x
}
