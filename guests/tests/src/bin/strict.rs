//! Rules of the manual that QEMU 10.0 does not follow; our own machine must.
#![no_std]
#![no_main]

use bare::csr;
use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering};
use tests::paging::{self, AsSupervisor, Scheme, Table, leaf, pte};
use tests::trap::{self, attempt, cause};
use tests::{Checks, bare_test, smp};

bare_test!("strict", run);

fn run(t: &mut Checks) {
    paging::open_pmp();
    // Privileged manual, "mepc": the low bit is always zero.
    csr::write!(mepc, 0x8000_0003);
    t.eq("mepc keeps bit 0 clear", csr::read!(mepc), 0x8000_0002);
    csr::write!(sepc, 0x8000_0003);
    t.eq("sepc keeps bit 0 clear", csr::read!(sepc), 0x8000_0002);
    // "medeleg": what cannot come from a lower mode is read-only zero.
    csr::write!(medeleg, usize::MAX);
    t.eq(
        "ecall from M is never delegated",
        csr::read!(medeleg) >> 11 & 1,
        0,
    );
    csr::write!(medeleg, 0);
    instret(t);
    event_counters(t);
    tables_nowhere(t);
    reserved_memory_type(t);
    misaligned_atomics(t);
    interrupt_priority(t);
    pmp_fields(t);
}

/// All event counters exist, if only as zeros.
fn event_counters(t: &mut Checks) {
    for got in [
        attempt(|| {
            csr::read!(mhpmcounter31);
        }),
        attempt(|| {
            csr::read!(mhpmevent31);
        }),
        attempt(|| {
            csr::read!(hpmcounter31);
        }),
        attempt(|| csr::write!(mhpmcounter31, 0)),
    ] {
        t.passes("the last event counter", got);
    }
}

/// Misaligned AMOs and SCs are stores to their trap's cause; an SC traps even without a reservation.
fn misaligned_atomics(t: &mut Checks) {
    let at = paging::page() + 2;
    // SAFETY: these trap.
    let (sc, amo) = unsafe {
        (
            attempt(|| asm!("sc.w t0, zero, ({0})", in(reg) at, out("t0") _)),
            attempt(|| asm!("amoadd.w t0, zero, ({0})", in(reg) at, out("t0") _)),
        )
    };
    for (what, got) in [("sc.w misaligned", sc), ("amoadd.w misaligned", amo)] {
        let cause = got.map_or(0, |g| g.cause);
        t.ok(
            what,
            [cause::STORE_MISALIGNED, cause::STORE_ACCESS].contains(&cause),
        );
    }
}

/// Svpbmt: the memory type 3 is reserved.
fn reserved_memory_type(t: &mut Checks) {
    const PBMTE: usize = 1 << 62;
    csr::set!(menvcfg, PBMTE);
    let table = Table::identity(Scheme::Sv39);
    let page = 0x3_4000_0000;
    table.set(
        page,
        leaf(paging::page(), pte::R | pte::READY) | pte::PBMT_RESERVED,
        0,
    );
    table.activate();
    let got = attempt(|| {
        AsSupervisor::S.load(page);
    });
    t.traps("PBMT = 3", got, cause::LOAD_PAGE, page);
    csr::write!(satp, 0);
    csr::clear!(menvcfg, PBMTE);
}

static ORDER: AtomicUsize = AtomicUsize::new(0);

fn note(cause: usize) {
    let number = cause & 0xff;
    ORDER
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |o| {
            Some(o << 8 | number)
        })
        .ok();
    match number {
        3 => smp::set_software_interrupt(0, false),
        n => csr::clear!(mip, 1 << n),
    }
}

/// Of several pending interrupts: MEI, MSI, MTI, SEI, SSI, STI, in this order.
fn interrupt_priority(t: &mut Checks) {
    const MIE: usize = 1 << 3;
    trap::on_interrupt(note);
    let pending = 1 << 9 | 1 << 5 | 1 << 1;
    csr::write!(mideleg, 0);
    csr::clear!(menvcfg, 1 << 63); // STIP is writable without Sstc
    csr::write!(mie, pending | 1 << 3);
    csr::set!(mip, pending);
    smp::set_software_interrupt(0, true);
    while csr::read!(mip) & 1 << 3 == 0 {}
    csr::set!(mstatus, MIE);
    // SAFETY: time to take them all.
    unsafe { asm!("nop; nop; nop; nop") };
    csr::clear!(mstatus, MIE);
    t.eq(
        "the order of MSI, SEI, SSI and STI",
        ORDER.load(Ordering::SeqCst),
        0x0309_0105,
    );
    csr::write!(mie, 0);
}

/// Fields of the PMP CSRs that hold no other values.
fn pmp_fields(t: &mut Checks) {
    csr::write!(pmpaddr4, usize::MAX);
    t.eq(
        "pmpaddr has 54 bits",
        csr::read!(pmpaddr4),
        usize::MAX >> 10,
    );
    csr::write!(pmpaddr4, 0);
    csr::write!(pmpcfg2, 0x60);
    t.eq("bits 5 and 6 of an entry are zero", csr::read!(pmpcfg2), 0);
    csr::write!(pmpcfg2, 2);
    t.ok(
        "write without read is reserved",
        csr::read!(pmpcfg2) & 3 != 2,
    );
}

/// instret counts every retired instruction, and a read of it does not count itself.
fn instret(t: &mut Checks) {
    let (before, after): (usize, usize);
    // SAFETY: nops.
    unsafe {
        asm!("csrr {0}, minstret", "nop; nop; nop; nop; nop; nop; nop; nop; nop; nop", "csrr {1}, minstret",
            out(reg) before, out(reg) after)
    };
    t.eq(
        "eleven instructions from read to read",
        after.wrapping_sub(before),
        11,
    );
    let read: usize;
    // SAFETY: a counter.
    unsafe { asm!("csrw minstret, {1}", "csrr {0}, minstret", out(reg) read, in(reg) 100usize) };
    t.eq(
        "a write of minstret stands for its own instruction",
        read,
        100,
    );
    let start = csr::read!(minstret);
    let got = attempt(|| trap::store(0x1800_0000, 0));
    t.ok("a trapping instruction traps", got.is_some());
    t.ok("and instret went on", csr::read!(minstret) > start);
}

/// A page table outside of memory gives an access fault of the original kind.
fn tables_nowhere(t: &mut Checks) {
    let table = Table::identity(Scheme::Sv39);
    let page = 0x3_4000_0000;
    table.set(page, leaf(0x1800_0000, pte::V), 1);
    table.activate();
    let got = attempt(|| {
        AsSupervisor::S.load(page);
    });
    t.traps(
        "load through a table that is nowhere",
        got,
        cause::LOAD_ACCESS,
        page,
    );
    let got = attempt(|| AsSupervisor::S.store(page, 0));
    t.traps("store through it", got, cause::STORE_ACCESS, page);
    csr::write!(satp, 0);
}
