//! The short way over the host's arithmetic, for the cases where it provably gives the bits and the
//! flags of the definition in [`soft`].
//!
//! Only where the host rounds to nearest even without flushing subnormals, as every hosted program
//! is started and Rust assumes; an engine that runs guest code with other settings in the host's
//! control register restores them before it calls here. Code without an operating system never
//! takes it: there the floating-point unit, its rounding mode and its flags may be the guest's.

use super::{F16, F32, F64, Flags, Float, FloatEnv, Rounding, soft};

/// Whether this build may use the host's arithmetic at all.
const USABLE: bool = cfg!(all(
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(target_os = "none")
));

/// A format's short ways. Each gives `None` where it proves nothing, and leaves `env` alone then.
/// All but [`to_host`](HostFloat::to_host) round to nearest even, whatever `env` says.
pub trait HostFloat: Sized {
    /// The sum.
    fn host_add(self, _rhs: Self, _env: &mut FloatEnv) -> Option<Self> {
        None
    }

    /// The product.
    fn host_mul(self, _rhs: Self, _env: &mut FloatEnv) -> Option<Self> {
        None
    }

    /// The quotient.
    fn host_div(self, _rhs: Self, _env: &mut FloatEnv) -> Option<Self> {
        None
    }

    /// The same number in the host's double precision; never a NaN.
    fn to_host(self) -> Option<f64> {
        None
    }

    /// A number rounded to this format.
    fn from_host(_number: f64, _env: &mut FloatEnv) -> Option<Self> {
        None
    }
}

impl HostFloat for F16 {}

macro_rules! host_arithmetic {
    ($host:ty) => {
        #[inline]
        fn host_add(self, rhs: Self, env: &mut FloatEnv) -> Option<Self> {
            let (a, b) = (<$host>::from_bits(self.0), <$host>::from_bits(rhs.0));
            let sum = a + b;
            // Also excludes every NaN and infinity among the operands. A sum never underflows.
            if !sum.is_finite() {
                return None;
            }
            if !env.flags.contains(Flags::NX) {
                // Knuth's TwoSum. If the sum is exact, so is each step, and the error is 0. If not,
                // it is the error, not 0; or a step overflows, and it is infinite or NaN, not 0.
                let rounded_b = sum - a;
                let error = (a - (sum - rounded_b)) + (b - rounded_b);
                if error != 0.0 {
                    env.raise(Flags::NX);
                }
            }
            Some(Self(sum.to_bits()))
        }

        #[inline]
        fn host_mul(self, rhs: Self, env: &mut FloatEnv) -> Option<Self> {
            let (a, b) = (<$host>::from_bits(self.0), <$host>::from_bits(rhs.0));
            let product = a * b;
            if !is_plain(product.abs(), <$host>::MIN_POSITIVE, <$host>::MAX) {
                return None;
            }
            // The product neither overflows nor is tiny, so only NX is in question.
            if !env.flags.contains(Flags::NX) && !product_is_exact(self, rhs)? {
                env.raise(Flags::NX);
            }
            Some(Self(product.to_bits()))
        }

        #[inline]
        fn host_div(self, rhs: Self, env: &mut FloatEnv) -> Option<Self> {
            let (a, b) = (<$host>::from_bits(self.0), <$host>::from_bits(rhs.0));
            let quotient = a / b;
            // A number divided by infinity is 0, so a plain quotient has finite operands.
            if !is_plain(quotient.abs(), <$host>::MIN_POSITIVE, <$host>::MAX) {
                return None;
            }
            if !env.flags.contains(Flags::NX) {
                // Exact if and only if quotient × divisor is the dividend, which as a number of
                // this format cannot equal a product that needs more bits. Twice the smallest normal is
                // where that product, too, is sure to be normal.
                if !is_plain(a.abs(), 2.0 * <$host>::MIN_POSITIVE, <$host>::MAX) {
                    return None;
                }
                let exact = product_is_exact(Self(quotient.to_bits()), rhs)? && quotient * b == a;
                if !exact {
                    env.raise(Flags::NX);
                }
            }
            Some(Self(quotient.to_bits()))
        }
    };
}

impl HostFloat for F32 {
    host_arithmetic!(f32);

    #[inline]
    fn to_host(self) -> Option<f64> {
        (!self.is_nan()).then(|| f32::from_bits(self.0).into())
    }

    #[inline]
    fn from_host(number: f64, env: &mut FloatEnv) -> Option<Self> {
        let rounded = number as f32;
        if !is_plain(rounded.abs(), f32::MIN_POSITIVE, f32::MAX) {
            return None;
        }
        if f64::from(rounded) != number {
            env.raise(Flags::NX);
        }
        Some(F32(rounded.to_bits()))
    }
}

impl HostFloat for F64 {
    host_arithmetic!(f64);

    #[inline]
    fn to_host(self) -> Option<f64> {
        (!self.is_nan()).then_some(f64::from_bits(self.0))
    }

    #[inline]
    fn from_host(number: f64, _env: &mut FloatEnv) -> Option<Self> {
        Some(F64(number.to_bits()))
    }
}

/// Whether a rounded result of this magnitude raises neither overflow nor underflow for certain.
/// The smallest normal itself does not count: it may be a tiny result rounded up.
#[inline]
fn is_plain<H: PartialOrd>(magnitude: H, smallest_normal: H, largest: H) -> bool {
    magnitude > smallest_normal && magnitude <= largest
}

/// Whether the product of two normal numbers, itself normal, fits the format. `None` if either is
/// not normal, or in the one case that the trailing zeros do not decide.
///
/// Significands of p bits give a product of 2p − 1 or 2p bits, and its trailing zeros are those of
/// the factors added up. It fits if p bits or fewer remain.
#[inline]
fn product_is_exact<F: Float>(a: F, b: F) -> Option<bool> {
    let normal = |x: F| (F::FRACTION_MASK + 1..F::INFINITY_BITS).contains(&x.magnitude_bits());
    if !normal(a) || !normal(b) {
        return None;
    }
    let zeros = |x: F| (x.to_bits() | (1 << F::FRACTION_BITS)).trailing_zeros();
    match zeros(a) + zeros(b) {
        zeros if zeros >= F::PRECISION => Some(true),
        zeros if zeros < F::PRECISION - 1 => Some(false),
        _ => None,
    }
}

#[inline]
fn host_rounds_as(env: &FloatEnv) -> bool {
    USABLE && env.rounding == Rounding::NearestEven
}

/// FADD: `a` + `b`.
#[inline]
pub fn add<F: Float>(env: &mut FloatEnv, a: F, b: F) -> F {
    if host_rounds_as(env)
        && let Some(sum) = a.host_add(b, env)
    {
        return sum;
    }
    soft::add(env, a, b)
}

/// FSUB: `a` − `b`.
#[inline]
pub fn sub<F: Float>(env: &mut FloatEnv, a: F, b: F) -> F {
    add(env, a, b.negated())
}

/// FMUL: `a` × `b`.
#[inline]
pub fn mul<F: Float>(env: &mut FloatEnv, a: F, b: F) -> F {
    if host_rounds_as(env)
        && let Some(product) = a.host_mul(b, env)
    {
        return product;
    }
    soft::mul(env, a, b)
}

/// FDIV: `a` ÷ `b`.
#[inline]
pub fn div<F: Float>(env: &mut FloatEnv, a: F, b: F) -> F {
    if host_rounds_as(env)
        && let Some(quotient) = a.host_div(b, env)
    {
        return quotient;
    }
    soft::div(env, a, b)
}

/// FCVT between two formats: `a` as a `To`.
#[inline]
pub fn convert<To: Float, From: Float>(env: &mut FloatEnv, a: From) -> To {
    let widens = USABLE && To::WIDTH >= From::WIDTH;
    if (widens || host_rounds_as(env))
        && let Some(number) = a.to_host()
        && let Some(converted) = To::from_host(number, env)
    {
        return converted;
    }
    soft::convert(env, a)
}

/// `a` truncated, if truncation is what is asked for and the result is in range.
#[inline]
fn host_truncated<F: Float>(env: &mut FloatEnv, a: F, min: i128, max: i128) -> Option<i64> {
    const TWO_POW_63: f64 = (1u64 << 63) as f64;
    if !USABLE || env.rounding != Rounding::TowardZero {
        return None;
    }
    let number = a.to_host().filter(|number| number.abs() < TWO_POW_63)?;
    let truncated = number as i64;
    if i128::from(truncated) < min || i128::from(truncated) > max {
        return None;
    }
    // Converting back is exact: a number that has a fraction to lose is below 2^53.
    if truncated as f64 != number {
        env.raise(Flags::NX);
    }
    Some(truncated)
}

macro_rules! integer_conversions {
    ($to:ident, $from:ident, $integer:ident, $to_doc:literal, $from_doc:literal) => {
        #[doc = $to_doc]
        ///
        /// What is out of range saturates, and raises invalid instead of inexact; a NaN gives the
        /// maximum.
        #[inline]
        pub fn $to<F: Float>(env: &mut FloatEnv, a: F) -> $integer {
            let (min, max) = ($integer::MIN.into(), $integer::MAX.into());
            match host_truncated(env, a, min, max) {
                Some(integer) => integer as $integer,
                None => soft::$to(env, a),
            }
        }

        #[doc = $from_doc]
        #[inline]
        pub fn $from<F: Float>(env: &mut FloatEnv, a: $integer) -> F {
            // Exact, so the rounding mode does not matter.
            if USABLE
                && i128::from(a).unsigned_abs() < 1 << F::PRECISION
                && let Some(converted) = F::from_host(a as f64, env)
            {
                return converted;
            }
            soft::$from(env, a)
        }
    };
}

integer_conversions!(
    to_i32,
    from_i32,
    i32,
    "FCVT.W: to a signed word.",
    "FCVT from a signed word."
);
integer_conversions!(
    to_u32,
    from_u32,
    u32,
    "FCVT.WU: to an unsigned word.",
    "FCVT from an unsigned word."
);
integer_conversions!(
    to_i64,
    from_i64,
    i64,
    "FCVT.L: to a signed doubleword.",
    "FCVT from a signed doubleword."
);
integer_conversions!(
    to_u64,
    from_u64,
    u64,
    "FCVT.LU: to an unsigned doubleword.",
    "FCVT from an unsigned doubleword."
);
