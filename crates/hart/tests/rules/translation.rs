//! The page-table walk: depths, permissions, reserved bits, sizes, A and D, and fences.

use ringer_hart::Mode;
use ringer_hart::csr::{menvcfg, mstatus};
use ringer_isa::asm::Ordering::Relaxed;
use ringer_isa::asm::register::*;
use ringer_isa::pte::Pte;
use ringer_isa::{Op, csr as number};

use crate::rig::{DATA, HANDLER, LEAF, RAM, Rig, prepared, run};

const VA: u64 = 0x4000_0000;
const FETCH: u64 = 12;
const LOAD: u64 = 13;
const STORE: u64 = 15;

/// Prepares an access to `va` by S-mode, or U-mode: `a0` loaded from, stored to, or called.
fn access(rig: &mut Rig, mode: Mode, va: u64, op: Op) {
    let user = if mode == Mode::U { Pte::U } else { 0 };
    rig.map_program(user);
    rig.mode(mode);
    rig.code.li(T0, va);
    match op {
        Op::Sd => rig.code.store(op, A1, 0, T0),
        Op::Jalr => rig.code.jalr(RA, 0, T0),
        Op::AmoaddD => rig.code.atomic(op, A0, ZERO, T0, Relaxed),
        _ => rig.code.load(op, A0, 0, T0),
    };
}

/// The cause of the trap when `va` is accessed, 0 for none; `map` has mapped something.
#[track_caller]
fn cause_in(levels: u64, mode: Mode, va: u64, op: Op, map: impl Fn(&mut Rig)) -> u64 {
    let rig = run(|rig| {
        rig.machine.write(DATA, &[0x82, 0x80]); // ret
        rig.set_csr(number::MENVCFG, menvcfg::PBMTE);
        rig.translate(levels);
        map(rig);
        access(rig, mode, va, op);
    });
    if rig.hart.csrs.mcause == 0 {
        rig.completed();
    } else {
        assert_eq!(rig.hart.csrs.mtval, va);
    }
    rig.hart.csrs.mcause
}

/// The same for a leaf with these flags at the last level of Sv39.
#[track_caller]
fn cause(mode: Mode, flags: u64, op: Op) -> u64 {
    cause_in(3, mode, VA, op, |rig| rig.map(VA, DATA, flags))
}

#[test]
fn every_depth_translates_at_every_level() {
    for levels in [3u64, 4, 5] {
        for level in 0..levels as u32 {
            let size = 1u64 << (12 + 9 * level);
            // An address in the leaf that is not its first; far leaves cover RAM as it is.
            let rig = run(|rig| {
                rig.translate(levels);
                rig.machine.write_u64(DATA + 0x18, 99);
                rig.map_program(0);
                let base = 1u64 << (12 + 9 * levels - 2);
                let pa = DATA & !(size - 1);
                rig.map_at(base, pa, LEAF, level);
                rig.mode(Mode::S);
                rig.code.li(T0, base + (DATA - pa) + 0x18).ld(A0, 0, T0);
            });
            rig.completed();
            assert_eq!(rig.hart.x[10], 99, "{levels} levels, level {level}");
        }
    }
}

#[test]
fn addresses_must_be_canonical() {
    for (levels, top) in [(3, 1u64 << 38), (4, 1 << 47), (5, 1 << 56)] {
        let map = |rig: &mut Rig| {
            rig.map(top - 0x1000, DATA, LEAF);
            rig.map(top.wrapping_neg(), DATA, LEAF);
        };
        assert_eq!(cause_in(levels, Mode::S, top - 0x1000, Op::Ld, map), 0);
        assert_eq!(
            cause_in(levels, Mode::S, top.wrapping_neg(), Op::Ld, map),
            0
        );
        assert_eq!(cause_in(levels, Mode::S, top, Op::Ld, map), LOAD);
        let below = top.wrapping_neg() - 0x1000;
        assert_eq!(cause_in(levels, Mode::S, below, Op::Sd, map), STORE);
        let with_high_bit = VA | 1 << 63;
        assert_eq!(
            cause_in(levels, Mode::S, with_high_bit, Op::Jalr, map),
            FETCH
        );
    }
}

#[test]
fn leaves_permit_what_their_bits_say() {
    let (r, w, x) = (Pte::R, Pte::W, Pte::X);
    let base = Pte::V | Pte::A | Pte::D;
    for (bits, load, store, fetch) in [
        (r, 0, STORE, FETCH),
        (r | w, 0, 0, FETCH),
        (x, LOAD, STORE, 0),
        (r | x, 0, STORE, 0),
        (r | w | x, 0, 0, 0),
        (w, LOAD, STORE, FETCH),     // reserved
        (w | x, LOAD, STORE, FETCH), // reserved
    ] {
        for (mode, user) in [(Mode::S, 0), (Mode::U, Pte::U)] {
            let flags = base | bits | user;
            assert_eq!(cause(mode, flags, Op::Ld), load);
            assert_eq!(cause(mode, flags, Op::Sd), store);
            assert_eq!(cause(mode, flags, Op::Jalr), fetch);
            assert_eq!(cause(mode, flags, Op::AmoaddD), store);
        }
    }
    assert_eq!(cause(Mode::S, LEAF & !Pte::V, Op::Ld), LOAD);
}

#[test]
fn modes_keep_apart_but_for_sum() {
    assert_eq!(cause(Mode::U, LEAF, Op::Ld), LOAD);
    assert_eq!(cause(Mode::U, LEAF, Op::Jalr), FETCH);
    assert_eq!(cause(Mode::S, LEAF | Pte::U, Op::Ld), LOAD);
    assert_eq!(cause(Mode::S, LEAF | Pte::U, Op::Jalr), FETCH);
    for op in [Op::Ld, Op::Sd] {
        let sum = |rig: &mut Rig| {
            rig.hart.csrs.mstatus |= mstatus::SUM;
            rig.map(VA, DATA, LEAF | Pte::U);
        };
        assert_eq!(cause_in(3, Mode::S, VA, op, sum), 0);
        // Code of users is never a supervisor's.
        assert_eq!(cause_in(3, Mode::S, VA, Op::Jalr, sum), FETCH);
    }
}

#[test]
fn mxr_makes_executable_pages_readable() {
    let map = |rig: &mut Rig| {
        rig.hart.csrs.mstatus |= mstatus::MXR;
        rig.map(VA, DATA, LEAF & !(Pte::R | Pte::W));
    };
    assert_eq!(cause_in(3, Mode::S, VA, Op::Ld, map), 0);
    assert_eq!(cause_in(3, Mode::S, VA, Op::Sd, map), STORE);
}

#[test]
fn reserved_bits_fault() {
    for bit in 54..61 {
        assert_eq!(cause(Mode::S, LEAF | 1 << bit, Op::Ld), LOAD, "{bit}");
    }
    assert_eq!(cause(Mode::S, LEAF | Pte::RSW | Pte::G, Op::Ld), 0);
    for memory_type in 0..3 {
        assert_eq!(cause(Mode::S, LEAF | memory_type << 61, Op::Ld), 0);
    }
    assert_eq!(cause(Mode::S, LEAF | 3 << 61, Op::Ld), LOAD);
    // Without PBMTE all types but 0 are reserved.
    let off = |rig: &mut Rig| {
        rig.set_csr(number::MENVCFG, 0);
        rig.map(VA, DATA, LEAF | 1 << 61);
    };
    assert_eq!(cause_in(3, Mode::S, VA, Op::Ld, off), LOAD);
}

#[test]
fn pointers_may_have_nothing_but_v_and_g() {
    let with = |bit: u64| {
        cause_in(3, Mode::S, VA, Op::Ld, |rig| {
            rig.map(VA, DATA, LEAF);
            let pointer = rig.entry(VA, 1);
            let entry = rig.machine.read_u64(pointer);
            rig.machine.write_u64(pointer, entry | bit);
        })
    };
    for bit in [Pte::G, 1 << 8, 1 << 9] {
        assert_eq!(with(bit), 0);
    }
    for bit in [Pte::U, Pte::A, Pte::D, Pte::N, 1 << 61, 1 << 62, 1 << 54] {
        assert_eq!(with(bit), LOAD, "{bit:#x}");
    }
    // A pointer where only leaves can be.
    assert_eq!(cause(Mode::S, Pte::V, Op::Ld), LOAD);
}

#[test]
fn superpages_must_be_aligned_and_napot_ranges_well_formed() {
    let large = |pa: u64, level: u32, flags: u64| {
        cause_in(3, Mode::S, VA, Op::Ld, |rig| {
            rig.map_at(VA, pa, flags, level)
        })
    };
    assert_eq!(large(RAM, 1, LEAF), 0);
    assert_eq!(large(RAM, 2, LEAF), 0);
    assert_eq!(large(RAM + 0x1000, 1, LEAF), LOAD);
    assert_eq!(large(RAM + 0x20_0000, 2, LEAF), LOAD);
    assert_eq!(large(RAM | 0x8000, 1, LEAF | Pte::N), LOAD, "no such size");
    let napot = |pa: u64| cause(Mode::S, 0, Op::Ld) | large(pa, 0, LEAF | Pte::N);
    assert_eq!(large(DATA | 0x8000, 0, LEAF | Pte::N), 0);
    for ppn in [0u64, 0x1000, 0x2000, 0x4000, 0x9000, 0xc000] {
        assert_eq!(napot(DATA | ppn), LOAD, "{ppn:#x}");
    }
    // The address's own low bits count, not the entry's.
    let rig = run(|rig| {
        rig.translate(3);
        rig.machine.write_u64(DATA + 0x5008, 55);
        rig.map(VA + 0x5000, DATA | 0x8000, LEAF | Pte::N);
        access(rig, Mode::S, VA + 0x5008, Op::Ld);
    });
    rig.completed();
    assert_eq!(rig.hart.x[10], 55);
}

#[test]
fn accessed_and_dirty_are_set_or_fault_as_adue_says() {
    let (a, d) = (Pte::A, Pte::D);
    for (op, page_fault, needed) in [
        (Op::Ld, LOAD, a),
        (Op::Jalr, FETCH, a),
        (Op::Sd, STORE, a | d),
        (Op::AmoaddD, STORE, a | d),
    ] {
        for has in [0, a, a | d] {
            for adue in [0, menvcfg::ADUE] {
                let flags = LEAF & !(a | d) | has;
                let mut rig = run(|rig| {
                    rig.machine.write(DATA, &[0x82, 0x80]);
                    rig.set_csr(number::MENVCFG, adue);
                    rig.translate(3);
                    rig.map(VA, DATA, flags);
                    access(rig, Mode::S, VA, op);
                });
                let entry = rig.entry(VA, 0);
                let now = rig.machine.read_u64(entry) & (a | d);
                if has & needed == needed || adue != 0 {
                    rig.completed();
                    assert_eq!(now, has | needed, "{op:?}");
                } else {
                    assert_eq!(rig.hart.csrs.mcause, page_fault);
                    assert_eq!(now, has, "{op:?}");
                }
            }
        }
    }
}

#[test]
fn what_is_not_permitted_leaves_the_entry_alone() {
    let mut rig = run(|rig| {
        rig.translate(3);
        rig.map(VA, DATA, Pte::V | Pte::R);
        access(rig, Mode::S, VA, Op::Sd);
    });
    assert_eq!(rig.hart.csrs.mcause, STORE);
    let entry = rig.entry(VA, 0);
    assert_eq!(rig.machine.read_u64(entry) & (Pte::A | Pte::D), 0);
}

#[test]
fn tables_outside_memory_are_access_faults() {
    for (op, expected) in [(Op::Ld, 5), (Op::Sd, 7), (Op::Jalr, 1)] {
        let rig = run(|rig| {
            rig.translate(3);
            rig.map_at(VA, 0, 0, 1);
            let entry = rig.entry(VA, 1);
            rig.machine.write_u64(entry, Pte::new(0x10_0000, Pte::V).0);
            access(rig, Mode::S, VA, op);
        });
        assert_eq!((rig.hart.csrs.mcause, rig.hart.csrs.mtval), (expected, VA));
    }
}

#[test]
fn an_access_across_pages_faults_at_the_part_that_is_missing() {
    for (op, page_fault) in [(Op::Ld, LOAD), (Op::Sd, STORE)] {
        let rig = run(|rig| {
            rig.translate(3);
            rig.map(VA, DATA, LEAF);
            access(rig, Mode::S, VA + 0xffc, op);
            rig.hart.x[11] = u64::MAX;
        });
        assert_eq!(
            (rig.hart.csrs.mcause, rig.hart.csrs.mtval),
            (page_fault, VA + 0x1000)
        );
        assert_eq!(rig.machine.read_u64(DATA + 0xff8), 0, "nothing was stored");
        let rig = run(|rig| {
            rig.translate(3);
            rig.map(VA + 0x1000, DATA, LEAF);
            access(rig, Mode::S, VA + 0xffc, op);
        });
        assert_eq!(rig.hart.csrs.mtval, VA + 0xffc);
    }
    // Two pages that are far apart in memory.
    let rig = run(|rig| {
        rig.translate(3);
        rig.map(VA, DATA + 0x3000, LEAF);
        rig.map(VA + 0x1000, DATA, LEAF);
        rig.machine.write_u64(DATA + 0x3ff8, 0x1122_3344_0000_0000);
        rig.machine.write_u64(DATA, 0x5566_7788);
        access(rig, Mode::S, VA + 0xffc, Op::Ld);
    });
    assert_eq!(rig.hart.x[10], 0x5566_7788_1122_3344);
}

#[test]
fn page_faults_of_fetches_name_the_target() {
    let rig = run(|rig| {
        rig.translate(3);
        access(rig, Mode::S, VA, Op::Jalr);
    });
    rig.trapped(FETCH, VA, VA);
    assert_eq!(rig.hart.x[1], rig.code.here() - 4, "the link is made");
}

/// Changes the page at `VA` from one place to another, and fences with `fence`.
fn remap(fence: impl Fn(&mut Rig)) -> Rig {
    run(|rig| {
        rig.translate(3);
        rig.hart.csrs.satp |= 5 << 44;
        rig.machine.write_u64(DATA, 1);
        rig.machine.write_u64(DATA + 0x1000, 2);
        rig.map(VA, DATA, LEAF);
        rig.map_program(0);
        let entry = rig.entry(VA, 0);
        rig.map(0x5000, entry & !0xfff, LEAF); // the table itself
        rig.mode(Mode::S);
        rig.code
            .li(T0, VA)
            .ld(A0, 0, T0)
            .li(T1, 0x5000 + (entry & 0xfff))
            .li(T2, Pte::new((DATA + 0x1000) >> 12, LEAF).0)
            .sd(T2, 0, T1)
            .li(T3, 5);
        fence(rig);
        rig.code.ld(A1, 0, T0);
    })
}

#[test]
fn fences_of_every_kind_make_a_change_seen() {
    for (address, asid) in [(ZERO, ZERO), (T0, ZERO), (ZERO, T3), (T0, T3)] {
        for op in [Op::SfenceVma, Op::SinvalVma] {
            let rig = remap(|rig| {
                rig.code.address_fence(op, address, asid);
            });
            rig.completed();
            assert_eq!(rig.hart.x[10..=11], [1, 2]);
        }
    }
}

#[test]
fn a_fence_at_any_address_of_a_superpage_is_for_all_of_it() {
    let rig = run(|rig| {
        rig.translate(3);
        rig.machine.write_u64(DATA, 1);
        rig.map_at(VA, RAM, LEAF, 1);
        rig.map_program(0);
        let entry = rig.entry(VA, 1);
        rig.map(0x5000, entry & !0xfff, LEAF);
        rig.mode(Mode::S);
        rig.code
            .li(T0, VA + (DATA - RAM))
            .ld(A0, 0, T0)
            .li(T1, 0x5000 + (entry & 0xfff))
            .sd(ZERO, 0, T1)
            .li(T2, VA + 0x1f_f000)
            .sfence_vma(T2, ZERO)
            .ld(A1, 0, T0);
    });
    assert_eq!(
        (rig.hart.csrs.mcause, rig.hart.csrs.mtval),
        (LOAD, VA + (DATA - RAM))
    );
    assert_eq!(rig.hart.x[10], 1);
}

#[test]
fn switching_spaces_switches_what_is_seen() {
    let rig = run(|rig| {
        rig.machine.write_u64(DATA, 1);
        rig.machine.write_u64(DATA + 0x1000, 2);
        rig.translate(3);
        rig.map(VA, DATA, LEAF);
        rig.map_program(0);
        // Another space that shares all but the root, where VA's GiB is a GiB of RAM.
        let root = rig.entry(0, 2) & !0xfff;
        let other = RAM + 0x5_f000;
        let mut page = vec![0; 0x1000];
        for (index, byte) in page.iter_mut().enumerate() {
            *byte = rig.machine.ram_bytes()[(root - RAM) as usize + index];
        }
        rig.machine.write(other, &page);
        let gigapage = Pte::new(RAM >> 12, LEAF).0;
        rig.machine.write_u64(other + 8 * (VA >> 30), gigapage);
        let (first, second) = (rig.hart.csrs.satp, 8 << 60 | 1 << 44 | other >> 12);
        rig.mode(Mode::S);
        rig.code
            .li(T0, VA)
            .li(T1, DATA - RAM + 0x1000)
            .add(T1, T1, T0)
            .ld(A0, 0, T0)
            .csr_set(number::SATP, second, T2)
            .ld(A1, 0, T1)
            .csr_set(number::SATP, first, T2)
            .ld(A2, 0, T0)
            .csrw(number::SATP, ZERO)
            .li(T0, DATA)
            .ld(A3, 0, T0);
    });
    rig.completed();
    assert_eq!(rig.hart.x[10..=13], [1, 2, 1, 1]);
}

#[test]
fn machine_mode_is_not_translated() {
    let rig = run(|rig| {
        rig.translate(3);
        rig.machine.write_u64(DATA, 5);
        rig.code.li(T0, DATA).ld(A0, 0, T0);
    });
    rig.completed();
    assert_eq!(rig.hart.x[10], 5);
    assert_ne!(rig.hart.pc, HANDLER);
}

#[test]
fn fences_that_were_stepped_over_are_all_heeded_later() {
    let mut rig = prepared(|rig| {
        rig.translate(3);
        rig.map_program(0);
        rig.machine.write_u64(DATA, 1);
        rig.machine.write_u64(DATA + 0x1000, 2);
        rig.map(VA, DATA, LEAF);
        rig.map(VA + 0x1000, DATA, LEAF);
        rig.mode(Mode::S);
        rig.hart.x[5] = VA;
        rig.hart.x[6] = VA + 0x1000;
        rig.code
            .ld(A0, 0, T0)
            .ld(A1, 0, T1)
            .sfence_vma(T0, ZERO)
            .sfence_vma(T1, ZERO)
            .ld(A2, 0, T0)
            .ld(A3, 0, T1);
    });
    let mut interpreter = ringer_hart::Interpreter::new();
    interpreter.run(&mut rig.hart, &rig.machine, 2);
    rig.map(VA, DATA + 0x1000, LEAF);
    rig.map(VA + 0x1000, DATA + 0x1000, LEAF);
    for _ in 0..2 {
        assert_eq!(rig.hart.step(&rig.machine), None);
    }
    interpreter.run(&mut rig.hart, &rig.machine, 2);
    assert_eq!(rig.hart.x[10..=13], [1, 1, 2, 2]);
}
