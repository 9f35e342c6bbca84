//! F, D, Zfh and Zfa: from instruction to the arithmetic in [`crate::float`].

use ringer_isa::{Insn, Op};

use super::{Execution, Flow};
use crate::cause::Exception;
use crate::csr::mstatus;
use crate::float::{self, F16, F32, F64, Flags, Float, FloatEnv, Rounding};
use crate::hart::Hart;

/// The `rm` field that names `frm`.
const DYNAMIC: u8 = 7;

impl Hart {
    /// Floating-point instructions are illegal while the unit is off.
    #[inline(always)]
    pub(super) fn float_enabled(&self, insn: &Insn) -> Result<(), Exception> {
        if self.csrs.mstatus & mstatus::FS == 0 {
            return Err(Exception::illegal(insn.bits));
        }
        Ok(())
    }

    /// Executes `insn` if it is a floating-point operation (loads and stores are elsewhere).
    #[inline]
    pub(super) fn execute_float(&mut self, insn: &Insn) -> Option<Execution> {
        Some(match FloatOp::of(insn.op)? {
            FloatOp::Single(operation) => self.operate::<F32>(insn, operation),
            FloatOp::Double(operation) => self.operate::<F64>(insn, operation),
            FloatOp::Half(operation) => self.operate::<F16>(insn, operation),
        })
    }

    /// The rounding mode of an instruction. Reserved modes are illegal, also when they come
    /// from `frm`.
    fn rounding(&self, insn: &Insn) -> Result<Rounding, Exception> {
        let bits = if insn.rm == DYNAMIC {
            (self.csrs.fcsr >> 5) as u8 & 7
        } else {
            insn.rm
        };
        Rounding::from_bits(bits).ok_or_else(|| Exception::illegal(insn.bits))
    }

    fn operate<F: Float>(&mut self, insn: &Insn, operation: Operation) -> Execution {
        use Operation::*;

        self.float_enabled(insn)?;
        // Only instructions with an rm field have a mode to be wrong about.
        let rounding = if operation.rounds() {
            self.rounding(insn)?
        } else {
            Rounding::default()
        };
        let accrued = self.csrs.fcsr & 0x1f;
        let mut environment = FloatEnv {
            rounding,
            flags: Flags::from_bits_truncate(accrued as u8),
        };
        let env = &mut environment;
        let a = F::unbox(self.fr(insn.rs1));
        let b = F::unbox(self.fr(insn.rs2));
        let c = F::unbox(self.fr(insn.rs3));
        let integer = self.xr(insn.rs1);

        let result = match operation {
            Add => To::Float(float::add(env, a, b).to_box()),
            Sub => To::Float(float::sub(env, a, b).to_box()),
            Mul => To::Float(float::mul(env, a, b).to_box()),
            Div => To::Float(float::div(env, a, b).to_box()),
            Sqrt => To::Float(float::sqrt(env, a).to_box()),
            MulAdd => To::Float(float::mul_add(env, a, b, c).to_box()),
            MulSub => To::Float(float::mul_add(env, a, b, c.negated()).to_box()),
            NegMulSub => To::Float(float::mul_add(env, a.negated(), b, c).to_box()),
            NegMulAdd => To::Float(float::mul_add(env, a.negated(), b, c.negated()).to_box()),
            Sgnj => To::Float(a.with_sign_of(b).to_box()),
            Sgnjn => To::Float(a.with_sign_opposite_to(b).to_box()),
            Sgnjx => To::Float(a.with_sign_xor(b).to_box()),
            Min => To::Float(float::minimum_number(env, a, b).to_box()),
            Max => To::Float(float::maximum_number(env, a, b).to_box()),
            Minm => To::Float(float::minimum(env, a, b).to_box()),
            Maxm => To::Float(float::maximum(env, a, b).to_box()),
            Round => To::Float(float::round_to_integral(env, a).to_box()),
            RoundNx => To::Float(float::round_to_integral_exact(env, a).to_box()),
            LoadImmediate => To::Float(float::load_immediate::<F>(insn.rs1).to_box()),
            FromHalf => To::Float(self.converted::<F16, F>(env, insn)),
            FromSingle => To::Float(self.converted::<F32, F>(env, insn)),
            FromDouble => To::Float(self.converted::<F64, F>(env, insn)),
            FromI32 => To::Float(float::from_i32::<F>(env, integer as i32).to_box()),
            FromU32 => To::Float(float::from_u32::<F>(env, integer as u32).to_box()),
            FromI64 => To::Float(float::from_i64::<F>(env, integer as i64).to_box()),
            FromU64 => To::Float(float::from_u64::<F>(env, integer).to_box()),
            FromBits => To::Float(F::from_bits(integer).to_box()),

            Equal => To::Integer(float::equal(env, a, b).into()),
            Less => To::Integer(float::less(env, a, b).into()),
            LessOrEqual => To::Integer(float::less_or_equal(env, a, b).into()),
            LessQuiet => To::Integer(float::less_quiet(env, a, b).into()),
            LessOrEqualQuiet => To::Integer(float::less_or_equal_quiet(env, a, b).into()),
            Classify => To::Integer(float::classify(a)),
            ToI32 => To::Integer(float::to_i32(env, a) as u64),
            // Unsigned words are sign-extended too (unprivileged 20.7).
            ToU32 => To::Integer(float::to_u32(env, a) as i32 as u64),
            ToI64 => To::Integer(float::to_i64(env, a) as u64),
            ToU64 => To::Integer(float::to_u64(env, a)),
            ToI32Modular => To::Integer(float::to_i32_modular(env, a) as u64),
            ToBits => {
                // The register's low bits as they are, boxed or not.
                let shift = 64 - F::WIDTH;
                To::Integer(((self.fr(insn.rs1) << shift) as i64 >> shift) as u64)
            }
        };
        let flags = u64::from(environment.flags.bits());
        if flags != accrued {
            self.csrs.fcsr |= flags;
            self.csrs.mstatus |= mstatus::FS;
        }
        match result {
            To::Float(value) => self.set_f(insn.rd, value),
            To::Integer(value) => self.set_x(insn.rd, value),
        }
        Ok(Flow::Next)
    }

    fn converted<From: Float, F: Float>(&self, env: &mut FloatEnv, insn: &Insn) -> u64 {
        float::convert::<F, From>(env, From::unbox(self.fr(insn.rs1))).to_box()
    }
}

/// Where a result goes.
enum To {
    Float(u64),
    Integer(u64),
}

/// What is done, whatever the format.
#[derive(Clone, Copy)]
enum Operation {
    Add,
    Sub,
    Mul,
    Div,
    Sqrt,
    MulAdd,
    MulSub,
    NegMulSub,
    NegMulAdd,
    Sgnj,
    Sgnjn,
    Sgnjx,
    Min,
    Max,
    Minm,
    Maxm,
    Round,
    RoundNx,
    LoadImmediate,
    FromHalf,
    FromSingle,
    FromDouble,
    FromI32,
    FromU32,
    FromI64,
    FromU64,
    FromBits,
    Equal,
    Less,
    LessOrEqual,
    LessQuiet,
    LessOrEqualQuiet,
    Classify,
    ToI32,
    ToU32,
    ToI64,
    ToU64,
    ToI32Modular,
    ToBits,
}

impl Operation {
    /// Whether the instruction has a rounding mode.
    const fn rounds(self) -> bool {
        use Operation::*;
        !matches!(
            self,
            Sgnj | Sgnjn
                | Sgnjx
                | Min
                | Max
                | Minm
                | Maxm
                | LoadImmediate
                | FromBits
                | Equal
                | Less
                | LessOrEqual
                | LessQuiet
                | LessOrEqualQuiet
                | Classify
                | ToBits
        )
    }
}

/// An operation and the format it works in: the source's for comparisons and conversions to
/// integers, else the destination's.
enum FloatOp {
    Half(Operation),
    Single(Operation),
    Double(Operation),
}

macro_rules! float_operations {
    ($($operation:ident: $half:ident $single:ident $double:ident;)*) => {
        impl FloatOp {
            #[inline(always)]
            fn of(op: Op) -> Option<Self> {
                Some(match op {
                    $(
                        Op::$half => Self::Half(Operation::$operation),
                        Op::$single => Self::Single(Operation::$operation),
                        Op::$double => Self::Double(Operation::$operation),
                    )*
                    Op::FcvtSH => Self::Single(Operation::FromHalf),
                    Op::FcvtDH => Self::Double(Operation::FromHalf),
                    Op::FcvtHS => Self::Half(Operation::FromSingle),
                    Op::FcvtDS => Self::Double(Operation::FromSingle),
                    Op::FcvtHD => Self::Half(Operation::FromDouble),
                    Op::FcvtSD => Self::Single(Operation::FromDouble),
                    Op::FcvtmodWD => Self::Double(Operation::ToI32Modular),
                    _ => return None,
                })
            }
        }
    };
}

float_operations! {
    Add: FaddH FaddS FaddD;
    Sub: FsubH FsubS FsubD;
    Mul: FmulH FmulS FmulD;
    Div: FdivH FdivS FdivD;
    Sqrt: FsqrtH FsqrtS FsqrtD;
    MulAdd: FmaddH FmaddS FmaddD;
    MulSub: FmsubH FmsubS FmsubD;
    NegMulSub: FnmsubH FnmsubS FnmsubD;
    NegMulAdd: FnmaddH FnmaddS FnmaddD;
    Sgnj: FsgnjH FsgnjS FsgnjD;
    Sgnjn: FsgnjnH FsgnjnS FsgnjnD;
    Sgnjx: FsgnjxH FsgnjxS FsgnjxD;
    Min: FminH FminS FminD;
    Max: FmaxH FmaxS FmaxD;
    Minm: FminmH FminmS FminmD;
    Maxm: FmaxmH FmaxmS FmaxmD;
    Round: FroundH FroundS FroundD;
    RoundNx: FroundnxH FroundnxS FroundnxD;
    LoadImmediate: FliH FliS FliD;
    FromI32: FcvtHW FcvtSW FcvtDW;
    FromU32: FcvtHWu FcvtSWu FcvtDWu;
    FromI64: FcvtHL FcvtSL FcvtDL;
    FromU64: FcvtHLu FcvtSLu FcvtDLu;
    FromBits: FmvHX FmvWX FmvDX;
    Equal: FeqH FeqS FeqD;
    Less: FltH FltS FltD;
    LessOrEqual: FleH FleS FleD;
    LessQuiet: FltqH FltqS FltqD;
    LessOrEqualQuiet: FleqH FleqS FleqD;
    Classify: FclassH FclassS FclassD;
    ToI32: FcvtWH FcvtWS FcvtWD;
    ToU32: FcvtWuH FcvtWuS FcvtWuD;
    ToI64: FcvtLH FcvtLS FcvtLD;
    ToU64: FcvtLuH FcvtLuS FcvtLuD;
    ToBits: FmvXH FmvXW FmvXD;
}
