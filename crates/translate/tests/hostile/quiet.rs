//! Flags put aside around a comparison, which the translator looks at only where somebody else
//! might: whatever follows, the register holds what it should.

use ringer_isa::asm::register::*;
use ringer_isa::asm::{Assembler, Label};
use ringer_isa::{Insn, Op, csr, encode};
use ringer_lockstep::Random;

use crate::rig::{self, CODE, Pair, RAM};

const RAM_LEN: u64 = 0x1_0000;
const DATA: u64 = RAM + 0x8000;

/// Where flags are put aside: one with a home in the host, one without.
const ASIDE: [X; 2] = [A4, T4];

fn insn(code: &mut Assembler, insn: Insn) {
    code.word(encode(&insn).expect("operands fit"));
}

/// What may stand between a comparison and the end of its register.
fn between(random: &mut Random, code: &mut Assembler, aside: X, out: Label) {
    let float = |random: &mut Random| 8 + random.below(4) as u8;
    match random.below(18) {
        0..=3 => {
            let op = random.pick(&[Op::FaddD, Op::FmulD, Op::FdivD, Op::FsubD]);
            let (rd, rs1, rs2) = (float(random), float(random), float(random));
            let rm = if random.one_in(12) { 4 } else { 7 };
            insn(
                code,
                Insn {
                    rd,
                    rs1,
                    rs2,
                    rm,
                    ..Insn::new(op)
                },
            );
        }
        4 => {
            let (rd, rs1) = (float(random), float(random));
            insn(
                code,
                Insn {
                    rd,
                    rs1,
                    rm: 7,
                    ..Insn::new(Op::FsqrtD)
                },
            );
        }
        5..=7 => {
            let op = random.pick(&[Op::Fld, Op::Fld, Op::Ld, Op::Lw]);
            let rd = if op == Op::Fld {
                float(random)
            } else {
                random.pick(&[A3, T5]).0
            };
            // Somewhere good, at a page's end, or nowhere.
            let base = random.pick(&[S0, S0, S2, S4, S4, T3, A5]);
            let imm = 8 * random.below(8) as i32;
            insn(
                code,
                Insn {
                    rd,
                    rs1: base.0,
                    imm,
                    ..Insn::new(op)
                },
            );
        }
        8 => {
            let (rs2, imm) = (float(random), 8 * random.below(8) as i32);
            insn(
                code,
                Insn {
                    rs1: S0.0,
                    rs2,
                    imm,
                    ..Insn::new(Op::Fsd)
                },
            );
        }
        9 => {
            let (base, by) = (random.pick(&[S0, S4, S4]), random.pick(&[32, -8]));
            // What was at a good place may now be nowhere.
            code.addi(base, base, by);
            let (rd, rs1, rs2) = (float(random), float(random), float(random));
            insn(
                code,
                Insn {
                    rd,
                    rs1,
                    rs2,
                    rm: 7,
                    ..Insn::new(Op::FdivD)
                },
            );
            let load = Insn {
                rd,
                rs1: base.0,
                imm: 16,
                ..Insn::new(Op::Fld)
            };
            insn(code, load);
        }
        10 => {
            // A branch over the end of the register.
            let label = code.label();
            code.beqz(A5, label).addi(aside, ZERO, 5).bind(label);
        }
        11 => {
            code.add(A3, A3, random.pick(&[aside, A5, S1]));
        }
        12 | 13 => {
            code.bltu(S1, T5, out);
        }
        14 => {
            code.csrr(A3, csr::FFLAGS);
        }
        _ => {
            code.addi(T5, T5, 1);
        }
    }
}

fn program(random: &mut Random) -> Assembler {
    let mut code = Assembler::new(CODE);
    let (out, again) = (code.label(), code.label_here());
    for _ in 0..1 + random.below(3) {
        let aside = random.pick(&ASIDE);
        let op = random.pick(&[Op::FltD, Op::FltD, Op::FleD, Op::FeqD, Op::FltS]);
        let (rs1, rs2) = (8 + random.below(4) as u8, 8 + random.below(4) as u8);
        code.csrr(aside, csr::FFLAGS);
        insn(
            &mut code,
            Insn {
                rd: A5.0,
                rs1,
                rs2,
                ..Insn::new(op)
            },
        );
        code.csrw(csr::FFLAGS, aside);
        if random.one_in(2) {
            code.bnez(A5, out);
        }
        for _ in 0..random.below(5) {
            between(random, &mut code, aside, out);
        }
        if !random.one_in(4) {
            code.addi(aside, S1, 0);
        }
    }
    code.addi(S1, S1, -1).bnez(S1, again).bind(out);
    // What the flags are now, and were.
    code.add(A3, A4, T4).csrr(A2, csr::FFLAGS).wfi();
    code
}

fn number(random: &mut Random) -> u64 {
    let sign = random.below(2) << 63;
    sign | match random.below(24) {
        0 => f64::INFINITY.to_bits(),
        1 => 0,
        2 => 0x7ff8_0000_0000_0000,
        3 => 0x7ff0_0000_0000_0001,
        4 => 1,
        5 => 0x7fe0_0000_0000_0000,
        6 => 0x0010_0000_0000_0000,
        _ => f64::to_bits(random.below(1000) as f64 / 3.0),
    }
}

#[test]
fn flags_put_aside_are_there_when_needed() {
    for seed in 0..4000 {
        let mut random = Random::new(seed);
        let bytes = ringer_lockstep::assembled(program(&mut random));
        let floats: [u64; 32] = std::array::from_fn(|_| number(&mut random));
        let numbers: Vec<u64> = (0..0x200).map(|_| number(&mut random)).collect();
        let flags = if random.one_in(2) {
            0
        } else {
            random.below(32)
        };
        let start = || {
            let machine = rig::machine(RAM_LEN, 1);
            machine.write(CODE, &bytes);
            for (place, number) in numbers.iter().enumerate() {
                machine.write(DATA + 8 * place as u64, &number.to_le_bytes());
            }
            let mut hart = rig::hart(0);
            hart.csrs.fcsr = flags;
            for (register, value) in [
                (S0, DATA + 0x100),
                (S2, DATA + 0xfd4),
                (S4, RAM + RAM_LEN - 80),
                (T3, 0x100),
                (S1, 5),
                (A4, 77),
                (T4, 78),
            ] {
                hart.x[usize::from(register.0)] = value;
            }
            hart.f = floats;
            (machine, hart)
        };
        let mut pair = Pair::new(rig::code(), start);
        for turn in 0..12 {
            let what = || format!("seed {seed}, turn {turn}");
            pair.run(1 + random.below(50), &what);
            pair.compare_machines(&what);
        }
    }
}
