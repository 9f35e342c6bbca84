//! What Debian guests are made of, on the machine where they are made: its mirror of Debian, the
//! kernel's modules with those they need, and initial RAM disks.

mod archive;
pub mod mirror;
mod modules;

pub use archive::Archive;
pub use modules::{ModuleError, Modules};
