//! `ringer demo`: a small guest that comes with the program and shows the machine from inside.

use crate::args::RunOptions;
use crate::config::VmConfig;
use crate::disk;
use crate::exit::{Failure, Outcome};
use crate::loader;
use crate::run;
use crate::size::Size;

/// Built from `guests/demo` by `cargo xtask guests`.
static IMAGE: &[u8] = include_bytes!("../../../guests/images/demo");

/// Runs it.
pub fn run(given: RunOptions) -> Result<Outcome, Failure> {
    if given.kernel.is_some() || given.bios.is_some() || given.restore.is_some() {
        return Err(Failure::usage(
            "the demo has its own kernel; use `ringer run` for another",
        ));
    }
    let defaults = RunOptions {
        memory: Some(Size(128 << 20)),
        harts: Some(2),
        known_as: Some("demo".to_string()),
        ready: Some("demo>".to_string()),
        ..RunOptions::default()
    };
    // Without a disk of the user's there is one to look at.
    let defaults = RunOptions {
        disk: match given.disk.is_empty() {
            true => vec![format!("{},ro,serial=demo", disk::demo::NAME)],
            false => Vec::new(),
        },
        ..defaults
    };
    let config = VmConfig::from_options(RunOptions {
        kernel: Some("demo".into()),
        ..given.over(defaults)
    })?;
    let kernel = loader::embedded(IMAGE, config.memory).map_err(Failure::monitor)?;
    run::run_embedded(config, kernel)
}
