//! Registers of generated code. What handlers use is never random.

use ringer_isa::asm::register::{S11, T3, T4, T5, T6, X};

/// The last of the registers with random contents.
pub const LAST_RANDOM: u8 = 26;
/// The counter of a loop; random elsewhere.
pub const LOOP: X = S11;
/// Free for handlers and glue.
pub const SCRATCH: X = T3;
/// Free for handlers and glue.
pub const OTHER: X = T4;
/// Points to what handlers keep.
pub const KEPT: X = T5;
/// Where to go on after a jump into nothing; 0 asks for the end.
pub const RECOVERY: X = T6;
