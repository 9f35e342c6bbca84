//! The board around the harts: RAM, bus, devices, device tree, SBI, reset, saved state.
//! Knows nothing of files, sockets or host CSRs: those stand behind the traits in [`backend`].
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod aclint;
pub mod activity;
pub mod backend;
pub mod board;
pub mod boot;
pub mod clock;
#[cfg(test)]
pub(crate) mod conformance;
pub mod device;
pub mod device_tree;
pub mod generation;
pub mod lock;
pub mod memory_map;
pub mod plic;
pub mod power;
pub mod rom;
pub mod rtc;
pub mod sbi;
pub mod syscon;
pub mod uart;
pub mod virtio;
