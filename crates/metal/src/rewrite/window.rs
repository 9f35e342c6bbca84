//! The CSRs that rewritten code reaches, as a window of values in memory: what the definition
//! reads when the window is opened, and is told when it is closed. What needs the definition at
//! once is left to it: so nothing here says what a CSR does, only when it does nothing but hold
//! what was written. The tests compare that with `Hart::csr`.

use ringer_hart::csr::{CsrWrite, mstatus};
use ringer_hart::{Bus, Hart, Privilege};
use ringer_isa::asm::register::{T0, T1, T2, T3, ZERO};
use ringer_isa::asm::{Label, X};
use ringer_isa::{Insn, Op, csr};

use super::frame::{CSRS, Frame};
use super::writer::{Writer, field};

/// A CSR in the window.
#[derive(Clone, Copy, Debug)]
struct Plain {
    number: u16,
    /// It holds any value in which these bits are 0.
    zero: u64,
}

const fn plain(number: u16, zero: u64) -> Plain {
    Plain { number, zero }
}

/// The CSRs that a mode's code uses most.
#[derive(Debug)]
pub struct Window {
    /// The status register, of which one bit may change.
    status: u16,
    /// That one: it enables interrupts.
    enable: u64,
    /// The others, from [`Frame::csrs`] 1 on.
    plain: [Plain; CSRS - 1],
}

static SUPERVISOR: Window = Window {
    status: csr::SSTATUS,
    enable: mstatus::SIE,
    plain: [
        plain(csr::SSCRATCH, 0),
        plain(csr::SEPC, 1),
        plain(csr::STVEC, 3),
        plain(csr::SCAUSE, 0),
        plain(csr::STVAL, 0),
    ],
};

static MACHINE: Window = Window {
    status: csr::MSTATUS,
    enable: mstatus::MIE,
    plain: [
        plain(csr::MSCRATCH, 0),
        plain(csr::MEPC, 1),
        plain(csr::MTVEC, 3),
        plain(csr::MCAUSE, 0),
        plain(csr::MTVAL, 0),
    ],
};

/// What the CSRs of a window hold.
pub type Values = [u64; CSRS];

/// Whether, and where, a window has a CSR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    Status,
    Plain { zero: u64 },
}

impl Window {
    /// The window of a mode, if its code is rewritten.
    pub fn of(privilege: Privilege) -> Option<&'static Self> {
        match privilege {
            Privilege::User => None,
            Privilege::Supervisor => Some(&SUPERVISOR),
            Privilege::Machine => Some(&MACHINE),
        }
    }

    fn numbers(&self) -> impl Iterator<Item = u16> {
        core::iter::once(self.status).chain(self.plain.iter().map(|plain| plain.number))
    }

    /// Reads the CSRs, and whether interrupts may be enabled without the definition.
    pub fn open<B: Bus + ?Sized>(&self, hart: &mut Hart, bus: &B, frame: &mut Frame) {
        let csrs = &hart.csrs;
        let plain = match hart.mode.privilege {
            Privilege::Machine => [
                csrs.mscratch,
                csrs.mepc,
                csrs.mtvec,
                csrs.mcause,
                csrs.mtval,
            ],
            _ => [
                csrs.sscratch,
                csrs.sepc,
                csrs.stvec,
                csrs.scause,
                csrs.stval,
            ],
        };
        // The mode may: it is one of the window's own.
        let status = hart.csr(bus, self.status, None).unwrap_or_default();
        let [s0, s1, s2, s3, s4] = plain;
        frame.csrs = [status, s0, s1, s2, s3, s4];
        frame.quiet = u64::from(!hart.wakes(bus));
    }

    /// Writes the CSRs that rewritten code has changed.
    pub fn close<B: Bus + ?Sized>(&self, hart: &mut Hart, bus: &B, old: &Values, new: &Values) {
        let mut write = |number, mask, old, new| {
            if old != new {
                // As above.
                let _ = hart.csr(bus, number, Some(CsrWrite { value: new, mask }));
            }
        };
        let ([old_status, old @ ..], [status, new @ ..]) = (old, new);
        write(self.status, self.enable, *old_status, *status);
        for ((plain, old), new) in self.plain.iter().zip(old).zip(new) {
            write(plain.number, u64::MAX, *old, *new);
        }
    }

    fn find(&self, number: u16) -> Option<(i32, Found)> {
        let index = self.numbers().position(|known| known == number)?;
        let found = match index.checked_sub(1) {
            None => Found::Status,
            Some(index) => Found::Plain {
                zero: self.plain.get(index)?.zero,
            },
        };
        Some((field!(csrs) + 8 * index as i32, found))
    }

    /// Whether code for this instruction can be made.
    pub fn takes(&self, insn: &Insn) -> bool {
        Change::of(insn).is_some() && self.find(insn.imm as u16 & 0xfff).is_some()
    }

    /// Writes the code of a CSR instruction of the window, between `begin` and `end`. At `aside`
    /// the definition takes over, and nothing has happened yet.
    pub fn write(&self, code: &mut Writer<'_>, insn: &Insn, aside: Label) -> Option<()> {
        let change = Change::of(insn)?;
        let (at, found) = self.find(insn.imm as u16 & 0xfff)?;
        let rd = X(insn.rd);
        let Change::Some(how, operand) = change else {
            if !matches!(rd, ZERO | T0 | T1) {
                code.asm.ld(rd, at, T0);
            } else if rd != ZERO {
                code.asm.ld(T1, at, T0);
                code.write(rd, T1, false);
            }
            return Some(());
        };
        let back = code.asm.label();
        let done = code.asm.label();
        code.take_more();
        match operand {
            Operand::Register(register) => code.read(register),
            Operand::Immediate(value) => {
                code.asm.li(T1, value.into());
            }
        }
        code.asm.ld(T2, at, T0);
        match how {
            How::Write => code.asm.addi(T3, T1, 0),
            How::Set => code.asm.or(T3, T2, T1),
            How::Clear => code.asm.xori(T3, T1, -1).and(T3, T2, T3),
        };
        match found {
            Found::Status => {
                let store = code.asm.label();
                code.asm.xor(T1, T2, T3);
                code.asm.andi(T1, T1, !(self.enable as i32));
                code.asm.bne(T1, ZERO, back);
                // What is disabled lets nothing through.
                code.asm.andi(T1, T3, self.enable as i32);
                code.asm.beq(T1, ZERO, store);
                code.asm.ld(T1, field!(quiet), T0);
                code.asm.beq(T1, ZERO, back);
                code.unless_interrupted(T1, back);
                code.asm.bind(store);
            }
            Found::Plain { zero: 0 } => {}
            Found::Plain { zero } => {
                code.asm.andi(T1, T3, zero as i32);
                code.asm.bne(T1, ZERO, back);
            }
        }
        code.asm.sd(T3, at, T0);
        code.write(rd, T2, true);
        code.give_more_back();
        code.asm.jal(ZERO, done);
        code.asm.bind(back);
        code.give_more_back();
        code.asm.jal(ZERO, aside);
        code.asm.bind(done);
        Some(())
    }
}

/// How a CSR instruction changes the CSR.
#[derive(Clone, Copy)]
enum How {
    Write,
    Set,
    Clear,
}

#[derive(Clone, Copy)]
enum Operand {
    Register(X),
    Immediate(u8),
}

#[derive(Clone, Copy)]
enum Change {
    None,
    Some(How, Operand),
}

impl Change {
    /// What a CSR instruction does to its CSR; `None` if it is another instruction.
    fn of(insn: &Insn) -> Option<Self> {
        let register = Operand::Register(X(insn.rs1));
        let immediate = Operand::Immediate(insn.rs1);
        Some(match insn.op {
            Op::Csrrw => Self::Some(How::Write, register),
            Op::Csrrwi => Self::Some(How::Write, immediate),
            // Without an operand they do not write (Zicsr 7.1).
            Op::Csrrs | Op::Csrrc | Op::Csrrsi | Op::Csrrci if insn.rs1 == 0 => Self::None,
            Op::Csrrs => Self::Some(How::Set, register),
            Op::Csrrsi => Self::Some(How::Set, immediate),
            Op::Csrrc => Self::Some(How::Clear, register),
            Op::Csrrci => Self::Some(How::Clear, immediate),
            _ => return None,
        })
    }
}
