//! Guests that rewrite their own code, with `fence.i` and without.

use ringer_hart::{Exit, Hart};
use ringer_isa::asm::Assembler;
use ringer_isa::asm::register::{A0, A1, A2, A3, RA, S0, S1, S2, S3, T0, T1, T2, ZERO};
use ringer_lockstep::Machine;
use ringer_translate::Translator;

use crate::rig::{self, CODE, Pair, RAM};

/// The function that is rewritten, in a page of its own.
const FUNCTION: u64 = RAM + 0x4000;
/// Where results go.
const RESULTS: u64 = RAM + 0x1_0000;
const ROUNDS: u64 = 20_000;

/// The encoding of `li a0, 0; ret`, to which the number is added in bits 20 to 31.
const LI_RET: u64 = 0x0000_8067_0000_0513;

/// A loop that puts `li a0, round & 0x7ff; ret` at `s0`, does what `between` writes, calls it,
/// and stores the result. `s0` moves on by `stride`, in `pages` pages.
fn rewriting(stride: u64, between: impl Fn(&mut Assembler)) -> Machine {
    let machine = rig::machine(0x6_0000, 1);
    let mut code = Assembler::new(CODE);
    code.li(S0, FUNCTION).li(S1, RESULTS).li(S2, ROUNDS);
    code.li(S3, 0).li(T2, LI_RET);
    let again = code.label_here();
    code.slli(T0, S3, 53).srli(T0, T0, 33).add(T0, T0, T2);
    code.sd(T0, 0, S0);
    between(&mut code);
    code.jalr(RA, 0, S0).sd(A0, 0, S1);
    code.li(T1, stride)
        .add(S0, S0, T1)
        .li(T1, !0xc000)
        .and(S0, S0, T1);
    code.li(T1, FUNCTION).or(S0, S0, T1);
    code.addi(S1, S1, 8)
        .addi(S3, S3, 1)
        .bne(S3, S2, again)
        .wfi();
    rig::place(&machine, code);
    machine
}

fn run(machine: &Machine, translator: &mut Translator<Machine>) -> Hart {
    let mut hart = rig::hart(0);
    let exit = translator.run(&mut hart, machine, 100 * ROUNDS);
    assert_eq!(exit, Exit::Wait, "at {:#x}", hart.pc);
    hart
}

#[test]
fn with_a_fence_the_new_code_runs_each_time() {
    for stride in [0, 8] {
        let machine = rewriting(stride, |code| {
            code.fence_i();
        });
        let mut translator = Translator::new(rig::code()).expect("memory for tables");
        run(&machine, &mut translator);
        for round in 0..ROUNDS {
            let result = machine.read_u64(RESULTS + 8 * round);
            assert_eq!(result, round & 0x7ff, "round {round}");
        }
        let counts = translator.shared().counts();
        // Nothing was there in the first round in a page.
        assert!(counts.changed + 4 >= ROUNDS, "{counts:?}");
        assert!(counts.blocks < 600 && counts.bytes < 1 << 20, "{counts:?}");
    }
}

#[test]
fn without_a_fence_old_or_new_code_runs() {
    let machine = rewriting(0, |_| {});
    run(
        &machine,
        &mut Translator::new(rig::code()).expect("memory for tables"),
    );
    for round in 0..ROUNDS {
        let result = machine.read_u64(RESULTS + 8 * round);
        // Any of what was there since the last fence, which was before the first round.
        let known = result <= round && (round >= 0x800 || result <= round & 0x7ff);
        assert!(known && result <= 0x7ff, "round {round}: {result}");
    }
}

#[test]
fn a_fence_now_and_then_bounds_how_old_the_code_is() {
    // A fence in every 16th round.
    let machine = rewriting(0, |code| {
        let skip = code.label();
        code.andi(T0, S3, 15).bnez(T0, skip).fence_i().bind(skip);
    });
    run(
        &machine,
        &mut Translator::new(rig::code()).expect("memory for tables"),
    );
    for round in 0..ROUNDS {
        let result = machine.read_u64(RESULTS + 8 * round);
        let oldest = round & !15;
        let known = (oldest..=round).any(|round| round & 0x7ff == result);
        assert!(known, "round {round}: {result}");
    }
}

/// Stores that go to the very next instructions, with all budgets: one instruction of four bytes
/// becomes two of two bytes, so that more instructions are executed than were translated.
#[test]
fn code_that_changes_right_before_it_runs() {
    /// `c.addi a1, 1; c.addi a1, 1`
    const TWO: u64 = 0x0585_0585;
    let start = || {
        let machine = rig::machine(0x1_0000, 1);
        let mut code = Assembler::new(CODE);
        let target = code.label();
        code.li(A2, TWO << 32 | TWO).la(T0, target);
        // The same registers as base: one window for all of them.
        code.bind(target);
        for at in 0..12 {
            code.sd(A2, 8 * at, T0);
        }
        code.wfi();
        rig::place(&machine, code);
        (machine, rig::hart(0))
    };
    for first in 1..40 {
        for rest in [1, 2, 3, 100] {
            // What runs is not determined: but it ends, within the budget, at the `wfi`.
            let (machine, mut hart) = start();
            let mut translator = Translator::new(rig::code()).expect("memory for tables");
            let mut turns = 0;
            let mut exit = translator.run(&mut hart, &machine, first);
            assert!(
                hart.counts.retired <= first,
                "{} of {first}",
                hart.counts.retired
            );
            while exit == Exit::Budget {
                let before = hart.counts.retired;
                exit = translator.run(&mut hart, &machine, rest);
                assert!(hart.counts.retired <= before + rest, "{first}, then {rest}");
                turns += 1;
                assert!(turns < 100, "at {:#x}", hart.pc);
            }
            assert_eq!(exit, Exit::Wait);
            assert!(hart.x[usize::from(A1.0)] <= 48);
        }
    }
}

/// The same code again, after a fence, must agree with the definition.
#[test]
fn code_that_changes_the_rest_of_its_block_behind_a_fence() {
    for budget in 1..60 {
        let start = || {
            let machine = rig::machine(0x1_0000, 1);
            let mut code = Assembler::new(CODE);
            let (target, again) = (code.label(), code.label());
            code.li(A3, 5).la(T0, target).li(T1, 0x0015_8593_0585_0585);
            code.bind(again).sd(T1, 0, T0).fence_i();
            code.align(8).bind(target).addi(A1, A1, 1).addi(A2, A2, 1);
            code.slli(T1, T1, 32).srli(T2, T1, 32).or(T1, T1, T2);
            code.addi(A3, A3, -1).bne(A3, ZERO, again).wfi();
            rig::place(&machine, code);
            (machine, rig::hart(0))
        };
        let mut pair = Pair::new(rig::code(), start);
        for turn in 0..100 {
            let what = || format!("budget {budget}, turn {turn}");
            let exit = pair.run(budget, &what).expect("it is fenced");
            pair.compare_machines(&what);
            if exit == Exit::Wait {
                break;
            }
            assert!(turn < 99, "it never ends");
        }
    }
}
