//! `ringer run debian`: the real Debian kernel that `cargo xtask debian` has put in place.

use std::path::{Path, PathBuf};

use crate::args::RunOptions;
use crate::exit::Failure;
use crate::size::Size;

/// Where it is, from the top of the source tree.
const FOLDER: &str = "build/debian";

/// Fills in what the options leave open.
pub fn options(given: RunOptions) -> Result<RunOptions, Failure> {
    let folder = find().ok_or_else(|| {
        Failure::monitor(format_args!(
            "there is no Debian guest yet: run `cargo xtask debian` in Ringer's source tree, which puts it into {FOLDER}"
        ))
    })?;
    let mut defaults = RunOptions {
        kernel: Some(folder.join("Image")),
        initrd: Some(folder.join("initrd.cpio.zst")),
        append: Some("console=ttyS0 quiet".to_string()),
        memory: Some(Size(1 << 30)),
        ..RunOptions::default()
    };
    let disk = folder.join("disk.ext4");
    if disk.is_file() {
        defaults.disk = vec![format!("{},overlay", disk.display())];
    }
    Ok(given.over(defaults))
}

/// From here upwards, and next to the program's own build directory.
fn find() -> Option<PathBuf> {
    let here = std::env::current_dir().ok();
    let program = std::env::current_exe().ok();
    [here, program]
        .iter()
        .flatten()
        .flat_map(|start| start.ancestors())
        .map(|folder: &Path| folder.join(FOLDER))
        .find(|folder| folder.join("Image").is_file())
}
