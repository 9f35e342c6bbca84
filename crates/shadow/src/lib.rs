//! Shadow page tables of one virtual hart, for a monitor that runs guests directly on the CPU:
//! the guest's M, S and U modes all in real U-mode. A data structure: no CSRs, no traps.
//!
//! A [`Shadow`] caches what the definition says: `Hart::inspect`, `Hart::translate` and the PMP.
//! It knows no rule of its own about who may access what. It is used so:
//!
//! 1. [`Shadow::enter`] before the guest runs, if its mode or `satp` changed: gives the root for
//!    the real `satp`.
//! 2. [`Shadow::fault`] at each page fault that the real hart takes: fills the shadow, or says
//!    that this instruction is for `Hart::step`.
//! 3. [`Shadow::fence`] and [`Shadow::flush`] when the virtual hart has executed fences; then
//!    `enter` again.
//!
//! `enter` and `fault` return a [`HostFence`]. Tables are used anew while one is due; as the
//! guest does not run before these two return, it is enough to execute it before the guest does.
//! The fences are for the one real hart that runs the virtual hart; one that did not run it last
//! must forget all it knows of its slots first.
//!
//! All leaves have U and A, and D if and only if W. The real hart's MXR must be clear. Stores
//! by way of the shadow are not noted in `CodePages`.
#![no_std]

extern crate alloc;

mod cache;
mod counts;
mod fence;
mod heed;
mod look;
mod paging;
mod pool;
mod roots;
mod shadow;
mod tables;
mod view;

pub use cache::LiveRoot;
pub use counts::Counts;
pub use fence::HostFence;
pub use paging::Rights;
pub use pool::{HostPhys, TablePool};
pub use shadow::{Outcome, Root, Shadow, ShadowError};
pub use view::{Mapping, Mappings, RootView};
