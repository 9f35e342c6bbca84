//! Comparison, minimum and maximum, and classification.

use core::cmp::Ordering;

use super::{Flags, Float, FloatEnv};

/// FEQ: quiet, so that only a signalling NaN raises invalid.
pub fn equal<F: Float>(env: &mut FloatEnv, a: F, b: F) -> bool {
    compare_quiet(env, a, b) == Some(Ordering::Equal)
}

/// FLT: signalling, so that any NaN raises invalid.
pub fn less<F: Float>(env: &mut FloatEnv, a: F, b: F) -> bool {
    compare_signalling(env, a, b) == Some(Ordering::Less)
}

/// FLE: signalling, so that any NaN raises invalid.
pub fn less_or_equal<F: Float>(env: &mut FloatEnv, a: F, b: F) -> bool {
    matches!(
        compare_signalling(env, a, b),
        Some(Ordering::Less | Ordering::Equal)
    )
}

/// FLTQ (Zfa): FLT, but quiet.
pub fn less_quiet<F: Float>(env: &mut FloatEnv, a: F, b: F) -> bool {
    compare_quiet(env, a, b) == Some(Ordering::Less)
}

/// FLEQ (Zfa): FLE, but quiet.
pub fn less_or_equal_quiet<F: Float>(env: &mut FloatEnv, a: F, b: F) -> bool {
    matches!(
        compare_quiet(env, a, b),
        Some(Ordering::Less | Ordering::Equal)
    )
}

/// FMIN: the lesser; a NaN gives way to a number, and −0 is less than +0.
pub fn minimum_number<F: Float>(env: &mut FloatEnv, a: F, b: F) -> F {
    number_of(env, a, b, Ordering::Less)
}

/// FMAX: the greater; a NaN gives way to a number, and −0 is less than +0.
pub fn maximum_number<F: Float>(env: &mut FloatEnv, a: F, b: F) -> F {
    number_of(env, a, b, Ordering::Greater)
}

/// FMINM (Zfa): the lesser, or NaN if either is; −0 is less than +0.
pub fn minimum<F: Float>(env: &mut FloatEnv, a: F, b: F) -> F {
    if a.is_nan() || b.is_nan() {
        return env.propagate_nan(&[a, b]);
    }
    minimum_number(env, a, b)
}

/// FMAXM (Zfa): the greater, or NaN if either is; −0 is less than +0.
pub fn maximum<F: Float>(env: &mut FloatEnv, a: F, b: F) -> F {
    if a.is_nan() || b.is_nan() {
        return env.propagate_nan(&[a, b]);
    }
    maximum_number(env, a, b)
}

/// FCLASS: the ten-bit mask with the one bit of `a`'s class set.
pub fn classify<F: Float>(a: F) -> u64 {
    let magnitude = a.magnitude_bits();
    if a.is_nan() {
        return if a.is_signalling_nan() {
            1 << 8
        } else {
            1 << 9
        };
    }
    // The classes run from −∞ (0) to +∞ (7), mirrored about zero.
    let class = if magnitude == F::INFINITY_BITS {
        7
    } else if magnitude > F::FRACTION_MASK {
        6
    } else if magnitude != 0 {
        5
    } else {
        4
    };
    1 << if a.is_negative() { 7 - class } else { class }
}

/// The operand that lies on the side `wanted` of the other.
fn number_of<F: Float>(env: &mut FloatEnv, a: F, b: F, wanted: Ordering) -> F {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => env.propagate_nan(&[a, b]),
        (true, false) => {
            let _: F = env.propagate_nan(&[a]);
            b
        }
        (false, true) => {
            let _: F = env.propagate_nan(&[b]);
            a
        }
        (false, false) if order(a).cmp(&order(b)) == wanted => a,
        (false, false) => b,
    }
}

fn compare_quiet<F: Float>(env: &mut FloatEnv, a: F, b: F) -> Option<Ordering> {
    if a.is_signalling_nan() || b.is_signalling_nan() {
        env.raise(Flags::NV);
    }
    compare(a, b)
}

fn compare_signalling<F: Float>(env: &mut FloatEnv, a: F, b: F) -> Option<Ordering> {
    let ordering = compare(a, b);
    if ordering.is_none() {
        env.raise(Flags::NV);
    }
    ordering
}

/// How the values of `a` and `b` compare; `None` if either is a NaN.
fn compare<F: Float>(a: F, b: F) -> Option<Ordering> {
    if a.is_nan() || b.is_nan() {
        None
    } else if a.magnitude_bits() | b.magnitude_bits() == 0 {
        Some(Ordering::Equal)
    } else {
        Some(order(a).cmp(&order(b)))
    }
}

/// An integer that orders numbers as their values do, and −0 before +0.
fn order<F: Float>(a: F) -> i64 {
    let magnitude = a.magnitude_bits() as i64;
    if a.is_negative() {
        !magnitude
    } else {
        magnitude
    }
}
