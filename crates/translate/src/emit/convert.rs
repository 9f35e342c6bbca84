//! Between floating-point numbers and integers: conversions both ways, and classes. The host
//! converts integers with a sign only; those without one are made of it, or read from the bits.
//! What is out of range is left to the definition before any flag is raised.

use ringer_isa::Insn;

use super::Emitter;
use super::float_registers::SCRATCH;
use super::rounding::Rounding;
use crate::assembler::{
    Alu, Bitwise, Cell, Cond, FloatOp, Label, Precision, Reg, Shift, Width, Xmm,
};

/// The host's name for rounding towards zero.
const TRUNCATE: u32 = 3;
/// To [`crate::assembler::Assembler::round`]: an inexact result raises no flag.
const QUIETLY: u8 = 8;

/// The bits of the last number of this precision that fits in an unsigned integer of `width`.
fn last_fitting(width: Width, precision: Precision) -> u64 {
    match (width, precision) {
        (Width::W32, Precision::Double) => f64::from(u32::MAX).to_bits(),
        // The one before 2³², and before 2⁶⁴.
        (Width::W32, Precision::Single) => u64::from(4_294_967_296f32.to_bits() - 1),
        (Width::W64, Precision::Double) => 18_446_744_073_709_551_616f64.to_bits() - 1,
        (Width::W64, Precision::Single) => u64::from(18_446_744_073_709_551_616f32.to_bits() - 1),
    }
}

/// The bits of 2⁶³, and how far the fraction of a number from there up to 2⁶⁴ must be shifted to
/// the left to be that integer, but for its highest bit.
fn upper_half(precision: Precision) -> (u64, u8) {
    match precision {
        Precision::Double => (9_223_372_036_854_775_808f64.to_bits(), 11),
        Precision::Single => (9_223_372_036_854_775_808f32.to_bits().into(), 40),
    }
}

impl Emitter<'_> {
    pub(super) fn convert_from_integer(
        &mut self,
        width: Width,
        signed: bool,
        precision: Precision,
        insn: &Insn,
    ) {
        let to = self.float_result(insn.rd, precision);
        // The conversion keeps the upper part, and would wait for it.
        self.a.bitwise_rr(Bitwise::Xor, to, to);
        let from = self.value(insn.rs1, Reg::Rax);
        match (width, signed) {
            (_, true) => self.a.cvt_int_to_float(width, precision, to, from),
            (Width::W32, false) => {
                // An unsigned word is a positive doubleword.
                self.a.zx_rr(Cell::W, Reg::Rax, from);
                self.a.cvt_int_to_float(Width::W64, precision, to, Reg::Rax);
            }
            (Width::W64, false) => self.convert_from_unsigned(precision, to, from),
        }
        self.set_float(insn.rd, precision);
    }

    /// A doubleword with its highest bit set is converted by half, and doubled, which is exact.
    /// The bit that is lost stays in the last one, far behind those that are kept: to rounding
    /// and the flags it is only a rest or none.
    fn convert_from_unsigned(&mut self, precision: Precision, to: Xmm, from: Reg) {
        let (high, done) = (self.a.label(), self.a.label());
        self.a.test_rr(Width::W64, from, from);
        self.a.jcc_short(Cond::S, high);
        self.a.cvt_int_to_float(Width::W64, precision, to, from);
        self.a.jmp_short(done);
        self.a.bind(high);
        self.a.mov_rr(Width::W32, Reg::Rdx, from);
        self.a.alu_ri(Alu::And, Width::W32, Reg::Rdx, 1);
        if from != Reg::Rax {
            self.a.mov_rr(Width::W64, Reg::Rax, from);
        }
        self.a.shift_ri(Shift::Shr, Width::W64, Reg::Rax, 1);
        self.a.alu_rr(Alu::Or, Width::W64, Reg::Rax, Reg::Rdx);
        self.a.cvt_int_to_float(Width::W64, precision, to, Reg::Rax);
        self.a.float_rr(FloatOp::Add, precision, to, to);
        self.a.bind(done);
    }

    /// What does not fit yields the lowest number, with the flag that RISC-V wants too; the
    /// definition knows the value.
    pub(super) fn convert_to_integer(
        &mut self,
        width: Width,
        (precision, rounding): (Precision, Rounding),
        insn: &Insn,
        a: Xmm,
        slow: Label,
    ) {
        self.convert(width, precision, rounding, a);
        // Only the lowest number has its sign alone set: one less overflows.
        self.a.alu_ri(Alu::Cmp, width, Reg::Rax, 1);
        self.a.jcc(Cond::O, slow);
        if width == Width::W32 {
            self.a.sx_rr(Cell::W, Reg::Rax, Reg::Rax);
        }
        if matches!(rounding, Rounding::Named(mode) if mode != TRUNCATE) {
            // It was rounded without a flag. This raises the right one, and cannot overflow
            // where rounding has not.
            self.a.cvtt_float_to_int(width, precision, Reg::Rdx, a);
        }
        self.set(insn.rd, Reg::Rax);
    }

    /// To an integer without a sign. Negative numbers and NaNs have higher bits than all that
    /// fit.
    pub(super) fn convert_to_unsigned(
        &mut self,
        width: Width,
        (precision, rounding): (Precision, Rounding),
        insn: &Insn,
        a: Xmm,
        slow: Label,
    ) {
        self.a.movq_rx(Reg::Rax, a);
        self.a.mov_ri(Reg::Rdx, last_fitting(width, precision));
        self.a.alu_rr(Alu::Cmp, Width::W64, Reg::Rax, Reg::Rdx);
        self.a.jcc(Cond::A, slow);
        let done = self.a.label();
        if width == Width::W64 {
            let low = self.a.label();
            let (bits, distance) = upper_half(precision);
            self.a.mov_ri(Reg::Rdx, bits);
            self.a.alu_rr(Alu::Cmp, Width::W64, Reg::Rax, Reg::Rdx);
            self.a.jcc_short(Cond::B, low);
            // Such numbers have no fraction.
            self.a.shift_ri(Shift::Shl, Width::W64, Reg::Rax, distance);
            self.a.bts_ri(Width::W64, Reg::Rax, 63);
            self.a.jmp_short(done);
            self.a.bind(low);
        }
        self.convert(Width::W64, precision, rounding, a);
        if matches!(rounding, Rounding::Named(mode) if mode != TRUNCATE) {
            self.a.cvtt_float_to_int(Width::W64, precision, Reg::Rdx, a);
        }
        self.a.bind(done);
        if width == Width::W32 {
            self.a.sx_rr(Cell::W, Reg::Rax, Reg::Rax);
        }
        self.set(insn.rd, Reg::Rax);
    }

    /// `rax` becomes the number as an integer. Modes but the present one and truncation raise no
    /// flag for what is inexact.
    fn convert(&mut self, width: Width, precision: Precision, rounding: Rounding, a: Xmm) {
        match rounding {
            Rounding::Present => self.a.cvt_float_to_int(width, precision, Reg::Rax, a),
            Rounding::Named(TRUNCATE) => self.a.cvtt_float_to_int(width, precision, Reg::Rax, a),
            Rounding::Named(mode) => {
                self.a.round(precision, SCRATCH, a, mode as u8 | QUIETLY);
                self.a
                    .cvtt_float_to_int(width, precision, Reg::Rax, SCRATCH);
            }
        }
    }

    /// The class of a number, a bit of ten (unprivileged 21.9): from negative infinity up to
    /// positive, then the NaNs. Reads the bits, so it raises no flag.
    pub(super) fn classify(&mut self, precision: Precision, insn: &Insn) {
        // Twice the bits, which is without the sign: of the lowest normal number, infinity, and
        // the lowest quiet NaN. Of a double, the upper half.
        let (normal, infinity, quiet) = match precision {
            Precision::Single => (0x0100_0000, 0xff00_0000u32, 0xff80_0000u32),
            Precision::Double => (0x0020_0000, 0xffe0_0000, 0xfff0_0000),
        };
        let count_if_at_least = |emitter: &mut Self, bound: u32| {
            let a = &mut emitter.a;
            a.alu_ri(Alu::Cmp, Width::W32, Reg::Rax, bound as i32);
            a.alu_ri(Alu::Sbb, Width::W32, Reg::Rdx, -1);
        };
        let (nan, done) = (self.a.label(), self.a.label());
        self.float_bits(Reg::Rax, insn.rs1, precision);
        if precision == Precision::Double {
            // The lower half only matters in that it is zero or not.
            self.a.mov_rr(Width::W32, Reg::Rdx, Reg::Rax);
            self.a.shift_ri(Shift::Shr, Width::W64, Reg::Rax, 32);
            self.a.alu_ri(Alu::Cmp, Width::W32, Reg::Rdx, 1);
            self.a.alu_rr(Alu::Sbb, Width::W32, Reg::Rdx, Reg::Rdx);
            self.a.alu_ri(Alu::Add, Width::W32, Reg::Rdx, 1);
            self.a.alu_rr(Alu::Or, Width::W32, Reg::Rax, Reg::Rdx);
        }
        self.a.alu_rr(Alu::Add, Width::W32, Reg::Rax, Reg::Rax);
        self.a
            .alu_ri(Alu::Cmp, Width::W32, Reg::Rax, infinity as i32);
        self.a.jcc_short(Cond::A, nan);
        // Positive numbers have bits 4 to 7, negative ones the same from 3 down.
        self.a.mov_ri(Reg::Rdx, 4);
        for bound in [1, normal, infinity] {
            count_if_at_least(self, bound);
        }
        self.float_bits(Reg::Rax, insn.rs1, precision);
        let (width, top) = match precision {
            Precision::Single => (Width::W32, 31),
            Precision::Double => (Width::W64, 63),
        };
        self.a.shift_ri(Shift::Sar, width, Reg::Rax, top);
        self.a.alu_ri(Alu::And, Width::W32, Reg::Rax, 7);
        self.a.alu_rr(Alu::Xor, Width::W32, Reg::Rdx, Reg::Rax);
        self.a.jmp_short(done);
        self.a.bind(nan);
        self.a.mov_ri(Reg::Rdx, 8);
        count_if_at_least(self, quiet);
        self.a.bind(done);
        let to = self.result(insn.rd);
        self.a.mov_ri(to, 0);
        self.a.bts_rr(Width::W32, to, Reg::Rdx);
        self.set(insn.rd, to);
    }
}
