//! The fixed parts of a generated program: prologue, trap handlers, the end.

use ringer_isa::asm::Assembler;
use ringer_isa::asm::register::{F, X, ZERO};
use ringer_isa::{Op, csr};
use ringer_machine::memory_map;

use super::layout;
use super::register as r;

/// A trap handler for each mode, which logs the trap and goes on behind the instruction.
struct Rules {
    status: u16,
    cause: u16,
    pc: u16,
    value: u16,
    enable: u16,
    /// Where in the kept words this mode's log pointer is.
    kept: i32,
}

const MACHINE: Rules = Rules {
    status: csr::MSTATUS,
    cause: csr::MCAUSE,
    pc: csr::MEPC,
    value: csr::MTVAL,
    enable: csr::MIE,
    kept: 0,
};
const SUPERVISOR: Rules = Rules {
    status: csr::SSTATUS,
    cause: csr::SCAUSE,
    pc: csr::SEPC,
    value: csr::STVAL,
    enable: csr::SIE,
    kept: 16,
};

/// Where the first hart's `mtimecmp` is.
const MTIMECMP: u64 = memory_map::ACLINT.base.0 + 0x4000;
/// MPRV, as the operand of `lui`.
const MPRV: i32 = 1 << 17;
/// MPP, both bits.
const MPP: u64 = 3 << 11;

/// The prologue: handlers in place, all memory open by the last PMP entry, registers loaded.
/// `setup` are CSRs with the values to write before `mstatus`.
pub fn prologue(setup: &[(u16, u64)]) -> Vec<u8> {
    let mut code = Assembler::new(layout::BASE);
    for &(number, value) in setup {
        code.li(r::SCRATCH, value);
        code.csrw(number, r::SCRATCH);
    }
    // After a reset QEMU's timer is due.
    code.li(r::SCRATCH, MTIMECMP);
    code.li(r::OTHER, u64::MAX);
    code.sd(r::OTHER, 0, r::SCRATCH);
    // The floating-point unit must be on for its registers to be loaded.
    code.li(r::SCRATCH, 3 << 13);
    code.csrw(csr::MSTATUS, r::SCRATCH);
    code.csrw(csr::FCSR, ZERO);
    let registers = code.label_at(layout::REGISTERS);
    code.la(r::KEPT, registers);
    for index in 0..32 {
        code.load(Op::Fld, F(index), 256 + 8 * i32::from(index), r::KEPT);
    }
    for index in 1..r::KEPT.0 {
        code.ld(X(index), 8 * i32::from(index), r::KEPT);
    }
    let (kept, body) = (code.label_at(layout::KEPT), code.label_at(layout::BODY));
    code.la(r::KEPT, kept);
    code.la(r::RECOVERY, body);
    code.jalr(ZERO, 0, r::RECOVERY);
    finish(code)
}

/// The end: turns on the spot.
pub fn end() -> Vec<u8> {
    let mut code = Assembler::new(layout::END);
    let here = code.label_here();
    code.j(here);
    finish(code)
}

/// Jumps for vectored mode, all to what comes after them.
fn vectors(code: &mut Assembler) {
    let handler = code.label();
    for _ in 0..16 {
        code.j(handler);
    }
    code.bind(handler);
}

/// Writes the trap down; leaves the log's next place in SCRATCH and its end in OTHER.
fn log(code: &mut Assembler, rules: &Rules) {
    code.ld(r::SCRATCH, rules.kept, r::KEPT);
    code.sd(r::OTHER, 0, r::SCRATCH);
    // The value of an illegal instruction is left out: QEMU has it wrong for `mret`.
    code.csrr(r::OTHER, rules.cause);
    code.sd(r::OTHER, 8, r::SCRATCH);
    code.addi(r::OTHER, r::OTHER, -2);
    let legal = code.label();
    code.bnez(r::OTHER, legal);
    code.csrw(rules.value, ZERO);
    code.bind(legal);
    for (index, number) in [rules.pc, rules.value].into_iter().enumerate() {
        code.csrr(r::OTHER, number);
        code.sd(r::OTHER, 16 + 8 * index as i32, r::SCRATCH);
    }
    code.addi(r::SCRATCH, r::SCRATCH, 32);
    code.sd(r::SCRATCH, rules.kept, r::KEPT);
    code.ld(r::OTHER, rules.kept + 8, r::KEPT);
}

/// `register` as a physical address in the image, whichever alias it was. Uses `other`.
fn physical(code: &mut Assembler, register: X, other: X) {
    code.andi(register, register, -2);
    code.slli(register, register, 40);
    code.srli(register, register, 40);
    code.addi(other, ZERO, 1);
    code.slli(other, other, 31);
    code.or(register, register, other);
}

/// Moves the saved program counter past the instruction there, and returns by `ret`.
fn skip(code: &mut Assembler, rules: &Rules, ret: Op) {
    code.csrr(r::SCRATCH, rules.pc);
    physical(code, r::SCRATCH, r::OTHER);
    code.lhu(r::SCRATCH, 0, r::SCRATCH);
    code.andi(r::SCRATCH, r::SCRATCH, 3);
    code.sltiu(r::SCRATCH, r::SCRATCH, 3);
    code.xori(r::SCRATCH, r::SCRATCH, 1);
    code.slli(r::SCRATCH, r::SCRATCH, 1);
    code.addi(r::SCRATCH, r::SCRATCH, 2);
    code.csrr(r::OTHER, rules.pc);
    code.add(r::OTHER, r::OTHER, r::SCRATCH);
    code.csrw(rules.pc, r::OTHER);
    code.op(ret);
}

/// Interrupts are logged and turned off. Expects the cause in OTHER.
fn interrupt(code: &mut Assembler, rules: &Rules, ret: Op) {
    let exception = code.label();
    code.bge(r::OTHER, ZERO, exception);
    code.csrw(rules.enable, ZERO);
    code.op(ret);
    code.bind(exception);
}

/// M-mode's handler. An `ecall` goes on behind itself in M-mode, a failed fetch at RECOVERY.
pub fn machine() -> Vec<u8> {
    let mut code = Assembler::new(layout::MACHINE_HANDLER);
    let rules = &MACHINE;
    vectors(&mut code);
    // Loads and stores must be M-mode's own from here on.
    code.lui(r::OTHER, MPRV);
    code.csrrc(r::OTHER, csr::MSTATUS, r::OTHER);
    log(&mut code, rules);
    let end = code.label_at(layout::END);
    let room = code.label();
    code.bltu(r::SCRATCH, r::OTHER, room).j(end);
    code.bind(room);

    code.csrr(r::OTHER, rules.cause);
    interrupt(&mut code, rules, Op::Mret);

    // Causes 0, 1 and 12: nothing could be fetched.
    code.sltiu(r::SCRATCH, r::OTHER, 2);
    let (at_once, other) = (code.label(), code.label());
    code.bnez(r::SCRATCH, at_once);
    code.addi(r::SCRATCH, r::OTHER, -12);
    code.bnez(r::SCRATCH, other);
    code.bind(at_once);
    code.mv(r::SCRATCH, r::RECOVERY);
    physical(&mut code, r::SCRATCH, r::OTHER);
    code.csrw(csr::MEPC, r::SCRATCH);
    code.li(r::SCRATCH, MPP);
    code.csrs(csr::MSTATUS, r::SCRATCH);
    code.mret();

    // Causes 8 to 11: an ecall.
    code.bind(other);
    code.addi(r::SCRATCH, r::OTHER, -8);
    code.sltiu(r::SCRATCH, r::SCRATCH, 4);
    let (plain, goes_on) = (code.label(), code.label());
    code.beqz(r::SCRATCH, plain);
    code.bnez(r::RECOVERY, goes_on).j(end);
    code.bind(goes_on);
    code.csrr(r::SCRATCH, csr::MEPC);
    physical(&mut code, r::SCRATCH, r::OTHER);
    code.csrw(csr::MEPC, r::SCRATCH);
    code.li(r::SCRATCH, MPP);
    code.csrs(csr::MSTATUS, r::SCRATCH);

    code.bind(plain);
    skip(&mut code, rules, Op::Mret);
    finish(code)
}

/// S-mode's handler. An `ecall` that asks for the end is passed on to M-mode.
pub fn supervisor() -> Vec<u8> {
    let mut code = Assembler::new(layout::SUPERVISOR_HANDLER);
    let rules = &SUPERVISOR;
    vectors(&mut code);
    code.csrr(r::OTHER, rules.status);
    log(&mut code, rules);
    let room = code.label();
    code.bltu(r::SCRATCH, r::OTHER, room);
    let give_up = code.label_here();
    code.addi(r::RECOVERY, ZERO, 0);
    code.ecall();
    code.bind(room);

    let goes_on = code.label();
    code.bnez(r::RECOVERY, goes_on).j(give_up);
    code.bind(goes_on);

    code.csrr(r::OTHER, rules.cause);
    interrupt(&mut code, rules, Op::Sret);
    skip(&mut code, rules, Op::Sret);
    finish(code)
}

/// The page of code that strange addresses lead to: returns to RECOVERY from wherever it is
/// entered, halfwords too.
pub fn called() -> Vec<u8> {
    let mut code = Assembler::new(layout::CALLED);
    while code.here() < layout::CODE_END {
        code.half(0x0001); // c.nop
        code.half(0x8f82); // c.jr t6
    }
    finish(code)
}

/// The bytes of code, all of whose operands fit and whose jumps reach.
pub fn finish(code: Assembler) -> Vec<u8> {
    code.finish().expect("generated code is well-formed")
}
