//! Division, with the results that RISC-V wants where x86 traps (M extension, 12.2).

use ringer_isa::{Insn, Op};

use super::Emitter;
use crate::assembler::{Alu, Cell, Cond, Reg, Unary, Width};

impl Emitter<'_> {
    /// `div`, `rem` and their relatives. Uses `rcx`.
    pub(super) fn divide(&mut self, insn: &Insn) {
        let (width, signed, remainder) = match insn.op {
            Op::Div => (Width::W64, true, false),
            Op::Rem => (Width::W64, true, true),
            Op::Divu => (Width::W64, false, false),
            Op::Remu => (Width::W64, false, true),
            Op::Divw => (Width::W32, true, false),
            Op::Remw => (Width::W32, true, true),
            Op::Divuw => (Width::W32, false, false),
            _ => (Width::W32, false, true),
        };
        let (by_zero, by_minus_one, done) = (self.a.label(), self.a.label(), self.a.label());
        self.copy(Reg::Rcx, insn.rs2);
        self.copy(Reg::Rax, insn.rs1);
        self.a.test_rr(width, Reg::Rcx, Reg::Rcx);
        self.a.jcc(Cond::E, by_zero);
        if signed {
            self.a.alu_ri(Alu::Cmp, width, Reg::Rcx, -1);
            self.a.jcc(Cond::E, by_minus_one);
            match width {
                Width::W64 => self.a.cqo(),
                Width::W32 => self.a.cdq(),
            }
            self.a.unary(Unary::Idiv, width, Reg::Rcx);
        } else {
            self.a.mov_ri(Reg::Rdx, 0);
            self.a.unary(Unary::Div, width, Reg::Rcx);
        }
        self.a.jmp(done);

        self.a.bind(by_zero);
        // The quotient is all ones, the remainder the dividend.
        self.a.mov_rr(Width::W64, Reg::Rdx, Reg::Rax);
        self.a.mov_ri(Reg::Rax, u64::MAX);
        if signed {
            self.a.jmp(done);
            self.a.bind(by_minus_one);
            // The lowest number stays as it is.
            self.a.unary(Unary::Neg, width, Reg::Rax);
            self.a.mov_ri(Reg::Rdx, 0);
        }
        self.a.bind(done);
        let result = if remainder { Reg::Rdx } else { Reg::Rax };
        if width == Width::W32 {
            self.a.sx_rr(Cell::W, result, result);
        }
        self.set(insn.rd, result);
    }
}
