//! What RISC-V answers, derived from `rustc_apfloat`.
//!
//! Its values are taken as they are, but for NaNs (RISC-V makes them canonical). Of its flags only
//! "inexact", "divide by zero" and "invalid" are: it detects tininess on the delivered result, and
//! reports no overflow where that is rounded to the largest number. Both conditions are defined on
//! the result rounded to the same precision with an unbounded exponent, so they are read off the
//! same operation in a format of that precision and a far wider exponent.

use ringer_hart::float::{F16, F32, F64};
use ringer_hart::float::{Flags, Float, Rounding};
use rustc_apfloat::ieee::{DoubleS, HalfS, IeeeFloat, Semantics, SingleS};
use rustc_apfloat::{Category, Float as Apfloat, FloatConvert, Round, Status, StatusAnd};

/// A format with its counterparts in the oracle.
pub trait Oracle: Float {
    type Exact: Semantics;
    type Wide: Semantics;
}

/// The precision of a format with a 15-bit exponent.
pub struct WideHalf;
pub struct WideSingle;
pub struct WideDouble;

impl Semantics for WideHalf {
    const BITS: usize = 11 + 15;
    const EXP_BITS: usize = 15;
}

impl Semantics for WideSingle {
    const BITS: usize = 24 + 15;
    const EXP_BITS: usize = 15;
}

impl Semantics for WideDouble {
    const BITS: usize = 53 + 15;
    const EXP_BITS: usize = 15;
}

impl Oracle for F16 {
    type Exact = HalfS;
    type Wide = WideHalf;
}

impl Oracle for F32 {
    type Exact = SingleS;
    type Wide = WideSingle;
}

impl Oracle for F64 {
    type Exact = DoubleS;
    type Wide = WideDouble;
}

pub fn round_of(rounding: Rounding) -> Round {
    match rounding {
        Rounding::NearestEven => Round::NearestTiesToEven,
        Rounding::TowardZero => Round::TowardZero,
        Rounding::Down => Round::TowardNegative,
        Rounding::Up => Round::TowardPositive,
        Rounding::NearestMaxMagnitude => Round::NearestTiesToAway,
    }
}

pub fn exact<F: Oracle>(value: F) -> IeeeFloat<F::Exact> {
    IeeeFloat::from_bits(value.to_bits().into())
}

/// `value` in the format of `To`'s precision and wide exponent.
fn wide<To: Oracle, From: Oracle>(value: From, round: Round) -> StatusAnd<IeeeFloat<To::Wide>> {
    exact(value).convert_r(round, &mut false)
}

/// The value and flags that RISC-V gives, from those of the oracle and the unbounded result.
fn verdict<F: Oracle>(
    narrow: StatusAnd<IeeeFloat<F::Exact>>,
    unbounded: IeeeFloat<F::Wide>,
) -> (F, Flags) {
    let mut flags = Flags::empty();
    flags.set(Flags::NV, narrow.status.contains(Status::INVALID_OP));
    flags.set(Flags::DZ, narrow.status.contains(Status::DIV_BY_ZERO));
    flags.set(Flags::NX, narrow.status.contains(Status::INEXACT));
    if unbounded.category() == Category::Normal {
        flags.set(Flags::OF, unbounded.ilogb() > F::MAX_EXPONENT);
        let tiny = unbounded.ilogb() < F::MIN_EXPONENT;
        flags.set(Flags::UF, tiny && flags.contains(Flags::NX));
    }
    let value = if narrow.value.is_nan() {
        F::NAN
    } else {
        F::from_bits(u64::try_from(narrow.value.to_bits()).expect("at most 64 bits"))
    };
    (value, flags)
}

#[derive(Clone, Copy, Debug)]
pub enum Operator {
    Add,
    Sub,
    Mul,
    Div,
}

fn apply<T: Apfloat>(operator: Operator, a: T, b: T, round: Round) -> StatusAnd<T> {
    match operator {
        Operator::Add => a.add_r(b, round),
        Operator::Sub => a.sub_r(b, round),
        Operator::Mul => a.mul_r(b, round),
        Operator::Div => a.div_r(b, round),
    }
}

pub fn binary<F: Oracle>(operator: Operator, a: F, b: F, rounding: Rounding) -> (F, Flags) {
    let round = round_of(rounding);
    let (wide_a, wide_b) = (wide::<F, F>(a, round).value, wide::<F, F>(b, round).value);
    verdict(
        apply(operator, exact(a), exact(b), round),
        apply(operator, wide_a, wide_b, round).value,
    )
}

pub fn mul_add<F: Oracle>(a: F, b: F, c: F, rounding: Rounding) -> (F, Flags) {
    let round = round_of(rounding);
    let [wide_a, wide_b, wide_c] = [a, b, c].map(|value| wide::<F, F>(value, round).value);
    let (value, mut flags) = verdict(
        exact(a).mul_add_r(exact(b), exact(c), round),
        wide_a.mul_add_r(wide_b, wide_c, round).value,
    );
    // An implementation's choice in IEEE 754, invalid for certain in RISC-V.
    let infinite_times_zero = |x: F, y: F| exact(x).is_infinite() && exact(y).is_zero();
    if infinite_times_zero(a, b) || infinite_times_zero(b, a) {
        flags |= Flags::NV;
    }
    (value, flags)
}

pub fn convert<To: Oracle, From: Oracle>(a: From, rounding: Rounding) -> (To, Flags) {
    let round = round_of(rounding);
    let (value, mut flags) = verdict(
        exact(a).convert_r(round, &mut false),
        wide::<To, From>(a, round).value,
    );
    // As a conversion of the C language, the oracle's is quiet for signalling NaNs in some cases.
    flags.set(Flags::NV, exact(a).is_signaling());
    (value, flags)
}

pub fn from_integer<F: Oracle>(a: i128, rounding: Rounding) -> (F, Flags) {
    let round = round_of(rounding);
    verdict(
        IeeeFloat::from_i128_r(a, round),
        IeeeFloat::from_i128_r(a, round).value,
    )
}

/// The integral value nearest by `rounding`, and whether it differs.
fn integral<F: Oracle>(a: F, rounding: Rounding) -> (IeeeFloat<F::Exact>, bool) {
    let rounded = exact(a).round_to_integral(round_of(rounding)).value;
    (rounded, rounded != exact(a) && !rounded.is_nan())
}

/// FROUNDNX.
pub fn round_to_integral<F: Oracle>(a: F, rounding: Rounding) -> (F, Flags) {
    let (rounded, inexact) = integral(a, rounding);
    let mut flags = Flags::empty();
    flags.set(Flags::NV, exact(a).is_signaling());
    flags.set(Flags::NX, inexact);
    if rounded.is_nan() {
        return (F::NAN, flags);
    }
    (
        F::from_bits(u64::try_from(rounded.to_bits()).expect("at most 64 bits")),
        flags,
    )
}

/// FCVT to an integer that ranges from `min` to `max`.
pub fn to_integer<F: Oracle>(a: F, rounding: Rounding, min: i128, max: i128) -> (i128, Flags) {
    let (rounded, inexact) = integral(a, rounding);
    if rounded.is_nan() {
        return (max, Flags::NV);
    }
    // Saturates at the limits of 128 bits, which lie beyond `min` and `max`.
    let integer = rounded.to_i128_r(128, Round::TowardZero, &mut false).value;
    if integer < min {
        (min, Flags::NV)
    } else if integer > max {
        (max, Flags::NV)
    } else {
        (integer, if inexact { Flags::NX } else { Flags::empty() })
    }
}
