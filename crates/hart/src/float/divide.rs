//! Division and square root.

use super::format::{Meaning, meaning};
use super::round::{Magnitude, round};
use super::{Flags, Float, FloatEnv};

/// FDIV: `a` ÷ `b`.
pub fn div<F: Float>(env: &mut FloatEnv, a: F, b: F) -> F {
    let negative = a.is_negative() != b.is_negative();
    match (meaning(a), meaning(b)) {
        (Meaning::Nan, _) | (_, Meaning::Nan) => env.propagate_nan(&[a, b]),
        (Meaning::Infinity, Meaning::Infinity) | (Meaning::Zero, Meaning::Zero) => env.invalid(),
        (Meaning::Infinity, _) => F::infinity(negative),
        (_, Meaning::Infinity) | (Meaning::Zero, _) => F::zero(negative),
        (_, Meaning::Zero) => {
            env.raise(Flags::DZ);
            F::infinity(negative)
        }
        (Meaning::Nonzero(x), Meaning::Nonzero(y)) => round(env, negative, quotient(x, y)),
    }
}

/// FSQRT: the square root of `a`.
pub fn sqrt<F: Float>(env: &mut FloatEnv, a: F) -> F {
    match meaning(a) {
        Meaning::Nan => env.propagate_nan(&[a]),
        Meaning::Zero => a,
        _ if a.is_negative() => env.invalid(),
        Meaning::Infinity => a,
        Meaning::Nonzero(x) => round(env, false, root(x)),
    }
}

/// The quotient to 64 bits, the last one sticky.
fn quotient(x: Magnitude, y: Magnitude) -> Magnitude {
    let borrow = u32::from(x.significand < y.significand);
    let dividend = u128::from(x.significand) << (63 + borrow);
    let divisor = u128::from(y.significand);
    // In 2^63 ..= 2^64 − 1, as the dividend was doubled if the significands' ratio was below one.
    let quotient = (dividend / divisor) as u64;
    let inexact = u128::from(quotient) * divisor != dividend;
    Magnitude {
        exponent: x.exponent - y.exponent - borrow as i32,
        significand: quotient | u64::from(inexact),
    }
}

/// The square root to 64 bits, the last one sticky.
fn root(x: Magnitude) -> Magnitude {
    let odd = x.exponent & 1;
    // In 2^126 ..= 2^128 − 1, so the root has 64 bits.
    let square = u128::from(x.significand) << (63 + odd);
    let root = square.isqrt();
    let inexact = root * root != square;
    Magnitude {
        exponent: (x.exponent - odd) / 2,
        significand: root as u64 | u64::from(inexact),
    }
}
