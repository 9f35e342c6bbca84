//! Addition and subtraction, and the sum of signed magnitudes that fused multiply-add shares.

use super::format::{Meaning, meaning};
use super::round::{Magnitude, round};
use super::{Float, FloatEnv, Rounding};

/// A nonzero number with more bits than a [`Magnitude`]: `significand` × 2^(`exponent` − 126), with
/// bit 126 of the significand set. The bit above is left free for the carry of a sum.
#[derive(Clone, Copy)]
pub(super) struct Term {
    pub negative: bool,
    pub exponent: i32,
    pub significand: u128,
}

impl Term {
    pub fn new(negative: bool, magnitude: Magnitude) -> Term {
        Term {
            negative,
            exponent: magnitude.exponent,
            significand: u128::from(magnitude.significand) << 63,
        }
    }
}

/// FADD: `a` + `b`.
pub fn add<F: Float>(env: &mut FloatEnv, a: F, b: F) -> F {
    match (meaning(a), meaning(b)) {
        (Meaning::Nan, _) | (_, Meaning::Nan) => env.propagate_nan(&[a, b]),
        (Meaning::Infinity, Meaning::Infinity) if a.is_negative() != b.is_negative() => {
            env.invalid()
        }
        (Meaning::Infinity, _) => a,
        (_, Meaning::Infinity) => b,
        (Meaning::Zero, Meaning::Zero) if a == b => a,
        (Meaning::Zero, Meaning::Zero) => exact_zero(env),
        (Meaning::Zero, _) => b,
        (_, Meaning::Zero) => a,
        (Meaning::Nonzero(x), Meaning::Nonzero(y)) => add_terms(
            env,
            Term::new(a.is_negative(), x),
            Term::new(b.is_negative(), y),
        ),
    }
}

/// FSUB: `a` − `b`.
pub fn sub<F: Float>(env: &mut FloatEnv, a: F, b: F) -> F {
    add(env, a, b.negated())
}

/// The zero that a sum of opposite numbers gives.
pub(super) fn exact_zero<F: Float>(env: &FloatEnv) -> F {
    F::zero(env.rounding == Rounding::Down)
}

/// The rounded sum of two terms. Neither may have more than 106 significant bits.
pub(super) fn add_terms<F: Float>(env: &mut FloatEnv, a: Term, b: Term) -> F {
    let a_is_greater = (a.exponent, a.significand) >= (b.exponent, b.significand);
    let (greater, lesser) = if a_is_greater { (a, b) } else { (b, a) };
    let aligned = shift_right_sticky(
        lesser.significand,
        greater
            .exponent
            .wrapping_sub(lesser.exponent)
            .cast_unsigned(),
    );
    // At least 21 of the 127 bits are zero, so bits turn sticky only when the exponents differ by
    // more than 21. Then a difference loses at most one leading bit, and the sticky bit stays far below
    // the bits that any format keeps.
    let sum = if greater.negative == lesser.negative {
        greater.significand + aligned
    } else {
        greater.significand - aligned
    };
    match Magnitude::from_wide(greater.exponent + 1, sum) {
        Some(magnitude) => round(env, greater.negative, magnitude),
        None => exact_zero(env),
    }
}

/// `value` >> `shift`, with bit 0 set if any bit was lost.
fn shift_right_sticky(value: u128, shift: u32) -> u128 {
    match value.checked_shr(shift) {
        Some(kept) => kept | u128::from((kept << shift) != value),
        None => u128::from(value != 0),
    }
}
