//! `cargo xtask metal`: builds the bare-metal monitor.

use crate::toolchain::{BareToolchain, MONITOR_TARGET, root, say};
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use xshell::{Shell, cmd};

/// The package and its program.
const NAME: &str = "ringer-metal";

/// The profile it is built with.
const PROFILE: &str = "metal";

/// Where the monitor is put, from the source tree's top; `ringer metal run` looks there.
pub const PLACE: &str = "build/metal/ringer-metal";

/// Runs the command.
pub fn run() -> Result<()> {
    let sh = Shell::new()?;
    build(&sh)?;
    say("start it with guests by `ringer metal run machine.bundle` (`ringer bundle` makes one)");
    Ok(())
}

/// Builds the monitor; gives its place.
pub fn build(sh: &Shell) -> Result<PathBuf> {
    let target = root().join("target");
    say(&format!("building {NAME} for {MONITOR_TARGET}, optimised"));
    cargo(sh, "build", &[]).context("the bare-metal monitor does not build")?;
    let built = target.join(MONITOR_TARGET).join(PROFILE).join(NAME);
    let place = root().join(PLACE);
    fs::create_dir_all(place.parent().context("the monitor lies in a folder")?)?;
    fs::copy(&built, &place)
        .with_context(|| format!("cannot copy {} to {PLACE}", built.display()))?;
    let size = fs::metadata(&place)?.len();
    say(&format!("{PLACE}: {} KiB", size.div_ceil(1024)));
    Ok(place)
}

/// Lints the monitor as it is built: most of it is nothing on other targets.
pub fn clippy() -> Result<()> {
    cargo(&Shell::new()?, "clippy", &["--", "-D", "warnings"])
}

/// Has cargo do something with the monitor's program.
fn cargo(sh: &Shell, what: &str, further: &[&str]) -> Result<()> {
    let bare = BareToolchain::ensure(sh, MONITOR_TARGET)?;
    let _here = sh.push_dir(root());
    let arguments = bare.cargo_arguments(MONITOR_TARGET);
    let mut command = cmd!(
        sh,
        "cargo {what} -q --profile {PROFILE} --package {NAME} --bin {NAME} {arguments...} {further...}"
    )
    .quiet()
    .env("CARGO_TARGET_DIR", root().join("target"));
    if let Some((name, value)) = bare.environment() {
        command = command.env(name, value);
    }
    Ok(command.run()?)
}
