//! What is fuzzed: each module takes any bytes and must come back without a panic, soon.

pub mod board_state;
pub mod bundle;
pub mod config;
pub mod control;
pub mod decoder;
pub mod devices;
pub mod frames;
pub mod gdb;
pub mod hart_state;
pub mod images;
pub mod loader;
pub mod machine;
pub mod monitor;
pub mod share;
pub mod virtqueues;

/// A target, by name.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("decoder", decoder::run),
    ("devices", devices::run),
    ("virtqueues", virtqueues::run),
    ("hart_state", hart_state::run),
    ("board_state", board_state::run),
    ("loader", loader::run),
    ("config", config::run),
    ("bundle", bundle::run),
    ("images", images::run),
    ("share", share::run),
    ("frames", frames::run),
    ("gdb", gdb::run),
    ("control", control::run),
];
