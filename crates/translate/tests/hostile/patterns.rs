//! Every pattern of 16 bits as an instruction, and many of 32 bits, in the middle of a block.

use ringer_hart::csr::mstatus;
use ringer_hart::hart::Effects;
use ringer_hart::{Bus, GuestPhys, Hart, Mode};
use ringer_isa::asm::Assembler;
use ringer_isa::asm::register::{S1, T0};
use ringer_isa::{Insn, Op, encode};
use ringer_lockstep::{Machine, Random};

use crate::rig::{self, CODE, Pair, RAM};

const RAM_LEN: u64 = 0x8000;
/// Data, from here to the end of RAM.
const DATA: u64 = RAM + 0x4000;
/// Patterns that are put into code at once, each in a slot.
const SLOTS: usize = 32;
const SLOT: u64 = 64;

/// A machine with numbers as data.
fn machine() -> Machine {
    let machine = rig::machine(RAM_LEN, 1);
    let mut random = Random::new(1);
    for at in (DATA..RAM + RAM_LEN).step_by(8) {
        machine.write_u64(at, random.number());
    }
    machine
}

/// A hart with addresses of data, of the device and of nothing in its registers, and numbers.
fn hart(random: &mut Random) -> Hart {
    let mut hart = rig::hart(0);
    for register in hart.x.iter_mut().skip(1) {
        *register = match random.below(8) {
            0..=3 => DATA + 0x800 + 8 * random.below(0x3000 / 8),
            4 => DATA + random.below(0x4000),
            5 => ringer_lockstep::machine::DEVICE + 8 * random.below(12),
            _ => random.number(),
        };
    }
    for register in &mut hart.f {
        *register = match random.below(4) {
            0 => (random.below(2000) as f64 - 1000.0).to_bits(),
            1 => u64::from((random.below(200) as f32).to_bits()) | !0xffff_ffff,
            2 => random
                .pick(&[0.0, -0.0, f64::INFINITY, f64::NAN, 5e-324])
                .to_bits(),
            _ => random.bits(),
        };
    }
    hart.mode = random.pick(&[Mode::M, Mode::M, Mode::S, Mode::U]);
    if random.one_in(8) {
        hart.csrs.mstatus &= !mstatus::FS;
    }
    hart.csrs.fcsr = random.below(8) << 5 | random.pick(&[0, 0x1f]);
    hart.csrs.mcounteren = random.pick(&[0, u64::MAX]);
    hart.services.semihosting = random.one_in(4);
    hart
}

/// Runs each pattern, between two other instructions, and compares.
fn run(patterns: impl Iterator<Item = u32>, seed: u64) {
    let mut random = Random::new(seed);
    let first = hart(&mut random);
    let mut pair = Pair::new(rig::code(), || (machine(), first.clone()));
    let patterns: Vec<u32> = patterns.collect();
    let mut given_up = 0;
    for batch in patterns.chunks(SLOTS) {
        for (slot, pattern) in (0..).zip(batch) {
            let mut code = Assembler::new(CODE + slot * SLOT);
            code.addi(S1, S1, 1);
            match ringer_isa::length(*pattern as u16) {
                2 => code.half(*pattern as u16),
                _ => code.word(*pattern),
            };
            code.addi(T0, T0, 1).wfi();
            let bytes = ringer_lockstep::assembled(code);
            pair.machines(|machine| machine.write(CODE + slot * SLOT, &bytes));
        }
        for (slot, pattern) in (0..).zip(batch) {
            let mut start = hart(&mut random);
            start.pc = CODE + slot * SLOT;
            start.effects = Effects::all();
            pair.harts(|hart| *hart = start.clone());
            let what = || format!("pattern {pattern:#x} on {start:#x?}");
            // Turns, so that it also is the first or the last instruction of one.
            let budget = 1 + random.below(6);
            for budget in [budget, 6 - budget.min(5)] {
                if pair.run(budget, &what).is_none() {
                    given_up += 1;
                    let bytes = pair.defined.0.ram_bytes();
                    pair.translated
                        .0
                        .ram()
                        .write(GuestPhys(RAM), &bytes)
                        .expect("all of RAM");
                    break;
                }
            }
        }
        pair.compare_machines(&|| format!("after patterns {batch:#x?}"));
    }
    assert!(given_up * 20 < patterns.len(), "{given_up} were given up");
}

#[test]
fn all_patterns_of_16_bits() {
    run(
        (0..=u16::MAX).filter(|half| half & 3 != 3).map(u32::from),
        1,
    );
}

#[test]
fn patterns_of_32_bits_by_major_opcode() {
    let mut random = Random::new(2);
    let patterns =
        (0..120_000).map(move |number| random.bits() as u32 & !0x7f | (number & 31) << 2 | 3);
    run(patterns, 3);
}

/// Encodings of all operations with random operands, as they are and with bits flipped.
#[test]
fn patterns_of_32_bits_next_to_instructions() {
    let mut random = Random::new(4);
    let patterns = (0..120_000).map(move |number| {
        let mut any = || random.below(32) as u8;
        let (rd, rs1, rs2, rs3) = (any(), any(), any(), any());
        let rm = any() & 7;
        let op = Op::ALL[number % Op::ALL.len()];
        let imm = random.pick(&[0, 8, 16, random.clone().bits() as i32 >> 20]);
        let insn = Insn {
            rd,
            rs1,
            rs2,
            rs3,
            rm,
            imm,
            ..Insn::new(op)
        };
        let plain = Insn {
            rd,
            rs1,
            ..Insn::new(op)
        };
        let bits = encode(&insn)
            .or_else(|| encode(&plain))
            .or_else(|| encode(&Insn::new(op)));
        let mut bits = bits.unwrap_or(0);
        for _ in 0..random.below(4) / 2 {
            bits ^= 1 << (7 + random.below(25));
        }
        bits
    });
    run(patterns, 5);
}
