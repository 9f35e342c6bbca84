//! The project's own commands, run as `cargo xtask NAME`.
fn main() {}
