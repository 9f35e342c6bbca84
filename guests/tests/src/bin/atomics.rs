//! LR/SC and all AMOs, on one hart: results, sign extension, reservations.
#![no_std]
#![no_main]

use core::arch::asm;
use tests::{Checks, bare_test, paging};

bare_test!("atomics", run);

const VALUES: [u64; 8] = [
    0,
    1,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];

macro_rules! amo {
    ($name:literal, $address:expr, $operand:expr) => {{
        let old: u64;
        // SAFETY: an atomic on our page.
        unsafe { asm!(concat!($name, " {0}, {1}, ({2})"), out(reg) old, in(reg) $operand, in(reg) $address) };
        old
    }};
}

fn put(address: usize, value: u64) {
    // SAFETY: our page.
    unsafe { (address as *mut u64).write_volatile(value) };
}

fn get(address: usize) -> u64 {
    // SAFETY: our page.
    unsafe { (address as *const u64).read_volatile() }
}

fn run(t: &mut Checks) {
    let page = paging::page();
    for a in VALUES {
        for b in VALUES {
            doublewords(t, page, a, b);
            words(t, page, a, b);
            words(t, page + 4, a, b);
        }
    }
    reservations(t, page);
}

fn doublewords(t: &mut Checks, at: usize, a: u64, b: u64) {
    let mut check = |what, old: u64, want: u64| {
        t.eq(what, old as usize, a as usize);
        t.eq(what, get(at) as usize, want as usize);
        put(at, a);
    };
    put(at, a);
    check("amoswap.d", amo!("amoswap.d", at, b), b);
    check("amoadd.d", amo!("amoadd.d.aqrl", at, b), a.wrapping_add(b));
    check("amoxor.d", amo!("amoxor.d", at, b), a ^ b);
    check("amoand.d", amo!("amoand.d", at, b), a & b);
    check("amoor.d", amo!("amoor.d.aq", at, b), a | b);
    check(
        "amomin.d",
        amo!("amomin.d", at, b),
        (a as i64).min(b as i64) as u64,
    );
    check(
        "amomax.d",
        amo!("amomax.d", at, b),
        (a as i64).max(b as i64) as u64,
    );
    check("amominu.d", amo!("amominu.d.rl", at, b), a.min(b));
    check("amomaxu.d", amo!("amomaxu.d", at, b), a.max(b));
}

fn words(t: &mut Checks, at: usize, a: u64, b: u64) {
    let word = at as *mut u32;
    let neighbour = (at ^ 4) as *mut u32;
    let (low_a, low_b) = (a as u32, b as u32);
    // SAFETY: our page.
    let restore = || unsafe {
        word.write_volatile(low_a);
        neighbour.write_volatile(0x5a5a_a5a5);
    };
    restore();
    let mut check = |what, old: u64, want: u32| {
        t.eq(what, old as usize, low_a as i32 as usize);
        // SAFETY: our page.
        unsafe {
            t.eq(what, word.read_volatile() as usize, want as usize);
            t.eq(what, neighbour.read_volatile() as usize, 0x5a5a_a5a5);
        }
        restore();
    };
    check("amoswap.w", amo!("amoswap.w", at, b), low_b);
    check(
        "amoadd.w",
        amo!("amoadd.w", at, b),
        low_a.wrapping_add(low_b),
    );
    check("amoxor.w", amo!("amoxor.w", at, b), low_a ^ low_b);
    check("amoand.w", amo!("amoand.w", at, b), low_a & low_b);
    check("amoor.w", amo!("amoor.w", at, b), low_a | low_b);
    check(
        "amomin.w",
        amo!("amomin.w", at, b),
        (low_a as i32).min(low_b as i32) as u32,
    );
    check(
        "amomax.w",
        amo!("amomax.w", at, b),
        (low_a as i32).max(low_b as i32) as u32,
    );
    check("amominu.w", amo!("amominu.w", at, b), low_a.min(low_b));
    check("amomaxu.w", amo!("amomaxu.w", at, b), low_a.max(low_b));
}

fn reservations(t: &mut Checks, page: usize) {
    put(page, 0xffff_fff0);
    put(page + 2048, 7);
    let (read, failed): (u64, u64);
    // A constrained loop's body, which must succeed at some time; alone on its hart, at once here.
    // SAFETY: atomics on our page.
    unsafe {
        asm!("1: lr.w.aq {r}, ({a})", "addi {s}, {r}, 1", "sc.w.rl {s}, {s}, ({a})", "bnez {s}, 1b",
            r = out(reg) read, s = out(reg) failed, a = in(reg) page)
    };
    t.eq(
        "lr.w extends the sign",
        read as usize,
        0xffff_ffff_ffff_fff0,
    );
    t.eq("sc.w says 0", failed as usize, 0);
    t.eq("sc.w stores", get(page) as usize, 0xffff_fff1);

    let sc = || {
        let failed: u64;
        // SAFETY: as above.
        unsafe { asm!("sc.d {0}, zero, ({1})", out(reg) failed, in(reg) page) };
        failed as usize
    };
    t.ok(
        "a second sc fails: the first took the reservation",
        sc() != 0,
    );
    t.eq(
        "a failed sc stores nothing",
        get(page) as usize,
        0xffff_fff1,
    );
    // SAFETY: as above.
    unsafe { asm!("lr.d t0, ({0})", in(reg) page + 2048, out("t0") _) };
    t.ok("sc elsewhere fails", sc() != 0);
    let failed: u64;
    // SAFETY: as above.
    unsafe { asm!("sc.d {0}, zero, ({1})", out(reg) failed, in(reg) page + 2048) };
    t.ok("and it ends the reservation", failed != 0);
    t.eq("nothing was stored", get(page + 2048) as usize, 7);
    let (read, failed): (u64, u64);
    // SAFETY: as above.
    unsafe {
        asm!("1: lr.d {r}, ({a})", "sc.d {s}, {v}, ({a})", "bnez {s}, 1b",
            r = out(reg) read, s = out(reg) failed, a = in(reg) page + 2048, v = in(reg) u64::MAX - 1)
    };
    t.eq("lr.d", read as usize, 7);
    t.eq("sc.d", failed as usize, 0);
    t.eq("sc.d stores", get(page + 2048) as usize, usize::MAX - 1);
}
