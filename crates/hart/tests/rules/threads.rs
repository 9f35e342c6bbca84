//! Several harts on several host threads, sharing one RAM.

use std::thread;

use ringer_hart::bus::{irq, request};
use ringer_hart::{Bus, Exit, Hart, Interpreter};
use ringer_isa::asm::Assembler;
use ringer_isa::asm::Ordering::{Acquire, Relaxed, Release};
use ringer_isa::asm::register::*;
use ringer_isa::{Op, csr as number};
use ringer_lockstep::{Machine, assembled};

use crate::rig::{DATA, RAM};

const HARTS: usize = 4;
const ROUNDS: u64 = 20_000;

/// Runs `code` on all harts until they wait; `a0` is the hart's number.
fn run_all(code: Assembler, prepare: impl Fn(&mut Hart) + Sync) -> Machine {
    let machine = Machine::new(RAM, 0x2_0000, HARTS);
    machine.write(RAM, &assembled(code));
    thread::scope(|scope| {
        for id in 0..HARTS {
            let (machine, prepare) = (&machine, &prepare);
            scope.spawn(move || {
                let mut hart = Hart::new(id, RAM);
                hart.x[usize::from(A0.0)] = id as u64;
                prepare(&mut hart);
                let mut interpreter = Interpreter::new();
                for _ in 0..100_000 {
                    if interpreter.run(&mut hart, machine, 10_000) == Exit::Wait {
                        return;
                    }
                }
                panic!("hart {id} is still at {:#x}", hart.pc);
            });
        }
    });
    machine
}

/// `ROUNDS` times what `body` writes, then a wait. `t0` is [`DATA`].
fn repeated(body: impl Fn(&mut Assembler)) -> Assembler {
    let mut code = Assembler::new(RAM);
    code.li(T0, DATA).li(T1, ROUNDS).li(T2, 1);
    let again = code.label_here();
    body(&mut code);
    code.addi(T1, T1, -1).bnez(T1, again).wfi();
    code
}

#[test]
fn amos_lose_nothing() {
    let code = repeated(|code| {
        code.atomic(Op::AmoaddD, A1, T2, T0, Relaxed)
            .addi(A2, T0, 8)
            .atomic(Op::AmoaddW, A1, T2, A2, Relaxed)
            .addi(A2, T0, 17)
            .atomic(Op::AmoaddB, A1, T2, A2, Relaxed)
            .addi(A2, T0, 18)
            .atomic(Op::AmoaddH, A1, T2, A2, Relaxed);
    });
    let machine = run_all(code, |_| {});
    let all = HARTS as u64 * ROUNDS;
    assert_eq!(machine.read_u64(DATA), all);
    assert_eq!(machine.read_u64(DATA + 8), all);
    let narrow = (all & 0xff) << 8 | (all & 0xffff) << 16;
    assert_eq!(machine.read_u64(DATA + 16), narrow);
}

#[test]
fn reservations_lose_nothing() {
    for (lr, sc) in [(Op::LrD, Op::ScD), (Op::LrW, Op::ScW)] {
        let code = repeated(|code| {
            let retry = code.label_here();
            code.atomic(lr, A1, ZERO, T0, Relaxed)
                .addi(A1, A1, 1)
                .atomic(sc, A2, A1, T0, Relaxed)
                .bnez(A2, retry);
        });
        let machine = run_all(code, |_| {});
        assert_eq!(machine.read_u64(DATA), HARTS as u64 * ROUNDS);
    }
}

#[test]
fn a_lock_keeps_plain_accesses_apart() {
    // A spin lock at t0, a plain counter at t0 + 64.
    let code = repeated(|code| {
        let spin = code.label_here();
        code.atomic(Op::AmoswapW, A1, T2, T0, Acquire)
            .bnez(A1, spin)
            .ld(A2, 64, T0)
            .addi(A2, A2, 1)
            .sd(A2, 64, T0)
            .atomic(Op::AmoswapW, ZERO, ZERO, T0, Release);
    });
    let machine = run_all(code, |_| {});
    assert_eq!(machine.read_u64(DATA + 64), HARTS as u64 * ROUNDS);
}

#[test]
fn dirty_bits_set_by_several_harts_survive_each_other() {
    use ringer_isa::pte::Pte;
    // Each hart touches its own page; all entries are in one table, all harts fence each round,
    // and one word of software's bits is counted up in the same entries by AMOs.
    let tables = RAM + 0x1_8000;
    let leaf = Pte::V | Pte::R | Pte::W | Pte::X;
    let code = repeated(|code| {
        code.sd(T1, 0, T3).sfence_vma(T3, ZERO);
    });
    let machine = Machine::new(RAM, 0x2_0000, HARTS);
    machine.write(RAM, &assembled(code));
    // Sv39: a gigapage for the program, and pages at 0x4000_0000.
    machine.write_u64(tables + 16, Pte::new(RAM >> 12, leaf).0);
    machine.write_u64(tables + 8, Pte::new((tables >> 12) + 1, Pte::V).0);
    machine.write_u64(tables + 0x1000, Pte::new((tables >> 12) + 2, Pte::V).0);
    for id in 0..HARTS as u64 {
        let page = (DATA >> 12) + id;
        machine.write_u64(tables + 0x2000 + 8 * id, Pte::new(page, leaf).0);
    }
    thread::scope(|scope| {
        for id in 0..HARTS {
            let machine = &machine;
            scope.spawn(move || {
                let mut hart = Hart::new(id, RAM);
                hart.start_supervisor(RAM, 0);
                hart.csrs.satp = 8 << 60 | tables >> 12;
                hart.x[usize::from(T3.0)] = 0x4000_0000 + 0x1000 * id as u64;
                let mut interpreter = Interpreter::new();
                for _ in 0..1000 {
                    if interpreter.run(&mut hart, machine, 10_000) == Exit::Wait {
                        return;
                    }
                }
                panic!("hart {id} is still at {:#x}", hart.pc);
            });
        }
    });
    for id in 0..HARTS as u64 {
        let entry = Pte(machine.read_u64(tables + 0x2000 + 8 * id));
        assert!(entry.accessed() && entry.dirty(), "{entry:?}");
    }
}

#[test]
fn messages_arrive_by_wire_and_in_order() {
    // Hart 0 writes data, then raises the other's software interrupt by an SSIP that the
    // machine carries; the other waits for it, enabled in mie but not globally.
    let machine = Machine::new(RAM, 0x2_0000, 2);
    let mut code = Assembler::new(RAM);
    code.li(T0, DATA).li(T1, 42).sd(T1, 0, T0).fence();
    code.sd(T1, 8, T0).wfi();
    let receive = code.here();
    code.li(T0, DATA).wfi();
    let spin = code.label_here();
    code.ld(A1, 8, T0)
        .beqz(A1, spin)
        .fence()
        .ld(A2, 0, T0)
        .csrw(number::MIE, ZERO)
        .wfi();
    machine.write(RAM, &assembled(code));
    let received = thread::scope(|scope| {
        let machine = &machine;
        let receiver = scope.spawn(move || {
            let mut hart = Hart::new(1, receive);
            hart.csrs.mie = irq::MSI;
            let mut interpreter = Interpreter::new();
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
            // It waits twice: for the interrupt, and at its end.
            while interpreter.run(&mut hart, machine, 1000) != Exit::Wait || hart.csrs.mie != 0 {
                assert!(std::time::Instant::now() < deadline, "at {:#x}", hart.pc);
            }
            hart.x[usize::from(A2.0)]
        });
        let mut hart = Hart::new(0, RAM);
        let exit = Interpreter::new().run(&mut hart, machine, 1000);
        assert_eq!(exit, Exit::Wait);
        machine.lines(1).raise(irq::MSI);
        receiver.join().expect("the receiver ends")
    });
    assert_eq!(received, 42);
}

#[test]
fn a_request_stops_a_hart_that_loops() {
    let machine = Machine::new(RAM, 0x2_0000, 1);
    machine.write(RAM, &0x6fu32.to_le_bytes()); // jal x0, 0
    let exit = thread::scope(|scope| {
        let machine = &machine;
        let running = scope.spawn(move || {
            let mut hart = Hart::new(0, RAM);
            Interpreter::new().run(&mut hart, machine, u64::MAX)
        });
        thread::sleep(std::time::Duration::from_millis(20));
        machine.lines(0).request(request::YIELD);
        running.join().expect("it stops")
    });
    assert_eq!(exit, Exit::Yield);
}

#[test]
fn a_remote_fence_makes_new_code_run() {
    // The hart calls a function that returns 1 until another thread changes it to return 2.
    let machine = Machine::new(RAM, 0x2_0000, 1);
    let mut code = Assembler::new(RAM);
    code.li(T0, DATA).li(A1, 2);
    let again = code.label_here();
    code.jalr(RA, 0, T0).bne(A0, A1, again).wfi();
    machine.write(RAM, &assembled(code));
    machine.write_u64(DATA, 0x0000_8067_0010_0513); // li a0, 1; ret
    thread::scope(|scope| {
        let machine = &machine;
        let running = scope.spawn(move || {
            let mut hart = Hart::new(0, RAM);
            let mut interpreter = Interpreter::new();
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
            while interpreter.run(&mut hart, machine, 100_000) != Exit::Wait {
                assert!(
                    std::time::Instant::now() < deadline,
                    "never saw the new code"
                );
            }
        });
        thread::sleep(std::time::Duration::from_millis(20));
        machine.write(DATA, &0x0020_0513u32.to_le_bytes());
        machine.lines(0).request(request::FENCE_I);
        running.join().expect("it ends");
    });
}
