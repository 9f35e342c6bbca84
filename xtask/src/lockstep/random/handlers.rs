//! The fixed parts of a generated program: prologue, trap handlers, the end.

use ringer_isa::{Op, csr};
use ringer_machine::memory_map;

use super::code::{Code, register as r};
use super::layout;

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
    let mut code = Code::new(layout::BASE);
    for &(number, value) in setup {
        code.constant(r::SCRATCH, value);
        code.write_csr(number, r::SCRATCH);
    }
    // After a reset QEMU's timer is due.
    code.constant(r::SCRATCH, MTIMECMP);
    code.constant(r::OTHER, u64::MAX);
    code.op(Op::Sd, 0, r::SCRATCH, r::OTHER, 0);
    // The floating-point unit must be on for its registers to be loaded.
    code.constant(r::SCRATCH, 3 << 13);
    code.write_csr(csr::MSTATUS, r::SCRATCH);
    code.write_csr(csr::FCSR, 0);
    code.address(r::KEPT, layout::REGISTERS);
    for index in 0..32 {
        code.op(Op::Fld, index, r::KEPT, 0, 256 + 8 * i32::from(index));
    }
    for index in 1..r::KEPT {
        code.op(Op::Ld, index, r::KEPT, 0, 8 * i32::from(index));
    }
    code.address(r::KEPT, layout::KEPT);
    code.address(r::RECOVERY, layout::BODY);
    code.op(Op::Jalr, 0, r::RECOVERY, 0, 0);
    code.into_bytes()
}

/// The end: turns on the spot.
pub fn end() -> Vec<u8> {
    let mut code = Code::new(layout::END);
    code.op(Op::Jal, 0, 0, 0, 0);
    code.into_bytes()
}

/// Jumps for vectored mode, all to what comes after them.
fn vectors(code: &mut Code) {
    let handler = code.here() + 4 * 16;
    for _ in 0..16 {
        let jump = code.jump_later(Op::Jal, 0, 0, 0);
        code.fill(jump, handler);
    }
}

/// Writes the trap down; leaves the log's next place in SCRATCH and its end in OTHER.
fn log(code: &mut Code, rules: &Rules) {
    code.op(Op::Ld, r::SCRATCH, r::KEPT, 0, rules.kept);
    code.op(Op::Sd, 0, r::SCRATCH, r::OTHER, 0);
    // The value of an illegal instruction is left out: QEMU has it wrong for `mret`.
    code.read_csr(r::OTHER, rules.cause);
    code.op(Op::Sd, 0, r::SCRATCH, r::OTHER, 8);
    code.op(Op::Addi, r::OTHER, r::OTHER, 0, -2);
    let legal = code.jump_later(Op::Bne, 0, r::OTHER, 0);
    code.write_csr(rules.value, 0);
    let here = code.here();
    code.fill(legal, here);
    for (index, number) in [rules.pc, rules.value].into_iter().enumerate() {
        code.read_csr(r::OTHER, number);
        code.op(Op::Sd, 0, r::SCRATCH, r::OTHER, 16 + 8 * index as i32);
    }
    code.op(Op::Addi, r::SCRATCH, r::SCRATCH, 0, 32);
    code.op(Op::Sd, 0, r::KEPT, r::SCRATCH, rules.kept);
    code.op(Op::Ld, r::OTHER, r::KEPT, 0, rules.kept + 8);
}

/// `register` as a physical address in the image, whichever alias it was. Uses `other`.
fn physical(code: &mut Code, register: u8, other: u8) {
    code.op(Op::Andi, register, register, 0, -2);
    code.op(Op::Slli, register, register, 0, 40);
    code.op(Op::Srli, register, register, 0, 40);
    code.op(Op::Addi, other, 0, 0, 1);
    code.op(Op::Slli, other, other, 0, 31);
    code.op(Op::Or, register, register, other, 0);
}

/// Moves the saved program counter past the instruction there, and returns by `ret`.
fn skip(code: &mut Code, rules: &Rules, ret: Op) {
    code.read_csr(r::SCRATCH, rules.pc);
    physical(code, r::SCRATCH, r::OTHER);
    code.op(Op::Lhu, r::SCRATCH, r::SCRATCH, 0, 0);
    code.op(Op::Andi, r::SCRATCH, r::SCRATCH, 0, 3);
    code.op(Op::Sltiu, r::SCRATCH, r::SCRATCH, 0, 3);
    code.op(Op::Xori, r::SCRATCH, r::SCRATCH, 0, 1);
    code.op(Op::Slli, r::SCRATCH, r::SCRATCH, 0, 1);
    code.op(Op::Addi, r::SCRATCH, r::SCRATCH, 0, 2);
    code.read_csr(r::OTHER, rules.pc);
    code.op(Op::Add, r::OTHER, r::OTHER, r::SCRATCH, 0);
    code.write_csr(rules.pc, r::OTHER);
    code.op(ret, 0, 0, 0, 0);
}

/// Interrupts are logged and turned off. Expects the cause in OTHER.
fn interrupt(code: &mut Code, rules: &Rules, ret: Op) {
    let exception = code.jump_later(Op::Bge, 0, r::OTHER, 0);
    code.write_csr(rules.enable, 0);
    code.op(ret, 0, 0, 0, 0);
    let here = code.here();
    code.fill(exception, here);
}

/// M-mode's handler. An `ecall` goes on behind itself in M-mode, a failed fetch at RECOVERY.
pub fn machine() -> Vec<u8> {
    let mut code = Code::new(layout::MACHINE_HANDLER);
    let rules = &MACHINE;
    vectors(&mut code);
    // Loads and stores must be M-mode's own from here on.
    code.op(Op::Lui, r::OTHER, 0, 0, MPRV);
    code.op(Op::Csrrc, r::OTHER, r::OTHER, 0, csr::MSTATUS.into());
    log(&mut code, rules);
    let room = code.jump_later(Op::Bltu, 0, r::SCRATCH, r::OTHER);
    let full = code.jump_later(Op::Jal, 0, 0, 0);
    code.fill(full, layout::END);
    let here = code.here();
    code.fill(room, here);

    code.read_csr(r::OTHER, rules.cause);
    interrupt(&mut code, rules, Op::Mret);

    // Causes 0, 1 and 12: nothing could be fetched.
    code.op(Op::Sltiu, r::SCRATCH, r::OTHER, 0, 2);
    let at_once = code.jump_later(Op::Bne, 0, r::SCRATCH, 0);
    code.op(Op::Addi, r::SCRATCH, r::OTHER, 0, -12);
    let other = code.jump_later(Op::Bne, 0, r::SCRATCH, 0);
    let fetch = code.here();
    code.fill(at_once, fetch);
    code.op(Op::Addi, r::SCRATCH, r::RECOVERY, 0, 0);
    physical(&mut code, r::SCRATCH, r::OTHER);
    code.write_csr(csr::MEPC, r::SCRATCH);
    code.constant(r::SCRATCH, MPP);
    code.op(Op::Csrrs, 0, r::SCRATCH, 0, csr::MSTATUS.into());
    code.op(Op::Mret, 0, 0, 0, 0);

    // Causes 8 to 11: an ecall.
    let here = code.here();
    code.fill(other, here);
    code.op(Op::Addi, r::SCRATCH, r::OTHER, 0, -8);
    code.op(Op::Sltiu, r::SCRATCH, r::SCRATCH, 0, 4);
    let plain = code.jump_later(Op::Beq, 0, r::SCRATCH, 0);
    let goes_on = code.jump_later(Op::Bne, 0, r::RECOVERY, 0);
    let over = code.jump_later(Op::Jal, 0, 0, 0);
    code.fill(over, layout::END);
    let here = code.here();
    code.fill(goes_on, here);
    code.read_csr(r::SCRATCH, csr::MEPC);
    physical(&mut code, r::SCRATCH, r::OTHER);
    code.write_csr(csr::MEPC, r::SCRATCH);
    code.constant(r::SCRATCH, MPP);
    code.op(Op::Csrrs, 0, r::SCRATCH, 0, csr::MSTATUS.into());

    let here = code.here();
    code.fill(plain, here);
    skip(&mut code, rules, Op::Mret);
    code.into_bytes()
}

/// S-mode's handler. An `ecall` that asks for the end is passed on to M-mode.
pub fn supervisor() -> Vec<u8> {
    let mut code = Code::new(layout::SUPERVISOR_HANDLER);
    let rules = &SUPERVISOR;
    vectors(&mut code);
    code.read_csr(r::OTHER, rules.status);
    log(&mut code, rules);
    let room = code.jump_later(Op::Bltu, 0, r::SCRATCH, r::OTHER);
    let finish = code.here();
    code.op(Op::Addi, r::RECOVERY, 0, 0, 0);
    code.op(Op::Ecall, 0, 0, 0, 0);
    let here = code.here();
    code.fill(room, here);

    let goes_on = code.jump_later(Op::Bne, 0, r::RECOVERY, 0);
    let over = code.jump_later(Op::Jal, 0, 0, 0);
    code.fill(over, finish);
    let here = code.here();
    code.fill(goes_on, here);

    code.read_csr(r::OTHER, rules.cause);
    interrupt(&mut code, rules, Op::Sret);
    skip(&mut code, rules, Op::Sret);
    code.into_bytes()
}

/// The page of code that strange addresses lead to: returns to RECOVERY from wherever it is
/// entered, halfwords too.
pub fn called() -> Vec<u8> {
    let mut code = Code::new(layout::CALLED);
    while code.here() < layout::CODE_END {
        code.raw(&0x0001u16.to_le_bytes()); // c.nop
        code.raw(&0x8f82u16.to_le_bytes()); // c.jr t6
    }
    code.into_bytes()
}
