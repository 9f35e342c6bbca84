//! Conversion between formats, to and from integers, and rounding to integral values.

use proptest::prelude::*;
use ringer_hart::float::{self, F16, F32, F64, Flags, Rounding, soft};

use crate::check;
use crate::operands::{any_float, corner_cases};
use crate::oracle::{self, Oracle};

fn check_convert<To: Oracle, From: Oracle>(a: From) {
    for rounding in Rounding::ALL {
        let expected: (To, Flags) = oracle::convert(a, rounding);
        check(
            rounding,
            expected,
            || format!("convert {a:x?}"),
            |env| soft::convert(env, a),
        );
        check(
            rounding,
            expected,
            || format!("short convert {a:x?}"),
            |env| float::convert(env, a),
        );
    }
}

/// Everything that starts from one value of a format.
pub fn check_unary<F: Oracle>(a: F) {
    check_convert::<F16, F>(a);
    check_convert::<F32, F>(a);
    check_convert::<F64, F>(a);
    for rounding in Rounding::ALL {
        macro_rules! check_integer {
            ($integer:ty, $function:ident) => {
                let (min, max) = (<$integer>::MIN.into(), <$integer>::MAX.into());
                let (value, flags) = oracle::to_integer(a, rounding, min, max);
                let expected = (<$integer>::try_from(value).expect("in range"), flags);
                let what = || format!("{} {a:x?}", stringify!($function));
                check(rounding, expected, what, |env| soft::$function(env, a));
                check(rounding, expected, what, |env| float::$function(env, a));
            };
        }
        check_integer!(i32, to_i32);
        check_integer!(u32, to_u32);
        check_integer!(i64, to_i64);
        check_integer!(u64, to_u64);

        let (value, flags) = oracle::round_to_integral(a, rounding);
        let what = || format!("round to integral {a:x?}");
        check(rounding, (value, flags), what, |env| {
            float::round_to_integral_exact(env, a)
        });
        check(rounding, (value, flags - Flags::NX), what, |env| {
            float::round_to_integral(env, a)
        });
    }
}

fn check_from_integer<F: Oracle>(bits: u64) {
    for rounding in Rounding::ALL {
        macro_rules! check_integer {
            ($integer:ty, $function:ident) => {
                let a = bits as $integer;
                let expected: (F, Flags) = oracle::from_integer(a.into(), rounding);
                let what = || format!("{} {a:#x}", stringify!($function));
                check(rounding, expected, what, |env| soft::$function(env, a));
                check(rounding, expected, what, |env| float::$function(env, a));
            };
        }
        check_integer!(i32, from_i32);
        check_integer!(u32, from_u32);
        check_integer!(i64, from_i64);
        check_integer!(u64, from_u64);
    }
}

/// FCVTMOD.W.D by the host's exact remainder.
fn check_modular(a: F64) {
    let number = f64::from_bits(a.0);
    let truncated = number.trunc();
    let value = if number.is_finite() {
        (truncated % 4_294_967_296.0) as i64 as i32
    } else {
        0
    };
    let flags = if !(-2_147_483_648.0..=2_147_483_647.0).contains(&truncated) {
        Flags::NV
    } else if truncated != number {
        Flags::NX
    } else {
        Flags::empty()
    };
    for rounding in Rounding::ALL {
        check(
            rounding,
            (value, flags),
            || format!("modular {a:x?}"),
            |env| float::to_i32_modular(env, a),
        );
    }
}

#[test]
fn corner_cases_of_conversions() {
    corner_cases::<F16>().into_iter().for_each(check_unary);
    corner_cases::<F32>().into_iter().for_each(check_unary);
    corner_cases::<F64>().into_iter().for_each(check_unary);
    corner_cases::<F64>().into_iter().for_each(check_modular);
}

/// Doubles next to the values and the ties of a narrower format, subnormal ones included.
fn cross_narrowing<To: Oracle>() {
    for narrow in corner_cases::<To>() {
        let F64(bits) = soft::convert(&mut float::FloatEnv::default(), narrow);
        let half_place = 1u64 << (52 - To::FRACTION_BITS - 1);
        for step in [0, half_place, half_place / 2, 2 * half_place] {
            for ulp in [-1, 0, 1] {
                check_convert::<To, F64>(F64(bits.wrapping_add(step).wrapping_add_signed(ulp)));
                check_convert::<To, F64>(F64(bits.wrapping_sub(step).wrapping_add_signed(ulp)));
            }
        }
    }
}

#[test]
fn doubles_next_to_narrow_values_and_ties() {
    cross_narrowing::<F16>();
    cross_narrowing::<F32>();
}

#[test]
fn integers_next_to_powers_of_two() {
    for shift in 0..64 {
        for low in 0..64 {
            for near in -2..=2 {
                let bits = ((1u64 << shift) | (1 << low)).wrapping_add_signed(near);
                for bits in [bits, bits.wrapping_neg()] {
                    check_from_integer::<F16>(bits);
                    check_from_integer::<F32>(bits);
                    check_from_integer::<F64>(bits);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn random_single(a in any_float::<F32>()) {
        check_unary(a);
    }

    #[test]
    fn random_double(a in any_float::<F64>()) {
        check_unary(a);
        check_modular(a);
    }

    #[test]
    fn random_double_of_moderate_size(bits: u64, exponent in 1000u64..1120) {
        let a = F64((bits & 0x800f_ffff_ffff_ffff) | (exponent << 52));
        check_unary(a);
        check_modular(a);
    }

    #[test]
    fn random_integer(bits: u64, shift in 0..64u32) {
        check_from_integer::<F16>(bits >> shift);
        check_from_integer::<F32>(bits >> shift);
        check_from_integer::<F64>(bits >> shift);
    }
}
