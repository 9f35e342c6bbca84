//! Floating-point instructions: boxing, rounding modes, flags, and when the unit is dirty.
//! The arithmetic itself has its own tests.

use ringer_hart::csr::mstatus;
use ringer_isa::asm::register::*;
use ringer_isa::{Insn, Op, csr as number};

use crate::rig::{DATA, RAM, Rig, program, run};

const NAN32: u64 = 0xffff_ffff_7fc0_0000;
const ONE32: u64 = 0xffff_ffff_3f80_0000;
const ONE16: u64 = 0xffff_ffff_ffff_3c00;

/// Runs one instruction on these floating-point registers.
fn one(f1: u64, f2: u64, insn: Insn) -> Rig {
    run(|rig| {
        rig.hart.f[1] = f1;
        rig.hart.f[2] = f2;
        rig.code.insn(insn);
    })
}

fn op(op: Op, rd: u8, rm: u8) -> Insn {
    let two = !matches!(
        op.format(),
        ringer_isa::Format::FloatToInteger
            | ringer_isa::Format::FloatUnaryRounded
            | ringer_isa::Format::FloatToIntegerRounded
    );
    Insn {
        rd,
        rs1: 1,
        rs2: if two { 2 } else { 0 },
        rm,
        ..Insn::new(op)
    }
}

#[test]
fn narrower_values_are_boxed_and_what_is_not_boxed_is_nan() {
    let rig = one(ONE32, ONE32, op(Op::FaddS, 3, 0));
    assert_eq!(rig.hart.f[3], 0xffff_ffff_4000_0000);
    let rig = one(0x3f80_0000, ONE32, op(Op::FaddS, 3, 0));
    assert_eq!(rig.hart.f[3], NAN32);
    assert_eq!(rig.hart.csrs.fcsr, 0, "a quiet NaN");
    let rig = one(ONE16, 0xffff_ffff_3f80_3c00, op(Op::FaddH, 3, 0));
    assert_eq!(rig.hart.f[3], 0xffff_ffff_ffff_7e00);
    // Sign injection sees the same.
    let rig = one(0x3f80_0000, ONE32, op(Op::FsgnjnS, 3, 0));
    assert_eq!(rig.hart.f[3], 0xffff_ffff_ffc0_0000);
    // Classification too.
    let rig = one(0x3f80_0000, 0, op(Op::FclassS, A0.0, 0));
    assert_eq!(rig.hart.x[10], 1 << 9);
}

#[test]
fn moves_and_stores_take_the_low_bits_as_they_are() {
    let rig = one(0x1234_5678_8765_4321, 0, op(Op::FmvXW, A0.0, 0));
    assert_eq!(rig.hart.x[10], 0xffff_ffff_8765_4321);
    let rig = one(0x1234_5678_8765_8321, 0, op(Op::FmvXH, A0.0, 0));
    assert_eq!(rig.hart.x[10], 0xffff_ffff_ffff_8321);
    let rig = run(|rig| {
        rig.hart.f[1] = 0x1234_5678_8765_4321;
        rig.code
            .li(T0, DATA)
            .store(Op::Fsw, F(1), 0, T0)
            .store(Op::Fsh, F(1), 8, T0)
            .load(Op::Flw, F(2), 0, T0)
            .load(Op::Flh, F(3), 8, T0)
            .unary(Op::FmvWX, F(4), T0)
            .load(Op::Fld, F(5), 0, T0);
    });
    rig.completed();
    assert_eq!(rig.machine.read_u64(DATA), 0x8765_4321);
    assert_eq!(rig.machine.read_u64(DATA + 8), 0x4321);
    assert_eq!(
        rig.hart.f[2..=5],
        [
            0xffff_ffff_8765_4321,
            0xffff_ffff_ffff_4321,
            0xffff_ffff_0000_0000 | (DATA & 0xffff_ffff),
            0x8765_4321
        ]
    );
}

#[test]
fn reserved_rounding_modes_are_illegal() {
    for (rm, frm, illegal) in [
        (0, 7, false),
        (4, 0, false),
        (5, 0, true),
        (6, 0, true),
        (7, 0, false),
        (7, 4, false),
        (7, 5, true),
        (7, 6, true),
        (7, 7, true),
    ] {
        let rig = run(|rig| {
            rig.hart.csrs.fcsr = frm << 5;
            rig.code.insn(op(Op::FaddD, 3, rm));
        });
        assert_eq!(rig.hart.csrs.mcause == 2, illegal, "{rm} {frm}");
    }
    // What does not round does not mind frm.
    let rig = run(|rig| {
        rig.hart.csrs.fcsr = 7 << 5;
        rig.code
            .insn(op(Op::FsgnjD, 3, 0))
            .insn(op(Op::FeqD, A0.0, 0))
            .insn(op(Op::FminD, 3, 0))
            .insn(op(Op::FmvXD, A0.0, 0))
            .insn(op(Op::FclassD, A0.0, 0))
            .insn(op(Op::FcvtmodWD, A0.0, 0));
    });
    rig.completed();
}

#[test]
fn the_rounding_mode_is_heeded() {
    // 1 + 2^-60 in each mode.
    let tiny = (1023u64 - 60) << 52;
    let one_ = 1f64.to_bits();
    for (rm, expected) in [(0, one_), (1, one_), (2, one_), (3, one_ + 1), (4, one_)] {
        assert_eq!(one(one_, tiny, op(Op::FaddD, 3, rm)).hart.f[3], expected);
        let dynamic = run(|rig| {
            rig.hart.f[1] = one_;
            rig.hart.f[2] = tiny;
            rig.hart.csrs.fcsr = u64::from(rm) << 5;
            rig.code.insn(op(Op::FaddD, 3, 7));
        });
        assert_eq!(dynamic.hart.f[3], expected);
        assert_eq!(dynamic.hart.csrs.fcsr & 0x1f, 1, "inexact");
    }
}

#[test]
fn flags_accrue() {
    let rig = run(|rig| {
        rig.hart.f[1] = 1f64.to_bits();
        rig.hart.f[2] = 0;
        rig.hart.csrs.fcsr = 1;
        rig.code
            .insn(op(Op::FdivD, 3, 0)) // DZ
            .insn(Insn {
                rs1: 2,
                ..op(Op::FdivD, 4, 0)
            }); // 0 / 0: NV
    });
    rig.completed();
    assert_eq!(rig.hart.csrs.fcsr, 0x19);
    assert_eq!(rig.hart.f[3], f64::INFINITY.to_bits());
    assert_eq!(rig.hart.f[4], 0x7ff8_0000_0000_0000);
}

#[test]
fn everything_is_illegal_while_the_unit_is_off() {
    for insn in [
        op(Op::FaddD, 3, 0),
        op(Op::FmvXD, A0.0, 0),
        op(Op::FsgnjS, 3, 0),
        op(Op::FcvtWS, A0.0, 0),
        Insn {
            rs1: T0.0,
            ..Insn::new(Op::Flw)
        },
        Insn {
            rs1: T0.0,
            ..Insn::new(Op::Fsd)
        },
        Insn {
            rs1: 3,
            ..Insn::new(Op::FliS)
        },
    ] {
        let rig = run(|rig| {
            rig.hart.csrs.mstatus &= !mstatus::FS;
            rig.code.insn(insn);
        });
        let bits = ringer_isa::encode(&insn).unwrap();
        rig.trapped(2, RAM, bits.into());
    }
    // A compressed one shows its own 16 bits.
    let rig = run(|rig| {
        rig.hart.csrs.mstatus &= !mstatus::FS;
        rig.code.half(0x2108); // c.fld fa0, 0(a0)
    });
    rig.trapped(2, RAM, 0x2108);
}

#[test]
fn the_unit_is_dirty_once_its_state_has_changed() {
    let after = |insn: Insn| {
        let rig = run(|rig| {
            rig.hart.csrs.mstatus &= !mstatus::FS;
            rig.hart.csrs.mstatus |= 1 << mstatus::FS_SHIFT;
            rig.hart.f[1] = 1.5f64.to_bits();
            rig.hart.x[5] = DATA;
            rig.code.insn(insn);
        });
        rig.completed();
        (rig.hart.csrs.mstatus & mstatus::FS) >> mstatus::FS_SHIFT
    };
    assert_eq!(after(op(Op::FaddD, 3, 0)), 3);
    assert_eq!(after(op(Op::FsgnjD, 3, 0)), 3);
    assert_eq!(
        after(Insn {
            rs1: T0.0,
            ..Insn::new(Op::Fld)
        }),
        3
    );
    assert_eq!(after(op(Op::FcvtWD, A0.0, 0)), 3, "raises inexact");
    assert_eq!(after(op(Op::FmvXD, A0.0, 0)), 1);
    assert_eq!(after(op(Op::FeqD, A0.0, 0)), 1);
    assert_eq!(
        after(Insn {
            rs1: T0.0,
            rs2: 1,
            ..Insn::new(Op::Fsd)
        }),
        1
    );
}

#[test]
fn fused_operations_negate_as_named() {
    let fused = |op: Op| {
        let rig = run(|rig| {
            rig.hart.f[1] = 3f64.to_bits();
            rig.hart.f[2] = 5f64.to_bits();
            rig.hart.f[3] = 2f64.to_bits();
            rig.code.insn(Insn {
                rd: 4,
                rs1: 1,
                rs2: 2,
                rs3: 3,
                ..Insn::new(op)
            });
        });
        f64::from_bits(rig.hart.f[4])
    };
    assert_eq!(fused(Op::FmaddD), 17.0);
    assert_eq!(fused(Op::FmsubD), 13.0);
    assert_eq!(fused(Op::FnmsubD), -13.0);
    assert_eq!(fused(Op::FnmaddD), -17.0);
}

#[test]
fn conversions_saturate_and_extend() {
    let convert = |op_: Op, value: f64| one(value.to_bits(), 0, op(op_, A0.0, 1)).hart.x[10];
    assert_eq!(convert(Op::FcvtWD, 1e10), 0x7fff_ffff);
    assert_eq!(convert(Op::FcvtWD, f64::NAN), 0x7fff_ffff);
    assert_eq!(convert(Op::FcvtWuD, 4e9), 0xffff_ffff_ee6b_2800);
    assert_eq!(convert(Op::FcvtWuD, -1.0), 0);
    assert_eq!(convert(Op::FcvtWuD, f64::NAN), u64::MAX);
    assert_eq!(convert(Op::FcvtLD, -1e30), 1 << 63);
    assert_eq!(convert(Op::FcvtLuD, 1e30), u64::MAX);
    let modular = |value: f64| one(value.to_bits(), 0, op(Op::FcvtmodWD, A0.0, 0)).hart.x[10];
    assert_eq!(modular(4294967297.5), 1);
    assert_eq!(modular(f64::INFINITY), 0);
}

#[test]
fn half_precision_and_constants() {
    let rig = one(ONE16, ONE16, op(Op::FaddH, 3, 0));
    assert_eq!(rig.hart.f[3], 0xffff_ffff_ffff_4000);
    let rig = one(ONE16, 0, op(Op::FcvtDH, 3, 0));
    assert_eq!(rig.hart.f[3], 1f64.to_bits());
    let rig = program(|code| {
        code.insn(Insn {
            rd: 3,
            rs1: 16,
            ..Insn::new(Op::FliD)
        })
        .insn(Insn {
            rd: 4,
            rs1: 0,
            ..Insn::new(Op::FliS)
        })
        .insn(Insn {
            rd: 5,
            rs1: 30,
            ..Insn::new(Op::FliH)
        })
        .csrr(A0, number::FCSR);
    });
    rig.completed();
    assert_eq!(rig.hart.f[3], 1f64.to_bits());
    assert_eq!(rig.hart.f[4], 0xffff_ffff_bf80_0000);
    assert_eq!(rig.hart.f[5], 0xffff_ffff_ffff_7c00);
}
