//! Rounding, the one step all operations share: from an exact (or sticky) magnitude to a format.

use super::{Flags, Float, FloatEnv, Rounding};

/// A nonzero magnitude, `significand` × 2^(`exponent` − 63), with bit 63 of the significand set.
///
/// A magnitude that needs more than 64 bits has bit 0 set in place of all the bits beyond (it is
/// "sticky"). No format keeps that bit or the one above it, so rounding still sees on which side of
/// a representable value or of a tie the exact magnitude lies.
#[derive(Clone, Copy)]
pub(super) struct Magnitude {
    pub exponent: i32,
    pub significand: u64,
}

impl Magnitude {
    /// The nonzero `value` × 2^(`exponent` − 127), or `None` for zero.
    pub fn from_wide(exponent: i32, value: u128) -> Option<Magnitude> {
        let shift = value.leading_zeros();
        let normal = value.checked_shl(shift)?;
        Some(Magnitude {
            exponent: exponent - shift as i32,
            significand: (normal >> 64) as u64 | u64::from(normal as u64 != 0),
        })
    }

    /// The integer `value`, or `None` for zero.
    pub fn from_integer(value: u64) -> Option<Magnitude> {
        Self::from_wide(127, u128::from(value))
    }
}

/// What was cut off below the last kept bit, as a fraction of 2^64 of that bit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost(u64);

impl Lost {
    /// No bit that was set.
    pub const NOTHING: Lost = Lost(0);
    const HALF: u64 = 1 << 63;

    /// Whether nothing was lost: the kept bits are exact.
    pub fn is_nothing(self) -> bool {
        self == Self::NOTHING
    }

    /// Whether a kept magnitude must be incremented to make up for the loss.
    #[inline]
    fn rounds_up(self, rounding: Rounding, negative: bool, odd: bool) -> bool {
        match rounding {
            // No branches: to which side a result rounds is as good as random.
            Rounding::NearestEven => self.0.saturating_add(u64::from(odd)) > Self::HALF,
            Rounding::NearestMaxMagnitude => self.0 >= Self::HALF,
            Rounding::TowardZero => false,
            Rounding::Down => negative & !self.is_nothing(),
            Rounding::Up => !negative & !self.is_nothing(),
        }
    }
}

/// Shifts `significand` (nonzero) right by `shift`, rounds what is kept, and says what was lost.
///
/// The result does not overflow as long as `shift` is not zero or nothing was lost.
#[inline]
pub(super) fn shift_and_round(
    significand: u64,
    shift: u32,
    rounding: Rounding,
    negative: bool,
) -> (u64, Lost) {
    let (kept, lost) = match shift {
        0 => (significand, 0),
        1..64 => (significand >> shift, significand << (64 - shift)),
        64 => (0, significand),
        // Less than half whatever the bits are; only that it is not nothing counts.
        _ => (0, 1),
    };
    let lost = Lost(lost);
    (
        kept + u64::from(lost.rounds_up(rounding, negative, kept & 1 != 0)),
        lost,
    )
}

/// Rounds a magnitude to the format `F`, and raises what that raises.
pub(super) fn round<F: Float>(env: &mut FloatEnv, negative: bool, exact: Magnitude) -> F {
    let surplus = 64 - F::PRECISION;
    let below_normal = (F::MIN_EXPONENT - exact.exponent).max(0) as u32;
    let (kept, lost) = shift_and_round(
        exact.significand,
        surplus + below_normal,
        env.rounding,
        negative,
    );

    if !lost.is_nothing() {
        env.raise(Flags::NX);
        if below_normal > 0 && is_tiny_after_rounding::<F>(env.rounding, negative, exact) {
            env.raise(Flags::UF);
        }
    }
    // The implicit one of `kept`, added rather than masked off, steps the stored exponent from 0 to
    // 1 for a normal number, and so does a carry out of the fraction. No operation's exponent
    // reaches 4096 above the smallest, so a result far too large does not wrap either.
    let stored_exponent = (exact.exponent.max(F::MIN_EXPONENT) - F::MIN_EXPONENT) as u64;
    let bits = (stored_exponent << F::FRACTION_BITS) + kept;
    if bits >= F::INFINITY_BITS {
        return overflow(env, negative);
    }
    F::from_bits(bits | F::zero(negative).to_bits())
}

/// Whether a magnitude below the smallest normal number stays below it when rounded to the format's
/// precision as if the exponent had no lower bound: RISC-V detects tininess after rounding.
fn is_tiny_after_rounding<F: Float>(rounding: Rounding, negative: bool, exact: Magnitude) -> bool {
    let (kept, _) = shift_and_round(exact.significand, 64 - F::PRECISION, rounding, negative);
    let carried = kept == 1 << F::PRECISION;
    exact.exponent + i32::from(carried) < F::MIN_EXPONENT
}

fn overflow<F: Float>(env: &mut FloatEnv, negative: bool) -> F {
    env.raise(Flags::OF | Flags::NX);
    let to_infinity = match env.rounding {
        Rounding::NearestEven | Rounding::NearestMaxMagnitude => true,
        Rounding::TowardZero => false,
        Rounding::Down => negative,
        Rounding::Up => !negative,
    };
    if to_infinity {
        F::infinity(negative)
    } else {
        F::largest(negative)
    }
}
