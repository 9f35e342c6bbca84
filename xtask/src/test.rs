//! `cargo xtask test`: the one command that tests everything.

mod bundle;
mod guests;
mod table;

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use xshell::{Shell, cmd};

use crate::toolchain::{self, Tool, ensure_tools, root, say};
use crate::{debian, fuzz, metal};

/// What some tests use. Where it cannot be had, they say that they were skipped.
const TOOLS: &[Tool] = &[("gdb-multiarch", "gdb-multiarch")];

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only the guest tests; with a word, only those with it in their name.
    #[arg(long, value_name = "WORD", num_args = 0..=1, default_missing_value = "")]
    guests: Option<String>,
    /// Also the guest tests that CI leaves out to save time.
    #[arg(long)]
    all: bool,
    /// Without the Debian guest, whose packages have to be downloaded once.
    #[arg(long)]
    without_debian: bool,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<()> {
    let sh = Shell::new()?;
    sh.change_dir(root());
    let mut steps = Steps::default();
    if arguments.guests.is_none() {
        steps.run("rustfmt", || {
            Ok(cmd!(sh, "cargo fmt --all --check").quiet().run()?)
        });
        steps.run("clippy", || {
            let all = ["--workspace", "--all-targets"];
            Ok(cmd!(sh, "cargo clippy -q {all...} -- -D warnings")
                .quiet()
                .run()?)
        });
        steps.run("clippy for the bare-metal monitor", metal::clippy);
        steps.run("no_std crates for bare RISC-V", toolchain::check_nostd);
        if let Err(error) = ensure_tools(&sh, TOOLS) {
            say(&format!("tests that need it will be skipped: {error:#}"));
        }
        steps.run("unit and integration tests", || {
            Ok(cmd!(sh, "cargo test --workspace --no-fail-fast")
                .quiet()
                .run()?)
        });
        steps.run("fuzz corpora", || fuzz::replay(&sh));
        steps.run("kept guest images", || {
            let xtask = std::env::current_exe()?;
            Ok(cmd!(sh, "{xtask} guests --check").quiet().run()?)
        });
    }
    steps.run("release build", || {
        Ok(cmd!(sh, "cargo build -q --release -p ringer")
            .quiet()
            .run()?)
    });
    steps.run("the bare-metal monitor", metal::run);
    let debian = !arguments.without_debian
        && match debian::run(&debian::Arguments::default()) {
            Ok(()) => true,
            Err(error) => {
                say(&format!("no Debian guest: {error:#}"));
                false
            }
        };

    let counts = guests::run(&guests::Selection {
        filter: arguments.guests.as_deref().unwrap_or(""),
        all: arguments.all,
        debian,
    })?;
    for failed in &steps.failed {
        println!("FAILED  {failed}");
    }
    // The closing line of the guest tests; the other steps have said their own.
    println!("{counts}");
    let all_steps = steps.failed.is_empty();
    ensure!(all_steps, "failed: {}", steps.failed.join(", "));
    ensure!(counts.failed == 0, "guest tests failed");
    Ok(())
}

/// The steps before the guest tests: all are run, whatever the others do.
#[derive(Default)]
struct Steps {
    failed: Vec<&'static str>,
}

impl Steps {
    fn run(&mut self, name: &'static str, step: impl FnOnce() -> Result<()>) {
        say(&format!("{name} …"));
        let start = Instant::now();
        let done = step().with_context(|| format!("{name} failed"));
        let seconds = start.elapsed().as_secs_f64();
        match done {
            Ok(()) => say(&format!("{name}: ok, {seconds:.1} s")),
            Err(error) => {
                say(&format!("{error:#}"));
                self.failed.push(name);
            }
        }
    }
}
