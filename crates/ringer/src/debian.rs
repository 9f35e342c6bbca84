//! `ringer run debian`: the real Debian kernel that `cargo xtask debian` has put in place.

use crate::args::RunOptions;
use crate::exit::Failure;
use crate::size::Size;
use crate::source_tree;

/// Where it is, from the top of the source tree.
const FOLDER: &str = "build/debian";

/// Fills in what the options leave open.
pub fn options(given: RunOptions) -> Result<RunOptions, Failure> {
    let kernel = source_tree::find(&format!("{FOLDER}/Image")).ok_or_else(|| {
        Failure::monitor(format_args!(
            "there is no Debian guest yet: run `cargo xtask debian` in Ringer's source tree, which puts it into {FOLDER}"
        ))
    })?;
    let folder = kernel.with_file_name("");
    let mut defaults = RunOptions {
        known_as: Some("debian".to_string()),
        // Its shell's prompt; it has no login.
        ready: Some("guest:~#".to_string()),
        kernel: Some(kernel),
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
