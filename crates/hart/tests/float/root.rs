//! Square roots, checked against their definition in exact integers.

use proptest::prelude::*;
use ringer_hart::float::{self, F32, F64, Flags, Float, FloatEnv, Rounding};

use crate::check;
use crate::operands::{any_float, corner_cases};

/// A positive number as `integer` × 2^`exponent`.
fn as_integer<F: Float>(a: F) -> (u128, i32) {
    let fraction = u128::from(a.to_bits() & F::FRACTION_MASK);
    let stored = (a.magnitude_bits() >> F::FRACTION_BITS) as i32;
    let implicit = u128::from(stored != 0) << F::FRACTION_BITS;
    (
        implicit | fraction,
        stored.max(1) - F::MAX_EXPONENT - F::FRACTION_BITS as i32,
    )
}

pub fn check_sqrt<F: Float>(a: F) {
    for rounding in Rounding::ALL {
        let expected = if a.is_nan() {
            (
                F::NAN,
                if a.is_signalling_nan() {
                    Flags::NV
                } else {
                    Flags::empty()
                },
            )
        } else if a.magnitude_bits() == 0 {
            (a, Flags::empty())
        } else if a.is_negative() {
            (F::NAN, Flags::NV)
        } else if a == F::infinity(false) {
            (a, Flags::empty())
        } else {
            check_rounded_root(a, rounding);
            continue;
        };
        check(
            rounding,
            expected,
            || format!("sqrt {a:x?}"),
            |env| float::sqrt(env, a),
        );
    }
}

/// The result r must be normal and satisfy the inequality that defines its rounding; NX is raised
/// exactly if r² ≠ a.
fn check_rounded_root<F: Float>(a: F, rounding: Rounding) {
    let mut env = FloatEnv::new(rounding);
    let result = float::sqrt(&mut env, a);
    let (root, root_exponent) = as_integer(result);
    assert!(
        !result.is_negative() && root >> F::FRACTION_BITS == 1,
        "sqrt {a:x?} is {result:x?}"
    );
    // In units of a quarter of the root's last place, squared: 4 × 2 × 53 bits at most.
    let (radicand, exponent) = as_integer(a);
    let shift = exponent - 2 * root_exponent + 4;
    let radicand = if shift >= 0 {
        radicand << shift
    } else {
        radicand >> -shift
    };
    let square = |quarters: i128| {
        let side = (root * 4).checked_add_signed(quarters).expect("small");
        side * side
    };
    let exact = square(0) == radicand;
    let holds = match rounding {
        // The root is never a tie: its square would have too many bits.
        Rounding::NearestEven | Rounding::NearestMaxMagnitude => {
            square(-2) < radicand && radicand < square(2)
        }
        Rounding::TowardZero | Rounding::Down => square(0) <= radicand && radicand < square(4),
        Rounding::Up => square(-4) < radicand && radicand <= square(0),
    };
    assert!(holds, "sqrt {a:x?} {rounding:?} is {result:x?}");
    let flags = if exact { Flags::empty() } else { Flags::NX };
    assert_eq!(env.flags, flags, "sqrt {a:x?} {rounding:?}");
}

#[test]
fn corner_cases_of_roots() {
    corner_cases::<F32>().into_iter().for_each(check_sqrt);
    corner_cases::<F64>().into_iter().for_each(check_sqrt);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn random_single(a in any_float::<F32>()) {
        check_sqrt(a);
    }

    #[test]
    fn random_double(a in any_float::<F64>()) {
        check_sqrt(a);
    }

    #[test]
    fn squares_and_their_neighbours(root in any_float::<F64>(), ulps in -2i64..=2) {
        let square = float::mul(&mut FloatEnv::default(), root, root);
        check_sqrt(F64(square.0.wrapping_add_signed(ulps)));
        // A root of half the digits has an exact square.
        let short = F64(root.0 & !0x7ff_ffff);
        check_sqrt(float::mul(&mut FloatEnv::default(), short, short));
    }
}
