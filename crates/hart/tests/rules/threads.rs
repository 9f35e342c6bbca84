//! Several harts on several host threads, sharing one RAM.

use std::thread;

use ringer_hart::bus::{irq, request};
use ringer_hart::{Bus, Exit, Hart, Interpreter};
use ringer_isa::{Op, csr as number};
use ringer_lockstep::code::reg::*;
use ringer_lockstep::{Code, Machine};

use crate::rig::{DATA, RAM};

const HARTS: usize = 4;
const ROUNDS: u64 = 20_000;

/// Runs `code` on all harts until they wait; `a0` is the hart's number.
fn run_all(code: &Code, prepare: impl Fn(&mut Hart) + Sync) -> Machine {
    let machine = Machine::new(RAM, 0x2_0000, HARTS);
    machine.write(code.base(), code.bytes());
    thread::scope(|scope| {
        for id in 0..HARTS {
            let (machine, prepare) = (&machine, &prepare);
            scope.spawn(move || {
                let mut hart = Hart::new(id, RAM);
                hart.x[usize::from(A0)] = id as u64;
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
fn repeated(body: impl Fn(&mut Code)) -> Code {
    let mut code = Code::at(RAM);
    code.li(T0, DATA).li(T1, ROUNDS).li(T2, 1);
    let again = code.here();
    body(&mut code);
    code.i(Op::Addi, T1, T1, -1)
        .branch(Op::Bne, T1, ZERO, again)
        .op(Op::Wfi);
    code
}

#[test]
fn amos_lose_nothing() {
    let code = repeated(|code| {
        code.r(Op::AmoaddD, A1, T0, T2)
            .i(Op::Addi, A2, T0, 8)
            .r(Op::AmoaddW, A1, A2, T2)
            .i(Op::Addi, A2, T0, 17)
            .r(Op::AmoaddB, A1, A2, T2)
            .i(Op::Addi, A2, T0, 18)
            .r(Op::AmoaddH, A1, A2, T2);
    });
    let machine = run_all(&code, |_| {});
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
            let retry = code.here();
            code.r(lr, A1, T0, ZERO)
                .i(Op::Addi, A1, A1, 1)
                .r(sc, A2, T0, A1)
                .branch(Op::Bne, A2, ZERO, retry);
        });
        let machine = run_all(&code, |_| {});
        assert_eq!(machine.read_u64(DATA), HARTS as u64 * ROUNDS);
    }
}

#[test]
fn a_lock_keeps_plain_accesses_apart() {
    // A spin lock at t0, a plain counter at t0 + 64.
    let code = repeated(|code| {
        let spin = code.here();
        code.insn(ringer_isa::Insn {
            rd: A1,
            rs1: T0,
            rs2: T2,
            rm: 2, // acquire
            ..ringer_lockstep::code::plain(Op::AmoswapW)
        })
        .branch(Op::Bne, A1, ZERO, spin)
        .i(Op::Ld, A2, T0, 64)
        .i(Op::Addi, A2, A2, 1)
        .store(Op::Sd, A2, T0, 64)
        .insn(ringer_isa::Insn {
            rs1: T0,
            rm: 1, // release
            ..ringer_lockstep::code::plain(Op::AmoswapW)
        });
    });
    let machine = run_all(&code, |_| {});
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
        code.store(Op::Sd, T1, T3, 0).r(Op::SfenceVma, 0, T3, ZERO);
    });
    let machine = Machine::new(RAM, 0x2_0000, HARTS);
    machine.write(code.base(), code.bytes());
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
                hart.x[usize::from(T3)] = 0x4000_0000 + 0x1000 * id as u64;
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
    let mut code = Code::at(RAM);
    code.li(T0, DATA)
        .li(T1, 42)
        .store(Op::Sd, T1, T0, 0)
        .op(Op::Fence);
    code.store(Op::Sd, T1, T0, 8).op(Op::Wfi);
    let receive = code.here();
    code.li(T0, DATA).op(Op::Wfi);
    let spin = code.here();
    code.i(Op::Ld, A1, T0, 8)
        .branch(Op::Beq, A1, ZERO, spin)
        .op(Op::Fence)
        .i(Op::Ld, A2, T0, 0)
        .csrw(number::MIE, ZERO)
        .op(Op::Wfi);
    machine.write(code.base(), code.bytes());
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
            hart.x[usize::from(A2)]
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
    let mut code = Code::at(RAM);
    code.li(T0, DATA).li(A1, 2);
    let again = code.here();
    code.i(Op::Jalr, RA, T0, 0)
        .branch(Op::Bne, A0, A1, again)
        .op(Op::Wfi);
    machine.write(code.base(), code.bytes());
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
