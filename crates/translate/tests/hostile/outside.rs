//! What comes from outside while a hart runs in generated code: memory that devices write, and
//! remote fences.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use ringer_hart::bus::request;
use ringer_hart::{Bus, Exit, GuestPhys, Hart};
use ringer_isa::asm::Assembler;
use ringer_isa::asm::register::*;
use ringer_isa::pte::Pte;
use ringer_lockstep::Machine;
use ringer_translate::Translator;

use crate::rig::{self, CODE, LEAF, RAM};

const RAM_LEN: u64 = 0x2_0000;
/// Said to the guest, and by it.
const ASKED: u64 = RAM + 0x4000;
const ANSWERED: u64 = RAM + 0x4040;
const RESULT: u64 = RAM + 0x4048;
/// A function of a whole page.
const FUNCTION: u64 = RAM + 0x6000;
/// Page tables, and two pages of data.
const TABLES: u64 = RAM + 0x1_0000;
const DATA: [u64; 2] = [RAM + 0x8000, RAM + 0x9000];

/// Runs `hart` by one call after the other while `outside` happens.
fn during(machine: &Machine, mut hart: Hart, outside: impl FnOnce()) {
    let over = AtomicBool::new(false);
    /// Ends the hart even if `outside` panics.
    struct End<'a>(&'a AtomicBool, &'a Machine);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
            self.1.lines(0).request(request::YIELD);
        }
    }
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            let mut translator = Translator::new(rig::code()).expect("memory for tables");
            while !over.load(Relaxed) {
                // Without a limit: only what is asked of it ends it.
                let exit = translator.run(&mut hart, machine, u64::MAX);
                assert_eq!(exit, Exit::Yield, "at {:#x}", hart.pc);
            }
        });
        let end = End(&over, machine);
        outside();
        drop(end);
        running.join().expect("the hart runs");
    });
}

/// Waits until the guest has put `value` at `addr`. It is never far from that.
fn wait_for(machine: &Machine, addr: u64, value: u64) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while machine.read_u64(addr) != value {
        assert!(Instant::now() < deadline, "{value:#x} never comes");
        std::thread::yield_now();
    }
}

/// Whenever it is asked, calls [`FUNCTION`] (after `fence.i`, if `fenced`) and answers.
fn caller(fenced: bool) -> Machine {
    let machine = rig::machine(RAM_LEN, 1);
    let mut code = Assembler::new(CODE);
    code.li(S0, ASKED)
        .li(S1, ANSWERED)
        .li(S2, FUNCTION)
        .li(S3, 0);
    let again = code.label_here();
    code.ld(T0, 0, S0).beq(T0, S3, again).mv(S3, T0).fence();
    if fenced {
        code.fence_i();
    }
    code.li(A0, 0)
        .jalr(RA, 0, S2)
        .sd(A0, 8, S1)
        .fence()
        .sd(S3, 0, S1)
        .j(again);
    rig::place(&machine, code);
    // Behind the function's page.
    machine.write(FUNCTION + 0x1000, &0x8067u32.to_le_bytes());
    machine
}

#[test]
fn code_from_a_device_runs_after_a_fence() {
    let machine = caller(true);
    let ram = machine.ram();
    during(&machine, rig::hart(0), || {
        for round in 1..=500u64 {
            let expected = if round % 3 == 0 {
                // A page full of `c.addi a0, 1`.
                ram.fill(GuestPhys(FUNCTION), 0x1000, 5).expect("RAM");
                0x800
            } else {
                let mut code = Assembler::new(FUNCTION);
                code.li(A0, round).ret();
                // Written as a whole, and beginning in the page before.
                let bytes = ringer_lockstep::assembled(code);
                let all = [&[0; 6][..], &bytes].concat();
                ram.write(GuestPhys(FUNCTION - 6), &all).expect("RAM");
                round
            };
            machine.write_u64(ASKED, round);
            wait_for(&machine, ANSWERED, round);
            assert_eq!(machine.read_u64(RESULT), expected, "round {round}");
        }
    });
}

#[test]
fn a_remote_fence_makes_new_code_run() {
    // A loop that calls the function and stores what it returns.
    let machine = rig::machine(RAM_LEN, 1);
    let mut code = Assembler::new(CODE);
    code.li(S1, RESULT).li(S2, FUNCTION);
    let again = code.label_here();
    code.jalr(RA, 0, S2).sd(A0, 0, S1).j(again);
    rig::place(&machine, code);
    let write = |round: u64| machine.write_u64(FUNCTION, 0x0000_8067_0000_0513 | round << 20);
    write(0);
    during(&machine, rig::hart(0), || {
        for round in 1..500 {
            write(round);
            machine.lines(0).request(request::FENCE_I);
            wait_for(&machine, RESULT, round);
        }
    });
}

#[test]
fn a_remote_fence_makes_new_translations_count() {
    // In S-mode: loads from a page that is now here, now there, and so does what it calls.
    let va = 0x4000_0000;
    let machine = rig::machine(RAM_LEN, 1);
    let mut code = Assembler::new(CODE);
    code.li(S1, RESULT).li(S2, va);
    let again = code.label_here();
    code.jalr(RA, 0, S2)
        .ld(T0, 8, S2)
        .slli(T0, T0, 8)
        .or(A0, A0, T0);
    code.sd(A0, 0, S1).j(again);
    rig::place(&machine, code);
    for (page, addr) in (1..).zip(DATA) {
        machine.write_u64(addr, 0x0000_8067_0000_0513 | page << 20); // li a0, page; ret
        machine.write_u64(addr + 8, page);
    }
    let leaf = |addr: u64, flags| Pte::new(addr >> 12, flags).0;
    machine.write_u64(TABLES + 16, leaf(RAM, LEAF));
    machine.write_u64(TABLES + 8, leaf(TABLES + 0x1000, Pte::V));
    machine.write_u64(TABLES + 0x1000, leaf(TABLES + 0x2000, Pte::V));
    machine.write_u64(TABLES + 0x2000, leaf(DATA[0], LEAF));
    let mut hart = rig::hart(0);
    hart.start_supervisor(CODE, 0);
    hart.csrs.satp = 8 << 60 | TABLES >> 12;
    during(&machine, hart, || {
        for round in 0..500 {
            let page = round % 2;
            machine.write_u64(TABLES + 0x2000, leaf(DATA[page], LEAF));
            machine.lines(0).request(request::FENCE_VMA);
            wait_for(&machine, RESULT, 0x101 * (page as u64 + 1));
        }
    });
}

/// A hart that loops in generated code takes an interrupt that comes from outside.
#[test]
fn a_wire_is_seen() {
    let machine = rig::machine(RAM_LEN, 1);
    let mut code = Assembler::new(CODE);
    let again = code.label_here();
    code.addi(A1, A1, 1).j(again);
    code.align(4);
    let handler = code.here();
    // Counts, and turns further interrupts off until it is asked for more.
    code.addi(A0, A0, 1).sd(A0, 0, S1).li(T0, ASKED);
    let spin = code.label_here();
    code.ld(T1, 0, T0)
        .bltu(T1, A0, spin)
        .op(ringer_isa::Op::Mret);
    rig::place(&machine, code);
    let mut hart = rig::hart(0);
    hart.x[usize::from(S1.0)] = ANSWERED;
    hart.csrs.mtvec = handler;
    hart.csrs.mie = ringer_hart::bus::irq::MSI;
    hart.csrs.mstatus |= ringer_hart::csr::mstatus::MIE;
    during(&machine, hart, || {
        for round in 1..500 {
            machine.lines(0).raise(ringer_hart::bus::irq::MSI);
            wait_for(&machine, ANSWERED, round);
            machine.lines(0).lower(ringer_hart::bus::irq::MSI);
            machine.write_u64(ASKED, round);
        }
    });
}
