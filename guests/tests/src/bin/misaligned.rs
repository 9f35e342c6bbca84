//! Misaligned loads and stores work at every offset; misaligned atomics trap.
#![no_std]
#![no_main]

use core::arch::asm;
use tests::trap::{attempt, cause};
use tests::{Checks, bare_test, paging};

bare_test!("misaligned", run);

fn byte(i: usize) -> u8 {
    (i * 37 + 11) as u8
}

fn expected(at: usize, size: usize) -> u64 {
    (0..size)
        .map(|i| u64::from(byte(at + i)) << (8 * i))
        .fold(0, |a, b| a | b)
}

fn run(t: &mut Checks) {
    // Two pages, to cross the border between them.
    let (first, second) = (paging::page(), paging::page());
    assert!(second == first + 4096);
    for i in 0..8192 {
        // SAFETY: our two pages.
        unsafe { ((first + i) as *mut u8).write_volatile(byte(i)) };
    }
    for at in (0..32).chain(4096 - 16..4096 + 16) {
        loads(t, first, at);
    }
    for at in (64..80).chain(4096 - 16..4096 + 16) {
        stores(t, first, at);
    }
    atomics(t, first);
}

macro_rules! load {
    ($instruction:literal, $address:expr) => {{
        let value: u64;
        // SAFETY: a load from our pages.
        unsafe { asm!(concat!($instruction, " {0}, 0({1})"), out(reg) value, in(reg) $address) };
        value
    }};
}

fn loads(t: &mut Checks, base: usize, at: usize) {
    let address = base + at;
    t.eq(
        "lhu",
        load!("lhu", address) as usize,
        expected(at, 2) as usize,
    );
    t.eq(
        "lh",
        load!("lh", address) as usize,
        expected(at, 2) as i16 as usize,
    );
    t.eq(
        "lw",
        load!("lw", address) as usize,
        expected(at, 4) as i32 as usize,
    );
    t.eq(
        "lwu",
        load!("lwu", address) as usize,
        expected(at, 4) as usize,
    );
    t.eq(
        "ld",
        load!("ld", address) as usize,
        expected(at, 8) as usize,
    );
    let (single, double): (u64, u64);
    // SAFETY: loads from our pages.
    unsafe {
        asm!("flw {f}, 0({a})", "fmv.x.d {s}, {f}", "fld {f}, 0({a})", "fmv.x.d {d}, {f}",
            f = out(freg) _, a = in(reg) address, s = out(reg) single, d = out(reg) double)
    };
    t.eq(
        "flw",
        single as usize,
        expected(at, 4) as usize | 0xffff_ffff << 32,
    );
    t.eq("fld", double as usize, expected(at, 8) as usize);
}

fn stores(t: &mut Checks, base: usize, at: usize) {
    let value = 0xf1e2_d3c4_b5a6_9788_u64;
    let address = base + at;
    for size in [2, 4, 8] {
        // SAFETY: stores to our pages.
        unsafe {
            match size {
                2 => asm!("sh {0}, 0({1})", in(reg) value, in(reg) address),
                4 => asm!("sw {0}, 0({1})", in(reg) value, in(reg) address),
                _ => asm!("sd {0}, 0({1})", in(reg) value, in(reg) address),
            }
        }
        for i in 0..12 {
            let at = at + i - 2;
            // SAFETY: our pages.
            let got = unsafe { ((base + at) as *const u8).read_volatile() };
            let inside = (2..2 + size).contains(&i);
            let want = if inside {
                (value >> (8 * (i - 2))) as u8
            } else {
                byte(at)
            };
            t.eq("a byte around a store", got.into(), want.into());
        }
        for i in at..at + 8 {
            // SAFETY: our pages.
            unsafe { ((base + i) as *mut u8).write_volatile(byte(i)) };
        }
    }
}

/// That they trap; the exact cause is in the test `strict`.
fn atomics(t: &mut Checks, base: usize) {
    let mut check = |what, got: Option<tests::trap::Trap>, address| {
        let cause = got.map_or(0, |g| g.cause);
        t.ok(
            what,
            (cause::LOAD_MISALIGNED..=cause::STORE_ACCESS).contains(&cause),
        );
        t.eq(what, got.map_or(0, |g| g.tval), address);
    };
    for at in [base + 2, base + 14, base + 4094] {
        // SAFETY: these trap.
        unsafe {
            check(
                "lr.w",
                attempt(|| asm!("lr.w t0, ({0})", in(reg) at, out("t0") _)),
                at,
            );
            check(
                "amoadd.w",
                attempt(|| asm!("amoadd.w t0, zero, ({0})", in(reg) at, out("t0") _)),
                at,
            );
            check(
                "amoswap.d",
                attempt(|| asm!("amoswap.d t0, zero, ({0})", in(reg) at, out("t0") _)),
                at,
            );
        }
    }
    let at = base + 4;
    // SAFETY: as above.
    unsafe {
        check(
            "lr.d at a word",
            attempt(|| asm!("lr.d t0, ({0})", in(reg) at, out("t0") _)),
            at,
        )
    };
}
