//! Configuration files.

use ringer::args::RunOptions;
use ringer::config::VmConfig;

/// Reads the bytes as a configuration file.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(options) = toml::from_str::<RunOptions>(text) else {
        return;
    };
    // A refusal is an answer.
    let _ = VmConfig::from_options(options);
}
