//! What of the bare-metal monitor does not depend on the machine under it, and so is tested on
//! any host: who runs when, what memory goes where, and how guests' code is rewritten. The rest is in the program, `main.rs`.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod closeness;
pub mod command;
pub mod disk_range;
pub mod free_memory;
pub mod randomness;
pub mod rewrite;
pub mod rooms;
pub mod schedule;
