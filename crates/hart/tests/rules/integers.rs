//! The base integer instructions and M, where results are not obvious.

use ringer_isa::Op;
use ringer_isa::asm::register::*;

use crate::rig::{RAM, program};

/// The result of a register-register instruction.
pub fn result(op: Op, a: u64, b: u64) -> u64 {
    let rig = program(|code| {
        code.li(A1, a).li(A2, b).r(op, A0, A1, A2);
    });
    rig.completed();
    rig.hart.x[10]
}

const MIN: u64 = 1 << 63;
const ALL: u64 = u64::MAX;

#[test]
fn division_by_zero_and_overflow_do_not_trap() {
    for (op, a, b, expected) in [
        (Op::Div, 7, 0, ALL),
        (Op::Divu, 7, 0, ALL),
        (Op::Rem, 7, 0, 7),
        (Op::Remu, 7, 0, 7),
        (Op::Div, MIN, ALL, MIN),
        (Op::Rem, MIN, ALL, 0),
        (Op::Divw, 0x1_0000_0007, 0x1_0000_0000, ALL),
        (Op::Divuw, 7, 0, ALL),
        (Op::Remw, 0x8000_0007, 0, 0xffff_ffff_8000_0007),
        (Op::Remuw, 0x8000_0007, 0, 0xffff_ffff_8000_0007),
        (Op::Divw, 0x8000_0000, ALL, 0xffff_ffff_8000_0000),
        (Op::Remw, 0x8000_0000, ALL, 0),
        (Op::Div, ALL - 6, 2, ALL - 2), // -7 / 2 = -3
        (Op::Rem, ALL - 6, 2, ALL),
        (Op::Divuw, 0xffff_ffff, 1, ALL),
    ] {
        assert_eq!(result(op, a, b), expected, "{op:?} {a:#x} {b:#x}");
    }
}

#[test]
fn upper_halves_of_products() {
    for (op, a, b, expected) in [
        (Op::Mulh, MIN, MIN, 1 << 62),
        (Op::Mulh, ALL, ALL, 0),
        (Op::Mulhu, ALL, ALL, ALL - 1),
        (Op::Mulhsu, ALL, ALL, ALL),
        (Op::Mulhsu, MIN, ALL, MIN),
        (Op::Mulhsu, 2, ALL, 1),
        (Op::Mulw, 0x8000_0000, 3, 0xffff_ffff_8000_0000),
    ] {
        assert_eq!(result(op, a, b), expected, "{op:?} {a:#x} {b:#x}");
    }
}

#[test]
fn shifts_take_their_low_bits() {
    for (op, a, b, expected) in [
        (Op::Sll, 1, 64 + 63, MIN),
        (Op::Srl, MIN, 63, 1),
        (Op::Sra, MIN, 63, ALL),
        (Op::Sllw, 1, 32 + 31, 0xffff_ffff_8000_0000),
        (Op::Srlw, 0xffff_ffff_8000_0000, 31, 1),
        (Op::Srlw, 0xffff_ffff_8000_0000, 32, 0xffff_ffff_8000_0000),
        (Op::Sraw, 0x8000_0000, 31, ALL),
    ] {
        assert_eq!(result(op, a, b), expected, "{op:?} {a:#x} {b:#x}");
    }
}

#[test]
fn words_are_sign_extended() {
    assert_eq!(result(Op::Addw, 0x7fff_ffff, 1), 0xffff_ffff_8000_0000);
    assert_eq!(result(Op::Subw, 0, 0x1_0000_0001), ALL);
    assert_eq!(result(Op::Slt, ALL, 0), 1);
    assert_eq!(result(Op::Sltu, ALL, 0), 0);
}

#[test]
fn x0_stays_zero() {
    let rig = program(|code| {
        code.li(ZERO, 5).jalr(ZERO, 0x7ff, ZERO).mv(A0, ZERO);
    });
    assert_eq!(rig.hart.x[0], 0);
    assert_eq!(rig.hart.csrs.mepc, 0x7fe, "jalr clears the lowest bit");
}

#[test]
fn links_are_made_from_the_old_registers() {
    let rig = program(|code| {
        code.li(A0, RAM + 20).jalr(A0, 0, A0).pad_to(RAM + 20);
        let next = code.label_at(RAM + 24);
        code.jal(A1, next);
    });
    rig.completed();
    assert_eq!(rig.hart.x[11], RAM + 24);
    assert!(rig.hart.x[10] < RAM + 20);
}
