//! Loops of floating-point instructions: the translator keeps their registers in host registers
//! from turn to turn, whatever falls between.

use ringer_hart::csr::mstatus;
use ringer_isa::asm::Assembler;
use ringer_isa::asm::register::*;
use ringer_isa::{Format, Insn, Op, encode};
use ringer_lockstep::Random;

use crate::rig::{self, CODE, Pair, RAM};

const RAM_LEN: u64 = 0x1_0000;
const DATA: u64 = RAM + 0x8000;

const DOUBLE: [Op; 16] = [
    Op::FaddD,
    Op::FsubD,
    Op::FmulD,
    Op::FdivD,
    Op::FsqrtD,
    Op::FmaddD,
    Op::FnmsubD,
    Op::FsgnjD,
    Op::FsgnjnD,
    Op::FminD,
    Op::FmaxD,
    Op::FltD,
    Op::FeqD,
    Op::FcvtLD,
    Op::FcvtDL,
    Op::FmvXD,
];
const SINGLE: [Op; 14] = [
    Op::FaddS,
    Op::FsubS,
    Op::FmulS,
    Op::FdivS,
    Op::FsqrtS,
    Op::FmsubS,
    Op::FnmaddS,
    Op::FsgnjxS,
    Op::FminS,
    Op::FmaxS,
    Op::FleS,
    Op::FcvtWS,
    Op::FcvtSW,
    Op::FmvWX,
];

/// An instruction on the registers from `first` on, or a load or store of one.
fn instruction(random: &mut Random, single: bool, first: u8) -> Insn {
    let any = |random: &mut Random| first + random.below(5) as u8;
    let access = |op: Op, random: &mut Random| {
        let (register, imm) = (any(random), 8 * random.below(16) as i32);
        let mut insn = Insn {
            rs1: S0.0,
            imm,
            ..Insn::new(op)
        };
        if op.format() == Format::FloatLoad {
            insn.rd = register;
        } else {
            insn.rs2 = register;
        }
        insn
    };
    match (random.below(7), single) {
        (6, _) => {
            return Insn {
                rd: S0.0,
                rs1: S0.0,
                imm: random.pick(&[8, 16, -8]),
                ..Insn::new(Op::Addi)
            };
        }
        (0, true) => return access(Op::Flw, random),
        (0, false) => return access(Op::Fld, random),
        (1, true) => return access(Op::Fsw, random),
        (1, false) => return access(Op::Fsd, random),
        _ => {}
    }
    let op = if single {
        random.pick(&SINGLE)
    } else {
        random.pick(&DOUBLE)
    };
    let format = op.format();
    let integer_source = matches!(
        format,
        Format::IntegerToFloat | Format::IntegerToFloatRounded
    );
    let mut insn = Insn {
        rd: if format.writes_float() {
            any(random)
        } else {
            T0.0
        },
        rs1: if integer_source { T0.0 } else { any(random) },
        ..Insn::new(op)
    };
    if matches!(
        format,
        Format::Float | Format::FloatRounded | Format::FloatCompare | Format::FloatFused
    ) {
        insn.rs2 = any(random);
    }
    if format == Format::FloatFused {
        insn.rs3 = any(random);
    }
    if format.has_rounding_mode() {
        insn.rm = 7;
    }
    insn
}

/// A loop, whose store at times lies across the end of a page.
fn program(random: &mut Random) -> Assembler {
    let mut code = Assembler::new(CODE);
    let again = code.label_here();
    let singles = random.one_in(3);
    let both = random.one_in(3);
    for _ in 0..3 + random.below(12) {
        let single = if both { random.one_in(2) } else { singles };
        // Registers of both kinds overlap at times, which makes it no loop of this kind.
        let first = if both && single && !random.one_in(4) {
            16
        } else {
            4
        };
        let insn = instruction(random, single, first);
        code.word(encode(&insn).expect("operands fit"));
    }
    code.addi(S1, S1, -1);
    code.bnez(S1, again);
    code.wfi();
    code
}

#[test]
fn loops_of_floats_agree() {
    for seed in 0..600 {
        let mut random = Random::new(seed);
        let bytes = ringer_lockstep::assembled(program(&mut random));
        let numbers: Vec<u64> = (0..32).map(|_| random.number()).collect();
        let data = DATA + 8 * random.below(3) + if random.one_in(3) { 0xfb4 } else { 0 };
        // Mostly a rounding mode that the host has, and the unit on and in use.
        let frm = random.pick(&[0, 0, 1, 2, 3, 4]);
        let unit = random.pick(&[3, 3, 3, 2, 1, 0]) << mstatus::FS.trailing_zeros();
        let start = || {
            let machine = rig::machine(RAM_LEN, 1);
            machine.write(CODE, &bytes);
            for (place, number) in numbers.iter().enumerate() {
                let number = if place % 2 == 0 {
                    // Of reasonable size.
                    f64::to_bits(*number as i32 as f64 / 1024.0)
                } else {
                    *number
                };
                machine.write(data + 8 * place as u64, &number.to_le_bytes());
            }
            let mut hart = rig::hart(0);
            hart.csrs.fcsr = frm << 5;
            hart.csrs.mstatus = hart.csrs.mstatus & !mstatus::FS | unit;
            hart.x[usize::from(S0.0)] = data;
            hart.x[usize::from(S1.0)] = 40;
            for (place, register) in hart.f.iter_mut().enumerate() {
                let number = numbers[place] as i32;
                *register = match place {
                    4..16 => f64::to_bits(f64::from(number) / 64.0),
                    _ => u64::from(f32::to_bits(number as f32 / 64.0)) | 0xffff_ffff << 32,
                };
            }
            (machine, hart)
        };
        let mut pair = Pair::new(rig::code(), start);
        for turn in 0..40 {
            let what = || format!("seed {seed}, turn {turn}");
            pair.run(1 + random.below(90), &what);
            pair.compare_machines(&what);
        }
    }
}
