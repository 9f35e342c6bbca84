//! The 32 constants of FLI (Zfa).

use super::{F64, Float, FloatEnv, soft};

/// The constants as bits of double precision, which holds all of them exactly. Those that depend
/// on the format are 1 (smallest normal), 30 (infinity) and 31 (NaN).
const CONSTANTS: [u64; 32] = bits_of([
    -1.0,
    f64::MIN_POSITIVE,
    1.0 / 65536.0,
    1.0 / 32768.0,
    1.0 / 256.0,
    1.0 / 128.0,
    0.0625,
    0.125,
    0.25,
    0.3125,
    0.375,
    0.4375,
    0.5,
    0.625,
    0.75,
    0.875,
    1.0,
    1.25,
    1.5,
    1.75,
    2.0,
    2.5,
    3.0,
    4.0,
    8.0,
    16.0,
    128.0,
    256.0,
    32768.0,
    65536.0,
    f64::INFINITY,
    f64::NAN,
]);

const SMALLEST_NORMAL: u64 = f64::MIN_POSITIVE.to_bits();

const fn bits_of(numbers: [f64; 32]) -> [u64; 32] {
    let mut bits = [0; 32];
    let mut index = 0;
    while index < 32 {
        bits[index] = numbers[index].to_bits();
        index += 1;
    }
    bits
}

/// FLI: the constant numbered by the low five bits of `index`, the instruction's rs1 field.
///
/// In half precision number 29, 2^16, is beyond the largest number and becomes infinity; 2 and 3
/// are subnormal.
pub fn load_immediate<F: Float>(index: u8) -> F {
    match CONSTANTS[usize::from(index & 31)] {
        SMALLEST_NORMAL => F::from_bits(1 << F::FRACTION_BITS),
        // FLI raises no flags, whatever the conversion has raised.
        constant => soft::convert(&mut FloatEnv::default(), F64(constant)),
    }
}
