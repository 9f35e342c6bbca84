//! Conversion between the formats.

use super::format::{Meaning, meaning};
use super::round::round;
use super::{Flags, Float, FloatEnv};

/// FCVT between two formats: `a` as a `To`.
pub fn convert<To: Float, From: Float>(env: &mut FloatEnv, a: From) -> To {
    match meaning(a) {
        Meaning::Nan => {
            if a.is_signalling_nan() {
                env.raise(Flags::NV);
            }
            To::NAN
        }
        Meaning::Infinity => To::infinity(a.is_negative()),
        Meaning::Zero => To::zero(a.is_negative()),
        Meaning::Nonzero(magnitude) => round(env, a.is_negative(), magnitude),
    }
}
