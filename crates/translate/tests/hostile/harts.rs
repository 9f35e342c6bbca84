//! Several harts at once, on one code cache: messages, counters, locks, and code that one writes
//! and another runs.

use ringer_isa::Op;
use ringer_isa::asm::Ordering::{Acquire, Relaxed, Release};
use ringer_isa::asm::register::*;
use ringer_isa::asm::{Assembler, Label, X};
use ringer_lockstep::Machine;

use crate::rig::{self, CODE, RAM, run_all_on, small_code};

/// Where harts talk to each other: words in lines of their own.
const TALK: u64 = RAM + 0x1_0000;
const DATA: u64 = RAM + 0x2_0000;
/// Room for code that is always enough, and that hardly ever is.
const AMPLE: usize = 64 << 20;
const TINY: usize = 0;

/// Rounds in which code changes: fewer where translating takes most of the time.
fn rounds(code_bytes: usize) -> u64 {
    if code_bytes == TINY { 200 } else { 1500 }
}

/// Each hart's program.
const PROGRAM: u64 = 0x1000;

/// Machine with a program for each hart; `a0` is its number, `s0` is [`TALK`], `s11` is 0.
fn programs(len: u64, harts: usize, write: impl Fn(u64, &mut Assembler)) -> Machine {
    let machine = rig::machine(len, harts);
    for id in 0..harts as u64 {
        let mut code = Assembler::new(CODE + id * PROGRAM);
        code.li(A0, id).li(S0, TALK).li(S11, 0);
        write(id, &mut code);
        rig::place(&machine, code);
    }
    machine
}

/// Runs the programs: all must get through their rounds, without a mistake noticed.
fn run(machine: &Machine, harts: usize, rounds: u64) {
    run_in(AMPLE, machine, harts, rounds);
}

/// As [`run`], with this room for code.
fn run_in(code_bytes: usize, machine: &Machine, harts: usize, rounds: u64) {
    let start = |id: usize| {
        let mut hart = rig::hart(id);
        hart.pc = CODE + id as u64 * PROGRAM;
        hart
    };
    let code = small_code(harts, code_bytes);
    for hart in run_all_on(&code, machine, (0..harts).map(start).collect()) {
        let ended = (hart.x[usize::from(S11.0)], hart.x[usize::from(S1.0)]);
        assert_eq!(ended, (0, rounds), "hart {}: mistake, round", hart.id);
    }
}

/// Spins until the word at `offset` from `s0` is `value` or more; then what follows is ordered.
/// The loop is slow, so that a hart stays in it, in generated code, for long.
fn wait_for(code: &mut Assembler, offset: i32, value: X) {
    let spin = code.label_here();
    for _ in 0..8 {
        code.fence();
    }
    code.ld(T6, offset, S0).blt(T6, value, spin).fence();
}

/// Says `value` at `offset` from `s0`, after all that went before.
fn say(code: &mut Assembler, offset: i32, value: X) {
    code.fence().sd(value, offset, S0);
}

/// Notes `what` in `s11` and ends if the registers differ.
fn check_equal(code: &mut Assembler, a: X, b: X, what: u64) {
    let fine = code.label();
    code.beq(a, b, fine).li(S11, what).wfi().bind(fine);
}

/// `again` for as long as `s1`, one more each time, is below `rounds`; then waits.
fn end_round(code: &mut Assembler, again: Label, rounds: u64) {
    code.addi(S1, S1, 1).li(T6, rounds).bne(S1, T6, again).wfi();
}

/// `t0` becomes `li a0, s1 + plus; ret`, for numbers below 2048.
fn function_of_round(code: &mut Assembler, plus: i32) {
    code.addi(T0, S1, plus).slli(T0, T0, 53).srli(T0, T0, 33);
    code.li(T1, 0x0000_8067_0000_0513).add(T0, T0, T1);
}

/// What that function returns.
fn value_of_round(code: &mut Assembler, rd: X, plus: i32) {
    code.addi(rd, S1, plus).andi(rd, rd, 0x7ff);
}

#[test]
fn one_hart_writes_code_and_others_run_it() {
    one_writes_and_others_run(AMPLE);
}

#[test]
fn one_hart_writes_code_and_others_run_it_where_no_code_stays() {
    one_writes_and_others_run(TINY);
}

fn one_writes_and_others_run(code_bytes: usize) {
    const HARTS: u64 = 3;
    let rounds = rounds(code_bytes);
    // The function moves through a few places in two pages, and is new in each round.
    let machine = programs(0x4_0000, HARTS as usize, |id, code| {
        code.li(S1, 1);
        let again = code.label_here();
        code.andi(S2, S1, 3)
            .slli(S2, S2, 10)
            .li(T1, DATA)
            .add(S2, S2, T1);
        if id == 0 {
            function_of_round(code, 0);
            code.sd(T0, 0, S2);
            say(code, 0, S1);
            for other in 1..HARTS {
                wait_for(code, 64 * other as i32, S1);
            }
        } else {
            wait_for(code, 0, S1);
            code.fence_i().jalr(RA, 0, S2);
            value_of_round(code, T1, 0);
            check_equal(code, A0, T1, 1);
            say(code, 64 * id as i32, S1);
        }
        end_round(code, again, rounds);
    });
    run_in(code_bytes, &machine, HARTS as usize, rounds);
}

/// In each round hart 0 writes a function to a fresh page, hart 1 runs it, hart 0 changes it
/// (perhaps leaving its run loop afterwards), and both run it again, each after its own
/// `fence.i`. Hart 0 begins to store to the page before that holds code, and goes on when it
/// does: stores that it had no reason to note must not be lost.
fn fresh_pages(leave: bool, by_writer: bool) {
    for code_bytes in [AMPLE, TINY] {
        fresh_pages_in(code_bytes, leave, by_writer);
    }
}

fn fresh_pages_in(code_bytes: usize, leave: bool, by_writer: bool) {
    let rounds = rounds(code_bytes);
    let machine = programs(0x2_0000 + rounds * 0x1000, 2, |id, code| {
        code.li(S1, 0).li(S2, DATA).li(S3, 1);
        let again = code.label_here();
        // Numbers of messages: three for each round.
        if id == 0 {
            function_of_round(code, 0);
            code.sd(T0, 0, S2);
            say(code, 0, S3);
            code.addi(S3, S3, 1);
            wait_for(code, 64, S3);
            function_of_round(code, 7);
            code.sd(T0, 0, S2);
            if leave {
                code.pause();
            }
            if by_writer {
                code.fence_i().jalr(RA, 0, S2);
                value_of_round(code, T1, 7);
                check_equal(code, A0, T1, 1);
            }
            code.addi(S3, S3, 1);
            say(code, 0, S3);
            wait_for(code, 64, S3);
        } else {
            wait_for(code, 0, S3);
            code.fence_i().jalr(RA, 0, S2);
            value_of_round(code, T1, 0);
            check_equal(code, A0, T1, 2);
            code.addi(S3, S3, 1);
            say(code, 64, S3);
            code.addi(S3, S3, 1);
            wait_for(code, 0, S3);
            code.fence_i().jalr(RA, 0, S2);
            value_of_round(code, T1, 7);
            check_equal(code, A0, T1, 3);
            say(code, 64, S3);
        }
        code.addi(S3, S3, 1).li(T1, 0x1000).add(S2, S2, T1);
        end_round(code, again, rounds);
    });
    run_in(code_bytes, &machine, 2, rounds);
}

#[test]
fn code_changed_before_its_writer_knows_that_it_is_code() {
    fresh_pages(false, false);
}

#[test]
fn code_changed_before_its_writer_knows_and_run_by_the_writer() {
    fresh_pages(false, true);
}

#[test]
fn code_changed_before_its_writer_hears_of_it() {
    fresh_pages(true, false);
    fresh_pages(true, true);
}

const COUNT: u64 = 100_000;

/// [`COUNT`] times what `body` writes, on four harts; `t0` is [`DATA`], `t2` is 1.
fn counted(body: impl Fn(&mut Assembler)) -> Machine {
    let machine = programs(0x4_0000, 4, |_, code| {
        code.li(T0, DATA).li(S1, 0).li(T2, 1);
        let again = code.label_here();
        body(code);
        end_round(code, again, COUNT);
    });
    run(&machine, 4, COUNT);
    machine
}

#[test]
fn amos_lose_nothing() {
    let machine = counted(|code| {
        code.atomic(Op::AmoaddD, A1, T2, T0, Relaxed);
        code.addi(A2, T0, 8)
            .atomic(Op::AmoaddW, ZERO, T2, A2, Relaxed);
        // Each hart turns its own bit on and off again, an odd number of times all in all.
        code.li(T4, 1).sll(T4, T4, A0);
        code.addi(A2, T0, 16)
            .atomic(Op::AmoxorD, A1, T4, A2, Relaxed);
        code.atomic(Op::AmoorD, A1, T4, A2, Relaxed);
        code.xori(T5, T4, -1)
            .atomic(Op::AmoandD, A1, T5, A2, Relaxed);
        code.addi(A2, T0, 24)
            .atomic(Op::AmomaxuD, A1, S1, A2, Relaxed);
        code.sub(T5, ZERO, S1).addi(A2, T0, 32);
        code.atomic(Op::AmominW, A1, T5, A2, Relaxed);
    });
    let values: Vec<u64> = (0..5).map(|at| machine.read_u64(DATA + 8 * at)).collect();
    let least = u64::from((COUNT as u32 - 1).wrapping_neg());
    assert_eq!(values, [4 * COUNT, 4 * COUNT, 0, COUNT - 1, least]);
}

#[test]
fn reservations_lose_nothing() {
    for (lr, sc) in [(Op::LrD, Op::ScD), (Op::LrW, Op::ScW)] {
        let machine = counted(|code| {
            let retry = code.label_here();
            code.atomic(lr, A1, ZERO, T0, Relaxed).addi(A1, A1, 1);
            code.atomic(sc, A2, A1, T0, Relaxed).bnez(A2, retry);
        });
        assert_eq!(machine.read_u64(DATA), 4 * COUNT);
    }
}

#[test]
fn a_lock_keeps_plain_accesses_apart() {
    let machine = counted(|code| {
        let spin = code.label_here();
        code.atomic(Op::AmoswapW, A1, T2, T0, Acquire)
            .bnez(A1, spin);
        code.ld(A2, 64, T0).addi(A2, A2, 1).sd(A2, 64, T0);
        code.atomic(Op::AmoswapW, ZERO, ZERO, T0, Release);
    });
    assert_eq!(machine.read_u64(DATA + 64), 4 * COUNT);
}

#[test]
fn a_fence_between_a_store_and_a_load_keeps_their_order() {
    // Each of two harts stores to its own place and loads the other's: not both may see nothing.
    const ROUNDS: u64 = 0x4000;
    const LEN: u64 = ROUNDS * 64;
    let results = [DATA + 2 * LEN, DATA + 2 * LEN + 8 * ROUNDS];
    let machine = programs(0x10_0000 + 2 * LEN, 2, |id, code| {
        let other = 1 - id;
        code.li(S1, 0)
            .li(S2, DATA + id * LEN)
            .li(S3, DATA + other * LEN);
        code.li(S4, results[id as usize]);
        let again = code.label_here();
        // Both begin the round together.
        code.sd(S1, 64 * id as i32, S0);
        let spin = code.label_here();
        code.ld(T6, 64 * other as i32, S0).blt(T6, S1, spin);
        code.li(T1, 1)
            .sd(T1, 0, S2)
            .fence()
            .ld(T2, 0, S3)
            .sd(T2, 0, S4);
        code.addi(S2, S2, 64).addi(S3, S3, 64).addi(S4, S4, 8);
        end_round(code, again, ROUNDS);
    });
    run(&machine, 2, ROUNDS);
    for round in 0..ROUNDS {
        let seen = results.map(|at| machine.read_u64(at + 8 * round));
        assert_ne!(seen, [0, 0], "round {round}");
    }
}

#[test]
fn messages_arrive_in_order() {
    const ROUNDS: u64 = 0x1_0000;
    let machine = programs(0x2_0000 + 16 * ROUNDS, 2, |id, code| {
        code.li(S1, 1).li(S2, DATA);
        let again = code.label_here();
        if id == 0 {
            code.slli(T1, S1, 3).add(T1, T1, S2).sd(S1, 0, T1);
            say(code, 0, S1);
        } else {
            // Whatever number was said, what it says must be there.
            code.ld(S3, 0, S0).fence();
            code.slli(T1, S3, 3).add(T1, T1, S2).ld(T2, 0, T1);
            check_equal(code, T2, S3, 1);
        }
        end_round(code, again, ROUNDS);
    });
    run(&machine, 2, ROUNDS);
}
