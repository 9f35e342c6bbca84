//! Values against the host's floating-point unit, which rounds to nearest even.

use proptest::prelude::*;
use ringer_hart::float::{self, F32, F64, Float, FloatEnv, soft};

use crate::operands::any_float;

macro_rules! against_host {
    ($module:ident, $format:ident, $host:ty) => {
        mod $module {
            use super::*;

            fn number(value: $format) -> $host {
                <$host>::from_bits(value.0)
            }

            /// The host's result, with RISC-V's one NaN. Asked of the bits: which NaN a float
            /// holds is open to the optimiser, and it drops a replacement of one by another.
            fn canonical(number: $host) -> $format {
                let bits = $format(number.to_bits());
                if bits.is_nan() { $format::NAN } else { bits }
            }

            proptest! {
                #![proptest_config(ProptestConfig::with_cases(50_000))]

                #[test]
                fn values(
                    a in any_float::<$format>(),
                    b in any_float::<$format>(),
                    c in any_float::<$format>(),
                ) {
                    let (x, y, z) = (number(a), number(b), number(c));
                    let env = &mut FloatEnv::default();
                    prop_assert_eq!(soft::add(env, a, b), canonical(x + y));
                    prop_assert_eq!(soft::sub(env, a, b), canonical(x - y));
                    prop_assert_eq!(soft::mul(env, a, b), canonical(x * y));
                    prop_assert_eq!(soft::div(env, a, b), canonical(x / y));
                    prop_assert_eq!(soft::sqrt(env, a), canonical(x.sqrt()));
                    prop_assert_eq!(soft::mul_add(env, a, b, c), canonical(x.mul_add(y, z)));
                    prop_assert_eq!(
                        float::round_to_integral(env, a),
                        canonical(x.round_ties_even())
                    );
                    let env = &mut FloatEnv::default();
                    prop_assert_eq!(float::equal(env, a, b), x == y);
                    prop_assert_eq!(float::less(env, a, b), x < y);
                    prop_assert_eq!(float::less_or_equal(env, a, b), x <= y);
                    prop_assert_eq!(float::less_quiet(env, a, b), x < y);
                    prop_assert_eq!(float::less_or_equal_quiet(env, a, b), x <= y);
                }
            }
        }
    };
}

against_host!(single, F32, f32);
against_host!(double, F64, f64);
