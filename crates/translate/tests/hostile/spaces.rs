//! Address spaces changed every few instructions, among more of them than are remembered, with
//! every kind of fence between.

use ringer_hart::{Exit, Mode};
use ringer_isa::asm::Assembler;
use ringer_isa::asm::register::*;
use ringer_isa::pte::Pte;
use ringer_isa::{Op, csr as number};
use ringer_lockstep::{Machine, Random};

use crate::rig::{self, CODE, LEAF, Pair, RAM};

const RAM_LEN: u64 = 0x40_0000;
/// More than twice as many as are remembered.
const ROOTS: u64 = 110;
/// Three tables for each of them.
const TABLES: u64 = RAM + 0x10_0000;
/// The values for `satp`.
const ROOT_LIST: u64 = RAM + 0x8000;
/// A page of data and a page with a function for each root.
const DATA: u64 = RAM + 0x30_0000;
const FUNCTIONS: u64 = RAM + 0x38_0000;
/// Where each root has them, beside all of RAM where it is.
const MAPPED_DATA: u64 = 0x4000_0000;
const MAPPED_FUNCTION: u64 = 0x4000_1000;
/// Mapped in every second root only, and the same in all of them.
const MAPPED_SHARED: u64 = 0x4000_2000;
/// Where the handler of S-mode puts what it has seen.
const SUPERVISOR_HANDLER: u64 = RAM + 0x1800;

fn table(root: u64, level: u64) -> u64 {
    TABLES + 0x1000 * (3 * root + level)
}

fn leaf(addr: u64, flags: u64) -> u64 {
    Pte::new(addr >> 12, flags).0
}

fn machine() -> Machine {
    let machine = rig::machine(RAM_LEN, 1);
    for root in 0..ROOTS {
        let pointer = |level| leaf(table(root, level), Pte::V);
        machine.write_u64(table(root, 0) + 8, pointer(1));
        // Global, since it is the same in all of them.
        machine.write_u64(table(root, 0) + 16, leaf(RAM, LEAF | Pte::G));
        machine.write_u64(table(root, 1), pointer(2));
        let data = DATA + 0x1000 * (root % 100);
        machine.write_u64(table(root, 2), leaf(data, LEAF & !(Pte::A | Pte::D)));
        machine.write_u64(
            table(root, 2) + 8,
            leaf(FUNCTIONS + 0x1000 * (root % 64), LEAF),
        );
        if root % 2 == 0 {
            machine.write_u64(table(root, 2) + 16, leaf(DATA, LEAF));
        }
        // ASIDs of their own.
        let satp = 8 << 60 | (root + 1) << 44 | table(root, 0) >> 12;
        machine.write_u64(ROOT_LIST + 8 * root, satp);
    }
    for function in 0..64 {
        let mut code = Assembler::new(FUNCTIONS + 0x1000 * function);
        code.addi(S1, S1, function as i32).ret();
        rig::place(&machine, code);
    }
    let mut code = Assembler::new(SUPERVISOR_HANDLER);
    code.csrr(T6, number::SCAUSE)
        .add(S1, S1, T6)
        .csrr(T6, number::STVAL)
        .xor(S1, S1, T6);
    code.csrr(T6, number::SEPC)
        .addi(T6, T6, 4)
        .csrw(number::SEPC, T6)
        .sret();
    rig::place(&machine, code);
    machine
}

/// One of the fences that are enough after a change of the entry for `va` in the space of `t2`.
fn fence(code: &mut Assembler, random: &mut Random, va: u64) {
    let op = random.pick(&[Op::SfenceVma, Op::SfenceVma, Op::SinvalVma]);
    code.li(T0, va).slli(T1, T2, 4).srli(T1, T1, 48);
    let address = random.pick(&[ZERO, T0]);
    let space = random.pick(&[ZERO, T1]);
    code.address_fence(op, address, space);
}

/// A random program in S-mode: goes to another space, and uses, changes and fences what is there.
fn program(random: &mut Random) -> Assembler {
    let mut code = Assembler::new(CODE);
    let again = code.label_here();
    for _ in 0..120 {
        let current = if random.one_in(3) {
            random.below(4)
        } else {
            random.below(ROOTS)
        };
        code.li(T3, ROOT_LIST + 8 * current)
            .ld(T2, 0, T3)
            .csrw(number::SATP, T2);
        for _ in 0..random.below(4) {
            let va = random.pick(&[MAPPED_DATA, MAPPED_DATA, MAPPED_SHARED]);
            let at = 8 * random.below(8) as i32;
            code.li(T0, va);
            match random.below(6) {
                0 | 1 => code.ld(T1, at, T0).xor(S1, S1, T1),
                2 | 3 => code.sd(S1, at, T0).addi(S1, S1, 1),
                _ => code.li(T0, MAPPED_FUNCTION).jalr(RA, 0, T0),
            };
        }
        match random.below(8) {
            0 => {
                // Other data, another function, or none.
                let (va, entry) = match random.below(3) {
                    0 => (MAPPED_DATA, leaf(DATA + 0x1000 * random.below(100), LEAF)),
                    1 => (
                        MAPPED_FUNCTION,
                        leaf(FUNCTIONS + 0x1000 * random.below(64), LEAF),
                    ),
                    _ => (
                        MAPPED_SHARED,
                        leaf(DATA, random.pick(&[LEAF, LEAF & !Pte::W, 0])),
                    ),
                };
                let place = table(current, 2) + (va - MAPPED_DATA) / 512;
                code.li(T0, place).li(T1, entry).sd(T1, 0, T0);
                fence(&mut code, random, va);
            }
            1 => {
                // A fence that nobody needs, perhaps of a space that is not in force.
                code.li(T3, ROOT_LIST + 8 * random.below(ROOTS))
                    .ld(T2, 0, T3);
                fence(
                    &mut code,
                    random,
                    random.clone().pick(&[MAPPED_DATA, CODE, 0, u64::MAX]),
                );
            }
            2 => {
                // User pages, executable ones: other conditions in the same space.
                code.li(T0, 3 << 18 & random.bits()).csr(
                    random.pick(&[Op::Csrrs, Op::Csrrc]),
                    ZERO,
                    number::SSTATUS,
                    T0,
                );
            }
            _ => {}
        }
    }
    code.addi(S2, S2, -1);
    let out = code.label();
    code.beqz(S2, out).j(again).bind(out).wfi();
    code
}

#[test]
fn spaces_are_changed_faster_than_they_are_filled() {
    for seed in 0..24 {
        let bytes = ringer_lockstep::assembled(program(&mut Random::new(seed)));
        let start = || {
            let machine = machine();
            machine.write(CODE, &bytes);
            let mut hart = rig::hart(0);
            hart.start_supervisor(CODE, 0);
            hart.csrs.stvec = SUPERVISOR_HANDLER;
            hart.x[usize::from(S2.0)] = 12;
            assert_eq!(hart.mode, Mode::S);
            (machine, hart)
        };
        let mut pair = Pair::new(rig::code(), start);
        let mut random = Random::new(seed);
        let mut turns = 0;
        loop {
            let what = || format!("seed {seed}, turn {turns}");
            let budget = 1 + random.below(4000);
            if pair.run(budget, &what).expect("no code is changed") == Exit::Wait {
                break;
            }
            turns += 1;
            assert!(turns < 1000, "it never ends");
        }
        pair.compare_machines(&|| format!("seed {seed}"));
        let counts = pair.translator.counts().spaces;
        // A kernel's address spaces share one space.
        assert!(counts.switches > 1000 && counts.begun < 10, "{counts:?}");
        assert!(
            counts.page_flushes > 10 && counts.flushes > 10,
            "{counts:?}"
        );
    }
}
