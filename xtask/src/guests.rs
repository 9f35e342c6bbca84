//! `cargo xtask guests`: builds the guests of our own and keeps their images in the repository.
//!
//! The images are the same bytes wherever they are built with the same rustc: core is compiled from
//! source along with the guests, paths are remapped, and nothing records a time.

use crate::debian;
use crate::toolchain::{BARE_TARGET, BareToolchain, library_source, root, say, sysroot};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use xshell::{Shell, cmd};

/// Options of `cargo xtask guests`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Change nothing; check that the kept images are what the source builds.
    #[arg(long)]
    check: bool,
    /// Build the Debian guest instead (the same as `cargo xtask debian`).
    #[arg(long, conflicts_with = "check")]
    debian: bool,
}

/// The file in guests/images that names the compiler of the images.
const COMPILER_FILE: &str = "rustc";

/// The guests that are kernels, each one image.
const KERNELS: &[&str] = &["demo", "m-kernel", "m-kernel-clint"];

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<()> {
    if arguments.debian {
        return debian::run(&debian::Arguments::default());
    }
    let sh = Shell::new()?;
    let kept = root().join("guests/images");
    let compiler = cmd!(sh, "rustc --version").quiet().read()?;
    if arguments.check {
        let kept_by = fs::read_to_string(kept.join(COMPILER_FILE)).unwrap_or_default();
        if kept_by.trim() != compiler {
            bail!(
                "the kept images were built by {:?}, but this is {compiler:?}: \
                 compare with the same compiler, or build them anew by `cargo xtask guests`",
                kept_by.trim()
            );
        }
    }
    let built = build(&sh)?;
    if arguments.check {
        return check(&kept, &built);
    }
    if kept.exists() {
        fs::remove_dir_all(&kept)?;
    }
    let mut total = 0;
    for (name, bytes) in &built {
        let path = kept.join(name);
        fs::create_dir_all(path.parent().context("an image lies in a folder")?)?;
        fs::write(&path, bytes)?;
        total += bytes.len();
    }
    fs::write(kept.join(COMPILER_FILE), compiler + "\n")?;
    say(&format!(
        "kept {} images in {} ({} KiB)",
        built.len(),
        kept.display(),
        total / 1024
    ));
    Ok(())
}

/// Compares the kept images with new ones, byte for byte.
fn check(kept: &Path, built: &BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    let mut wrong = Vec::new();
    for (name, bytes) in built {
        match fs::read(kept.join(name)) {
            Ok(old) if old == *bytes => {}
            Ok(_) => wrong.push(format!("{} differs", name.display())),
            Err(_) => wrong.push(format!("{} is missing", name.display())),
        }
    }
    for folder in [kept.to_path_buf(), kept.join("tests")] {
        for entry in
            fs::read_dir(&folder).with_context(|| format!("no folder {}", folder.display()))?
        {
            let path = entry?.path();
            let name = path.strip_prefix(kept)?.to_path_buf();
            if path.is_file() && name != Path::new(COMPILER_FILE) && !built.contains_key(&name) {
                wrong.push(format!("{} has no source", name.display()));
            }
        }
    }
    if !wrong.is_empty() {
        bail!(
            "the kept images are not what the source builds: {}; run `cargo xtask guests`",
            wrong.join(", ")
        );
    }
    say(&format!(
        "{} kept images are byte for byte what the source builds",
        built.len()
    ));
    Ok(())
}

/// Builds all guests; gives their images by the name under which they are kept.
fn build(sh: &Shell) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let bare = BareToolchain::ensure_source(sh)?;
    let guests = root().join("guests");
    let target = root().join("target/guests");
    let library = library_source(&sysroot(sh)?);
    let rust = library.parent().context("the library has a parent")?;
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(".cargo"));
    let flags = [
        format!("--remap-path-prefix={}=guests", guests.display()),
        format!("--remap-path-prefix={}=rust", rust.display()),
        format!("--remap-path-prefix={}=cargo", cargo_home.display()),
    ]
    .join("\u{1f}");
    let _here = sh.push_dir(&guests);
    let arguments = bare.cargo_arguments(BARE_TARGET);
    let mut command = cmd!(sh, "cargo build --release --locked {arguments...}")
        .quiet()
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .env("CARGO_TARGET_DIR", &target);
    if let Some((name, value)) = bare.environment() {
        command = command.env(name, value);
    }
    command.run().context("the guests do not build")?;

    let built = target.join(crate::toolchain::BARE_TARGET).join("release");
    let mut images = BTreeMap::new();
    for name in KERNELS {
        images.insert(PathBuf::from(name), fs::read(built.join(name))?);
    }
    for test in fs::read_dir(guests.join("tests/src/bin"))? {
        let name = test?
            .path()
            .file_stem()
            .context("a test has a name")?
            .to_owned();
        images.insert(Path::new("tests").join(&name), fs::read(built.join(&name))?);
    }
    Ok(images)
}
