//! Single floating-point instructions on numbers at the edges, in each rounding mode that they
//! name and each that `frm` says: results and flags must be the definition's.

use ringer_hart::csr::mstatus;
use ringer_isa::asm::Assembler;
use ringer_isa::asm::register::{A0, A1};
use ringer_isa::{Insn, Op, encode};
use ringer_translate::{Features, Options, SharedCode};

use crate::rig::{self, CODE, Pair};

const DOUBLES: [Op; 14] = [
    Op::FclassD,
    Op::FcvtWD,
    Op::FcvtWuD,
    Op::FcvtLD,
    Op::FcvtLuD,
    Op::FcvtSD,
    Op::FaddD,
    Op::FsubD,
    Op::FmulD,
    Op::FdivD,
    Op::FsqrtD,
    Op::FmaddD,
    Op::FnmaddD,
    Op::FminD,
];
const SINGLES: [Op; 12] = [
    Op::FclassS,
    Op::FcvtWS,
    Op::FcvtWuS,
    Op::FcvtLS,
    Op::FcvtLuS,
    Op::FcvtDS,
    Op::FaddS,
    Op::FmulS,
    Op::FdivS,
    Op::FsqrtS,
    Op::FmsubS,
    Op::FmaxS,
];
const FROM_INTEGERS: [Op; 8] = [
    Op::FcvtDW,
    Op::FcvtDWu,
    Op::FcvtDL,
    Op::FcvtDLu,
    Op::FcvtSW,
    Op::FcvtSWu,
    Op::FcvtSL,
    Op::FcvtSLu,
];

/// Where integers end, in parts of it, and halves.
const EDGES: [f64; 12] = [
    0.0,
    0.25,
    0.5,
    1.5,
    2.5,
    1e-310,
    2_147_483_648.0,
    4_294_967_296.0,
    9_007_199_254_740_992.0,
    9_223_372_036_854_775_808.0,
    18_446_744_073_709_551_616.0,
    1e300,
];

/// The edges, what is close to them, and what is no number.
fn doubles() -> Vec<u64> {
    let close = |edge: f64| {
        let bits = edge.to_bits();
        let by = [edge - 1.0, edge - 0.5, edge + 0.5, edge * 1.3];
        let by = by.into_iter().map(f64::to_bits);
        by.chain([bits, bits.wrapping_sub(1), bits + 1])
    };
    let infinity = f64::INFINITY.to_bits();
    let smallest = f64::MIN_POSITIVE.to_bits();
    let others =
        [0, 1 << 32, 0x8_0000_0000_0000, 0x7_ffff_ffff_ffff, 1 << 19].map(|by| infinity + by);
    let numbers = EDGES.into_iter().flat_map(close).chain(others);
    let numbers = numbers.chain([smallest - 1, smallest, infinity - 1, infinity + 1]);
    numbers.flat_map(|bits| [bits, bits ^ 1 << 63]).collect()
}

/// The same as boxed singles, and one that is not boxed.
fn singles() -> Vec<u64> {
    let close = |edge: f64| {
        let edge = edge as f32;
        let bits = edge.to_bits();
        let by = [edge - 1.0, edge - 0.5, edge + 0.5, edge * 1.3];
        let by = by.into_iter().map(f32::to_bits);
        by.chain([bits, bits.wrapping_sub(1), bits + 1])
    };
    let infinity = f32::INFINITY.to_bits();
    let smallest = f32::MIN_POSITIVE.to_bits();
    let others = [0, 0x40_0000, 0x3f_ffff, 0x40_1234].map(|by| infinity + by);
    let numbers = EDGES.into_iter().flat_map(close).chain(others);
    let numbers = numbers.chain([1, smallest - 1, smallest, infinity - 1, infinity + 1]);
    let boxed = |bits| u64::from(u32::MAX) << 32 | u64::from(bits);
    let signed = numbers.flat_map(|bits| [bits, bits ^ 1 << 31]);
    signed.map(boxed).chain([1.0f64.to_bits()]).collect()
}

/// What lies close to where the number of digits changes, and to ties of rounding.
fn integers() -> Vec<u64> {
    let close = |shift: u32| {
        let edge = 1u64 << shift;
        let ties = [edge >> 24, edge >> 53].map(|half| edge.wrapping_add(half));
        let ties = ties.into_iter().flat_map(|tie| [tie - 1, tie, tie + 1]);
        ties.chain([edge - 1, edge, edge.wrapping_neg(), edge + (edge >> 1)])
    };
    let edges = [1, 24, 31, 32, 53, 54, 62, 63].into_iter();
    edges.flat_map(close).chain([0, u64::MAX]).collect()
}

/// Executes `op`, naming each mode, on all these operands under each `frm`.
fn try_all(op: Op, operands: &[u64], features: Features) {
    let modes = match op.format().has_rounding_mode() {
        true => 0..=7,
        false => 0..=0,
    };
    for rm in modes {
        let rd = if op.format().writes_float() { 5 } else { A0.0 };
        // What the format has no place for must be 0.
        let candidates = [(2, 3), (2, 0), (0, 0)].map(|(rs2, rs3)| Insn {
            rd,
            rs1: if FROM_INTEGERS.contains(&op) { A1.0 } else { 1 },
            rs2,
            rs3,
            rm,
            ..Insn::new(op)
        });
        let bits = candidates.iter().find_map(encode).expect("operands fit");
        let behind = encode(&Insn {
            rd: 6,
            rs1: 2,
            rs2: 3,
            rm: 7,
            ..Insn::new(Op::FdivD)
        });
        let behind = behind.expect("operands fit");
        let start = || {
            let machine = rig::machine(0x1_0000, 1);
            let mut code = Assembler::new(CODE);
            code.word(bits);
            // And what comes behind it is rounded as `frm` says.
            code.word(behind);
            code.wfi();
            rig::place(&machine, code);
            (machine, rig::hart(0))
        };
        let options = Options {
            features,
            ..Options::default()
        };
        let code = SharedCode::with_options(1, options).expect("memory for code");
        let mut pair = Pair::new(code, start);
        for frm in 0..=4 {
            for (index, operand) in operands.iter().enumerate() {
                let other = operands[(index * 7 + 3) % operands.len()];
                pair.harts(|hart| {
                    hart.pc = CODE;
                    hart.csrs.mstatus |= mstatus::FS;
                    hart.csrs.fcsr = frm << 5;
                    hart.x[usize::from(A1.0)] = *operand;
                    hart.f[1] = *operand;
                    hart.f[2] = other;
                    hart.f[3] = operands[(index * 5 + 1) % operands.len()];
                });
                let what = || format!("{op:?} of {operand:#x} and {other:#x}, rm {rm}, frm {frm}");
                pair.run(10, &what);
            }
        }
    }
}

#[test]
fn results_and_flags_are_right_at_the_edges() {
    let groups: [(&[Op], Vec<u64>); 3] = [
        (&DOUBLES, doubles()),
        (&SINGLES, singles()),
        (&FROM_INTEGERS, integers()),
    ];
    for (ops, operands) in groups {
        for op in ops {
            for features in [Features::of_host(), Features::baseline()] {
                try_all(*op, &operands, features);
            }
        }
    }
}
