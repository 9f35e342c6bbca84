//! Interprocessor interrupts by the CLINT, and `fence.i` and page-table changes across harts.
#![no_std]
#![no_main]

use bare::csr;
use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering};
use tests::paging::{self, AsSupervisor, Scheme, Table, pte};
use tests::{Checks, bare_test, smp, trap};

bare_test!("smp_ipi", run);

const MIE: usize = 1 << 3;
const ROUNDS: usize = 200;

static READY: AtomicUsize = AtomicUsize::new(0);
static MASK: AtomicUsize = AtomicUsize::new(0);
static TAKEN: [AtomicUsize; smp::MAX_HARTS] = [const { AtomicUsize::new(0) }; smp::MAX_HARTS];
static ANSWERS: [AtomicUsize; smp::MAX_HARTS] = [const { AtomicUsize::new(0) }; smp::MAX_HARTS];
static CODE: AtomicUsize = AtomicUsize::new(0);
static SATP: AtomicUsize = AtomicUsize::new(0);
const PAGE: usize = 0x3_4000_0000;

fn run(t: &mut Checks) {
    paging::open_pmp();
    let mask = smp::harts();
    MASK.store(mask, Ordering::SeqCst);
    let harts = mask.count_ones() as usize;
    bare::println!("smp_ipi: {harts} harts");
    trap::on_interrupt(taken);
    smp::run(mask, ring);
    for (hart, count) in TAKEN
        .iter()
        .enumerate()
        .filter(|(hart, _)| mask >> hart & 1 == 1)
    {
        t.eq(
            "every hart takes each of its interrupts",
            count.load(Ordering::SeqCst),
            ROUNDS,
        );
        let _ = hart;
    }
    code_across_harts(t, mask);
    tables_across_harts(t, mask);
}

fn next(hart: usize) -> usize {
    let mask = MASK.load(Ordering::SeqCst);
    let mut next = hart;
    loop {
        next = (next + 1) % smp::MAX_HARTS;
        if mask >> next & 1 == 1 {
            return next;
        }
    }
}

fn taken(_: usize) {
    let hart = csr::read!(mhartid);
    smp::set_software_interrupt(hart, false);
    TAKEN[hart].fetch_add(1, Ordering::SeqCst);
}

/// Each hart interrupts its neighbour, and waits to be interrupted before it goes on.
fn ring(hart: usize) {
    csr::set!(mie, 1 << 3);
    // A hart clears the IPI that started it; only then may its neighbour send the first one.
    READY.fetch_or(1 << hart, Ordering::SeqCst);
    while READY.load(Ordering::SeqCst) != MASK.load(Ordering::SeqCst) {
        core::hint::spin_loop();
    }
    for round in 0..ROUNDS {
        let neighbour = next(hart);
        // The one before may still be on its way.
        while TAKEN[neighbour].load(Ordering::SeqCst) < round {
            core::hint::spin_loop();
        }
        smp::set_software_interrupt(neighbour, true);
        while TAKEN[hart].load(Ordering::SeqCst) <= round {
            // With MIE clear, wfi wakes without the trap, which is taken in the next two lines.
            // SAFETY: sleeps.
            unsafe { asm!("wfi") };
            csr::set!(mstatus, MIE);
            csr::clear!(mstatus, MIE);
        }
    }
}

fn run_code(hart: usize) {
    // SAFETY: hart 0 wrote the code before it sent the IPI.
    unsafe { asm!("fence.i") };
    // SAFETY: the code sets a0 and returns.
    let code: extern "C" fn() -> usize =
        unsafe { core::mem::transmute(CODE.load(Ordering::SeqCst)) };
    ANSWERS[hart].store(code(), Ordering::SeqCst);
}

fn code_across_harts(t: &mut Checks, mask: usize) {
    let page = paging::page();
    CODE.store(page, Ordering::SeqCst);
    for round in 0..50 {
        // addi a0, zero, round; ret
        trap::store(page, round << 20 | 0x0000_0513 | 0x8082 << 32);
        smp::run(mask, run_code);
        for hart in (0..smp::MAX_HARTS).filter(|h| mask >> h & 1 == 1) {
            t.eq(
                "a hart runs the code another wrote",
                ANSWERS[hart].load(Ordering::SeqCst),
                round,
            );
        }
    }
}

fn read_page(hart: usize) {
    csr::write!(satp, SATP.load(Ordering::SeqCst));
    paging::fence();
    ANSWERS[hart].store(AsSupervisor::S.load(PAGE), Ordering::SeqCst);
}

fn tables_across_harts(t: &mut Checks, mask: usize) {
    let table = Table::identity(Scheme::Sv39);
    SATP.store(table.satp(0), Ordering::SeqCst);
    let frames = [paging::page(), paging::page()];
    trap::store(frames[0], 100);
    trap::store(frames[1], 101);
    smp::run(mask, open_pmp);
    for round in 0..50 {
        table.set(
            PAGE,
            paging::leaf(frames[round % 2], pte::R | pte::READY),
            0,
        );
        smp::run(mask, read_page);
        for hart in (0..smp::MAX_HARTS).filter(|h| mask >> h & 1 == 1) {
            t.eq(
                "a hart sees the page another mapped",
                ANSWERS[hart].load(Ordering::SeqCst),
                100 + round % 2,
            );
        }
    }
    csr::write!(satp, 0);
}

fn open_pmp(_: usize) {
    paging::open_pmp();
}
