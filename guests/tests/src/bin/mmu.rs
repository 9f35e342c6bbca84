//! Address translation: Sv39, Sv48 and Sv57, page sizes, permissions, A and D, what is reserved.
#![no_std]
#![no_main]

use bare::csr;
use tests::paging::{self, AsSupervisor, MXR, SUM, Scheme, Table, leaf, pte};
use tests::trap::{self, Mode, attempt, cause, run_in};
use tests::{Checks, bare_test};

bare_test!("mmu", run);

/// A page of its own, far from the identity map, in the lower and in the upper half.
const LOW: usize = 0x3_4000_0000;
const HIGH: usize = 0xffff_ffff_ff65_4000;

const ADUE: usize = 1 << 61;
const PBMTE: usize = 1 << 62;
const READY: usize = pte::READY;

fn run(t: &mut Checks) {
    paging::open_pmp();
    csr::clear!(menvcfg, ADUE | PBMTE);
    for scheme in [Scheme::Sv39, Scheme::Sv48, Scheme::Sv57] {
        paging::free_all();
        let table = Table::identity(scheme);
        table.activate();
        t.eq("satp keeps mode and root", csr::read!(satp), table.satp(0));
        for page in [LOW, HIGH] {
            permissions(t, &table, page);
            user(t, &table, page);
            accessed_dirty(t, &table, page);
        }
        execution(t, &table);
        superpages(t, &table, scheme);
        reserved(t, &table);
        canonical(t, scheme);
        memory_types(t, &table);
        contiguous(t, &table);
        straddling(t, &table);
        csr::write!(satp, 0);
    }
    unsupported_mode(t);
}

fn load(view: AsSupervisor, address: usize) -> Option<trap::Trap> {
    attempt(|| {
        view.load(address);
    })
}

fn store(view: AsSupervisor, address: usize) -> Option<trap::Trap> {
    attempt(|| view.store(address, 0x1234))
}

const S: AsSupervisor = AsSupervisor::S;

fn permissions(t: &mut Checks, table: &Table, page: usize) {
    let frame = paging::page();
    t.traps(
        "load where nothing is mapped",
        load(S, page + 8),
        cause::LOAD_PAGE,
        page + 8,
    );
    t.traps(
        "store where nothing is mapped",
        store(S, page + 16),
        cause::STORE_PAGE,
        page + 16,
    );

    table.set(page, leaf(frame, pte::R | pte::W | READY), 0);
    t.passes(
        "store to a writable page",
        attempt(|| S.store(page + 24, 0xabcd)),
    );
    t.eq("it arrives in the frame", trap::load(frame + 24), 0xabcd);
    trap::store(frame + 4088, 0x5678);
    t.eq("and is read through the page", S.load(page + 4088), 0x5678);

    table.set(page, leaf(frame, pte::R | READY), 0);
    t.passes("load from a read-only page", load(S, page));
    t.traps(
        "store to a read-only page",
        store(S, page + 8),
        cause::STORE_PAGE,
        page + 8,
    );

    table.set(page, leaf(frame, pte::X | READY), 0);
    t.traps(
        "load from an execute-only page",
        load(S, page),
        cause::LOAD_PAGE,
        page,
    );
    t.passes(
        "with MXR it may be read",
        load(AsSupervisor::with(MXR), page),
    );
    t.traps(
        "but not written",
        store(AsSupervisor::with(MXR), page),
        cause::STORE_PAGE,
        page,
    );

    table.set(page, leaf(frame, pte::W | READY), 0);
    t.traps(
        "write without read is reserved",
        load(S, page),
        cause::LOAD_PAGE,
        page,
    );
    table.set(page, leaf(frame, pte::W | pte::X | READY), 0);
    t.traps(
        "so is write and execute",
        store(S, page),
        cause::STORE_PAGE,
        page,
    );
    table.set(page, leaf(frame, (pte::R | pte::W | READY) & !pte::V), 0);
    t.traps(
        "without V nothing else counts",
        load(S, page),
        cause::LOAD_PAGE,
        page,
    );
    table.set(page, 0, 0);
}

fn user(t: &mut Checks, table: &Table, page: usize) {
    let frame = paging::page();
    table.set(page, leaf(frame, pte::R | pte::W | pte::U | READY), 0);
    t.traps("S reads a user page", load(S, page), cause::LOAD_PAGE, page);
    t.traps(
        "S writes a user page",
        store(S, page),
        cause::STORE_PAGE,
        page,
    );
    t.passes("with SUM it may read", load(AsSupervisor::with(SUM), page));
    t.passes("and write", store(AsSupervisor::with(SUM), page));
    t.passes("U reads it", load(AsSupervisor::U, page));
    t.passes("U writes it", store(AsSupervisor::U, page));
    table.set(page, leaf(frame, pte::R | pte::W | READY), 0);
    t.traps(
        "U reads a supervisor page",
        load(AsSupervisor::U, page),
        cause::LOAD_PAGE,
        page,
    );
    t.traps(
        "U writes a supervisor page",
        store(AsSupervisor::U, page),
        cause::STORE_PAGE,
        page,
    );
    table.set(page, 0, 0);
}

fn accessed_dirty(t: &mut Checks, table: &Table, page: usize) {
    let frame = paging::page();
    let bare = pte::V | pte::R | pte::W;
    table.set(page, leaf(frame, bare), 0);
    t.traps(
        "A clear, without ADUE: load",
        load(S, page),
        cause::LOAD_PAGE,
        page,
    );
    t.traps(
        "A clear, without ADUE: store",
        store(S, page),
        cause::STORE_PAGE,
        page,
    );
    t.eq(
        "the entry is unchanged",
        table.get(page, 0),
        leaf(frame, bare),
    );
    table.set(page, leaf(frame, bare | pte::A), 0);
    t.passes("D clear: load", load(S, page));
    t.traps("D clear: store", store(S, page), cause::STORE_PAGE, page);

    csr::set!(menvcfg, ADUE);
    paging::fence();
    table.set(page, leaf(frame, bare), 0);
    t.passes("with ADUE: load", load(S, page));
    t.eq(
        "a load sets A alone",
        table.get(page, 0),
        leaf(frame, bare | pte::A),
    );
    t.passes("with ADUE: store", store(S, page));
    t.eq(
        "a store sets D too",
        table.get(page, 0),
        leaf(frame, bare | pte::A | pte::D),
    );
    table.set(page, leaf(frame, pte::V | pte::R), 0);
    t.traps(
        "with ADUE: store to a read-only page",
        store(S, page),
        cause::STORE_PAGE,
        page,
    );
    t.eq("a refused store sets no D", table.get(page, 0) & pte::D, 0);
    csr::clear!(menvcfg, ADUE);
    table.set(page, 0, 0);
}

/// `c.jr ra`: returns at once.
const RETURN: usize = 0x8082;

extern "C" fn call(address: usize) -> usize {
    trap::fetch(address);
    0
}

fn execution(t: &mut Checks, table: &Table) {
    let frame = paging::page();
    trap::store(frame, RETURN);
    // SAFETY: makes the new code visible.
    unsafe { core::arch::asm!("fence.i") };
    let fetch = |mode| {
        attempt(|| {
            run_in(mode, call, HIGH);
        })
    };
    table.set(HIGH, leaf(frame, pte::X | READY), 0);
    t.passes("S runs an execute-only page", fetch(Mode::S));
    table.set(HIGH, leaf(frame, pte::R | pte::W | READY), 0);
    t.traps(
        "S runs a page without X",
        fetch(Mode::S),
        cause::FETCH_PAGE,
        HIGH,
    );
    table.set(HIGH, leaf(frame, pte::R | pte::X | pte::U | READY), 0);
    csr::set!(mstatus, SUM);
    t.traps(
        "S never runs a user page",
        fetch(Mode::S),
        cause::FETCH_PAGE,
        HIGH,
    );
    csr::clear!(mstatus, SUM);
    table.set(HIGH, leaf(frame, pte::X | pte::V), 0);
    t.traps(
        "S runs a page with A clear",
        fetch(Mode::S),
        cause::FETCH_PAGE,
        HIGH,
    );
    table.set(HIGH, 0, 0);
    t.traps(
        "S runs an unmapped page",
        fetch(Mode::S),
        cause::FETCH_PAGE,
        HIGH,
    );
}

fn superpages(t: &mut Checks, table: &Table, scheme: Scheme) {
    let frame = paging::page();
    let mebi2 = frame & !0x1f_ffff;
    let page = LOW + 0x4020_0000;
    table.set(page, leaf(mebi2, pte::R | pte::W | READY), 1);
    trap::store(frame + 8, 0x2222);
    t.eq("a 2 MiB page", S.load(page + (frame - mebi2) + 8), 0x2222);
    table.set(page, leaf(mebi2 + 0x1000, pte::R | READY), 1);
    t.traps(
        "a 2 MiB page with low PPN bits",
        load(S, page),
        cause::LOAD_PAGE,
        page,
    );
    table.set(page, 0, 1);

    let page = LOW + 0x8000_0000;
    table.set(page, leaf(0x8000_0000, pte::R | READY), 2);
    t.eq(
        "a 1 GiB page",
        S.load(page + (frame - 0x8000_0000) + 8),
        0x2222,
    );
    table.set(page, leaf(0x8020_0000, pte::R | READY), 2);
    t.traps(
        "a 1 GiB page with low PPN bits",
        load(S, page),
        cause::LOAD_PAGE,
        page,
    );
    table.set(page, 0, 2);

    for level in 3..scheme.levels() {
        let page = (1 << (12 + 9 * level)) * 3;
        table.set(page, leaf(0, pte::R | READY), level);
        t.eq("a page of a top level", S.load(page + frame + 8), 0x2222);
        table.set(page, 0, level);
    }
}

fn reserved(t: &mut Checks, table: &Table) {
    let frame = paging::page();
    let good = leaf(frame, pte::R | pte::W | READY);
    for bit in 54..=60 {
        table.set(LOW, good | 1 << bit, 0);
        t.traps(
            "a reserved bit of a leaf",
            load(S, LOW),
            cause::LOAD_PAGE,
            LOW,
        );
    }
    table.set(LOW, leaf(frame, pte::V), 0);
    t.traps(
        "a pointer at the last level",
        load(S, LOW),
        cause::LOAD_PAGE,
        LOW,
    );
    table.set(LOW, good, 0);
    t.passes("the page is good before", load(S, LOW));
    let pointer = table.get(LOW, 1);
    for bit in [pte::A, pte::D, pte::U] {
        table.set(LOW, pointer | bit, 1);
        t.traps(
            "A, D or U in a pointer",
            load(S, LOW),
            cause::LOAD_PAGE,
            LOW,
        );
    }
    table.set(LOW, pointer | pte::N, 1);
    t.traps("N in a pointer", load(S, LOW), cause::LOAD_PAGE, LOW);
    table.set(LOW, pointer, 1);
    table.set(LOW, leaf(0x1800_0000, pte::R | pte::W | READY), 0);
    t.traps(
        "a page of nothing: load",
        load(S, LOW + 8),
        cause::LOAD_ACCESS,
        LOW + 8,
    );
    t.traps(
        "a page of nothing: store",
        store(S, LOW + 8),
        cause::STORE_ACCESS,
        LOW + 8,
    );
    table.set(LOW, 0, 0);
}

fn canonical(t: &mut Checks, scheme: Scheme) {
    let bits = 12 + 9 * scheme.levels();
    // One beyond the lower half, one below the upper half, and a stray top bit.
    for address in [
        1 << (bits - 1),
        (usize::MAX << (bits - 1)) - 4096,
        LOW | 1 << 62,
    ] {
        t.traps(
            "load from a non-canonical address",
            load(S, address),
            cause::LOAD_PAGE,
            address,
        );
        t.traps("store to it", store(S, address), cause::STORE_PAGE, address);
        let got = attempt(|| {
            run_in(Mode::S, call, address);
        });
        t.traps("jump to it", got, cause::FETCH_PAGE, address);
    }
}

fn memory_types(t: &mut Checks, table: &Table) {
    let good = leaf(paging::page(), pte::R | pte::W | READY);
    table.set(LOW, good | pte::PBMT_NC, 0);
    t.traps("PBMT without PBMTE", load(S, LOW), cause::LOAD_PAGE, LOW);
    csr::set!(menvcfg, PBMTE);
    paging::fence();
    if csr::read!(menvcfg) & PBMTE != 0 {
        t.passes("PBMT = NC with PBMTE", load(S, LOW));
    }
    csr::clear!(menvcfg, PBMTE);
    table.set(LOW, 0, 0);
}

fn contiguous(t: &mut Checks, table: &Table) {
    let frame = paging::page();
    let block = frame & !0xffff;
    trap::store(frame + 16, 0x9999);
    let page = LOW + (frame - block);
    table.set(page, leaf(block | 0x8000, pte::R | READY) | pte::N, 0);
    t.eq(
        "Svnapot: a page of a 64 KiB block",
        S.load(page + 16),
        0x9999,
    );
    table.set(page, leaf(block | 0x4000, pte::R | READY) | pte::N, 0);
    t.traps(
        "Svnapot: a size that is reserved",
        load(S, page),
        cause::LOAD_PAGE,
        page,
    );
    table.set(page, 0, 0);
    table.set(
        LOW + 0x4020_0000,
        leaf(block & !0x1f_ffff, pte::R | READY) | pte::N,
        1,
    );
    t.traps(
        "Svnapot: N at a higher level",
        load(S, LOW + 0x4020_0000),
        cause::LOAD_PAGE,
        LOW + 0x4020_0000,
    );
    table.set(LOW + 0x4020_0000, 0, 1);
}

fn straddling(t: &mut Checks, table: &Table) {
    let (first, second) = (paging::page(), paging::page());
    table.set(LOW, leaf(first, pte::R | pte::W | READY), 0);
    let at = LOW + 4096 - 4;
    t.traps(
        "a load into an unmapped page",
        load(S, at),
        cause::LOAD_PAGE,
        LOW + 4096,
    );
    t.traps(
        "a store into an unmapped page",
        store(S, at),
        cause::STORE_PAGE,
        LOW + 4096,
    );
    table.set(LOW + 4096, leaf(second, pte::R | pte::W | READY), 0);
    t.passes(
        "a store across two pages",
        attempt(|| S.store(at, 0x1122_3344_5566_7788)),
    );
    t.eq(
        "its lower half",
        trap::load(first + 4088) >> 32,
        0x5566_7788,
    );
    t.eq(
        "its upper half",
        trap::load(second) & 0xffff_ffff,
        0x1122_3344,
    );
    t.eq("a load across two pages", S.load(at), 0x1122_3344_5566_7788);
    table.set(LOW, 0, 0);
    table.set(LOW + 4096, 0, 0);
}

fn unsupported_mode(t: &mut Checks) {
    paging::free_all();
    let table = Table::identity(Scheme::Sv39);
    csr::write!(satp, table.satp(0));
    let before = csr::read!(satp);
    csr::write!(satp, 7 << 60 | 0x1234);
    t.eq(
        "a reserved satp.MODE changes nothing",
        csr::read!(satp),
        before,
    );
    csr::write!(satp, 0);
    t.eq("satp = 0", csr::read!(satp), 0);
}
