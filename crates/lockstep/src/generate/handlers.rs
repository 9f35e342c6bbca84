//! The trap handlers of a program. They keep it going: past what trapped, back to the code from
//! wherever it has strayed. They use t3 to t6 and do not save them.

use ringer_isa::asm::register::{A7, T3, T4, T5, T6, X, ZERO};
use ringer_isa::asm::{Assembler, Label};
use ringer_isa::csr::{self, mstatus};
use ringer_isa::{Op, csr as number};

use super::tables::{Edit, Spaces};
use super::{CODE_PAGES, MACHINE_HANDLER, SUPERVISOR_HANDLER, USED};
use crate::assembled;
use crate::machine::{DEVICE, register};
use crate::random::Random;

/// Entries of a trap vector.
const VECTORS: u64 = 16;
/// Where M-mode's services are: what `ecall` with their number in a7 does.
const SERVICES: u64 = MACHINE_HANDLER + 0x400;
/// How many there are.
pub(super) const SERVICE_COUNT: u64 = 8;
/// The bit of a7 by which a call that S-mode answers goes on in S-mode.
pub(super) const TO_SUPERVISOR: u64 = 8;
/// Bytes for each.
const SERVICE_SIZE: u64 = 128;

/// CSRs of one level.
struct Level {
    epc: u16,
    cause: u16,
    tval: u16,
    ret: Op,
    status: u16,
    /// The bit of `status` that tells U-mode from the next higher one.
    previous: u64,
}

const MACHINE: Level = Level {
    epc: number::MEPC,
    cause: number::MCAUSE,
    tval: number::MTVAL,
    ret: Op::Mret,
    status: number::MSTATUS,
    previous: 1 << mstatus::MPP_SHIFT,
};
const SUPERVISOR: Level = Level {
    epc: number::SEPC,
    cause: number::SCAUSE,
    tval: number::STVAL,
    ret: Op::Sret,
    status: number::SSTATUS,
    previous: mstatus::SPP,
};

/// All vectors lead to the same code.
fn vectors(code: &mut Assembler) {
    let entry = code.label();
    for _ in 0..VECTORS {
        code.j(entry);
    }
    code.bind(entry);
}

/// Goes on after the instruction that trapped. Code comes in words, so the next word is it.
fn skip(code: &mut Assembler, level: &Level, t: X) {
    code.csrr(t, level.epc)
        .addi(t, t, 4)
        .andi(t, t, -4)
        .csrw(level.epc, t)
        .op(level.ret);
}

/// Goes on at the start of the next page of code, in another mode: perhaps that one can run it.
fn rescue(code: &mut Assembler, level: &Level, t: X, u: X) {
    code.fence_i()
        .csrr(t, level.epc)
        .li(u, 0x1000)
        .add(t, t, u)
        .li(u, (CODE_PAGES - 1) << 12)
        .and(t, t, u)
        .li(u, USED)
        .add(t, t, u)
        .csrw(level.epc, t)
        .csrr(t, level.status)
        .li(u, level.previous)
        .xor(t, t, u)
        .csrw(level.status, t)
        .op(level.ret);
}

/// Jumps to `strayed` if the code cannot be fetched, or is all zeroes: nothing is there.
fn if_strayed(code: &mut Assembler, level: &Level, t: X, u: X, strayed: Label) {
    for cause in [1, 12] {
        code.li(u, cause).beq(t, u, strayed);
    }
    let other = code.label();
    code.li(u, 2)
        .bne(t, u, other)
        .csrr(u, level.tval)
        .beqz(u, strayed)
        .bind(other);
}

/// M-mode's handler.
pub(super) fn machine(r: &mut Random, spaces: &Spaces) -> Vec<u8> {
    let mut code = Assembler::new(MACHINE_HANDLER);
    vectors(&mut code);
    let (interrupt, strayed, call) = (code.label(), code.label(), code.label());
    code.csrr(T6, MACHINE.cause).blt(T6, ZERO, interrupt);
    if_strayed(&mut code, &MACHINE, T6, T5, strayed);
    code.andi(T5, T6, -4).addi(T5, T5, -8).beqz(T5, call);
    // A fence that was refused must not leave stale translations behind.
    code.sfence_vma(ZERO, ZERO);
    let to_skip = code.label_here();
    skip(&mut code, &MACHINE, T6);

    code.bind(call)
        .andi(T5, A7, SERVICE_COUNT as i32 - 1)
        .slli(T5, T5, SERVICE_SIZE.ilog2() as i32)
        .li(T6, SERVICES)
        .add(T6, T6, T5)
        .jalr(ZERO, 0, T6);

    code.bind(interrupt)
        .li(T6, mstatus::MPRV)
        .csrc(number::MSTATUS, T6)
        .li(T5, DEVICE)
        .li(T6, u64::MAX)
        .sd(T6, register::LOWER as i32, T5)
        .sd(T6, register::TIMER as i32, T5)
        .csrw(number::STIMECMP, T6)
        .csrw(number::MIP, ZERO)
        .mret();

    code.bind(strayed).sfence_vma(ZERO, ZERO);
    rescue(&mut code, &MACHINE, T6, T5);

    for number in 0..SERVICE_COUNT {
        code.pad_to(SERVICES + number * SERVICE_SIZE);
        service(&mut code, r, spaces, number);
        code.j(to_skip);
    }
    code.pad_to(SERVICES + SERVICE_COUNT * SERVICE_SIZE);
    assembled(code)
}

fn service(code: &mut Assembler, r: &mut Random, spaces: &Spaces, number: u64) {
    match number {
        0..=3 => {
            let edit = &spaces.edits[number as usize];
            code.li(T6, mstatus::MPRV)
                .csrc(number::MSTATUS, T6)
                .li(T6, edit.addr)
                .li(T5, edit.entry)
                .sd(T5, 0, T6);
            fence(code, r, spaces, edit);
        }
        4..=6 => {
            let privilege = [0, 1, 3][number as usize - 4];
            code.li(T6, mstatus::MPP)
                .csrc(csr::MSTATUS, T6)
                .li(T6, privilege << mstatus::MPP_SHIFT)
                .csrs(csr::MSTATUS, T6);
        }
        _ => {
            // Entry 0: the page, for nobody below; on and off by turns.
            let page = (spaces.protected_page() | 0x7ff) >> 2;
            code.csr_set(csr::PMPADDR0, page, T6)
                .csrr(T6, csr::PMPCFG0)
                .andi(T5, T6, 0xff)
                .xor(T6, T6, T5)
                .sltiu(T5, T5, 0x18)
                .slli(T5, T5, 3)
                .r(Op::Sh1add, T5, T5, T5) // 0x18 or 0
                .or(T6, T6, T5)
                .csrw(csr::PMPCFG0, T6);
        }
    }
}

/// One of the fences that are enough after `edit`.
fn fence(code: &mut Assembler, r: &mut Random, spaces: &Spaces, edit: &Edit) {
    let op = if r.one_in(3) {
        code.sfence_w_inval();
        Op::SinvalVma
    } else {
        Op::SfenceVma
    };
    let kind = r.below(4);
    if kind >= 2 {
        // Not x0 even where the ASID is 0: that would mean all of them.
        code.li(T5, spaces.asids[edit.space]);
    }
    let asid = if kind >= 2 { T5 } else { ZERO };
    if kind.is_multiple_of(2) {
        code.address_fence(op, ZERO, asid);
    } else {
        for address in edit.addresses {
            code.li(T6, address).address_fence(op, T6, asid);
        }
    }
    if op == Op::SinvalVma {
        code.sfence_inval_ir();
    }
}

/// S-mode's handler.
pub(super) fn supervisor() -> Vec<u8> {
    let mut code = Assembler::new(SUPERVISOR_HANDLER);
    vectors(&mut code);
    let (interrupt, strayed) = (code.label(), code.label());
    code.csrr(T4, SUPERVISOR.cause).blt(T4, ZERO, interrupt);
    if_strayed(&mut code, &SUPERVISOR, T4, T3, strayed);
    // A call from U-mode may ask to go on in S-mode.
    let to_skip = code.label();
    code.addi(T4, T4, -8)
        .bnez(T4, to_skip)
        .andi(T3, A7, TO_SUPERVISOR as i32)
        .slli(T3, T3, (mstatus::SPP / TO_SUPERVISOR).ilog2() as i32)
        .csrs(number::SSTATUS, T3)
        .bind(to_skip);
    skip(&mut code, &SUPERVISOR, T4);
    // What S-mode cannot silence at the source it turns off.
    code.bind(interrupt)
        .li(T3, u64::MAX)
        .csrci(number::SIP, 2)
        .csrw(number::STIMECMP, T3)
        .li(T3, 1 << 9)
        .csrc(number::SIE, T3)
        .sret();
    code.bind(strayed);
    rescue(&mut code, &SUPERVISOR, T4, T3);
    assembled(code)
}
