//! Comparisons that must not raise a flag.
//!
//! Compilers put the flags aside before a comparison of numbers that may be NaNs, and back behind
//! it: `frflags a4; flt.d a5, fs0, fs1; fsflags a4`. If no NaN is compared no flag comes up, and
//! they need not be put back. And mostly nobody ever looks at what was put aside. Then it need not
//! be known, which spares the host to wait for all computations before it.
//!
//! Nobody looks if the register is written again, and the block cannot be left before that with
//! another value than the flags have by then. What might do that is looked at first, so that it
//! either does not happen or finds the register as it should be.

use std::ops::RangeInclusive;

use ringer_isa::{Class, Insn, Op, csr as number};

use super::Emitter;
use super::aside::Aside;
use super::block::Step;
use super::float::is_computation_of_doubles;
use super::memory::Kind;
use super::skip::is_simple;
use super::window::{self, writes};
use crate::assembler::{Alu, Cond, Label, Precision, Reg, Width, Xmm};

/// Loads that are looked at beforehand at most.
const MOST_LOADS: usize = 2;

/// Twice the bits of an infinity without its sign: those of NaNs are above.
const INFINITY_TWICE: u64 = 0xffe0_0000_0000_0000;

/// A register that should hold the flags.
#[derive(Clone, Debug)]
pub(super) struct FlagsAside {
    register: u8,
    /// At these instructions they are still the same.
    at: RangeInclusive<usize>,
}

/// What stands between reading the flags and writing their register again.
struct Unseen {
    /// Loads, which may go wrong.
    loads: Vec<Insn>,
    /// The last instruction before one that may raise flags.
    last: usize,
}

/// Whether, and how, the register that `steps[read]` puts the flags in is written again before
/// anybody looks.
fn unseen(steps: &[Step], read: usize) -> Option<Unseen> {
    let register = steps[read].insn.rd;
    let mut unseen = Unseen {
        loads: Vec::new(),
        last: usize::MAX,
    };
    let reads = |insn: &Insn| insn.rs1 == register || insn.rs2 == register;
    let (first, comparison) = (read + 3, &steps.get(read + 1)?.insn);
    for (index, step) in steps.iter().enumerate().skip(first) {
        let insn = &step.insn;
        if step.followed {
            continue;
        }
        let computes = insn.op.class() == Class::Integer && is_simple(insn);
        if computes && !reads(insn) && insn.rd == register {
            // A branch that skips it would be no way out.
            let region = &steps[first..=index];
            let skipped = region.iter().any(|branch| {
                let ends = |step: &Step| i64::from(step.end()) == branch.target();
                branch.insn.op.class() == Class::Branch && region.iter().any(ends)
            });
            unseen.last = unseen.last.min(index);
            return (!skipped).then_some(unseen);
        }
        match insn.op.class() {
            _ if computes && !reads(insn) => {}
            Class::Branch if !reads(insn) && unseen.last == usize::MAX => {}
            Class::Load if matches!(insn.op, Op::Ld | Op::Lw | Op::Fld) => {
                let is_base = insn.rs1 == register || comparison.rd == insn.rs1;
                let moved = steps[first..index]
                    .iter()
                    .any(|step| writes(&step.insn, insn.rs1));
                let written = insn.op != Op::Fld && insn.rd == register;
                if is_base || moved || written || unseen.loads.len() == MOST_LOADS {
                    return None;
                }
                unseen.loads.push(*insn);
            }
            _ if is_computation_of_doubles(insn) => unseen.last = unseen.last.min(index - 1),
            _ => return None,
        }
    }
    None
}

impl Emitter<'_> {
    /// The current instruction puts the flags into `register`, and a comparison and an
    /// instruction that puts them back follow.
    fn surrounds_comparison(&self) -> bool {
        let read = self.current().insn;
        let following = self.steps.get(self.index + 1..self.index + 3);
        let Some(&[comparison, restore]) = following else {
            return false;
        };
        let restores = restore.insn.op == Op::Csrrw
            && restore.insn.imm as u16 == number::FFLAGS
            && (restore.insn.rd, restore.insn.rs1) == (0, read.rd);
        restores && comparison.insn.rd != read.rd && read.rd != 0
    }

    /// Behind the instruction that has put the flags aside: the comparison, if it is one, and
    /// what puts them back.
    pub(super) fn comparison_between(&mut self) {
        if !self.surrounds_comparison() {
            return;
        }
        self.index += 1;
        let comparison = self.current().insn;
        if self.ordered_comparison(&comparison) {
            self.index += 1;
            self.count_csr_access();
        } else {
            self.index -= 1;
        }
    }

    /// Instead of an instruction that puts the flags aside, and a comparison: emits both without
    /// looking at the flags, if that is possible. The floating-point unit is ready.
    pub(super) fn unseen_flags(&mut self) -> bool {
        if !self.surrounds_comparison() {
            return false;
        }
        let comparison = self.steps[self.index + 1].insn;
        if !matches!(comparison.op, Op::FeqD | Op::FltD | Op::FleD) {
            return false;
        }
        let Some(Unseen { loads, last }) = unseen(self.steps, self.index) else {
            return false;
        };
        let register = self.current().insn.rd;
        let a = self.float(comparison.rs1, Precision::Double, &[]);
        let b = self.float(comparison.rs2, Precision::Double, &[a]);
        let (seen, ready) = (self.a.label(), self.a.label());
        self.a.mov_ri(Reg::Rdx, INFINITY_TWICE);
        for operand in [a, b] {
            self.if_nan(operand, seen);
        }
        for load in &loads {
            let size = window::bytes(load.op).unwrap_or(8);
            self.check(Kind::Load, load.rs1, load.imm, size, seen);
        }
        self.a.bind(ready);
        self.aside.push(Aside::Flags {
            label: seen,
            resume: ready,
            register,
        });
        self.flags_aside.push(FlagsAside {
            register,
            at: self.index..=last,
        });
        self.comparison_between();
        true
    }

    /// Jumps if it is a NaN, without raising a flag. `rdx` holds [`INFINITY_TWICE`].
    fn if_nan(&mut self, operand: Xmm, label: Label) {
        self.a.movq_rx(Reg::Rax, operand);
        self.a.alu_rr(Alu::Add, Width::W64, Reg::Rax, Reg::Rax);
        self.a.alu_rr(Alu::Cmp, Width::W64, Reg::Rax, Reg::Rdx);
        self.a.jcc(Cond::A, label);
    }

    /// The register that a way out of the block at the current instruction must put the flags in.
    pub(super) fn flags_to_save(&self) -> Option<u8> {
        let mut asides = self.flags_aside.iter();
        let aside = asides.find(|aside| aside.at.contains(&self.index))?;
        Some(aside.register)
    }
}
