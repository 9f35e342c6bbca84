//! Addition, subtraction, multiplication, division and fused multiply-add.

use proptest::prelude::*;
use ringer_hart::float::{self, F16, F32, F64, FloatEnv, Rounding, soft};

use crate::check;
use crate::operands::{any_float, corner_cases, few_corner_cases};
use crate::oracle::{self, Operator, Oracle};

const OPERATORS: [Operator; 4] = [Operator::Add, Operator::Sub, Operator::Mul, Operator::Div];

/// Both ways of computing it against the oracle.
fn check_binary<F: Oracle>(operator: Operator, a: F, b: F, rounding: Rounding) {
    type Operation<F> = fn(&mut FloatEnv, F, F) -> F;
    let (definition, short): (Operation<F>, Operation<F>) = match operator {
        Operator::Add => (soft::add, float::add),
        Operator::Sub => (soft::sub, float::sub),
        Operator::Mul => (soft::mul, float::mul),
        Operator::Div => (soft::div, float::div),
    };
    let expected = oracle::binary(operator, a, b, rounding);
    check(
        rounding,
        expected,
        || format!("{operator:?} {a:x?} {b:x?}"),
        |env| definition(env, a, b),
    );
    check(
        rounding,
        expected,
        || format!("short {operator:?} {a:x?} {b:x?}"),
        |env| short(env, a, b),
    );
}

fn check_mul_add<F: Oracle>(a: F, b: F, c: F, rounding: Rounding) {
    check(
        rounding,
        oracle::mul_add(a, b, c, rounding),
        || format!("mul_add {a:x?} {b:x?} {c:x?}"),
        |env| float::mul_add(env, a, b, c),
    );
}

fn cross_binary<F: Oracle>() {
    let cases = corner_cases::<F>();
    for rounding in Rounding::ALL {
        for operator in OPERATORS {
            for &a in &cases {
                for &b in &cases {
                    check_binary(operator, a, b, rounding);
                }
            }
        }
    }
}

fn cross_mul_add<F: Oracle>() {
    let cases = few_corner_cases::<F>();
    for rounding in Rounding::ALL {
        for &a in &cases {
            for &b in &cases {
                for &c in &cases {
                    check_mul_add(a, b, c, rounding);
                }
            }
        }
    }
}

#[test]
fn corner_cases_of_half() {
    cross_binary::<F16>();
}

#[test]
fn corner_cases_of_single() {
    cross_binary::<F32>();
}

#[test]
fn corner_cases_of_double() {
    cross_binary::<F64>();
}

#[test]
fn corner_cases_of_fused_multiply_add() {
    cross_mul_add::<F16>();
    cross_mul_add::<F32>();
    cross_mul_add::<F64>();
}

/// Addends that nearly or exactly cancel a product, or lie just where its bits end.
fn any_fused<F: Oracle>() -> impl Strategy<Value = (F, F, F)> {
    let near_product = (any_float::<F>(), any_float::<F>(), any::<bool>(), -2i64..=2).prop_map(
        |(a, b, negate, ulps)| {
            let product = soft::mul(&mut FloatEnv::default(), a, b);
            let near = F::from_bits(product.to_bits().wrapping_add_signed(ulps));
            (a, b, if negate { near.negated() } else { near })
        },
    );
    prop_oneof![(any_float(), any_float(), any_float()), near_product]
}

macro_rules! random_tests {
    ($module:ident, $format:ty) => {
        mod $module {
            use super::*;

            proptest! {
                #![proptest_config(ProptestConfig::with_cases(10_000))]

                #[test]
                fn binary(a in any_float::<$format>(), b in any_float::<$format>()) {
                    for rounding in Rounding::ALL {
                        for operator in OPERATORS {
                            check_binary(operator, a, b, rounding);
                        }
                    }
                }

                #[test]
                fn fused((a, b, c) in any_fused::<$format>()) {
                    for rounding in Rounding::ALL {
                        check_mul_add(a, b, c, rounding);
                    }
                }

                #[test]
                fn nearly_cancelling(a in any_float::<$format>(), ulps in -3i64..=3) {
                    use ringer_hart::float::Float;
                    let b = <$format>::from_bits(a.to_bits().wrapping_add_signed(ulps));
                    for rounding in Rounding::ALL {
                        for operator in OPERATORS {
                            check_binary(operator, a, b, rounding);
                            check_binary(operator, a, b.negated(), rounding);
                        }
                    }
                }

                #[test]
                fn quotients_that_come_out(a in any_float::<$format>(), b in any_float::<$format>()) {
                    let product = soft::mul(&mut FloatEnv::default(), a, b);
                    for rounding in Rounding::ALL {
                        check_binary(Operator::Div, product, b, rounding);
                    }
                }
            }
        }
    };
}

random_tests!(random_half, F16);
random_tests!(random_single, F32);
random_tests!(random_double, F64);
