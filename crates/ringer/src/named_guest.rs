//! Guests that `ringer run` knows by name: images made by `ringer image debian`, and the small
//! Debian without a distribution around it that `cargo xtask debian` puts into the source tree.

use std::path::{Path, PathBuf};

use crate::args::RunOptions;
use crate::config;
use crate::exit::Failure;
use crate::size::Size;
use crate::source_tree;

/// Where the small Debian is, from the top of the source tree.
const BUSYBOX_FOLDER: &str = "build/debian";
/// The name by which it always is what is started.
pub const BUSYBOX: &str = "debian-busybox";
/// What says how an image's files belong together.
const DESCRIPTION: &str = "vm.toml";

/// Fills in what the options leave open with what the guest of this name is made of.
pub fn options(name: &str, given: RunOptions) -> Result<RunOptions, Failure> {
    if let Some(file) = image(name) {
        let image = RunOptions {
            known_as: Some(name.to_string()),
            ..config::read_options(&file)?
        };
        return Ok(given.over(image));
    }
    match name {
        "debian" | BUSYBOX => busybox(given),
        other => Err(Failure::usage(format_args!(
            "there is no guest called '{other}'; a kernel's file goes behind --kernel, as in `ringer run --kernel {other}`{}",
            known()
        ))),
    }
}

/// Whether an image of this name is there: a whole Debian with its packages.
pub fn is_image(name: &str) -> bool {
    image(name).is_some()
}

/// What says how the files of the image of this name belong together.
fn image(name: &str) -> Option<PathBuf> {
    let file = images()?.join(name).join(DESCRIPTION);
    (is_name(name) && file.is_file()).then_some(file)
}

/// The folder for a new image of this name.
pub fn folder_for_new(name: &str) -> Result<PathBuf, Failure> {
    if !is_name(name) || name == BUSYBOX {
        return Err(Failure::usage(format_args!(
            "an image cannot be called '{name}': letters, digits, '-', '_' and '.', and a letter or digit first"
        )));
    }
    let images = images().ok_or_else(|| {
        Failure::monitor("there is no home folder; set XDG_DATA_HOME, or give --out")
    })?;
    Ok(images.join(name))
}

/// A folder of the user's, by the environment or below the home folder.
pub fn base_folder(variable: &str, in_home: &str) -> Option<PathBuf> {
    std::env::var_os(variable)
        .map(PathBuf::from)
        .filter(|folder| folder.is_absolute())
        .or_else(|| Some(std::env::home_dir()?.join(in_home)))
}

fn images() -> Option<PathBuf> {
    base_folder("XDG_DATA_HOME", ".local/share").map(|folder| folder.join("ringer/images"))
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// The images that are there, for a message.
pub fn known() -> String {
    let entries = images().and_then(|folder| std::fs::read_dir(folder).ok());
    let mut names: Vec<String> = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().join(DESCRIPTION).is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| is_name(name))
        .collect();
    names.sort();
    match names.is_empty() {
        true => String::new(),
        false => format!("; known by name: {}", names.join(", ")),
    }
}

/// The small Debian of the source tree.
fn busybox(given: RunOptions) -> Result<RunOptions, Failure> {
    let kernel = source_tree::find(&format!("{BUSYBOX_FOLDER}/Image")).ok_or_else(|| {
        Failure::monitor(
            "there is no Debian guest yet: make one by `ringer image debian`, or in Ringer's source tree a small one by `cargo xtask debian`",
        )
    })?;
    let folder = kernel.parent().unwrap_or(Path::new(""));
    let mut defaults = RunOptions {
        known_as: Some("debian".to_string()),
        // Its shell's prompt; it has no login.
        ready: Some("guest:~#".to_string()),
        initrd: Some(folder.join("initrd.cpio.zst")),
        append: Some("console=ttyS0 quiet".to_string()),
        memory: Some(Size(1 << 30)),
        ..RunOptions::default()
    };
    let disk = folder.join("disk.ext4");
    if disk.is_file() {
        defaults.disk = vec![format!("{},overlay", disk.display())];
    }
    defaults.kernel = Some(kernel);
    Ok(given.over(defaults))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_folder() {
        for good in ["debian", "a", "build-2.1_x"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".", "..", "../x", "a/b", "-x", "a b"] {
            assert!(!is_name(bad), "{bad}");
            assert!(folder_for_new(bad).is_err(), "{bad}");
        }
        assert!(folder_for_new(BUSYBOX).is_err());
    }
}
