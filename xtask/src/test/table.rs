//! The rows of `guests/tests.toml`: what there is to run, and what must come of it.

use std::fs;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::toolchain::root;

/// The table.
const TABLE: &str = "guests/tests.toml";
/// The host that is not ours.
pub const QEMU: &str = "qemu";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    test: Vec<Test>,
}

/// One row: a test for each of its engines, or hosts, with each of its numbers of harts.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    pub name: String,
    #[serde(default = "all_engines")]
    pub engines: Vec<String>,
    /// Guests of the bare-metal monitor, each described as for `ringer bundle`, or, with `guests`
    /// of its own, the monitor once more. They have the test's number of harts if they name none.
    #[serde(default)]
    pub guests: Vec<toml::Table>,
    /// On whose machine the monitor runs; these take the place of engines.
    #[serde(default = "all_hosts")]
    pub hosts: Vec<String>,
    /// Engines or hosts on which the row is run with `--all` only, to save time.
    #[serde(default)]
    pub seldom: Vec<String>,
    #[serde(default = "one_hart")]
    pub harts: Vec<usize>,
    /// Whether the Debian guest or Debian's firmware is used.
    #[serde(default)]
    pub debian: bool,
    /// Files copied into the test's own folder first.
    #[serde(default)]
    pub copy: Vec<String>,
    /// The runs, one after the other.
    pub run: Vec<Run>,
}

/// One run of `ringer`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Ringer's command; not for the bare-metal monitor.
    #[serde(default = "command_run")]
    pub command: String,
    /// Arguments after that, or after `ringer metal run` and the bundle. `{images}`,
    /// `{debian}`, `{firmware}`, `{monitor}` and `{own}` (the test's own folder) are filled in, as
    /// they are in guests' descriptions; `{harts}` is the number of harts, and `{port}` a free port of
    /// this host.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// Whether it is run by the other engine than the row's.
    #[serde(default)]
    pub other_engine: bool,
    /// Whether it must be the same as the run before, to the instruction; both have
    /// `--deterministic --stats`.
    #[serde(default)]
    pub same: bool,
    /// What the output must contain, in this order.
    #[serde(default)]
    pub expect: Vec<String>,
    /// What it must contain too, in any order: what several guests say.
    #[serde(default)]
    pub anywhere: Vec<String>,
    /// What it must not contain.
    #[serde(default)]
    pub never: Vec<String>,
    /// Typed once all of that is there, after which only `then` is awaited.
    #[serde(default)]
    pub input: String,
    /// What the output must contain after the input.
    #[serde(default)]
    pub then: Vec<String>,
    /// Whether ringer then gets SIGTERM.
    #[serde(default)]
    pub terminate: bool,
    /// Whether it is then stopped by name, which its guest must obey.
    #[serde(default)]
    pub stop: bool,
    /// The exit status; without it, the run is over when everything expected is there.
    pub exit: Option<i32>,
    /// A guard against hangs.
    #[serde(default = "default_seconds")]
    pub seconds: u64,
    /// A file that must hold this text at the end.
    pub file: Option<ExpectedFile>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedFile {
    pub path: String,
    pub text: String,
}

fn all_engines() -> Vec<String> {
    vec!["interpret".into(), "translate".into()]
}
fn all_hosts() -> Vec<String> {
    vec!["ringer".into(), QEMU.into()]
}
fn command_run() -> String {
    "run".to_string()
}
fn one_hart() -> Vec<usize> {
    vec![1]
}
fn default_seconds() -> u64 {
    60
}

impl Test {
    /// Whether it is run by the bare-metal monitor.
    pub fn is_metal(&self) -> bool {
        !self.guests.is_empty()
    }
    /// Its engines or hosts.
    pub fn places(&self) -> &[String] {
        if self.is_metal() {
            &self.hosts
        } else {
            &self.engines
        }
    }
}

/// Reads the table.
pub fn read() -> Result<Vec<Test>> {
    let text =
        fs::read_to_string(root().join(TABLE)).with_context(|| format!("cannot read {TABLE}"))?;
    let table: Table = toml::from_str(&text).with_context(|| format!("{TABLE} is malformed"))?;
    Ok(table.test)
}
