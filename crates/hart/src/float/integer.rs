//! Conversion to and from integers, and rounding to integral values.

use super::format::{Meaning, meaning};
use super::round::{Lost, Magnitude, round, shift_and_round};
use super::{Flags, Float, FloatEnv, Rounding};

/// FCVT.W: to a signed word. What is out of range saturates and raises invalid instead of inexact;
/// a NaN gives the maximum.
pub fn to_i32<F: Float>(env: &mut FloatEnv, a: F) -> i32 {
    to_integer(env, a, i32::MIN.into(), i32::MAX.into()) as i32
}

/// FCVT.WU: to an unsigned word, with the rules of [`to_i32`].
pub fn to_u32<F: Float>(env: &mut FloatEnv, a: F) -> u32 {
    to_integer(env, a, u32::MIN.into(), u32::MAX.into()) as u32
}

/// FCVT.L: to a signed doubleword, with the rules of [`to_i32`].
pub fn to_i64<F: Float>(env: &mut FloatEnv, a: F) -> i64 {
    to_integer(env, a, i64::MIN.into(), i64::MAX.into()) as i64
}

/// FCVT.LU: to an unsigned doubleword, with the rules of [`to_i32`].
pub fn to_u64<F: Float>(env: &mut FloatEnv, a: F) -> u64 {
    to_integer(env, a, u64::MIN.into(), u64::MAX.into()) as u64
}

/// FCVT from a signed word.
pub fn from_i32<F: Float>(env: &mut FloatEnv, a: i32) -> F {
    from_integer(env, a < 0, a.unsigned_abs().into())
}

/// FCVT from an unsigned word.
pub fn from_u32<F: Float>(env: &mut FloatEnv, a: u32) -> F {
    from_integer(env, false, a.into())
}

/// FCVT from a signed doubleword.
pub fn from_i64<F: Float>(env: &mut FloatEnv, a: i64) -> F {
    from_integer(env, a < 0, a.unsigned_abs())
}

/// FCVT from an unsigned doubleword.
pub fn from_u64<F: Float>(env: &mut FloatEnv, a: u64) -> F {
    from_integer(env, false, a)
}

/// FCVTMOD.W.D (Zfa): `a` truncated, modulo 2^32. The flags are those of FCVT.W towards zero, but
/// NaN and infinity give 0.
pub fn to_i32_modular<F: Float>(env: &mut FloatEnv, a: F) -> i32 {
    let mut truncating = FloatEnv {
        rounding: Rounding::TowardZero,
        flags: env.flags,
    };
    let _ = to_i32(&mut truncating, a);
    env.flags = truncating.flags;

    let Meaning::Nonzero(Magnitude {
        exponent,
        significand,
    }) = meaning(a)
    else {
        return 0;
    };
    let magnitude = match exponent {
        ..0 => 0,
        0..64 => significand >> (63 - exponent),
        // The integer is a multiple of 2^32 once bit 0 of the significand has passed bit 31.
        64..95 => significand << (exponent - 63),
        _ => 0,
    };
    let signed = if a.is_negative() {
        magnitude.wrapping_neg()
    } else {
        magnitude
    };
    signed as i32
}

/// FROUND (Zfa): `a` rounded to an integral value, without raising inexact.
pub fn round_to_integral<F: Float>(env: &mut FloatEnv, a: F) -> F {
    integral(env, a).0
}

/// FROUNDNX (Zfa): `a` rounded to an integral value, raising inexact if that changed it.
pub fn round_to_integral_exact<F: Float>(env: &mut FloatEnv, a: F) -> F {
    let (result, lost) = integral(env, a);
    if !lost.is_nothing() {
        env.raise(Flags::NX);
    }
    result
}

fn integral<F: Float>(env: &mut FloatEnv, a: F) -> (F, Lost) {
    match meaning(a) {
        Meaning::Nan => (env.propagate_nan(&[a]), Lost::NOTHING),
        Meaning::Infinity | Meaning::Zero => (a, Lost::NOTHING),
        // Every number of at least this magnitude is an integer.
        Meaning::Nonzero(x) if x.exponent >= F::FRACTION_BITS as i32 => (a, Lost::NOTHING),
        Meaning::Nonzero(x) => {
            let (integer, lost) = round_magnitude(x, env.rounding, a.is_negative());
            // Has at most as many bits as the significand, so this neither rounds nor raises.
            (from_integer(env, a.is_negative(), integer), lost)
        }
    }
}

/// Rounds a magnitude below 2^63 to an integer.
fn round_magnitude(x: Magnitude, rounding: Rounding, negative: bool) -> (u64, Lost) {
    shift_and_round(
        x.significand,
        (63 - x.exponent).cast_unsigned(),
        rounding,
        negative,
    )
}

fn from_integer<F: Float>(env: &mut FloatEnv, negative: bool, magnitude: u64) -> F {
    match Magnitude::from_integer(magnitude) {
        Some(magnitude) => round(env, negative, magnitude),
        None => F::zero(negative),
    }
}

fn to_integer<F: Float>(env: &mut FloatEnv, a: F, min: i128, max: i128) -> i128 {
    let limit = if a.is_negative() && !a.is_nan() {
        min
    } else {
        max
    };
    let (magnitude, lost) = match meaning(a) {
        Meaning::Zero => return 0,
        // No format has more than 53 bits, so at this exponent there is no fraction to round.
        Meaning::Nonzero(x) if x.exponent == 63 => (x.significand, Lost::NOTHING),
        Meaning::Nonzero(x) if x.exponent < 63 => round_magnitude(x, env.rounding, a.is_negative()),
        Meaning::Nan | Meaning::Infinity | Meaning::Nonzero(_) => {
            env.raise(Flags::NV);
            return limit;
        }
    };
    let value = if a.is_negative() {
        -i128::from(magnitude)
    } else {
        magnitude.into()
    };
    if value < min || value > max {
        env.raise(Flags::NV);
        return limit;
    }
    if !lost.is_nothing() {
        env.raise(Flags::NX);
    }
    value
}
