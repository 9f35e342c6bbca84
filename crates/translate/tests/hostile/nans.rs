//! Chains of floating-point instructions on infinities and NaNs: the translator looks at results
//! late and keeps them from the core, and nobody may notice, wherever the chain is left.

use ringer_isa::asm::Assembler;
use ringer_isa::asm::register::*;
use ringer_isa::{Format, Insn, Op, encode};
use ringer_lockstep::Random;

use crate::rig::{self, CODE, Pair, RAM};

const RAM_LEN: u64 = 0x1_0000;
const DATA: u64 = RAM + 0x8000;

const DOUBLE: [Op; 15] = [
    Op::FaddD,
    Op::FsubD,
    Op::FmulD,
    Op::FdivD,
    Op::FsqrtD,
    Op::FmaddD,
    Op::FsgnjD,
    Op::FsgnjnD,
    Op::FminD,
    Op::FleD,
    Op::FcvtDS,
    Op::FcvtSD,
    Op::FmvXD,
    Op::FmvDX,
    Op::FclassD,
];
const SINGLE: [Op; 12] = [
    Op::FaddS,
    Op::FsubS,
    Op::FmulS,
    Op::FdivS,
    Op::FsqrtS,
    Op::FnmsubS,
    Op::FsgnjS,
    Op::FsgnjxS,
    Op::FmaxS,
    Op::FeqS,
    Op::FcvtWS,
    Op::FmvXW,
];

/// Mostly what makes NaNs, and NaNs that are not canonical.
fn double(random: &mut Random) -> u64 {
    let sign = random.below(2) << 63;
    sign | match random.below(8) {
        0 => f64::INFINITY.to_bits(),
        1 => 0,
        2 => 0x7ff8_0000_0000_1234,
        3 => 0x7ff0_0000_0000_0001,
        4 => 1,
        _ => f64::to_bits(random.below(1000) as f64 / 8.0),
    }
}

fn single(random: &mut Random) -> u64 {
    let sign = random.below(2) << 31;
    let bits = match random.below(8) {
        0 => f32::INFINITY.to_bits(),
        1 => 0,
        2 => 0x7fc0_1234,
        3 => 0x7f80_0001,
        _ => f32::to_bits(random.below(1000) as f32 / 8.0),
    };
    let boxed = if random.one_in(30) {
        0
    } else {
        u64::from(u32::MAX) << 32
    };
    boxed | sign | u64::from(bits)
}

/// An access to the data, or at times through a pointer that leads nowhere.
fn access(random: &mut Random, singles: bool, register: u8) -> Insn {
    let op = match (random.below(3), singles) {
        (0, true) => Op::Flw,
        (_, true) => Op::Fsw,
        (0, false) => Op::Fld,
        (_, false) => Op::Fsd,
    };
    let insn = Insn {
        rs1: if random.one_in(25) {
            T3.0
        } else {
            random.pick(&[S0.0, S2.0])
        },
        imm: 8 * random.below(16) as i32,
        ..Insn::new(op)
    };
    if op.format() == Format::FloatLoad {
        Insn {
            rd: register,
            ..insn
        }
    } else {
        Insn {
            rs2: register,
            ..insn
        }
    }
}

fn computation(random: &mut Random, singles: bool, registers: u64) -> Insn {
    let any = |random: &mut Random| random.below(registers) as u8;
    // Chains are made by the four operations.
    let four = random.one_in(2);
    let op = match (four, singles) {
        (true, true) => random.pick(&SINGLE[..4]),
        (true, false) => random.pick(&DOUBLE[..4]),
        (false, true) => random.pick(&SINGLE),
        (false, false) => random.pick(&DOUBLE),
    };
    let format = op.format();
    let rd = if format.writes_float() {
        any(random)
    } else {
        T0.0
    };
    let rs1 = if op == Op::FmvDX { T0.0 } else { any(random) };
    let mut insn = Insn {
        rd,
        rs1,
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
        // Sometimes one for the definition.
        insn.rm = if random.one_in(20) { 4 } else { 7 };
    }
    insn
}

/// Some instructions, with ways out of their middle, as a loop or not.
fn program(random: &mut Random, singles: bool, registers: u64) -> Assembler {
    let mut code = Assembler::new(CODE);
    let out = code.label();
    let again = code.label_here();
    for _ in 0..3 + random.below(40) {
        let both = random.one_in(12);
        let singles = singles != both;
        let insn = match random.below(12) {
            0..=2 => {
                let register = random.below(registers) as u8;
                access(random, singles, register)
            }
            3 => {
                code.addi(T0, T0, 3);
                code.bltu(T0, T1, out);
                continue;
            }
            _ => computation(random, singles, registers),
        };
        code.word(encode(&insn).expect("operands fit"));
    }
    code.addi(S1, S1, -1);
    if random.one_in(2) {
        code.bnez(S1, again);
    }
    code.bind(out);
    code.wfi();
    code
}

#[test]
fn nans_are_canonical_wherever_one_looks() {
    for seed in 0..3000 {
        let mut random = Random::new(seed);
        let singles = random.one_in(2);
        let registers = random.pick(&[3, 5, 8, 32]);
        let bytes = ringer_lockstep::assembled(program(&mut random, singles, registers));
        let number = if singles { single } else { double };
        let floats: [u64; 32] = std::array::from_fn(|_| number(&mut random));
        let numbers: Vec<u64> = (0..40).map(|_| number(&mut random)).collect();
        let across = if random.one_in(3) { 0xf80 } else { 0 };
        let limit = random.pick(&[0, 0, 7, 100]);
        let start = || {
            let machine = rig::machine(RAM_LEN, 1);
            machine.write(CODE, &bytes);
            for (place, number) in numbers.iter().enumerate() {
                machine.write(DATA + across + 8 * place as u64, &number.to_le_bytes());
            }
            let mut hart = rig::hart(0);
            hart.x[usize::from(S0.0)] = DATA + across;
            hart.x[usize::from(S2.0)] = DATA + 0x100;
            hart.x[usize::from(S1.0)] = 6;
            hart.x[usize::from(T1.0)] = limit;
            hart.f = floats;
            (machine, hart)
        };
        let mut pair = Pair::new(rig::code(), start);
        for turn in 0..12 {
            let what = || format!("seed {seed}, turn {turn}");
            pair.run(1 + random.below(60), &what);
            pair.compare_machines(&what);
        }
    }
}
