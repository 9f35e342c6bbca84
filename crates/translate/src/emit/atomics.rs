//! Atomic memory operations: the host's own, locked only if there are other harts. For
//! `lr` and `sc` see `reservation.rs`.

use ringer_isa::{Insn, Op};

use super::Emitter;
use super::memory::Kind;
use crate::assembler::{Alu, Cell, Cond, Mem, Reg, Width};
use crate::core_state::{home, x};

/// What becomes of the old value and the register's.
#[derive(Clone, Copy)]
enum Combine {
    Swap,
    Add,
    With(Alu),
    /// The old value stays if comparing it with the register says so.
    KeepIf(Cond),
}

fn operation(op: Op) -> Option<(Combine, Cell)> {
    use Cell::{D, W};
    Some(match op {
        Op::AmoswapW => (Combine::Swap, W),
        Op::AmoswapD => (Combine::Swap, D),
        Op::AmoaddW => (Combine::Add, W),
        Op::AmoaddD => (Combine::Add, D),
        Op::AmoandW => (Combine::With(Alu::And), W),
        Op::AmoandD => (Combine::With(Alu::And), D),
        Op::AmoorW => (Combine::With(Alu::Or), W),
        Op::AmoorD => (Combine::With(Alu::Or), D),
        Op::AmoxorW => (Combine::With(Alu::Xor), W),
        Op::AmoxorD => (Combine::With(Alu::Xor), D),
        Op::AmominW => (Combine::KeepIf(Cond::L), W),
        Op::AmominD => (Combine::KeepIf(Cond::L), D),
        Op::AmomaxW => (Combine::KeepIf(Cond::G), W),
        Op::AmomaxD => (Combine::KeepIf(Cond::G), D),
        Op::AmominuW => (Combine::KeepIf(Cond::B), W),
        Op::AmominuD => (Combine::KeepIf(Cond::B), D),
        Op::AmomaxuW => (Combine::KeepIf(Cond::A), W),
        Op::AmomaxuD => (Combine::KeepIf(Cond::A), D),
        _ => return None,
    })
}

impl Emitter<'_> {
    /// Emits `insn` if it is one of these. Uses `rcx`.
    pub(super) fn atomic(&mut self, insn: &Insn) -> bool {
        let Some((combine, cell)) = operation(insn.op) else {
            return false;
        };
        let (width, bytes) = match cell {
            Cell::D => (Width::W64, 8),
            _ => (Width::W32, 4),
        };
        let done = self.a.label();
        let slow = self.definition_aside(done);
        self.check(Kind::Store, insn.rs1, 0, bytes, slow);
        // Misaligned ones trap.
        self.a.test_ri(Width::W32, Reg::Rax, bytes - 1);
        self.a.jcc(Cond::Ne, slow);
        self.host_address(Kind::Store);
        self.a.mov_rr(Width::W64, Reg::Rcx, Reg::Rax);
        let place = Mem::at(Reg::Rcx, 0);
        let locked = self.features.parallel;
        let old = match combine {
            Combine::Swap => {
                self.copy(Reg::Rdx, insn.rs2);
                if locked {
                    self.a.xchg_mr(cell, place, Reg::Rdx);
                    Reg::Rdx
                } else {
                    self.a.load_zx(cell, Reg::Rax, place);
                    self.a.store(cell, place, Reg::Rdx);
                    Reg::Rax
                }
            }
            Combine::Add => {
                self.copy(Reg::Rdx, insn.rs2);
                self.a.xadd_mr(locked, cell, place, Reg::Rdx);
                Reg::Rdx
            }
            Combine::With(_) | Combine::KeepIf(_) => {
                self.a.load_zx(cell, Reg::Rax, place);
                let again = self.a.bind_here();
                self.combined(combine, width, insn.rs2);
                self.a.cmpxchg_mr(locked, cell, place, Reg::Rdx);
                self.a.jcc(Cond::Ne, again);
                Reg::Rax
            }
        };
        if cell == Cell::W {
            self.a.sx_rr(Cell::W, old, old);
        }
        self.set(insn.rd, old);
        self.rejoin(done);
        true
    }

    /// The new value, from the old one in `rax`, into `rdx`.
    fn combined(&mut self, combine: Combine, width: Width, register: u8) {
        match combine {
            Combine::With(op) => {
                self.a.mov_rr(Width::W64, Reg::Rdx, Reg::Rax);
                match home(register) {
                    Some(value) => self.a.alu_rr(op, width, Reg::Rdx, value),
                    None if register == 0 => self.a.alu_ri(op, width, Reg::Rdx, 0),
                    None => self.a.alu_rm(op, width, Reg::Rdx, x(register)),
                }
            }
            Combine::KeepIf(cond) => {
                self.copy(Reg::Rdx, register);
                self.a.alu_rr(Alu::Cmp, width, Reg::Rax, Reg::Rdx);
                self.a.cmov(cond, Width::W64, Reg::Rdx, Reg::Rax);
            }
            Combine::Swap | Combine::Add => self.copy(Reg::Rdx, register),
        }
    }
}
