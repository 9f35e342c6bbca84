//! The hosted monitor: everything around the machine that needs an operating system.

pub mod args;
pub mod clock;
pub mod config;
pub mod console;
pub mod disk;
pub mod entropy;
pub mod exit;
pub mod htif;
pub mod loader;
pub mod memory;
pub mod net;
pub mod semihosting;
pub mod size;
pub mod snapshot;
pub mod terminal;
