//! The three formats: their parameters, their bit patterns, and NaN boxing in the 64-bit
//! registers.

use core::fmt::Debug;

use super::host::HostFloat;
use super::round::Magnitude;

/// A floating-point value of one of the formats, held as its bit pattern.
pub trait Float: Copy + Eq + Debug + HostFloat + 'static {
    /// Bits of the whole format.
    const WIDTH: u32;
    /// Bits of the stored fraction.
    const FRACTION_BITS: u32;

    /// Bits of a normal number's significand, counting the implicit one.
    const PRECISION: u32 = Self::FRACTION_BITS + 1;
    /// The exponent of the largest normal numbers, also the bias of the stored exponent.
    const MAX_EXPONENT: i32 = (1 << (Self::WIDTH - Self::FRACTION_BITS - 2)) - 1;
    /// The exponent of the smallest normal number.
    const MIN_EXPONENT: i32 = 1 - Self::MAX_EXPONENT;
    /// The sign bit.
    const SIGN_BIT: u64 = 1 << (Self::WIDTH - 1);
    /// The bits of the stored fraction.
    const FRACTION_MASK: u64 = (1 << Self::FRACTION_BITS) - 1;
    /// The bits of positive infinity, which are also the bits of the stored exponent.
    const INFINITY_BITS: u64 = (Self::SIGN_BIT - 1) & !Self::FRACTION_MASK;
    /// The canonical NaN.
    const NAN: Self;

    /// The value with this bit pattern; bits beyond the format's width are ignored.
    fn from_bits(bits: u64) -> Self;

    /// The bit pattern, extended with zeros.
    fn to_bits(self) -> u64;

    /// The value a 64-bit register holds: the canonical NaN unless its upper bits are all ones.
    #[inline]
    fn unbox(register: u64) -> Self {
        if register | Self::FULL_MASK == u64::MAX {
            Self::from_bits(register)
        } else {
            Self::NAN
        }
    }

    /// The value as a 64-bit register holds it: NaN-boxed, the upper bits all ones.
    #[inline]
    fn to_box(self) -> u64 {
        self.to_bits() | !Self::FULL_MASK
    }

    /// All the format's bits.
    const FULL_MASK: u64 = Self::SIGN_BIT | (Self::SIGN_BIT - 1);

    /// Positive or negative zero.
    #[inline]
    fn zero(negative: bool) -> Self {
        Self::from_bits(if negative { Self::SIGN_BIT } else { 0 })
    }

    /// Positive or negative infinity.
    #[inline]
    fn infinity(negative: bool) -> Self {
        Self::from_bits(Self::INFINITY_BITS | Self::zero(negative).to_bits())
    }

    /// The finite value of the greatest magnitude.
    #[inline]
    fn largest(negative: bool) -> Self {
        Self::from_bits((Self::INFINITY_BITS - 1) | Self::zero(negative).to_bits())
    }

    /// The bit pattern without the sign; as an integer it orders the magnitudes.
    #[inline]
    fn magnitude_bits(self) -> u64 {
        self.to_bits() & !Self::SIGN_BIT
    }

    /// Whether the sign bit is set, on a NaN too.
    #[inline]
    fn is_negative(self) -> bool {
        self.to_bits() & Self::SIGN_BIT != 0
    }

    /// Whether this is a NaN, quiet or signalling.
    #[inline]
    fn is_nan(self) -> bool {
        self.magnitude_bits() > Self::INFINITY_BITS
    }

    /// Whether this is a NaN whose quiet bit, the fraction's highest, is clear.
    #[inline]
    fn is_signalling_nan(self) -> bool {
        self.is_nan() && self.to_bits() & (1 << (Self::FRACTION_BITS - 1)) == 0
    }

    /// The value with its sign bit inverted, a NaN too (FSGNJN of a value with itself).
    #[inline]
    fn negated(self) -> Self {
        Self::from_bits(self.to_bits() ^ Self::SIGN_BIT)
    }

    /// FSGNJ: this value with the sign of `sign`.
    #[inline]
    fn with_sign_of(self, sign: Self) -> Self {
        Self::from_bits(self.magnitude_bits() | (sign.to_bits() & Self::SIGN_BIT))
    }

    /// FSGNJN: this value with the opposite of the sign of `sign`.
    #[inline]
    fn with_sign_opposite_to(self, sign: Self) -> Self {
        self.with_sign_of(sign.negated())
    }

    /// FSGNJX: this value, negated if `sign` is negative.
    #[inline]
    fn with_sign_xor(self, sign: Self) -> Self {
        Self::from_bits(self.to_bits() ^ (sign.to_bits() & Self::SIGN_BIT))
    }
}

/// What a bit pattern stands for, its sign aside.
#[derive(Clone, Copy)]
pub(super) enum Meaning {
    Nan,
    Infinity,
    Zero,
    Nonzero(Magnitude),
}

/// Reads a bit pattern.
#[inline]
pub(super) fn meaning<F: Float>(value: F) -> Meaning {
    let bits = value.magnitude_bits();
    let fraction = bits & F::FRACTION_MASK;
    let stored_exponent = (bits >> F::FRACTION_BITS) as i32;
    if (F::FRACTION_MASK + 1..F::INFINITY_BITS).contains(&bits) {
        let significand = (1 << 63) | (fraction << (63 - F::FRACTION_BITS));
        Meaning::Nonzero(Magnitude {
            exponent: stored_exponent - F::MAX_EXPONENT,
            significand,
        })
    } else if bits == 0 {
        Meaning::Zero
    } else if bits < F::INFINITY_BITS {
        let shift = fraction.leading_zeros();
        let exponent = F::MIN_EXPONENT - F::FRACTION_BITS as i32 + 63 - shift as i32;
        Meaning::Nonzero(Magnitude {
            exponent,
            significand: fraction << shift,
        })
    } else if bits == F::INFINITY_BITS {
        Meaning::Infinity
    } else {
        Meaning::Nan
    }
}

macro_rules! format {
    ($name:ident, $bits:ty, $width:literal, $fraction:literal, $nan:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name(pub $bits);

        impl Float for $name {
            const WIDTH: u32 = $width;
            const FRACTION_BITS: u32 = $fraction;
            const NAN: Self = Self($nan);

            #[inline]
            fn from_bits(bits: u64) -> Self {
                Self(bits as $bits)
            }

            #[inline]
            fn to_bits(self) -> u64 {
                self.0 as u64
            }
        }
    };
}

format!(
    F16,
    u16, 16, 10, 0x7e00, "binary16, by its bits. `==` compares bits, not values."
);
format!(
    F32,
    u32, 32, 23, 0x7fc0_0000, "binary32, by its bits. `==` compares bits, not values."
);
format!(
    F64,
    u64, 64, 52, 0x7ff8_0000_0000_0000, "binary64, by its bits. `==` compares bits, not values."
);
