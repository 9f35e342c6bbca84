//! `cargo xtask metal`: builds the bare-metal monitor.

use crate::toolchain::{BareToolchain, MONITOR_TARGET, root, say};
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use xshell::{Shell, cmd};

/// The package and its program.
const NAME: &str = "ringer-metal";

/// Where the monitor is put, from the source tree's top; `ringer metal run` looks there.
const PLACE: &str = "build/metal/ringer-metal";

/// Runs the command.
pub fn run() -> Result<()> {
    let sh = Shell::new()?;
    build(&sh)?;
    say("start it with guests by `ringer metal run machine.bundle` (`ringer bundle` makes one)");
    Ok(())
}

/// Builds the monitor; gives its place.
pub fn build(sh: &Shell) -> Result<PathBuf> {
    let bare = BareToolchain::ensure(sh, MONITOR_TARGET)?;
    let _here = sh.push_dir(root());
    let target = root().join("target");
    let arguments = bare.cargo_arguments(MONITOR_TARGET);
    say(&format!("building {NAME} for {MONITOR_TARGET}, optimised"));
    let mut command = cmd!(
        sh,
        "cargo build -q --release --package {NAME} --bin {NAME} {arguments...}"
    )
    .quiet()
    .env("CARGO_TARGET_DIR", &target);
    if let Some((name, value)) = bare.environment() {
        command = command.env(name, value);
    }
    command
        .run()
        .context("the bare-metal monitor does not build")?;
    let built = target.join(MONITOR_TARGET).join("release").join(NAME);
    let place = root().join(PLACE);
    fs::create_dir_all(place.parent().context("the monitor lies in a folder")?)?;
    fs::copy(&built, &place)
        .with_context(|| format!("cannot copy {} to {PLACE}", built.display()))?;
    let size = fs::metadata(&place)?.len();
    say(&format!("{PLACE}: {} KiB", size.div_ceil(1024)));
    Ok(place)
}
