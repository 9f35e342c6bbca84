//! Operands worth trying: corner cases to be crossed with each other, and random ones that meet
//! (cancel, tie, overflow, underflow) more often than uniform bits would.

use proptest::prelude::*;
use ringer_hart::float::Float;

/// Every combination of sign, of exponents at which some rule changes, and of fractions next to
/// rounding boundaries: zeros, subnormals, normals, infinities and both kinds of NaN.
pub fn corner_cases<F: Float>() -> Vec<F> {
    let max_stored = 2 * F::MAX_EXPONENT + 1;
    let around_one = |exponent: i32| F::MAX_EXPONENT + exponent;
    let fraction_bits = F::FRACTION_BITS as i32;
    let mut exponents = vec![
        0,
        1,
        2,
        fraction_bits,
        max_stored - 2,
        max_stored - 1,
        max_stored,
    ];
    for exponent in [
        0,
        1,
        10,
        16,
        31,
        32,
        63,
        64,
        fraction_bits,
        fraction_bits + 1,
    ] {
        exponents.extend([
            around_one(exponent),
            around_one(-exponent),
            around_one(exponent) - 1,
        ]);
    }
    let top = 1u64 << (F::FRACTION_BITS - 1);
    let fractions = [
        0,
        1,
        2,
        top - 1,
        top,
        top + 1,
        F::FRACTION_MASK - 1,
        F::FRACTION_MASK,
    ];
    combine(exponents, &fractions)
}

/// A smaller choice, for operations on three operands.
pub fn few_corner_cases<F: Float>() -> Vec<F> {
    let max_stored = 2 * F::MAX_EXPONENT + 1;
    let one = F::MAX_EXPONENT;
    let half_range = F::MAX_EXPONENT / 2;
    let exponents = vec![
        0,
        1,
        one - half_range,
        one - 1,
        one,
        one + half_range,
        max_stored - 1,
    ];
    let mut cases = combine(exponents, &[0, 1, F::FRACTION_MASK]);
    cases.extend(combine::<F>(vec![max_stored], &[0, 1, F::FRACTION_MASK]));
    cases
}

fn combine<F: Float>(mut exponents: Vec<i32>, fractions: &[u64]) -> Vec<F> {
    exponents.sort_unstable();
    exponents.dedup();
    let mut cases = Vec::new();
    for exponent in exponents {
        if !(0..=2 * F::MAX_EXPONENT + 1).contains(&exponent) {
            continue;
        }
        for fraction in fractions {
            let magnitude = ((exponent as u64) << F::FRACTION_BITS) | fraction;
            cases.extend([
                F::from_bits(magnitude),
                F::from_bits(magnitude | F::SIGN_BIT),
            ]);
        }
    }
    cases
}

/// A random value: any bits, a corner case, or one of moderate exponent, with fractions that are
/// random, short, or a run of ones.
pub fn any_float<F: Float>() -> impl Strategy<Value = F> {
    let fraction = prop_oneof![
        2 => any::<u64>(),
        1 => (any::<u64>(), 0..F::FRACTION_BITS)
            .prop_map(|(bits, zeros)| (bits & F::FRACTION_MASK) >> zeros << zeros),
        1 => (any::<u64>(), 1..=F::FRACTION_BITS)
            .prop_map(|(bits, ones)| bits | ((1 << ones) - 1)),
        1 => (0..F::FRACTION_BITS).prop_map(|bit| 1 << bit),
    ];
    let near_one = -(F::PRECISION as i32) - 2..=F::PRECISION as i32 + 2;
    let stored = prop_oneof![
        1 => 0..=2 * F::MAX_EXPONENT + 1,
        3 => near_one.prop_map(|exponent| {
            (F::MAX_EXPONENT + exponent).clamp(0, 2 * F::MAX_EXPONENT + 1)
        }),
        1 => 0..=3,
        1 => 2 * F::MAX_EXPONENT - 3..=2 * F::MAX_EXPONENT,
    ];
    let built = (any::<bool>(), stored, fraction).prop_map(|(negative, stored, fraction)| {
        let bits = ((stored as u64) << F::FRACTION_BITS) | (fraction & F::FRACTION_MASK);
        F::from_bits(bits | if negative { F::SIGN_BIT } else { 0 })
    });
    prop_oneof![
        1 => any::<u64>().prop_map(F::from_bits),
        6 => built,
        1 => proptest::sample::select(corner_cases::<F>()),
    ]
}
