//! Timers: CLINT mtimecmp, and stimecmp (Sstc).
#![no_std]
#![no_main]

use bare::csr;
use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering};
use tests::trap::{self, Mode, cause, run_in};
use tests::{Checks, bare_test, paging};

bare_test!("timers", run);

const MTIMECMP: usize = 0x200_4000;
const MTIP: usize = 1 << 7;
const STIP: usize = 1 << 5;
const MIE: usize = 1 << 3;
const SIE: usize = 1 << 1;
const STCE: usize = 1 << 63;
const TIME: usize = 1 << 1;
const NEVER: usize = usize::MAX;
/// 10 ms at the board's 10 MHz.
const SOON: usize = 100_000;

fn run(t: &mut Checks) {
    paging::open_pmp();
    trap::on_interrupt(note);
    machine_timer(t);
    without_sstc(t);
    with_sstc(t);
}

static SEEN: AtomicUsize = AtomicUsize::new(0);

fn note(cause: usize) {
    SEEN.store(cause, Ordering::SeqCst);
    match cause & 0xff {
        7 => trap::store(MTIMECMP, NEVER),
        _ => csr::write!(stimecmp, NEVER),
    }
}

fn machine_timer(t: &mut Checks) {
    trap::store(MTIMECMP, NEVER);
    t.eq("no MTIP before its time", csr::read!(mip) & MTIP, 0);
    trap::store(MTIMECMP, 0);
    while csr::read!(mip) & MTIP == 0 {}
    csr::clear!(mip, MTIP);
    t.eq(
        "MTIP cannot be cleared by mip",
        csr::read!(mip) & MTIP,
        MTIP,
    );
    trap::store(MTIMECMP, NEVER);
    while csr::read!(mip) & MTIP != 0 {}

    let due = csr::read!(time) + SOON;
    trap::store(MTIMECMP, due);
    t.eq("mtimecmp can be read", trap::load(MTIMECMP), due);
    csr::write!(mie, MTIP);
    while csr::read!(mip) & MTIP == 0 {
        // SAFETY: sleeps until the timer; mstatus.MIE is clear, so no trap is taken.
        unsafe { asm!("wfi") };
    }
    t.ok("MTIP not before its time", csr::read!(time) >= due);
    t.eq(
        "not taken while MIE is clear",
        SEEN.load(Ordering::SeqCst),
        0,
    );
    csr::set!(mstatus, MIE);
    csr::clear!(mstatus, MIE);
    t.eq(
        "then taken",
        SEEN.swap(0, Ordering::SeqCst),
        cause::INTERRUPT | 7,
    );

    // While running, not sleeping.
    trap::store(MTIMECMP, csr::read!(time) + SOON / 10);
    csr::set!(mstatus, MIE);
    while SEEN.load(Ordering::SeqCst) == 0 {
        core::hint::spin_loop();
    }
    csr::clear!(mstatus, MIE);
    t.eq(
        "taken out of a loop",
        SEEN.swap(0, Ordering::SeqCst),
        cause::INTERRUPT | 7,
    );
    csr::write!(mie, 0);
}

extern "C" fn read_stimecmp(_: usize) -> usize {
    csr::read!(stimecmp)
}

extern "C" fn arm(ticks: usize) -> usize {
    csr::write!(stimecmp, csr::read!(time) + ticks);
    csr::set!(sie, STIP);
    while csr::read!(sip) & STIP == 0 {
        // SAFETY: sleeps; sstatus.SIE is clear.
        unsafe { asm!("wfi") };
    }
    let early = SEEN.load(Ordering::SeqCst);
    csr::set!(sstatus, SIE);
    csr::clear!(sstatus, SIE);
    early
}

fn without_sstc(t: &mut Checks) {
    csr::clear!(menvcfg, STCE);
    csr::write!(mcounteren, 7);
    trap::take();
    run_in(Mode::S, read_stimecmp, 0);
    t.eq(
        "stimecmp from S without STCE",
        trap::take().map_or(0, |g| g.cause),
        cause::ILLEGAL,
    );
    csr::set!(mip, STIP);
    t.eq("STIP is writable in M", csr::read!(mip) & STIP, STIP);
    csr::clear!(mip, STIP);
    t.eq("and can be cleared", csr::read!(mip) & STIP, 0);
}

fn with_sstc(t: &mut Checks) {
    csr::set!(menvcfg, STCE);
    t.eq("menvcfg keeps STCE", csr::read!(menvcfg) & STCE, STCE);
    csr::write!(stimecmp, NEVER);
    t.eq("stimecmp can be read", csr::read!(stimecmp), NEVER);
    csr::set!(mip, STIP);
    t.eq("STIP is no longer writable", csr::read!(mip) & STIP, 0);
    csr::write!(stimecmp, 0);
    while csr::read!(mip) & STIP == 0 {}
    csr::write!(stimecmp, NEVER);
    while csr::read!(mip) & STIP != 0 {}

    csr::write!(mcounteren, 7 & !TIME);
    trap::take();
    run_in(Mode::S, read_stimecmp, 0);
    t.eq(
        "stimecmp from S without TM",
        trap::take().map_or(0, |g| g.cause),
        cause::ILLEGAL,
    );
    csr::write!(mcounteren, 7);
    t.eq("stimecmp from S", run_in(Mode::S, read_stimecmp, 0), NEVER);
    t.passes("is allowed", trap::take());

    csr::write!(mideleg, STIP);
    csr::write!(stvec, trap::supervisor_vector_address());
    t.eq("STI waits for SIE", run_in(Mode::S, arm, SOON), 0);
    t.eq(
        "and is taken in S",
        SEEN.swap(0, Ordering::SeqCst),
        cause::INTERRUPT | 5,
    );
    csr::write!(mideleg, 0);
    csr::write!(mie, 0);
}
