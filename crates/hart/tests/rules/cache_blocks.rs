//! Cache-block operations: zeroing, and the permissions of all of them.

use ringer_hart::Mode;
use ringer_hart::csr::menvcfg;
use ringer_isa::asm::register::*;
use ringer_isa::pte::Pte;
use ringer_isa::{Op, csr as number};
use ringer_lockstep::machine::DEVICE;

use crate::rig::{DATA, LEAF, RAM, run};

const VA: u64 = 0x4000_0000;

#[test]
fn zeroing_is_for_the_whole_block_and_no_more() {
    let rig = run(|rig| {
        rig.machine.write(DATA, &[0xff; 192]);
        rig.code.li(T0, DATA + 64 + 37).cbo_zero(T0);
    });
    rig.completed();
    let bytes = rig.machine.ram_bytes();
    let start = (DATA - RAM) as usize;
    for (at, byte) in bytes[start..start + 192].iter().enumerate() {
        assert_eq!(*byte, if at / 64 == 1 { 0 } else { 0xff });
    }
}

#[test]
fn environment_registers_allow_them_below() {
    let fields = [
        (Op::CboZero, menvcfg::CBZE),
        (Op::CboClean, menvcfg::CBCFE),
        (Op::CboFlush, menvcfg::CBCFE),
        (Op::CboInval, 3 << menvcfg::CBIE_SHIFT),
        (Op::CboInval, 1 << menvcfg::CBIE_SHIFT),
    ];
    for (op, field) in fields {
        for (mode, m, s, allowed) in [
            (Mode::M, 0, 0, true),
            (Mode::S, 0, field, false),
            (Mode::S, field, 0, true),
            (Mode::U, field, 0, false),
            (Mode::U, 0, field, false),
            (Mode::U, field, field, true),
        ] {
            let rig = run(|rig| {
                rig.set_csr(number::MENVCFG, m);
                rig.set_csr(number::SENVCFG, s);
                rig.mode(mode);
                rig.code.li(T0, DATA).cache_block(op, T0);
            });
            let expected = if allowed { 0 } else { 2 };
            assert_eq!(rig.hart.csrs.mcause, expected, "{op:?} {mode:?}");
        }
    }
}

#[test]
fn faults_are_those_of_stores_and_name_the_address_given() {
    let all = menvcfg::CBZE | menvcfg::CBCFE | menvcfg::CBIE;
    for op in [Op::CboZero, Op::CboClean, Op::CboFlush, Op::CboInval] {
        // Page fault where neither load nor store may go; a readable page is enough for some.
        for (flags, fine) in [
            (0, false),
            (Pte::V | Pte::X | Pte::A, false),
            (Pte::V | Pte::R | Pte::A, op != Op::CboZero),
            (LEAF, true),
        ] {
            let rig = run(|rig| {
                rig.set_csr(number::MENVCFG, all);
                rig.translate(3);
                rig.map_program(0);
                rig.map(VA, DATA, flags);
                rig.mode(Mode::S);
                rig.code.li(T0, VA + 0x23).cache_block(op, T0);
            });
            if fine {
                rig.completed();
            } else {
                rig.trapped(15, rig.code.here() - 8, VA + 0x23);
            }
        }
    }
    let rig = run(|rig| {
        rig.code.li(T0, DEVICE + 8).cbo_zero(T0);
    });
    rig.trapped(7, rig.code.here() - 8, DEVICE + 8);
}

#[test]
fn zeroing_makes_a_page_dirty_and_cleaning_does_not() {
    for (op, dirty) in [(Op::CboZero, Pte::D), (Op::CboFlush, 0)] {
        let mut rig = run(|rig| {
            let all = menvcfg::CBZE | menvcfg::CBCFE | menvcfg::ADUE;
            rig.set_csr(number::MENVCFG, all);
            rig.translate(3);
            rig.map_program(0);
            rig.map(VA, DATA, LEAF & !(Pte::A | Pte::D));
            rig.mode(Mode::S);
            rig.code.li(T0, VA).cache_block(op, T0);
        });
        rig.completed();
        let entry = rig.entry(VA, 0);
        let set = rig.machine.read_u64(entry) & (Pte::A | Pte::D);
        assert_eq!(set, Pte::A | dirty);
    }
}
