//! Floating point against independent oracles: `rustc_apfloat`, exact integer arithmetic, and the
//! host's own floating-point unit.
#![allow(missing_docs)]

mod arithmetic;
mod conversion;
mod half;
mod host;
mod operands;
mod oracle;
mod root;
mod rules;

use std::fmt::Debug;

use ringer_hart::float::{Flags, FloatEnv, Rounding};

/// Runs `operation` with nothing raised before and with NX raised before (where the short way over
/// the host's arithmetic differs), and demands the `expected` result and flags both times.
#[track_caller]
fn check<T: PartialEq + Debug>(
    rounding: Rounding,
    (value, flags): (T, Flags),
    what: impl Fn() -> String,
    operation: impl Fn(&mut FloatEnv) -> T,
) {
    for before in [Flags::empty(), Flags::NX] {
        let mut env = FloatEnv {
            rounding,
            flags: before,
        };
        let result = operation(&mut env);
        assert!(
            result == value && env.flags == flags | before,
            "{} {rounding:?} after {before:?}: got {result:x?} {:?}, expected {value:x?} {:?}",
            what(),
            env.flags,
            flags | before,
            result = Hex(&result),
            value = Hex(&value),
        );
    }
}

/// Prints bit patterns in hexadecimal through `Debug`.
struct Hex<'a, T>(&'a T);

impl<T: Debug> Debug for Hex<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x?}", self.0)
    }
}
