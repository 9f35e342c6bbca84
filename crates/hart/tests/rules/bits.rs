//! Bit manipulation: Zba, Zbb, Zbc, Zbs, Zbkb, Zbkx and Zicond, by their definitions.

use ringer_isa::Op;
use ringer_isa::asm::register::*;

use crate::integers::result;
use crate::rig::program;

const A: u64 = 0x8123_4567_89ab_cdef;

/// The result of an instruction with one operand, and an immediate if it takes one.
fn unary(op: Op, a: u64, imm: i32) -> u64 {
    let rig = program(|code| {
        code.li(A1, a).i(op, A0, A1, imm);
    });
    rig.completed();
    rig.hart.x[10]
}

#[test]
fn addresses() {
    for (op, expected) in [
        (Op::Sh1add, (A << 1).wrapping_add(5)),
        (Op::Sh2add, (A << 2).wrapping_add(5)),
        (Op::Sh3add, (A << 3).wrapping_add(5)),
        (Op::AddUw, 0x89ab_cdf4),
        (Op::Sh1addUw, 0x1_1357_9be3),
        (Op::Sh2addUw, 0x2_26af_37c1),
        (Op::Sh3addUw, 0x4_4d5e_6f7d),
    ] {
        assert_eq!(result(op, A, 5), expected, "{op:?}");
    }
    assert_eq!(unary(Op::SlliUw, A, 33), 0x1357_9bde_0000_0000);
}

#[test]
fn logic_counting_and_order() {
    for (op, a, b, expected) in [
        (Op::Andn, A, 0xff, A & !0xff),
        (Op::Orn, 0, 0xff, !0xff),
        (Op::Xnor, A, A, u64::MAX),
        (Op::Max, u64::MAX, 1, 1),
        (Op::Maxu, u64::MAX, 1, u64::MAX),
        (Op::Min, u64::MAX, 1, u64::MAX),
        (Op::Minu, u64::MAX, 1, 1),
        (Op::Rol, A, 68, 0x1234_5678_9abc_def8),
        (Op::Ror, A, 68, 0xf812_3456_789a_bcde),
        (Op::Rolw, A, 36, 0xffff_ffff_9abc_def8),
        (Op::Rorw, A, 36, 0xffff_ffff_f89a_bcde),
        (Op::Pack, A, 1, 0x0000_0001_89ab_cdef),
        (Op::Packh, A, 0x1ff, 0xffef),
        (Op::Packw, A, 0xffff, 0xffff_ffff_ffff_cdef),
        (Op::CzeroEqz, 5, 0, 0),
        (Op::CzeroEqz, 5, 1, 5),
        (Op::CzeroNez, 5, 0, 5),
        (Op::CzeroNez, 5, 1, 0),
    ] {
        assert_eq!(result(op, a, b), expected, "{op:?}");
    }
    for (op, a, expected) in [
        (Op::Clz, 0, 64),
        (Op::Clz, 1, 63),
        (Op::Ctz, 0, 64),
        (Op::Ctz, 1 << 63, 63),
        (Op::Cpop, A, 33),
        (Op::Clzw, 0xffff_ffff_0000_0001, 31),
        (Op::Clzw, 0xffff_ffff_0000_0000, 32),
        (Op::Ctzw, 0xffff_ffff_0000_0000, 32),
        (Op::Cpopw, 0xffff_ffff_0000_0003, 2),
        (Op::SextB, 0x80, 0xffff_ffff_ffff_ff80),
        (Op::SextH, 0x8000, 0xffff_ffff_ffff_8000),
        (Op::ZextH, A, 0xcdef),
        (Op::OrcB, 0x0100_0020_0000_0080, 0xff00_00ff_0000_00ff),
        (Op::Rev8, A, 0xefcd_ab89_6745_2381),
        (Op::Brev8, 0x0180_0f00, 0x8001_f000),
    ] {
        assert_eq!(unary(op, a, 0), expected, "{op:?}");
    }
    assert_eq!(unary(Op::Rori, A, 4), 0xf812_3456_789a_bcde);
    assert_eq!(unary(Op::Roriw, A, 4), 0xffff_ffff_f89a_bcde);
}

#[test]
fn single_bits() {
    for (op, immediate, expected) in [
        (Op::Bclr, Op::Bclri, A & !(1 << 63)),
        (Op::Binv, Op::Binvi, A ^ 1 << 63),
        (Op::Bset, Op::Bseti, A | 1 << 63),
        (Op::Bext, Op::Bexti, 1),
    ] {
        assert_eq!(result(op, A, 64 + 63), expected, "{op:?}");
        assert_eq!(unary(immediate, A, 63), expected, "{immediate:?}");
    }
}

#[test]
fn carryless_products() {
    // By the manual's definition, bit by bit.
    let product = |a: u64, b: u64| {
        (0..64).fold(0u128, |p, bit| {
            p ^ if b >> bit & 1 != 0 {
                u128::from(a) << bit
            } else {
                0
            }
        })
    };
    for (a, b) in [(3, 3), (A, !A), (u64::MAX, u64::MAX), (A, 1 << 63)] {
        let p = product(a, b);
        assert_eq!(result(Op::Clmul, a, b), p as u64);
        assert_eq!(result(Op::Clmulh, a, b), (p >> 64) as u64);
        assert_eq!(result(Op::Clmulr, a, b), (p >> 63) as u64);
    }
    assert_eq!(result(Op::Clmul, 3, 3), 5);
}

#[test]
fn permutations() {
    let table = 0xfedc_ba98_7654_3210;
    assert_eq!(
        result(Op::Xperm4, table, 0x0123_4567_89ab_cdef),
        0x0123_4567_89ab_cdef
    );
    assert_eq!(
        result(Op::Xperm8, table, 0x0001_0203_0405_0607),
        0x1032_5476_98ba_dcfe
    );
    assert_eq!(
        result(Op::Xperm8, table, 0x08ff_0010_0000_0000),
        0x0000_1000_1010_1010
    );
}

#[test]
fn compressed_forms() {
    let rig = program(|code| {
        // Zcb on a0: c.zext.b, c.sext.b, c.zext.h, c.sext.h, c.zext.w, c.not.
        for (number, half) in (1..).zip([0x9d61, 0x9d65, 0x9d69, 0x9d6d, 0x9d71, 0x9d75]) {
            code.li(A0, A).half(half).mv(X(20 + number), A0);
        }
        code.li(A0, 7).li(A1, 6).half(0x9d4d); // c.mul a0, a1
        code.half(1);
        // Keeps the end of the program aligned to words.
        for _ in 0..6 {
            code.half(1);
        }
    });
    rig.completed();
    let expected = [
        0xef,
        0xffff_ffff_ffff_ffef,
        0xcdef,
        0xffff_ffff_ffff_cdef,
        0x89ab_cdef,
        !A,
    ];
    assert_eq!(rig.hart.x[21..=26], expected);
    assert_eq!(rig.hart.x[10], 42);
}
