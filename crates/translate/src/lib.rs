//! The translator: guest code becomes host code, for x86-64 Linux. What it does not do itself it
//! asks of the definition, one instruction at a time. docs/TRANSLATE.md explains it.
//!
//! A machine has one [`SharedCode`], and a [`Translator`] for each hart. To read it, begin with
//! `engine.rs` (the run loop), then `emit.rs` (a block) and `helpers.rs` (what a block calls).
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

pub mod assembler;
pub mod cache;
pub mod code_memory;
mod core_state;
mod counts;
mod emit;
mod engine;
mod features;
mod float_unit;
mod helpers;
mod known;
mod recent;
mod shared;
pub mod show;
mod space;
mod spaces;
mod tables;
mod thunks;

pub use counts::TranslatorCounts;
pub use engine::Translator;
pub use features::Features;
pub use shared::{Options, SharedCode, TranslateError};
pub use spaces::SpaceCounts;
