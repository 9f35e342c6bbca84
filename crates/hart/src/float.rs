//! IEEE 754 arithmetic as the F, D, Zfh and Zfa extensions define it: pure functions on bit
//! patterns, the same on every host.
//!
//! Values are the newtypes [`F16`], [`F32`] and [`F64`]; every operation is generic over them.
//! An operation that rounds or raises flags takes a [`FloatEnv`], reads its rounding mode and
//! accrues into its flags, so a hart can keep one over many instructions. A NaN result is always
//! the canonical NaN (unprivileged manual, "NaN Generation and Propagation").
//!
//! [`soft`] is the definition, by integer arithmetic alone. The functions here give the same
//! answers and take a shorter way over the host's own arithmetic where that is proved exact.

mod add;
mod compare;
mod constants;
mod convert;
mod divide;
mod format;
mod host;
mod integer;
mod multiply;
mod round;

pub use compare::{
    classify, equal, less, less_or_equal, less_or_equal_quiet, less_quiet, maximum, maximum_number,
    minimum, minimum_number,
};
pub use constants::load_immediate;
pub use divide::sqrt;
pub use format::{F16, F32, F64, Float};
pub use host::{
    add, convert, div, from_i32, from_i64, from_u32, from_u64, mul, sub, to_i32, to_i64, to_u32,
    to_u64,
};
pub use integer::{round_to_integral, round_to_integral_exact, to_i32_modular};
pub use multiply::mul_add;

/// The definition of every operation that the host may shorten. It is compiled to integer
/// instructions only, so it runs where the floating-point registers hold a guest's state.
pub mod soft {
    pub use super::add::{add, sub};
    pub use super::convert::convert;
    pub use super::divide::{div, sqrt};
    pub use super::integer::{
        from_i32, from_i64, from_u32, from_u64, to_i32, to_i64, to_u32, to_u64,
    };
    pub use super::multiply::{mul, mul_add};
}

/// A rounding mode, numbered as in `frm` and in an instruction's `rm` field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Rounding {
    /// RNE: to the nearest value, ties to the even one.
    #[default]
    NearestEven = 0,
    /// RTZ: towards zero.
    TowardZero = 1,
    /// RDN: towards negative infinity.
    Down = 2,
    /// RUP: towards positive infinity.
    Up = 3,
    /// RMM: to the nearest value, ties to the one of greater magnitude.
    NearestMaxMagnitude = 4,
}

impl Rounding {
    /// Every mode, in the order of its number.
    pub const ALL: [Rounding; 5] = [
        Rounding::NearestEven,
        Rounding::TowardZero,
        Rounding::Down,
        Rounding::Up,
        Rounding::NearestMaxMagnitude,
    ];

    /// The mode numbered `bits`; `None` for the reserved numbers and for 7 (DYN), which names no
    /// mode but `frm`.
    pub fn from_bits(bits: u8) -> Option<Rounding> {
        Self::ALL.get(usize::from(bits)).copied()
    }
}

bitflags::bitflags! {
    /// The accrued exceptions, laid out as in `fflags`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Flags: u8 {
        /// Inexact.
        const NX = 1;
        /// Underflow: inexact, and tiny after rounding.
        const UF = 2;
        /// Overflow.
        const OF = 4;
        /// Divide by zero.
        const DZ = 8;
        /// Invalid operation.
        const NV = 16;
    }
}

/// What an operation reads and writes besides its operands: the rounding mode and the flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FloatEnv {
    /// The rounding mode in force.
    pub rounding: Rounding,
    /// The exceptions raised so far; operations only ever add to them.
    pub flags: Flags,
}

impl FloatEnv {
    /// An environment that rounds by `rounding` and has raised nothing.
    pub fn new(rounding: Rounding) -> FloatEnv {
        FloatEnv {
            rounding,
            flags: Flags::empty(),
        }
    }

    /// Accrues `flags`.
    #[inline]
    pub fn raise(&mut self, flags: Flags) {
        self.flags |= flags;
    }

    /// The result of an operation that has no numeric answer: canonical NaN, and invalid raised.
    fn invalid<F: Float>(&mut self) -> F {
        self.raise(Flags::NV);
        F::NAN
    }

    /// The result of an operation with a NaN among its `operands`: canonical NaN, and invalid
    /// raised if one of them signals.
    fn propagate_nan<F: Float>(&mut self, operands: &[F]) -> F {
        if operands.iter().any(|operand| operand.is_signalling_nan()) {
            self.raise(Flags::NV);
        }
        F::NAN
    }
}
