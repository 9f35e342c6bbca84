//! A virtual RISC-V hart: its state and every architectural rule. The interpreter here defines
//! the machine; every other engine is a faster way to the same answer.
#![no_std]

extern crate alloc;

pub mod address;
pub mod bus;
pub mod cause;
pub mod code_pages;
pub mod counter;
pub mod csr;
mod execute;
pub mod extensions;
pub mod float;
pub mod hart;
mod host_pages;
pub mod interpret;
pub mod memory;
pub mod mode;
pub mod persist;
pub mod pmp;
pub mod ram;
mod state;
mod step;
pub mod translate;
mod trap;

pub use address::{GuestPhys, GuestVirt, PAGE_SHIFT, PAGE_SIZE};
pub use bus::{Bus, BusFault, HartId, Lines, Width};
pub use code_pages::CodePages;
pub use hart::{Exit, Hart};
pub use interpret::Interpreter;
pub use mode::{Mode, Privilege};
pub use ram::Ram;
