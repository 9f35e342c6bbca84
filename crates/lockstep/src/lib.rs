//! Random guest programs, and a small machine to run them on by two engines in lockstep.
//! A development dependency only: engines are tested with it, nothing ships it.

pub mod compare;
pub mod coverage;
pub mod generate;
pub mod machine;
pub mod random;
pub mod reference;
pub mod suite;

pub use machine::Machine;
pub use random::Random;

use ringer_isa::asm::Assembler;

/// The bytes of assembled code; a mistake in it is the program's that wrote it.
#[track_caller]
pub fn assembled(code: Assembler) -> Vec<u8> {
    match code.finish() {
        Ok(bytes) => bytes,
        Err(mistake) => panic!("{mistake}"),
    }
}
