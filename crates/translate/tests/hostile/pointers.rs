//! Loops that follow pointers: the translator expects each to lead to the page of the last one.

use ringer_isa::asm::Assembler;
use ringer_isa::asm::register::*;
use ringer_isa::{Insn, Op, encode};
use ringer_lockstep::Random;

use crate::rig::{self, CODE, Pair, RAM};

const RAM_LEN: u64 = 0x1_0000;
/// Where the pointers are: four pages.
const DATA: u64 = RAM + 0x8000;
const WORDS: u64 = 4 * 512;

/// Some with a home in the host, some without.
const POINTERS: [X; 5] = [A3, A4, S0, S4, T3];

/// Where a pointer leads: mostly into one page for a while, at times to its end, to code, or
/// nowhere.
fn pointer(random: &mut Random, place: u64) -> u64 {
    let near = place & !511;
    match random.below(40) {
        0..=24 => DATA + 8 * (near + random.below(500)),
        25..=37 => DATA + 8 * random.below(WORDS),
        38 => DATA + 8 * (near + 512) - random.below(12),
        _ => random.pick(&[
            CODE + 0x800,
            0x10,
            0,
            u64::MAX - 7,
            1 << 63,
            DATA + (1 << 32),
        ]),
    }
}

fn instruction(random: &mut Random) -> Insn {
    let (to, from) = (random.pick(&POINTERS).0, random.pick(&POINTERS).0);
    let imm = 8 * random.below(4) as i32;
    let access = |op| Insn {
        rs1: from,
        imm,
        ..Insn::new(op)
    };
    let load = |rd, op| Insn { rd, ..access(op) };
    match random.below(13) {
        0..=2 => load(from, Op::Ld),
        3 => load(to, Op::Ld),
        4 => load(A2.0, random.pick(&[Op::Lh, Op::Lbu, Op::Lw])),
        5 => Insn {
            rs2: A2.0,
            imm: 32 + imm,
            ..access(Op::Sh)
        },
        6 => Insn {
            rs2: to,
            ..access(Op::Sd)
        },
        7 => Insn {
            rd: to,
            rs2: from,
            ..Insn::new(Op::Add)
        },
        8 => Insn {
            rd: 6,
            ..access(Op::Fld)
        },
        9 => Insn {
            rd: to,
            rs1: from,
            imm,
            ..Insn::new(Op::Addi)
        },
        // It moves on, as in an array.
        _ => Insn {
            rd: from,
            rs1: from,
            imm: random.pick(&[8, 16, 24, -8, -40, 400]),
            ..Insn::new(Op::Addi)
        },
    }
}

fn program(random: &mut Random) -> Assembler {
    let mut code = Assembler::new(CODE);
    let again = code.label_here();
    for _ in 0..1 + random.below(6) {
        code.word(encode(&instruction(random)).expect("operands fit"));
    }
    code.addi(S1, S1, -1);
    code.bnez(S1, again);
    code.wfi();
    code
}

#[test]
fn loops_that_follow_pointers_agree() {
    for seed in 0..1500 {
        let mut random = Random::new(seed);
        let bytes = ringer_lockstep::assembled(program(&mut random));
        let data: Vec<u8> = (0..WORDS)
            .flat_map(|place| pointer(&mut random, place).to_le_bytes())
            .collect();
        let starts = POINTERS.map(|_| DATA + 8 * random.below(WORDS));
        let start = || {
            let machine = rig::machine(RAM_LEN, 1);
            machine.write(CODE, &bytes);
            machine.write(DATA, &data);
            let mut hart = rig::hart(0);
            for (register, start) in POINTERS.iter().zip(starts) {
                hart.x[usize::from(register.0)] = start;
            }
            hart.x[usize::from(S1.0)] = 200;
            (machine, hart)
        };
        let mut pair = Pair::new(rig::code(), start);
        for turn in 0..15 {
            let what = || format!("seed {seed}, turn {turn}");
            pair.run(1 + random.below(120), &what);
            pair.compare_machines(&what);
        }
    }
}
