//! The architecture's rules, one subject a module. Every test is a small guest program, run by
//! the definition and by the interpreter, which must agree.

mod atomics;
mod bits;
mod cache_blocks;
mod counters;
mod csrs;
mod float_instructions;
mod integers;
mod interrupts;
mod memory;
mod protection;
mod rig;
mod threads;
mod translation;
mod traps;
