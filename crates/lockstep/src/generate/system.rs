//! Sequences of system instructions that engines are tempted to do by themselves: plain CSRs,
//! the interrupt enable, the floating-point flags, cache blocks.

use ringer_isa::asm::register::{A7, T1, X};
use ringer_isa::csr::{self as number, mstatus};
use ringer_isa::table::Class;
use ringer_isa::{Insn, Op};

use super::handlers::TO_SUPERVISOR;
use super::items::{CSR_OPS, Item, POINTERS, RESULTS, bits, of_class, one, sequence, through};
use super::tables;
use crate::random::Random;

/// A CSR instruction.
fn csr(op: Op, rd: u8, csr: u16, rs1: u8) -> u32 {
    bits(Insn {
        rd,
        rs1,
        imm: csr.into(),
        ..Insn::new(op)
    })
}

/// CSRs that hold what is put there, between accesses to memory through one pointer.
pub(super) fn plain_csrs(r: &mut Random) -> Item {
    let words = [
        number::SSCRATCH,
        number::SCAUSE,
        number::STVAL,
        number::MSCRATCH,
        number::MCAUSE,
        number::MTVAL,
    ];
    let pointer = r.pick(&POINTERS);
    let mut item = vec![through(r, pointer)];
    for _ in 0..=r.below(2) {
        let (rd, rs1) = (r.pick(&RESULTS), r.below(32) as u8);
        let pc = r.pick(&[number::SEPC, number::MEPC]);
        let target = tables::code_address(r) | r.below(2);
        match r.below(5) {
            0 => item.extend(sequence(|code| {
                code.li(T1, target).csrrw(X(rd), pc, T1);
            })),
            1 => item.push(csr(r.pick(&[Op::Csrrsi, Op::Csrrci]), rd, pc, rs1)),
            2 => {
                let status = r.pick(&[number::SSTATUS, number::SSTATUS, number::MSTATUS]);
                item.push(csr(Op::Csrrs, rd, status, 0));
            }
            _ => item.push(csr(r.pick(&CSR_OPS), rd, r.pick(&words), rs1)),
        }
        item.push(through(r, pointer));
    }
    item
}

/// SIE off and on, while an interrupt may be pending and enabled.
pub(super) fn interrupt_enable(r: &mut Random) -> Item {
    let mut item = Vec::new();
    for _ in 0..2 + r.below(3) {
        let rd = r.pick(&RESULTS);
        item.push(match r.below(8) {
            0 => csr(Op::Csrrsi, rd, number::SIP, 2),
            1 => csr(Op::Csrrsi, rd, r.pick(&[number::SIE, number::MIE]), 2),
            2 | 3 => csr(Op::Csrrsi, rd, number::SSTATUS, 2),
            4 => one(r),
            _ => csr(Op::Csrrci, rd, number::SSTATUS, r.pick(&[2, 2, 2, 2, 3, 0])),
        });
    }
    item
}

/// Writes of `sstatus` of all kinds, between instructions that depend on it.
pub(super) fn status_writes(r: &mut Random) -> Item {
    let pointer = r.pick(&POINTERS);
    let bits = mstatus::SUM | mstatus::FS | mstatus::SIE | mstatus::SPIE | mstatus::SPP;
    let mut item = Vec::new();
    for _ in 0..2 + r.below(3) {
        let rare = if r.one_in(6) { mstatus::MXR } else { 0 };
        let value = if r.one_in(3) {
            mstatus::SUM
        } else {
            r.bits() & bits | rare
        };
        let rd = r.pick(&RESULTS);
        if r.one_in(3) {
            // Something to be interrupted by.
            item.push(csr(Op::Csrrsi, 0, number::SIE, 2));
            item.push(csr(Op::Csrrsi, 0, number::SIP, 2));
        }
        item.extend(match r.below(4) {
            0 => vec![csr(
                r.pick(&CSR_OPS),
                rd,
                number::SSTATUS,
                r.below(32) as u8,
            )],
            1 => vec![csr(r.pick(&CSR_OPS[3..]), rd, number::SSTATUS, 2)],
            _ => sequence(|code| {
                code.li(T1, value)
                    .csr(r.pick(&CSR_OPS[..3]), X(rd), number::SSTATUS, T1);
            }),
        });
        item.push(match r.below(3) {
            0 => of_class(r, &[Class::Float]),
            _ => through(r, pointer),
        });
    }
    item
}

/// Calls of a kernel, one after the other; perhaps the program becomes the kernel.
pub(super) fn calls(r: &mut Random) -> Item {
    let times = 2 + r.below(3);
    let becomes_kernel = r.one_in(3);
    let pointer = r.pick(&POINTERS);
    let between = through(r, pointer);
    sequence(|code| {
        code.li(T1, times).li(A7, 0xff0);
        let again = code.label_here();
        code.ecall().word(between).addi(T1, T1, -1).bnez(T1, again);
        if becomes_kernel {
            code.li(A7, 0xff0 | TO_SUPERVISOR).ecall().word(between);
        }
    })
}

/// On behind `sret`, mostly as a user, with any status.
pub(super) fn sret(r: &mut Random) -> Item {
    let fields = mstatus::SPIE | mstatus::SIE | mstatus::SPP;
    let mut set = r.bits() & fields;
    if r.one_in(3) {
        set &= !mstatus::SPP;
    }
    let pointer = r.pick(&POINTERS);
    let between = through(r, pointer);
    sequence(|code| {
        let behind = code.label();
        code.la(T1, behind)
            .csrw(number::SEPC, T1)
            .li(T1, set)
            .csrs(number::SSTATUS, T1)
            .li(T1, fields & !set)
            .csrc(number::SSTATUS, T1)
            .sret()
            .bind(behind)
            .word(between);
    })
}

/// Floating point with its flags read and written in between.
pub(super) fn float_flags(r: &mut Random) -> Item {
    let mut item = Vec::new();
    for _ in 0..2 + r.below(5) {
        let (rd, rs1) = (r.pick(&RESULTS), r.below(32) as u8);
        item.push(match r.below(8) {
            0 => csr(Op::Csrrs, rd, number::FFLAGS, 0),
            1 => csr(Op::Csrrw, 0, number::FFLAGS, rs1),
            2 => csr(r.pick(&CSR_OPS), rd, number::FFLAGS, rs1),
            3 => csr(Op::Csrrs, rd, r.pick(&[number::FCSR, number::FRM]), 0),
            _ => of_class(r, &[Class::Float]),
        });
    }
    item
}

/// Cache blocks and what is stored to them; mostly zeroed ones.
pub(super) fn cache_blocks(r: &mut Random) -> Item {
    let pointer = r.pick(&POINTERS);
    let op = r.pick(&[
        Op::CboZero,
        Op::CboZero,
        Op::CboZero,
        Op::CboZero,
        Op::CboClean,
        Op::CboFlush,
        Op::CboInval,
    ]);
    let block = bits(Insn {
        rs1: pointer,
        ..Insn::new(op)
    });
    vec![through(r, pointer), block, through(r, pointer)]
}
