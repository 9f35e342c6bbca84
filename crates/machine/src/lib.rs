//! The board around the harts: RAM, bus, devices, device tree, SBI, reset, saved state.
//! Knows nothing of files, sockets or host CSRs: those stand behind the traits in [`backend`].
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod backend;
pub mod clock;
pub mod device;
pub mod lock;
