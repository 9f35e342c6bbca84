//! Guests that try to break the translator: what they do must come out as the definition says,
//! and nothing else may happen.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

mod crossings;
mod eviction;
mod floats;
mod harts;
mod loops;
mod nans;
mod outside;
mod patterns;
mod places;
mod pointers;
mod quiet;
mod returns;
mod rewriting;
mod rig;
mod sizes;
mod spaces;
