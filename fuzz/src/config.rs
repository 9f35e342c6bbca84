//! Configuration files.

use ringer::args::RunOptions;
use ringer::bundle::GuestDescription;
use ringer::config::VmConfig;

/// Reads the bytes as a configuration file, and as a description of a bundle's guest.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // A refusal is an answer.
    let _ = toml::from_str::<GuestDescription>(text);
    let Ok(options) = toml::from_str::<RunOptions>(text) else {
        return;
    };
    let _ = VmConfig::from_options(options);
}
