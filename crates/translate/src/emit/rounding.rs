//! Rounding modes that an instruction names, when they differ from `frm`: the host's is changed
//! around the one operation. Rounding away from zero at ties is not among the host's.

use super::Emitter;
use crate::assembler::{Alu, Cond, Label, Reg, Shift, Width};
use crate::core_state::{FLOAT_ROUNDING, MXCSR};
use crate::float_unit::ROUNDING;

/// How the host rounds as an instruction wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rounding {
    /// As it is set, or there is nothing to round.
    Present,
    /// In this mode, by the host's name.
    Named(u32),
}

/// The part of the control word that names the mode.
const MODE: i32 = 3 << ROUNDING;

impl Emitter<'_> {
    /// The next operation rounds so. Leaves `rax` and `rdx` alone.
    pub(super) fn begin_rounding(&mut self, rounding: Rounding) {
        let Rounding::Named(mode) = rounding else {
            return;
        };
        let set = self.a.label();
        self.if_set_to(mode, set);
        self.a.stmxcsr(MXCSR);
        self.a.alu_mi(Alu::And, Width::W32, MXCSR, !MODE);
        let bits = (mode << ROUNDING) as i32;
        self.a.alu_mi(Alu::Or, Width::W32, MXCSR, bits);
        self.a.ldmxcsr(MXCSR);
        self.a.bind(set);
    }

    /// The host rounds as before again, and keeps the flags. Changes `rax`.
    pub(super) fn end_rounding(&mut self, rounding: Rounding) {
        let Rounding::Named(mode) = rounding else {
            return;
        };
        let set = self.a.label();
        self.if_set_to(mode, set);
        self.a.stmxcsr(MXCSR);
        self.a.mov_rm(Width::W32, Reg::Rax, FLOAT_ROUNDING);
        self.a
            .shift_ri(Shift::Shl, Width::W32, Reg::Rax, ROUNDING as u8);
        self.a.alu_mi(Alu::And, Width::W32, MXCSR, !MODE);
        self.a.alu_mr(Alu::Or, Width::W32, MXCSR, Reg::Rax);
        self.a.ldmxcsr(MXCSR);
        self.a.bind(set);
    }

    /// Jumps if that is what `frm` says, too.
    fn if_set_to(&mut self, mode: u32, label: Label) {
        self.a
            .alu_mi(Alu::Cmp, Width::W32, FLOAT_ROUNDING, mode as i32);
        self.a.jcc_short(Cond::E, label);
    }
}
