//! The trap handlers of a program. They keep it going: past what trapped, back to the code from
//! wherever it has strayed. They use t3 to t6 and do not save them.

use ringer_isa::csr::{self, mstatus};
use ringer_isa::{Op, csr as number};

use super::tables::{Edit, Spaces};
use super::{CODE_PAGES, MACHINE_HANDLER, SUPERVISOR_HANDLER, USED};
use crate::code::Code;
use crate::code::reg::{A7, T3, T4, T5, T6, ZERO};
use crate::machine::{DEVICE, register};
use crate::random::Random;

/// Entries of a trap vector.
const VECTORS: u64 = 16;
/// Where M-mode's services are: what `ecall` with their number in a7 does.
const SERVICES: u64 = MACHINE_HANDLER + 0x400;
/// How many there are.
pub(super) const SERVICE_COUNT: u64 = 8;
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
fn vectors(code: &mut Code) {
    let entry = code.here() + 4 * VECTORS;
    for _ in 0..VECTORS {
        code.jal(ZERO, entry);
    }
}

/// Goes on after the instruction that trapped. Code comes in words, so the next word is it.
fn skip(code: &mut Code, level: &Level, t: u8) {
    code.csrr(t, level.epc)
        .i(Op::Addi, t, t, 4)
        .i(Op::Andi, t, t, -4)
        .csrw(level.epc, t)
        .op(level.ret);
}

/// Goes on at the start of the next page of code, in another mode: perhaps that one can run it.
fn rescue(code: &mut Code, level: &Level, t: u8, u: u8) {
    code.op(Op::FenceI)
        .csrr(t, level.epc)
        .li(u, 0x1000)
        .r(Op::Add, t, t, u)
        .li(u, (CODE_PAGES - 1) << 12)
        .r(Op::And, t, t, u)
        .li(u, USED)
        .r(Op::Add, t, t, u)
        .csrw(level.epc, t)
        .csrr(t, level.status)
        .li(u, level.previous)
        .r(Op::Xor, t, t, u)
        .csrw(level.status, t)
        .op(level.ret);
}

/// Jumps ahead if the code cannot be fetched, or is all zeroes: nothing is there.
fn if_strayed(code: &mut Code, level: &Level, t: u8, u: u8) -> Vec<crate::code::Forward> {
    let mut jumps = Vec::new();
    for cause in [1, 12] {
        code.li(u, cause);
        jumps.push(code.forward(Op::Beq, t, u));
    }
    code.li(u, 2);
    let other = code.forward(Op::Bne, t, u);
    code.csrr(u, level.tval);
    jumps.push(code.forward(Op::Beq, u, ZERO));
    code.land(other);
    jumps
}

/// M-mode's handler.
pub(super) fn machine(r: &mut Random, spaces: &Spaces) -> Vec<u8> {
    let mut code = Code::at(MACHINE_HANDLER);
    vectors(&mut code);
    code.csrr(T6, MACHINE.cause);
    let interrupt = code.forward(Op::Blt, T6, ZERO);
    let strayed = if_strayed(&mut code, &MACHINE, T6, T5);
    code.i(Op::Andi, T5, T6, -4).i(Op::Addi, T5, T5, -8);
    let call = code.forward(Op::Beq, T5, ZERO);
    let to_skip = code.here();
    // A fence that was refused must not leave stale translations behind.
    code.r(Op::SfenceVma, 0, ZERO, ZERO);
    skip(&mut code, &MACHINE, T6);

    code.land(call)
        .i(Op::Andi, T5, A7, SERVICE_COUNT as i32 - 1)
        .i(Op::Slli, T5, T5, SERVICE_SIZE.ilog2() as i32)
        .li(T6, SERVICES)
        .r(Op::Add, T6, T6, T5)
        .i(Op::Jalr, ZERO, T6, 0);

    code.land(interrupt)
        .li(T6, mstatus::MPRV)
        .csr(Op::Csrrc, ZERO, number::MSTATUS, T6)
        .li(T5, DEVICE)
        .li(T6, u64::MAX)
        .store(Op::Sd, T6, T5, register::LOWER as i32)
        .store(Op::Sd, T6, T5, register::TIMER as i32)
        .csrw(number::STIMECMP, T6)
        .csrw(number::MIP, ZERO)
        .op(Op::Mret);

    for jump in strayed {
        code.land(jump);
    }
    code.r(Op::SfenceVma, 0, ZERO, ZERO);
    rescue(&mut code, &MACHINE, T6, T5);

    for number in 0..SERVICE_COUNT {
        code.pad_to(SERVICES + number * SERVICE_SIZE);
        service(&mut code, r, spaces, number);
        code.jal(ZERO, to_skip + 4);
    }
    code.pad_to(SERVICES + SERVICE_COUNT * SERVICE_SIZE);
    code.bytes().to_vec()
}

fn service(code: &mut Code, r: &mut Random, spaces: &Spaces, number: u64) {
    match number {
        0..=3 => {
            let edit = &spaces.edits[number as usize];
            code.li(T6, mstatus::MPRV)
                .csr(Op::Csrrc, ZERO, number::MSTATUS, T6)
                .li(T6, edit.addr)
                .li(T5, edit.entry)
                .store(Op::Sd, T5, T6, 0);
            fence(code, r, spaces, edit);
        }
        4..=6 => {
            let privilege = [0, 1, 3][number as usize - 4];
            code.li(T6, mstatus::MPP)
                .csr(Op::Csrrc, ZERO, csr::MSTATUS, T6)
                .li(T6, privilege << mstatus::MPP_SHIFT)
                .csr(Op::Csrrs, ZERO, csr::MSTATUS, T6);
        }
        _ => {
            // Entry 0: the page, for nobody below; on and off by turns.
            let page = (spaces.protected_page() | 0x7ff) >> 2;
            code.csr_set(csr::PMPADDR0, page, T6)
                .csrr(T6, csr::PMPCFG0)
                .i(Op::Andi, T5, T6, 0xff)
                .r(Op::Xor, T6, T6, T5)
                .i(Op::Sltiu, T5, T5, 0x18)
                .i(Op::Slli, T5, T5, 3)
                .r(Op::Sh1add, T5, T5, T5) // 0x18 or 0
                .r(Op::Or, T6, T6, T5)
                .csrw(csr::PMPCFG0, T6);
        }
    }
}

/// One of the fences that are enough after `edit`.
fn fence(code: &mut Code, r: &mut Random, spaces: &Spaces, edit: &Edit) {
    let op = if r.one_in(3) {
        code.op(Op::SfenceWInval);
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
        code.r(op, 0, ZERO, asid);
    } else {
        for address in edit.addresses {
            code.li(T6, address).r(op, 0, T6, asid);
        }
    }
    if op == Op::SinvalVma {
        code.op(Op::SfenceInvalIr);
    }
}

/// S-mode's handler.
pub(super) fn supervisor() -> Vec<u8> {
    let mut code = Code::at(SUPERVISOR_HANDLER);
    vectors(&mut code);
    code.csrr(T4, SUPERVISOR.cause);
    let interrupt = code.forward(Op::Blt, T4, ZERO);
    let strayed = if_strayed(&mut code, &SUPERVISOR, T4, T3);
    skip(&mut code, &SUPERVISOR, T4);
    // What S-mode cannot silence at the source it turns off.
    code.land(interrupt)
        .li(T3, u64::MAX)
        .csr(Op::Csrrci, ZERO, number::SIP, 2)
        .csrw(number::STIMECMP, T3)
        .li(T3, 1 << 9)
        .csr(Op::Csrrc, ZERO, number::SIE, T3)
        .op(Op::Sret);
    for jump in strayed {
        code.land(jump);
    }
    rescue(&mut code, &SUPERVISOR, T4, T3);
    code.bytes().to_vec()
}
