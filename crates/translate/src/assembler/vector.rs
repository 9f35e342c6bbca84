//! Floating point, in the scalar part of the vector registers (SSE2, AVX and FMA3).

use super::encode::{Immediate, Opcode, Operand, Prefix, Rex};
use super::{Assembler, Bitwise, FloatOp, Fused, Mem, Precision, Reg, Width, Xmm};

/// The prefix of scalar arithmetic.
#[inline]
fn scalar(precision: Precision) -> Prefix {
    match precision {
        Precision::Single => Prefix::Pf3,
        Precision::Double => Prefix::Pf2,
    }
}

/// The prefix of instructions that have scalars in common with whole vectors.
#[inline]
fn packed(precision: Precision) -> Prefix {
    match precision {
        Precision::Single => Prefix::None,
        Precision::Double => Prefix::P66,
    }
}

impl Assembler {
    /// An instruction on vector registers alone, or on one and a place in memory.
    #[inline]
    fn sse(&mut self, opcode: Opcode, reg: Xmm, operand: impl Into<Operand>) {
        self.legacy(opcode, Rex::Spare, reg.0, operand, Immediate::None);
    }

    /// Loads a scalar; the rest of the register becomes zero.
    #[inline]
    pub fn movs_load(&mut self, precision: Precision, d: Xmm, s: Mem) {
        self.sse(Opcode::m0f(0x10).with(scalar(precision)), d, s);
    }

    /// Stores a scalar.
    #[inline]
    pub fn movs_store(&mut self, precision: Precision, d: Mem, s: Xmm) {
        self.sse(Opcode::m0f(0x11).with(scalar(precision)), s, d);
    }

    /// `d = s`, the whole register
    #[inline]
    pub fn mova_rr(&mut self, d: Xmm, s: Xmm) {
        self.sse(Opcode::m0f(0x28), d, s);
    }

    /// Stores the whole register to 16 aligned bytes.
    #[inline]
    pub fn mova_store(&mut self, d: Mem, s: Xmm) {
        self.sse(Opcode::m0f(0x29), s, d);
    }

    /// `d = d op s`; for `Sqrt`, `d = sqrt(s)`
    #[inline]
    pub fn float_rr(&mut self, op: FloatOp, precision: Precision, d: Xmm, s: Xmm) {
        self.sse(Opcode::m0f(op as u8).with(scalar(precision)), d, s);
    }

    /// `d = a op b` (AVX); for `Sqrt`, `d = sqrt(b)`. The rest of `d` comes from `a`.
    #[inline]
    pub fn vfloat_rrr(&mut self, op: FloatOp, precision: Precision, d: Xmm, a: Xmm, b: Xmm) {
        let opcode = Opcode::m0f(op as u8).with(scalar(precision));
        self.vex(opcode, false, d.0, a.0, b, Immediate::None);
    }

    /// Fused multiplication and addition (FMA3).
    #[inline]
    pub fn fused_rrr(&mut self, op: Fused, precision: Precision, d: Xmm, a: Xmm, b: Xmm) {
        self.fused(op, precision, d, a, b);
    }

    #[inline]
    fn fused(&mut self, op: Fused, precision: Precision, d: Xmm, a: Xmm, b: impl Into<Operand>) {
        let opcode = Opcode::m0f38(op as u8).with(Prefix::P66);
        let wide = precision == Precision::Double;
        self.vex(opcode, wide, d.0, a.0, b, Immediate::None);
    }

    /// Compares; only signalling NaNs are invalid.
    #[inline]
    pub fn ucomis(&mut self, precision: Precision, a: Xmm, b: Xmm) {
        self.sse(Opcode::m0f(0x2e).with(packed(precision)), a, b);
    }

    /// Compares; all NaNs are invalid.
    #[inline]
    pub fn comis(&mut self, precision: Precision, a: Xmm, b: Xmm) {
        self.sse(Opcode::m0f(0x2f).with(packed(precision)), a, b);
    }

    /// An instruction on a vector register and a general one.
    #[inline]
    fn mixed(&mut self, opcode: Opcode, rex: impl Into<Rex>, vector: Xmm, general: Reg) {
        self.legacy(opcode, rex, vector.0, general, Immediate::None);
    }

    /// 64 bits from a general register; the rest becomes zero.
    #[inline]
    pub fn movq_xr(&mut self, d: Xmm, s: Reg) {
        self.mixed(Opcode::m0f(0x6e).with(Prefix::P66), Rex::Wide, d, s);
    }

    /// 64 bits to a general register.
    #[inline]
    pub fn movq_rx(&mut self, d: Reg, s: Xmm) {
        self.mixed(Opcode::m0f(0x7e).with(Prefix::P66), Rex::Wide, s, d);
    }

    /// 32 bits from a general register; the rest becomes zero.
    #[inline]
    pub fn movd_xr(&mut self, d: Xmm, s: Reg) {
        self.mixed(Opcode::m0f(0x6e).with(Prefix::P66), Rex::Spare, d, s);
    }

    /// 32 bits to a general register; its upper half becomes zero.
    #[inline]
    pub fn movd_rx(&mut self, d: Reg, s: Xmm) {
        self.mixed(Opcode::m0f(0x7e).with(Prefix::P66), Rex::Spare, s, d);
    }

    /// Signed integer to floating point; the rest of `d` stays.
    #[inline]
    pub fn cvt_int_to_float(&mut self, width: Width, precision: Precision, d: Xmm, s: Reg) {
        self.mixed(Opcode::m0f(0x2a).with(scalar(precision)), width, d, s);
    }

    /// Floating point to signed integer, rounded as MXCSR says.
    #[inline]
    pub fn cvt_float_to_int(&mut self, width: Width, precision: Precision, d: Reg, s: Xmm) {
        let opcode = Opcode::m0f(0x2d).with(scalar(precision));
        self.legacy(opcode, width, d.number(), s, Immediate::None);
    }

    /// Floating point to signed integer, rounded towards zero.
    #[inline]
    pub fn cvtt_float_to_int(&mut self, width: Width, precision: Precision, d: Reg, s: Xmm) {
        let opcode = Opcode::m0f(0x2c).with(scalar(precision));
        self.legacy(opcode, width, d.number(), s, Immediate::None);
    }

    /// Double to single precision; the rest of `d` stays.
    #[inline]
    pub fn cvt_double_to_single(&mut self, d: Xmm, s: Xmm) {
        self.sse(Opcode::m0f(0x5a).with(Prefix::Pf2), d, s);
    }

    /// Single to double precision; the rest of `d` stays.
    #[inline]
    pub fn cvt_single_to_double(&mut self, d: Xmm, s: Xmm) {
        self.sse(Opcode::m0f(0x5a).with(Prefix::Pf3), d, s);
    }

    /// Rounds to an integer value (SSE4.1): `mode` 0 to 3 as in MXCSR, 4 as MXCSR says; plus 8
    /// not to raise the inexact flag.
    #[inline]
    pub fn round(&mut self, precision: Precision, d: Xmm, s: Xmm, mode: u8) {
        let code = match precision {
            Precision::Single => 0x0a,
            Precision::Double => 0x0b,
        };
        let opcode = Opcode::m0f3a(code).with(Prefix::P66);
        self.legacy(opcode, Rex::Spare, d.0, s, Immediate::Byte(mode));
    }

    /// `d = d op s`, the whole register
    #[inline]
    pub fn bitwise_rr(&mut self, op: Bitwise, d: Xmm, s: Xmm) {
        self.sse(Opcode::m0f(op as u8), d, s);
    }

    /// Each byte of `d` becomes all ones if it equals that of `s`, else zero.
    #[inline]
    pub fn pcmpeqb(&mut self, d: Xmm, s: Xmm) {
        self.sse(Opcode::m0f(0x74).with(Prefix::P66), d, s);
    }

    /// Stores the floating-point control and status register.
    #[inline]
    pub fn stmxcsr(&mut self, d: Mem) {
        self.legacy(Opcode::m0f(0xae), Rex::Spare, 3, d, Immediate::None);
    }

    /// Loads the floating-point control and status register.
    #[inline]
    pub fn ldmxcsr(&mut self, s: Mem) {
        self.legacy(Opcode::m0f(0xae), Rex::Spare, 2, s, Immediate::None);
    }
}
