//! More code than the cache has room for: blocks come and go all the time, and programs must not
//! notice.

use std::sync::Arc;

use ringer_hart::{Exit, Hart, Interpreter};
use ringer_isa::asm::Assembler;
use ringer_isa::asm::register::*;
use ringer_lockstep::{Machine, Random};

use crate::rig::{self, CODE, Pair, RAM, run_all_on, small_code};

const RAM_LEN: u64 = 0x20_0000;
/// A table of the functions' addresses.
const TABLE: u64 = RAM + 0x8000;
const FUNCTIONS: u64 = RAM + 0x1_0000;
/// How many; they lie [`APART`] from each other.
const COUNT: u64 = 1024;
const APART: u64 = 0x2c0;
/// Each hart's own data.
const DATA: u64 = RAM + 0x10_0000;
const CALLS: u64 = 8_000;

/// Calls [`CALLS`] functions, as a random number in `s0` says. Each function has loops, branches,
/// floating-point operations, loads and stores, and mixes what it finds into `s1`; half of them
/// call another.
fn machine(harts: usize) -> Machine {
    let machine = rig::machine(RAM_LEN, harts);
    let mut code = Assembler::new(CODE);
    let again = code.label_here();
    code.li(T0, 0x5851_f42d_4c95_7f2d)
        .mul(S0, S0, T0)
        .addi(S0, S0, 0x7f1);
    code.srli(T0, S0, 40)
        .andi(T0, T0, 0x3ff)
        .slli(T0, T0, 3)
        .add(T0, T0, S4);
    code.ld(T0, 0, T0).jalr(RA, 0, T0);
    code.addi(S2, S2, -1).bnez(S2, again).wfi();
    rig::place(&machine, code);

    let mut random = Random::new(3);
    let mut code = Assembler::new(FUNCTIONS);
    let leaf = |number: u64| FUNCTIONS + (2 * number % COUNT) * APART;
    for number in 0..COUNT {
        let start = FUNCTIONS + number * APART;
        code.pad_to(start);
        machine.write_u64(TABLE + 8 * number, start);
        code.mv(S6, RA).li(T1, 1 + random.below(3));
        let again = code.label_here();
        for _ in 0..4 + random.below(8) {
            let skip = code.label();
            let at = 8 * random.below(256) as i32;
            code.ld(T2, at, S3)
                .xor(S1, S1, T2)
                .addi(S1, S1, random.below(2000) as i32);
            code.slli(T3, S1, 13)
                .xor(S1, S1, T3)
                .srli(T3, S1, 7)
                .xor(S1, S1, T3);
            code.andi(T3, S1, 1 << random.below(4)).beqz(T3, skip);
            code.sd(S1, at, S3).bind(skip);
        }
        code.addi(T1, T1, -1).bnez(T1, again);
        if number % 2 == 1 {
            let other = code.label_at(leaf(random.below(COUNT)));
            code.mv(S7, S6).call(other).mv(S6, S7);
        }
        code.jr(S6);
    }
    rig::place(&machine, code);
    machine
}

fn hart(id: usize) -> Hart {
    let mut hart = rig::hart(id);
    for (register, value) in [
        (S0, 77 + id as u64),
        (S2, CALLS),
        (S3, DATA + 0x1000 * id as u64),
        (S4, TABLE),
    ] {
        hart.x[usize::from(register.0)] = value;
    }
    hart
}

#[test]
fn one_hart() {
    for (code_bytes, calls, evictions) in [(0, 2_000, 10_000), (1 << 20, 10_000, 1_000)] {
        let code = small_code(1, code_bytes);
        let mut pair = Pair::new(Arc::clone(&code), || (machine(1), hart(0)));
        pair.harts(|hart| hart.x[usize::from(S2.0)] = calls);
        let mut random = Random::new(9);
        let mut turns = 0;
        loop {
            let what = || format!("{code_bytes} bytes, turn {turns}");
            let budget = 1 + random.below(20_000);
            if pair.run(budget, &what).expect("nothing is changed") == Exit::Wait {
                break;
            }
            turns += 1;
            assert!(turns < 10_000, "it never ends");
        }
        pair.compare_machines(&|| format!("{code_bytes} bytes"));
        let counts = code.counts();
        assert!(counts.evicted > evictions, "{counts:?}");
        assert!(counts.bytes <= code_bytes.max(1 << 19) as u64, "{counts:?}");
        assert_eq!(counts.changed, 0);
    }
}

#[test]
fn several_harts_at_once() {
    const HARTS: usize = 3;
    let define = |id| {
        let machine = machine(HARTS);
        let mut hart = hart(id);
        let exit = Interpreter::new().run(&mut hart, &machine, u64::MAX);
        assert_eq!(exit, Exit::Wait);
        (machine, hart)
    };
    let expected: Vec<_> = (0..HARTS).map(define).collect();
    for (code_bytes, evictions) in [(0, 2_000), (1 << 20, 2_000)] {
        let code = small_code(HARTS, code_bytes);
        let machine = machine(HARTS);
        let harts = run_all_on(&code, &machine, (0..HARTS).map(hart).collect());
        for (hart, (alone, expected)) in harts.iter().zip(&expected) {
            assert_eq!(hart.x, expected.x, "hart {}", hart.id);
            assert_eq!(hart.counts.retired, expected.counts.retired);
            for at in (DATA..DATA + 0x1000).step_by(8) {
                let at = at + 0x1000 * hart.id as u64;
                assert_eq!(machine.read_u64(at), alone.read_u64(at), "{at:#x}");
            }
        }
        let counts = code.counts();
        assert!(counts.evicted > evictions, "{counts:?}");
    }
}
