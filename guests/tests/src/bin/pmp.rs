//! Physical memory protection: TOR, NA4, NAPOT, priority, partial matches, locked entries.
#![no_std]
#![no_main]

use bare::csr;
use tests::paging::{self, AsSupervisor};
use tests::trap::{self, Mode, attempt, cause, run_in};
use tests::{Checks, bare_test};

bare_test!("pmp", run);

const R: usize = 1;
const W: usize = 2;
const X: usize = 4;
const TOR: usize = 1 << 3;
const NA4: usize = 2 << 3;
const NAPOT: usize = 3 << 3;
const LOCKED: usize = 1 << 7;

const S: AsSupervisor = AsSupervisor::S;

fn run(t: &mut Checks) {
    csr::write!(satp, 0);
    default_deny(t);
    // Everything else is open to S and U by the last entry.
    csr::write!(pmpaddr15, usize::MAX >> 10);
    set_entry(15, NAPOT | R | W | X);
    ranges(t);
    priority(t);
    partial(t);
    fetches(t);
    walks(t);
    locked(t);
}

/// Sets the configuration byte of an entry.
fn set_entry(entry: usize, configuration: usize) {
    let shift = entry % 8 * 8;
    if entry < 8 {
        csr::clear!(pmpcfg0, 0xff << shift);
        csr::set!(pmpcfg0, configuration << shift);
    } else {
        csr::clear!(pmpcfg2, 0xff << shift);
        csr::set!(pmpcfg2, configuration << shift);
    }
    paging::fence();
}

fn load(view: AsSupervisor, address: usize) -> Option<trap::Trap> {
    attempt(|| {
        view.load(address);
    })
}

fn store(address: usize) -> Option<trap::Trap> {
    attempt(|| S.store(address, 1))
}

fn napot(start: usize, size: usize) -> usize {
    start >> 2 | (size / 8 - 1)
}

fn default_deny(t: &mut Checks) {
    csr::write!(pmpcfg0, 0);
    csr::write!(pmpcfg2, 0);
    paging::fence();
    let page = paging::page();
    t.traps(
        "S without any entry",
        load(S, page),
        cause::LOAD_ACCESS,
        page,
    );
    t.traps(
        "U without any entry",
        load(AsSupervisor::U, page),
        cause::LOAD_ACCESS,
        page,
    );
    t.passes(
        "M without any entry",
        attempt(|| {
            trap::load(page);
        }),
    );
}

fn ranges(t: &mut Checks) {
    let page = paging::page();
    csr::write!(pmpaddr0, napot(page + 64, 64));
    set_entry(0, NAPOT | R);
    t.passes("before a NAPOT region", store(page + 56));
    t.passes("load in it", load(S, page + 64));
    t.traps(
        "store in it",
        store(page + 64),
        cause::STORE_ACCESS,
        page + 64,
    );
    t.traps(
        "store at its end",
        store(page + 120),
        cause::STORE_ACCESS,
        page + 120,
    );
    t.passes("behind it", store(page + 128));
    t.passes("M is not held by it", attempt(|| trap::store(page + 64, 1)));

    csr::write!(pmpaddr0, (page + 256) >> 2);
    csr::write!(pmpaddr1, (page + 512) >> 2);
    set_entry(0, 0);
    set_entry(1, TOR);
    t.passes("before a TOR region", load(S, page + 248));
    t.traps(
        "its start",
        load(S, page + 256),
        cause::LOAD_ACCESS,
        page + 256,
    );
    t.traps(
        "its end",
        load(S, page + 504),
        cause::LOAD_ACCESS,
        page + 504,
    );
    t.passes("behind it", load(S, page + 512));
    csr::write!(pmpaddr0, (page + 600) >> 2);
    t.passes(
        "a TOR region that ends before it starts",
        load(S, page + 256),
    );
    set_entry(1, 0);

    csr::write!(pmpaddr0, (page + 16) >> 2);
    set_entry(0, NA4);
    t.passes("before an NA4 word", load(S, page + 8));
    t.traps(
        "an access that holds it",
        load(S, page + 16),
        cause::LOAD_ACCESS,
        page + 16,
    );
    t.passes("behind it", load(S, page + 24));
    set_entry(0, 0);
}

fn priority(t: &mut Checks) {
    let page = paging::page();
    csr::write!(pmpaddr2, napot(page, 4096));
    csr::write!(pmpaddr3, napot(page, 4096));
    set_entry(2, NAPOT | R | W);
    set_entry(3, NAPOT);
    t.passes("the lower entry allows", store(page));
    set_entry(2, NAPOT);
    set_entry(3, NAPOT | R | W);
    t.traps(
        "the lower entry forbids",
        store(page),
        cause::STORE_ACCESS,
        page,
    );
    set_entry(2, 0);
    t.passes("an entry that is off does not count", store(page));
    set_entry(3, 0);
}

fn partial(t: &mut Checks) {
    let page = paging::page();
    csr::write!(pmpaddr2, napot(page + 8, 8));
    set_entry(2, NAPOT | R | W);
    let got = load(S, page + 4).map(|t| t.cause);
    t.eq(
        "an access half in an entry fails, though both halves are open",
        got.unwrap_or(0),
        cause::LOAD_ACCESS,
    );
    t.passes("an access wholly in it", load(S, page + 8));
    set_entry(2, 0);
}

extern "C" fn call(address: usize) -> usize {
    trap::fetch(address);
    0
}

fn fetches(t: &mut Checks) {
    let page = paging::page();
    trap::store(page, 0x8082); // c.jr ra
    // SAFETY: makes the new code visible.
    unsafe { core::arch::asm!("fence.i") };
    csr::write!(pmpaddr2, napot(page, 4096));
    let fetch = || {
        attempt(|| {
            run_in(Mode::S, call, page);
        })
    };
    set_entry(2, NAPOT | R | W);
    t.traps("fetch without X", fetch(), cause::FETCH_ACCESS, page);
    set_entry(2, NAPOT | X);
    t.passes("fetch with X", fetch());
    t.traps("load without R", load(S, page), cause::LOAD_ACCESS, page);
    set_entry(2, 0);
}

fn walks(t: &mut Checks) {
    paging::free_all();
    let table = paging::Table::identity(paging::Scheme::Sv39);
    let frame = paging::page();
    let page = 0x3_4000_0000;
    table.set(
        page,
        paging::leaf(frame, paging::pte::R | paging::pte::W | paging::pte::READY),
        0,
    );
    table.activate();
    t.passes("translated, all open", load(S, page));
    csr::write!(pmpaddr2, napot(frame, 4096));
    set_entry(2, NAPOT);
    t.traps(
        "the frame is closed: tval is virtual",
        load(S, page + 8),
        cause::LOAD_ACCESS,
        page + 8,
    );
    let root = csr::read!(satp) << 20 >> 8;
    csr::write!(pmpaddr2, napot(root, 4096));
    set_entry(2, NAPOT);
    t.traps(
        "the table is closed: load",
        load(S, page),
        cause::LOAD_ACCESS,
        page,
    );
    t.traps(
        "the table is closed: store",
        store(page),
        cause::STORE_ACCESS,
        page,
    );
    set_entry(2, 0);
    csr::write!(satp, 0);
    paging::fence();
}

/// Last: a locked entry stays until reset.
fn locked(t: &mut Checks) {
    paging::free_all();
    let page = paging::page();
    csr::write!(pmpaddr6, page >> 2);
    csr::write!(pmpaddr7, (page + 4096) >> 2);
    set_entry(7, TOR | R | LOCKED);
    t.passes(
        "M loads from a locked region",
        attempt(|| {
            trap::load(page);
        }),
    );
    t.traps(
        "M stores to it",
        attempt(|| trap::store(page, 1)),
        cause::STORE_ACCESS,
        page,
    );
    let before = (
        csr::read!(pmpcfg0),
        csr::read!(pmpaddr6),
        csr::read!(pmpaddr7),
    );
    csr::write!(pmpcfg0, 0);
    csr::write!(pmpaddr6, 0);
    csr::write!(pmpaddr7, 0);
    t.eq(
        "its configuration stays",
        csr::read!(pmpcfg0) >> 56,
        before.0 >> 56,
    );
    t.eq("its address stays", csr::read!(pmpaddr7), before.2);
    t.eq(
        "the address below a locked TOR stays too",
        csr::read!(pmpaddr6),
        before.1,
    );
    csr::write!(pmpaddr5, 0x1234);
    t.eq("its neighbour is free", csr::read!(pmpaddr5), 0x1234);
}
