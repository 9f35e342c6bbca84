//! Branches over a few instructions that compute one register: no branch at all, but a
//! conditional move. Compilers for RISC-V write them where others would write such a move, often
//! on conditions that no processor can predict.

use ringer_isa::{Insn, Op};

use super::Emitter;
use crate::assembler::{Alu, Cond, Mem, Reg, Width};
use crate::core_state::{LEFT, home, x};

/// Whether the instruction only computes an integer register, in a few host instructions.
pub(super) fn is_simple(insn: &Insn) -> bool {
    let plain = matches!(
        insn.op,
        Op::Addi
            | Op::Add
            | Op::Sub
            | Op::And
            | Op::Or
            | Op::Xor
            | Op::Andi
            | Op::Ori
            | Op::Xori
            | Op::Slli
            | Op::Srli
            | Op::Srai
            | Op::Addw
            | Op::Addiw
            | Op::Subw
            | Op::Slliw
            | Op::Srliw
            | Op::Sraiw
            | Op::Lui
    );
    plain && insn.rd != 0
}

/// Instructions that a branch may skip and still become moves.
const MOST_SKIPPED: usize = 4;

impl Emitter<'_> {
    /// Emits the current branch and what it skips, if that is a few simple instructions with
    /// one result.
    pub(super) fn skip(&mut self) -> bool {
        let Some(last) = self.skipped() else {
            return false;
        };
        let first = self.index + 1;
        if last == first {
            self.skip_one();
        } else {
            self.skip_some(last);
        }
        true
    }

    /// The last instruction that the current branch skips, if it can be made moves.
    fn skipped(&self) -> Option<usize> {
        let branch = self.current();
        let first = self.index + 1;
        let rd = self.steps.get(first)?.insn.rd;
        for (index, step) in self.steps.iter().enumerate().skip(first).take(MOST_SKIPPED) {
            if !is_simple(&step.insn) || step.insn.rd != rd {
                return None;
            }
            if branch.target() == i64::from(step.end()) {
                // The comparison comes after them, and must find what it compares.
                let compared = branch.insn.rs1 == rd || branch.insn.rs2 == rd;
                // And it must do without `rdx`, which keeps the old value.
                let direct = home(branch.insn.rs1).is_some()
                    || home(branch.insn.rs2).is_some()
                    || branch.insn.rs2 == 0;
                return (index == first || (direct && !compared)).then_some(index);
            }
        }
        None
    }

    /// The instruction yields its result in `rax`.
    fn skip_one(&mut self) {
        let branch = self.current().insn;
        self.index += 1;
        let skipped = self.current().insn;
        self.diverted = true;
        let emitted = self.integer(&skipped);
        debug_assert!(emitted, "simple instructions are emitted inline");
        self.diverted = false;
        let taken = self.compare_for_skip(&branch);
        self.move_unless(taken, skipped.rd);
        self.count_skipped(taken, 1);
    }

    /// The instructions write their register, which is put back if the branch is taken.
    fn skip_some(&mut self, last: usize) {
        let branch = self.current().insn;
        let count = last - self.index;
        let rd = self.steps[last].insn.rd;
        let kept = Reg::Rdx;
        match home(rd) {
            Some(from) => self.a.mov_rr(Width::W64, kept, from),
            None => self.a.mov_rm(Width::W64, kept, x(rd)),
        }
        while self.index < last {
            self.index += 1;
            let insn = self.current().insn;
            if !self.shift_pair(&insn) {
                let emitted = self.integer(&insn);
                debug_assert!(emitted, "simple instructions are emitted inline");
            }
        }
        let taken = self.compare_for_skip(&branch);
        match home(rd) {
            Some(to) => self.a.cmov(taken, Width::W64, to, kept),
            None => {
                self.a.cmov_m(taken.inverted(), Width::W64, kept, x(rd));
                self.a.mov_mr(Width::W64, x(rd), kept);
            }
        }
        self.count_skipped(taken, count as i32);
    }

    /// Sets the flags; returns what they say when the branch is taken. Leaves `rdx` and `rax`
    /// alone.
    fn compare_for_skip(&mut self, branch: &Insn) -> Cond {
        let against_zero = branch.rs2 == 0 && branch.rs1 != 0;
        match branch.op {
            // Below 1 is 0: then the carry is set, and can be counted with.
            Op::Beq | Op::Bne if against_zero => {
                match home(branch.rs1) {
                    Some(a) => self.a.alu_ri(Alu::Cmp, Width::W64, a, 1),
                    None => self.a.alu_mi(Alu::Cmp, Width::W64, x(branch.rs1), 1),
                }
                if branch.op == Op::Beq {
                    Cond::B
                } else {
                    Cond::Ae
                }
            }
            _ => {
                self.compare(branch.rs1, branch.rs2);
                super::jump::taken(branch.op)
            }
        }
    }

    /// `rd` becomes `rax` unless the flags say `cond`. Leaves the flags alone.
    fn move_unless(&mut self, cond: Cond, rd: u8) {
        match home(rd) {
            Some(to) => self.a.cmov(cond.inverted(), Width::W64, to, Reg::Rax),
            None => {
                self.a.mov_rm(Width::W64, Reg::Rdx, x(rd));
                self.a.cmov(cond.inverted(), Width::W64, Reg::Rdx, Reg::Rax);
                self.a.mov_mr(Width::W64, x(rd), Reg::Rdx);
            }
        }
    }

    /// So many instructions that were counted have been skipped if the flags say `cond`.
    fn count_skipped(&mut self, cond: Cond, count: i32) {
        match cond {
            Cond::B if count == 1 => self.a.alu_ri(Alu::Adc, Width::W64, LEFT, 0),
            Cond::Ae if count == 1 => self.a.alu_ri(Alu::Sbb, Width::W64, LEFT, -1),
            _ => {
                self.a.lea(Width::W64, Reg::Rax, Mem::at(LEFT, count));
                self.a.cmov(cond, Width::W64, LEFT, Reg::Rax);
            }
        }
    }
}
