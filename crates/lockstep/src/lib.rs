//! Random guest programs, and a small machine to run them on by two engines in lockstep.
//! A development dependency only: engines are tested with it, nothing ships it.

pub mod code;
pub mod compare;
pub mod generate;
pub mod machine;
pub mod random;
pub mod reference;

pub use code::Code;
pub use machine::Machine;
pub use random::Random;
