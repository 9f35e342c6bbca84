//! The rules that are tables: comparison of NaNs and zeros, minimum and maximum, classes, FLI,
//! NaN boxing, sign injection, the numbers of modes and flags.

use ringer_hart::float::{self, F16, F32, F64, Flags, Float, FloatEnv, Rounding};

use crate::check;
use crate::operands::corner_cases;

/// The class by the field values in the manual's table.
pub fn check_class<F: Float>(a: F) {
    let bits = a.to_bits();
    let fraction = bits & F::FRACTION_MASK;
    let stored = (bits & !F::SIGN_BIT) >> F::FRACTION_BITS;
    let all_ones = F::INFINITY_BITS >> F::FRACTION_BITS;
    let negative = bits & F::SIGN_BIT != 0;
    let quiet = fraction >> (F::FRACTION_BITS - 1) == 1;
    let bit = match (stored, fraction) {
        (s, 0) if s == all_ones => {
            if negative {
                0
            } else {
                7
            }
        }
        (s, _) if s == all_ones => {
            if quiet {
                9
            } else {
                8
            }
        }
        (0, 0) => {
            if negative {
                3
            } else {
                4
            }
        }
        (0, _) => {
            if negative {
                2
            } else {
                5
            }
        }
        _ => {
            if negative {
                1
            } else {
                6
            }
        }
    };
    assert_eq!(float::classify(a), 1 << bit, "{a:x?}");
}

fn number<F: Float>(a: F) -> f64 {
    let F64(bits) = float::soft::convert(&mut FloatEnv::default(), a);
    f64::from_bits(bits)
}

fn check_comparisons<F: Float>(a: F, b: F) {
    let (x, y) = (number(a), number(b));
    let signalling = a.is_signalling_nan() || b.is_signalling_nan();
    let unordered = a.is_nan() || b.is_nan();
    let quiet_flags = if signalling {
        Flags::NV
    } else {
        Flags::empty()
    };
    let flags = if unordered { Flags::NV } else { Flags::empty() };
    let what = || format!("{a:x?} {b:x?}");
    for rounding in Rounding::ALL {
        check(rounding, (x == y, quiet_flags), what, |env| {
            float::equal(env, a, b)
        });
        check(rounding, (x < y, flags), what, |env| float::less(env, a, b));
        check(rounding, (x <= y, flags), what, |env| {
            float::less_or_equal(env, a, b)
        });
        check(rounding, (x < y, quiet_flags), what, |env| {
            float::less_quiet(env, a, b)
        });
        check(rounding, (x <= y, quiet_flags), what, |env| {
            float::less_or_equal_quiet(env, a, b)
        });
    }
}

fn check_minimum<F: Float>(a: F, b: F) {
    let (x, y) = (number(a), number(b));
    // −0 is less than +0 here, though not in a comparison.
    let a_is_less = x < y || (x == y && a.is_negative());
    let (lesser, greater) = if a_is_less { (a, b) } else { (b, a) };
    let (min_number, max_number) = match (a.is_nan(), b.is_nan()) {
        (true, true) => (F::NAN, F::NAN),
        (true, false) => (b, b),
        (false, true) => (a, a),
        (false, false) => (lesser, greater),
    };
    let unordered = a.is_nan() || b.is_nan();
    let (min, max) = if unordered {
        (F::NAN, F::NAN)
    } else {
        (lesser, greater)
    };
    let signalling = a.is_signalling_nan() || b.is_signalling_nan();
    let flags = if signalling {
        Flags::NV
    } else {
        Flags::empty()
    };
    let what = || format!("{a:x?} {b:x?}");
    for rounding in Rounding::ALL {
        check(rounding, (min_number, flags), what, |env| {
            float::minimum_number(env, a, b)
        });
        check(rounding, (max_number, flags), what, |env| {
            float::maximum_number(env, a, b)
        });
        check(rounding, (min, flags), what, |env| {
            float::minimum(env, a, b)
        });
        check(rounding, (max, flags), what, |env| {
            float::maximum(env, a, b)
        });
    }
}

fn cross<F: Float>() {
    let cases = corner_cases::<F>();
    for &a in &cases {
        check_class(a);
        for &b in &cases {
            check_comparisons(a, b);
            check_minimum(a, b);
        }
    }
}

#[test]
fn comparisons_minima_and_classes() {
    cross::<F16>();
    cross::<F32>();
    cross::<F64>();
}

#[test]
fn load_immediate_constants() {
    // Bit patterns written out from the values in the manual's table.
    let half: [u16; 32] = [
        0xbc00, 0x0400, 0x0100, 0x0200, 0x1c00, 0x2000, 0x2c00, 0x3000, 0x3400, 0x3500, 0x3600,
        0x3700, 0x3800, 0x3900, 0x3a00, 0x3b00, 0x3c00, 0x3d00, 0x3e00, 0x3f00, 0x4000, 0x4100,
        0x4200, 0x4400, 0x4800, 0x4c00, 0x5800, 0x5c00, 0x7800, 0x7c00, 0x7c00, 0x7e00,
    ];
    let single: [u32; 32] = [
        0xbf80_0000,
        0x0080_0000,
        0x3780_0000,
        0x3800_0000,
        0x3b80_0000,
        0x3c00_0000,
        0x3d80_0000,
        0x3e00_0000,
        0x3e80_0000,
        0x3ea0_0000,
        0x3ec0_0000,
        0x3ee0_0000,
        0x3f00_0000,
        0x3f20_0000,
        0x3f40_0000,
        0x3f60_0000,
        0x3f80_0000,
        0x3fa0_0000,
        0x3fc0_0000,
        0x3fe0_0000,
        0x4000_0000,
        0x4020_0000,
        0x4040_0000,
        0x4080_0000,
        0x4100_0000,
        0x4180_0000,
        0x4300_0000,
        0x4380_0000,
        0x4700_0000,
        0x4780_0000,
        0x7f80_0000,
        0x7fc0_0000,
    ];
    // The upper 16 bits; the others are zero.
    let double: [u64; 32] = [
        0xbff0, 0x0010, 0x3ef0, 0x3f00, 0x3f70, 0x3f80, 0x3fb0, 0x3fc0, 0x3fd0, 0x3fd4, 0x3fd8,
        0x3fdc, 0x3fe0, 0x3fe4, 0x3fe8, 0x3fec, 0x3ff0, 0x3ff4, 0x3ff8, 0x3ffc, 0x4000, 0x4004,
        0x4008, 0x4010, 0x4020, 0x4030, 0x4060, 0x4070, 0x40e0, 0x40f0, 0x7ff0, 0x7ff8,
    ];
    for index in 0..32 {
        let number = usize::from(index);
        assert_eq!(
            float::load_immediate::<F16>(index),
            F16(half[number]),
            "{index}"
        );
        assert_eq!(
            float::load_immediate::<F32>(index),
            F32(single[number]),
            "{index}"
        );
        assert_eq!(
            float::load_immediate::<F64>(index),
            F64(double[number] << 48),
            "{index}"
        );
    }
}

#[test]
fn nan_boxing() {
    assert_eq!(F16(0x3c00).to_box(), 0xffff_ffff_ffff_3c00);
    assert_eq!(F32(0x3f80_0000).to_box(), 0xffff_ffff_3f80_0000);
    assert_eq!(F64(0x3ff0_0000_0000_0000).to_box(), 0x3ff0_0000_0000_0000);
    assert_eq!(F16::unbox(0xffff_ffff_ffff_3c00), F16(0x3c00));
    assert_eq!(F32::unbox(0xffff_ffff_3f80_0000), F32(0x3f80_0000));
    assert_eq!(
        F64::unbox(0x3ff0_0000_0000_0000),
        F64(0x3ff0_0000_0000_0000)
    );
    // One upper bit missing, at either end.
    assert_eq!(F16::unbox(0xffff_ffff_fffe_3c00), F16::NAN);
    assert_eq!(F16::unbox(0x7fff_ffff_ffff_3c00), F16::NAN);
    assert_eq!(F32::unbox(0xffff_fffe_3f80_0000), F32::NAN);
    assert_eq!(F32::unbox(0x7fff_ffff_3f80_0000), F32::NAN);
    // A boxed single is no boxed half unless its own upper bits are ones.
    assert_eq!(F16::unbox(F32(0x3f80_0000).to_box()), F16::NAN);
    assert_eq!(F16::unbox(F32(0xffff_3c00).to_box()), F16(0x3c00));
}

#[test]
fn sign_injection_keeps_every_other_bit() {
    for a in corner_cases::<F32>() {
        for b in corner_cases::<F32>() {
            let (sign, rest) = (b.0 & 0x8000_0000, a.0 & 0x7fff_ffff);
            assert_eq!(a.with_sign_of(b).0, rest | sign);
            assert_eq!(a.with_sign_opposite_to(b).0, rest | (sign ^ 0x8000_0000));
            assert_eq!(a.with_sign_xor(b).0, a.0 ^ sign);
            assert_eq!(a.negated().0, a.0 ^ 0x8000_0000);
        }
    }
}

#[test]
fn numbers_of_modes_and_flags() {
    for (number, rounding) in Rounding::ALL.into_iter().enumerate() {
        assert_eq!(rounding as usize, number);
        assert_eq!(Rounding::from_bits(number as u8), Some(rounding));
    }
    assert!((5..=u8::MAX).all(|bits| Rounding::from_bits(bits).is_none()));
    let all = Flags::NV | Flags::DZ | Flags::OF | Flags::UF | Flags::NX;
    assert_eq!(all.bits(), 0x1f);
    assert_eq!((Flags::NV.bits(), Flags::NX.bits()), (0x10, 0x01));
}
