//! Multiplication and fused multiply-add.

use super::add::{Term, add_terms, exact_zero};
use super::format::{Meaning, meaning};
use super::round::{Magnitude, round};
use super::{Float, FloatEnv};

/// FMUL: `a` × `b`.
pub fn mul<F: Float>(env: &mut FloatEnv, a: F, b: F) -> F {
    let negative = a.is_negative() != b.is_negative();
    match (meaning(a), meaning(b)) {
        (Meaning::Nan, _) | (_, Meaning::Nan) => env.propagate_nan(&[a, b]),
        (Meaning::Infinity, Meaning::Zero) | (Meaning::Zero, Meaning::Infinity) => env.invalid(),
        (Meaning::Infinity, _) | (_, Meaning::Infinity) => F::infinity(negative),
        (Meaning::Zero, _) | (_, Meaning::Zero) => F::zero(negative),
        (Meaning::Nonzero(x), Meaning::Nonzero(y)) => {
            match Magnitude::from_wide(x.exponent + y.exponent + 1, significand_product(x, y)) {
                Some(magnitude) => round(env, negative, magnitude),
                None => F::zero(negative),
            }
        }
    }
}

/// FMADD: `a` × `b` + `c`, rounded once.
///
/// The other three are sign changes: FMSUB negates `c`, FNMSUB `a`, and FNMADD both.
pub fn mul_add<F: Float>(env: &mut FloatEnv, a: F, b: F, c: F) -> F {
    let negative = a.is_negative() != b.is_negative();
    match (meaning(a), meaning(b), meaning(c)) {
        (Meaning::Nonzero(x), Meaning::Nonzero(y), Meaning::Nonzero(z)) => {
            add_terms(env, product(negative, x, y), Term::new(c.is_negative(), z))
        }
        // Invalid even when the addend is a quiet NaN (unprivileged manual, "Single-Precision
        // Floating-Point Computational Instructions").
        (Meaning::Infinity, Meaning::Zero, _) | (Meaning::Zero, Meaning::Infinity, _) => {
            env.invalid()
        }
        (Meaning::Nan, _, _) | (_, Meaning::Nan, _) | (_, _, Meaning::Nan) => {
            env.propagate_nan(&[a, b, c])
        }
        (Meaning::Infinity, _, Meaning::Infinity) | (_, Meaning::Infinity, Meaning::Infinity)
            if negative != c.is_negative() =>
        {
            env.invalid()
        }
        (Meaning::Infinity, _, _) | (_, Meaning::Infinity, _) => F::infinity(negative),
        (_, _, Meaning::Infinity) => c,
        (Meaning::Zero, _, Meaning::Zero) | (_, Meaning::Zero, Meaning::Zero) => {
            if negative == c.is_negative() {
                c
            } else {
                exact_zero(env)
            }
        }
        (Meaning::Zero, _, _) | (_, Meaning::Zero, _) => c,
        (Meaning::Nonzero(x), Meaning::Nonzero(y), Meaning::Zero) => {
            let product = product(negative, x, y);
            match Magnitude::from_wide(product.exponent + 1, product.significand) {
                Some(magnitude) => round(env, negative, magnitude),
                None => F::zero(negative),
            }
        }
    }
}

/// Bit 126 or 127 of the product is its highest.
fn significand_product(x: Magnitude, y: Magnitude) -> u128 {
    u128::from(x.significand) * u128::from(y.significand)
}

/// The exact product: no format's significands have more than 53 bits, so the bit shifted out is 0.
fn product(negative: bool, x: Magnitude, y: Magnitude) -> Term {
    let significand = significand_product(x, y);
    let carry = (significand >> 127) as u32;
    Term {
        negative,
        exponent: x.exponent + y.exponent + carry as i32,
        significand: significand >> carry,
    }
}
