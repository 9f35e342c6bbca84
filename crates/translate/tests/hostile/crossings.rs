//! A program and its kernel that go to and fro all the time, in two address spaces, with every
//! write of the status in between, and interrupts that become pending and enabled anywhere.

use ringer_hart::csr::mstatus;
use ringer_hart::{Bus, Exit, Hart, Mode};
use ringer_isa::asm::register::*;
use ringer_isa::asm::{Assembler, Ordering};
use ringer_isa::pte::Pte;
use ringer_isa::{Op, csr as number};
use ringer_lockstep::{Machine, Random};

use crate::rig::{self, LEAF, Pair, RAM};

const RAM_LEN: u64 = 0x40_0000;
/// Three tables for each of two address spaces.
const TABLES: u64 = RAM + 0x10_0000;
/// S-mode's handler, in a page of its own.
const KERNEL: u64 = RAM + 0x3000;
/// The program's code.
const PROGRAM: u64 = RAM + 0x5000;
/// Data: of the program, of the kernel, and pages that may only be executed.
const USER_DATA: u64 = RAM + 0x7000;
const KERNEL_DATA: u64 = RAM + 0x8000;
const USER_EXECUTED: u64 = RAM + 0x9000;
const KERNEL_EXECUTED: u64 = RAM + 0xa000;
/// What the second address space has in place of the program's data.
const OTHER_DATA: u64 = RAM + 0xb000;

/// Registers that hold the addresses of the four pages, and what the two values of `satp` differ
/// by.
const PAGES: [X; 4] = [S0, S1, S4, S5];
const BOTH_ROOTS: X = S6;
/// Registers that hold anything.
const ANY: [X; 6] = [A0, A1, A2, A3, A4, A5];

fn table(space: u64, level: u64) -> u64 {
    TABLES + 0x1000 * (3 * space + level)
}

fn root(space: u64) -> u64 {
    8 << 60 | (space + 1) << 44 | table(space, 0) >> 12
}

fn machine(restless: bool) -> Machine {
    let mut machine = rig::machine(RAM_LEN, 1);
    machine.restless = restless;
    machine.write_u64(OTHER_DATA + 32, 1);
    for space in 0..2 {
        let pointer = |level| Pte::new(table(space, level) >> 12, Pte::V).0;
        machine.write_u64(table(space, 0) + 16, pointer(1));
        machine.write_u64(table(space, 1), pointer(2));
        for page in 0..16 {
            let va = RAM + 0x1000 * page;
            let at = if space == 1 && va == USER_DATA {
                OTHER_DATA
            } else {
                va
            };
            let flags = match va {
                PROGRAM | USER_DATA => LEAF | Pte::U,
                USER_EXECUTED => LEAF & !(Pte::R | Pte::W) | Pte::U,
                KERNEL_EXECUTED => LEAF & !(Pte::R | Pte::W),
                _ => LEAF | Pte::G,
            };
            machine.write_u64(table(space, 2) + 8 * page, Pte::new(at >> 12, flags).0);
        }
    }
    machine
}

fn hart(random: &mut Random) -> Hart {
    let mut hart = rig::hart(0);
    hart.start_supervisor(PROGRAM, 0);
    hart.services.sbi = false;
    hart.mode = Mode::U;
    hart.csrs.stvec = KERNEL;
    hart.csrs.satp = root(0);
    hart.csrs.mie = 0x222;
    let usual = mstatus::FS | mstatus::SPIE;
    let rare = mstatus::TSR | mstatus::TVM | mstatus::MXR | mstatus::SUM | mstatus::SIE;
    hart.csrs.mstatus |= usual | random.bits() & random.bits() & random.bits() & rare;
    if random.one_in(8) {
        // Data is reached as by the mode of MPP, which is U.
        hart.csrs.mstatus |= mstatus::MPRV;
    }
    if random.one_in(8) {
        // Interrupts that belong to M-mode, which waits for ever.
        hart.csrs.mideleg &= random.bits();
    }
    let pages = [USER_DATA, KERNEL_DATA, USER_EXECUTED, KERNEL_EXECUTED];
    for (register, page) in PAGES.into_iter().zip(pages) {
        hart.x[usize::from(register.0)] = page;
    }
    hart.x[usize::from(BOTH_ROOTS.0)] = root(0) ^ root(1);
    hart.f = std::array::from_fn(|at| (at as f64 / 3.0).to_bits());
    hart
}

/// An instruction that depends on the status.
fn dependent(code: &mut Assembler, random: &mut Random) {
    let (page, any) = (random.pick(&PAGES), random.pick(&ANY));
    let at = 8 * random.below(4) as i32;
    match random.below(8) {
        0..=2 => code.ld(any, at, page),
        3 | 4 => code.sd(any, at, page),
        5 => code.csrr(any, random.pick(&[number::FFLAGS, number::FCSR])),
        6 => code.store(Op::Fsd, FA0, at, page),
        _ => {
            let op = random.pick(&[Op::FdivD, Op::FaddD, Op::FmulD]);
            code.r(op, FA0, FA1, F(random.below(32) as u8))
        }
    };
}

/// A write of the status, of any kind; SPP stays clear, so that the kernel knows where it is.
fn write_status(code: &mut Assembler, random: &mut Random) {
    let fields = mstatus::SIE | mstatus::SPIE | mstatus::FS | mstatus::SUM;
    let mut value = random.pick(&[
        mstatus::SUM,
        mstatus::SUM,
        mstatus::FS,
        mstatus::SUM | mstatus::FS,
        random.clone().bits() & fields,
    ]);
    if random.one_in(10) {
        value |= mstatus::MXR;
    }
    let rd = if random.one_in(2) {
        ZERO
    } else {
        random.pick(&ANY)
    };
    let rs1 = random.pick(&ANY);
    match random.below(8) {
        0 | 1 => {
            let op = random.pick(&[Op::Csrrwi, Op::Csrrsi, Op::Csrrci]);
            code.csr_immediate(op, rd, number::SSTATUS, random.pick(&[2, 2, 2, 0, 3]))
        }
        2 => code
            .csrr(rs1, number::SSTATUS)
            .csr(Op::Csrrw, rd, number::SSTATUS, rs1),
        3 => code.li(rs1, value).csr(Op::Csrrw, rd, number::SSTATUS, rs1),
        4 | 5 => code.li(rs1, value).csr(Op::Csrrs, rd, number::SSTATUS, rs1),
        _ => code
            .li(rs1, value | mstatus::SPP)
            .csr(Op::Csrrc, rd, number::SSTATUS, rs1),
    };
}

/// Allows something and forbids it again, as kernels do around what they do for programs.
fn allow_and_forbid(code: &mut Assembler, random: &mut Random) {
    let field = random.pick(&[mstatus::SUM, mstatus::FS]);
    let mut use_it = |code: &mut Assembler| {
        let any = random.pick(&ANY);
        match (field, random.below(3)) {
            (mstatus::SUM, 0) => code.sd(any, 0, S0),
            (mstatus::SUM, _) => code.ld(any, 0, S0),
            (_, 0) => code.r(Op::FdivD, FA0, FA1, FA2),
            (_, 1) => code.store(Op::Fsd, FA0, 0, S1),
            _ => code.csrr(any, number::FFLAGS),
        };
    };
    code.li(T5, field);
    for op in [Op::Csrrs, Op::Csrrc, Op::Csrrs, Op::Csrrc] {
        code.csr(op, ZERO, number::SSTATUS, T5);
        use_it(code);
        use_it(code);
    }
}

/// To the other address space.
fn change_space(code: &mut Assembler) {
    code.csrr(T5, number::SATP)
        .xor(T5, T5, BOTH_ROOTS)
        .csrw(number::SATP, T5);
}

/// The kernel: interrupts are silenced, what faults is skipped, and a call does things.
fn kernel(random: &mut Random) -> Assembler {
    let mut code = Assembler::new(KERNEL);
    let (interrupt, call) = (code.label(), code.label());
    code.csrr(T6, number::SCAUSE)
        .blt(T6, ZERO, interrupt)
        .addi(T6, T6, -8)
        .beqz(T6, call)
        .csrr(T6, number::SEPC)
        .addi(T6, T6, 4)
        .csrw(number::SEPC, T6)
        .sret();
    code.bind(interrupt)
        .csrci(number::SIP, 2)
        .li(T6, u64::MAX)
        .csrw(number::STIMECMP, T6)
        .addi(S8, S8, 1)
        .sret();

    code.bind(call)
        .csrr(S2, number::SEPC)
        .csrr(S3, number::SSTATUS);
    // Some do nothing but change the address space, so that all there are stay known.
    let parts = if random.one_in(4) {
        change_space(&mut code);
        0
    } else {
        random.below(8)
    };
    for _ in 0..parts {
        match random.below(16) {
            0 => {
                code.csrsi(number::SIP, 2);
            }
            1 => {
                code.csrr(T5, number::TIME)
                    .addi(T5, T5, random.below(6) as i32)
                    .csrw(number::STIMECMP, T5);
            }
            2 => change_space(&mut code),
            3 => {
                let bits = random.bits();
                code.li(T5, bits & 0x222).csrw(number::SIE, T5);
            }
            4 => allow_and_forbid(&mut code, random),
            5..=8 => write_status(&mut code, random),
            _ => dependent(&mut code, random),
        }
    }
    // Nothing may come between from here on.
    code.csrci(number::SSTATUS, 2)
        .addi(S2, S2, 4)
        .csrw(number::SEPC, S2);
    if random.one_in(2) {
        code.csrw(number::SSTATUS, S3);
    } else {
        let bits = random.bits() & (mstatus::SPIE | mstatus::SUM | mstatus::FS);
        code.li(T6, bits).csrs(number::SSTATUS, T6);
    }
    // Under TSR it goes no further.
    code.sret().wfi();
    code
}

/// The program: calls the kernel, and does things itself.
fn program(random: &mut Random) -> Assembler {
    let mut code = Assembler::new(PROGRAM);
    let again = code.label_here();
    // An odd number: each call comes from both address spaces, by turns.
    for _ in 0..3 {
        let reserves = random.one_in(4);
        if reserves {
            code.atomic(Op::LrD, A1, ZERO, S0, Ordering::default());
        }
        code.ecall();
        if reserves {
            code.atomic(Op::ScD, A1, A2, S0, Ordering::default());
        }
        // Which address space is this?
        code.ld(A6, 32, S0);
        for _ in 0..random.below(4) {
            dependent(&mut code, random);
        }
    }
    code.j(again);
    code
}

#[test]
fn calls_and_returns_are_as_defined() {
    // How often programs called, and kernels went back to where they came from, and how much of
    // that was left to the definition.
    let (mut calls, mut returns, mut left) = (0, 0, [0; 2]);
    for seed in 0..80 {
        let mut random = Random::new(seed);
        let restless = random.one_in(4);
        let (kernel, program) = (kernel(&mut random), program(&mut random));
        let bytes = [kernel, program].map(|code| (code.base(), ringer_lockstep::assembled(code)));
        let hart = hart(&mut random);
        let start = || {
            let machine = machine(restless);
            for (base, bytes) in &bytes {
                machine.write(*base, bytes);
            }
            (machine, hart.clone())
        };
        let mut pair = Pair::new(rig::code(), start);
        for turn in 0..40 {
            let what = || format!("seed {seed}, turn {turn}");
            let ticks = random.below(4);
            let raised = if random.one_in(8) { 2 } else { 0 };
            pair.machines(|machine| {
                machine.set_time(machine.time().wrapping_add(ticks));
                machine.lines(0).raise(raised);
            });
            let budget = 1 + random.below(400);
            if pair.run(budget, &what).expect("no code is changed") == Exit::Wait {
                break;
            }
        }
        pair.compare_machines(&|| format!("seed {seed}"));
        if !restless {
            let counts = &pair.defined.1.counts;
            calls += counts.exceptions[8];
            returns += counts.exceptions_total() + counts.interrupts_total();
            for (op, count) in pair.translator.fallbacks() {
                match op {
                    Op::Ecall => left[0] += count,
                    Op::Sret => left[1] += count,
                    _ => {}
                }
            }
        }
    }
    // Generated code does all but the first after a change of `satp`, and returns to S-mode.
    println!("{calls} calls and {returns} returns; left to the definition: {left:?}");
    assert!(calls > 2000 && left[0] < calls / 4);
    assert!(left[1] < returns - calls / 2);
}
