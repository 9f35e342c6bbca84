//! Physical memory protection as a program meets it.

use ringer_hart::Mode;
use ringer_hart::csr::mstatus;
use ringer_isa::asm::Ordering::Relaxed;
use ringer_isa::asm::register::*;
use ringer_isa::{Op, csr as number};

use crate::rig::{DATA, HANDLER, LEAF, RAM, Rig, run};

const R: u64 = 1;
const W: u64 = 2;
const X: u64 = 4;
const TOR: u64 = 8;
const NA4: u64 = 16;
const NAPOT: u64 = 24;
const LOCKED: u64 = 0x80;

/// Replaces the open entry by these, and opens everything after them.
fn protect(rig: &mut Rig, entries: &[(u64, u64)]) {
    rig.set_csr(number::PMPCFG0, 0);
    let mut config = 0;
    for (index, (address, byte)) in (0..).zip(entries.iter().chain(&[(u64::MAX, NAPOT | 7)])) {
        rig.set_csr(
            number::PMPADDR0 + index,
            address >> if *address == u64::MAX { 0 } else { 2 },
        );
        config |= byte << (8 * index);
    }
    rig.set_csr(number::PMPCFG0, config);
}

/// The cause with which an access in `mode` traps; 0 for none.
fn cause(mode: Mode, entries: &[(u64, u64)], op: Op, address: u64) -> u64 {
    let rig = run(|rig| {
        protect(rig, entries);
        rig.mode(mode);
        rig.code.li(T0, address);
        match op {
            Op::Sd | Op::Sb => rig.code.store(op, ZERO, 0, T0),
            Op::Jalr => {
                rig.machine
                    .write(address & !0xfff, &0x8082_8082u32.to_le_bytes().repeat(1024));
                rig.code.jalr(RA, 0, T0)
            }
            Op::AmoaddW => rig.code.atomic(op, A0, ZERO, T0, Relaxed),
            _ => rig.code.load(op, A0, 0, T0),
        };
    });
    if rig.hart.csrs.mcause != 0 {
        assert_eq!(rig.hart.csrs.mtval, address);
    } else {
        rig.completed();
    }
    rig.hart.csrs.mcause
}

#[test]
fn each_access_takes_its_own_permission() {
    for (byte, load, store, fetch, amo) in [
        (0, 5, 7, 1, 7),
        (R, 0, 7, 1, 7),
        (R | W, 0, 0, 1, 0),
        (X, 5, 7, 0, 7),
        (R | X, 0, 7, 0, 7),
        (R | W | X, 0, 0, 0, 0),
    ] {
        let entries = [(DATA | 0x7ff, NAPOT | byte)];
        for mode in [Mode::S, Mode::U] {
            assert_eq!(cause(mode, &entries, Op::Ld, DATA), load);
            assert_eq!(cause(mode, &entries, Op::Sd, DATA), store);
            assert_eq!(cause(mode, &entries, Op::Jalr, DATA), fetch);
            assert_eq!(cause(mode, &entries, Op::AmoaddW, DATA), amo);
        }
        // M-mode is bound by locked entries only.
        assert_eq!(cause(Mode::M, &entries, Op::Ld, DATA), 0);
        let locked = [(DATA | 0x7ff, NAPOT | LOCKED | byte)];
        assert_eq!(cause(Mode::M, &locked, Op::Ld, DATA), load);
        assert_eq!(cause(Mode::M, &locked, Op::Sd, DATA), store);
        assert_eq!(cause(Mode::M, &locked, Op::Jalr, DATA), fetch);
    }
}

#[test]
fn without_a_match_only_machine_mode_gets_through() {
    for (mode, expected) in [(Mode::M, 0), (Mode::S, 5), (Mode::U, 5)] {
        let rig = run(|rig| {
            // Only the program's two pages.
            rig.set_csr(number::PMPCFG0, 0);
            rig.set_csr(number::PMPADDR0, (RAM | 0xfff) >> 2);
            rig.set_csr(number::PMPCFG0, NAPOT | R | X);
            rig.mode(mode);
            rig.code.li(T0, DATA).ld(A0, 0, T0);
        });
        assert_eq!(rig.hart.csrs.mcause, expected);
    }
}

#[test]
fn ranges_end_where_they_say() {
    let top = [(DATA + 16, 0), (DATA + 32, TOR)];
    for (address, expected) in [(8, 0), (16, 5), (24, 5), (32, 0)] {
        assert_eq!(cause(Mode::S, &top, Op::Ld, DATA + address), expected);
    }
    let four = [(DATA + 16, NA4)];
    for (address, expected) in [(12, 0), (16, 5), (20, 0)] {
        assert_eq!(cause(Mode::S, &four, Op::Lw, DATA + address), expected);
    }
    let eight = [(DATA + 16, NAPOT)];
    for (address, expected) in [(12, 0), (16, 5), (20, 5), (24, 0)] {
        assert_eq!(cause(Mode::S, &eight, Op::Lw, DATA + address), expected);
    }
    // A range whose top is not above its bottom matches nothing.
    let backwards = [(DATA + 32, 0), (DATA + 16, TOR)];
    let empty = [(DATA + 32, 0), (DATA + 32, TOR)];
    for entries in [backwards, empty] {
        assert_eq!(cause(Mode::S, &entries, Op::Ld, DATA + 24), 0);
        assert_eq!(cause(Mode::S, &entries, Op::Ld, DATA + 32), 0);
    }
}

#[test]
fn an_access_matched_in_part_fails_whatever_the_permissions() {
    let entries = [(DATA + 4, NA4 | R | W | X)];
    for mode in [Mode::M, Mode::S] {
        assert_eq!(cause(mode, &entries, Op::Ld, DATA), 5);
        assert_eq!(cause(mode, &entries, Op::Lw, DATA + 4), 0);
        assert_eq!(cause(mode, &entries, Op::Sd, DATA), 7);
    }
}

#[test]
fn the_first_match_decides() {
    let entries = [(DATA | 0x3f, NAPOT | R), (DATA | 0x7ff, NAPOT | R | W)];
    assert_eq!(cause(Mode::S, &entries, Op::Sd, DATA), 7);
    assert_eq!(cause(Mode::S, &entries, Op::Sd, DATA + 0x80), 0);
    assert_eq!(cause(Mode::S, &entries, Op::Ld, DATA), 0);
}

#[test]
fn code_before_a_boundary_inside_its_page_runs_and_code_after_it_does_not() {
    let rig = run(|rig| {
        protect(rig, &[(RAM + 12, TOR | X), (RAM + 0x1000, TOR)]);
        rig.mode(Mode::S);
        rig.code.li(A0, 1).li(A0, 2).li(A0, 3).li(A0, 4);
    });
    rig.trapped(1, RAM + 12, RAM + 12);
    assert_eq!(rig.hart.x[10], 3);
}

#[test]
fn a_32_bit_instruction_is_fetched_in_two_halves() {
    let rig = run(|rig| {
        protect(rig, &[(RAM + 4, TOR | X), (RAM + 0x1000, TOR)]);
        rig.mode(Mode::S);
        rig.code.half(1).li(A0, 1);
    });
    rig.trapped(1, RAM + 2, RAM + 4);
}

#[test]
fn loads_and_stores_of_borrowed_privilege_are_checked_as_such() {
    for (mpp, expected) in [(3, 0), (1, 5), (0, 5)] {
        let rig = run(|rig| {
            protect(rig, &[(DATA | 0x7ff, NAPOT)]);
            rig.hart.csrs.mstatus |= mstatus::MPRV | mpp << mstatus::MPP_SHIFT;
            rig.code.li(T0, DATA).ld(A0, 0, T0);
        });
        assert_eq!(rig.hart.csrs.mcause, expected);
    }
}

#[test]
fn page_tables_are_read_and_written_with_a_supervisors_rights() {
    let walk = |byte: u64, flags: u64, op: Op| {
        run(move |rig| {
            rig.translate(3);
            rig.map(0x4000, DATA, flags);
            let entry = rig.entry(0x4000, 0);
            protect(rig, &[(entry & !0xfff | 0x7ff, NAPOT | byte)]);
            // The program itself is in M-mode, and borrows a view.
            rig.hart.csrs.mstatus |= mstatus::MPRV | 1 << mstatus::MPP_SHIFT;
            rig.code.li(T0, 0x4000).load(op, A0, 0, T0);
        })
    };
    let rig = walk(0, LEAF, Op::Ld);
    assert_eq!((rig.hart.csrs.mcause, rig.hart.csrs.mtval), (5, 0x4000));
    walk(R, LEAF, Op::Ld).completed();
    // The accessed bit cannot be set.
    let unused = LEAF & !0xc0;
    assert_eq!(walk(R, unused, Op::Ld).hart.csrs.mcause, 5);
    walk(R | W, unused, Op::Ld).completed();
}

#[test]
fn locked_entries_stay_and_what_changes_is_heeded_at_once() {
    let rig = run(|rig| {
        rig.mode(Mode::M);
        rig.code
            .li(T0, DATA)
            .ld(A0, 0, T0) // allowed, and cached
            .csr_set(number::PMPCFG0, 0, T1)
            .csr_set(number::PMPADDR0, (DATA | 0x7ff) >> 2, T1)
            .csr_set(number::PMPCFG0, NAPOT | LOCKED, T1)
            .csrw(number::PMPCFG0, ZERO)
            .csrw(number::PMPADDR0, ZERO)
            .csrr(A1, number::PMPCFG0)
            .csrr(A2, number::PMPADDR0)
            .ld(A0, 0, T0);
    });
    assert_eq!((rig.hart.csrs.mcause, rig.hart.csrs.mtval), (5, DATA));
    assert_eq!(rig.hart.x[11], NAPOT | LOCKED);
    assert_eq!(rig.hart.x[12], (DATA | 0x7ff) >> 2);
    assert_eq!(rig.hart.pc, HANDLER);
}
