//! `cargo xtask fuzz`: the fuzz targets in fuzz/, by cargo-fuzz on a nightly toolchain; and the
//! replay of their kept corpora, by any toolchain.

use anyhow::{Result, bail, ensure};
use xshell::{Shell, cmd};

use crate::toolchain::{have, root, say};

/// The targets; each is a module of fuzz/src/lib.rs and a program in fuzz/fuzz_targets.
const TARGETS: &[&str] = &[
    "decoder",
    "devices",
    "virtqueues",
    "hart_state",
    "board_state",
    "loader",
    "config",
    "bundle",
    "images",
    "share",
    "frames",
    "gdb",
    "control",
];

/// Options of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub struct Arguments {
    /// The target; without it, all of them one after the other.
    target: Option<String>,
    /// How long to fuzz each target.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<()> {
    let sh = Shell::new()?;
    sh.change_dir(root());
    if !have("cargo-fuzz")
        && cmd!(sh, "cargo fuzz --version")
            .quiet()
            .ignore_stdout()
            .ignore_stderr()
            .run()
            .is_err()
    {
        bail!("cargo-fuzz is missing: install it by `cargo install cargo-fuzz`");
    }
    let nightly = cmd!(sh, "cargo +nightly --version")
        .quiet()
        .ignore_stderr()
        .read();
    ensure!(
        nightly.is_ok(),
        "fuzzing needs a nightly toolchain: install one by `rustup toolchain install nightly`"
    );
    let seconds = arguments.seconds.to_string();
    for target in TARGETS {
        if arguments
            .target
            .as_deref()
            .is_some_and(|wanted| wanted != *target)
        {
            continue;
        }
        say(&format!("fuzzing {target} for {seconds} s"));
        // New findings go to a corpus of their own; what is kept is in fuzz/corpus.
        let found = format!("fuzz/found/{target}");
        sh.create_dir(&found)?;
        let kept = format!("fuzz/corpus/{target}");
        cmd!(
            sh,
            "cargo +nightly fuzz run --features libfuzzer {target} {found} {kept} -- -max_total_time={seconds} -max_len=4096 -timeout=10 -rss_limit_mb=2048"
        )
        .run()?;
    }
    Ok(())
}

/// Runs every kept input through its target.
pub fn replay(sh: &Shell) -> Result<()> {
    Ok(cmd!(sh, "cargo test -q --manifest-path fuzz/Cargo.toml")
        .quiet()
        .run()?)
}
