//! Networks behind network devices.

pub mod tap;

pub use tap::{Tap, TapError};
