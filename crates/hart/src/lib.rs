//! A virtual RISC-V hart: its state and every architectural rule. The interpreter here defines
//! the machine; every other engine is a faster way to the same answer.
#![no_std]

extern crate alloc;

pub mod address;
pub mod bus;
pub mod float;
pub mod persist;
pub mod ram;

pub use address::{GuestPhys, GuestVirt, PAGE_SHIFT, PAGE_SIZE};
pub use bus::{Bus, BusFault, HartId, Lines, Width};
pub use ram::Ram;
