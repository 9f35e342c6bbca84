//! Arguments of `ringer test`.

use std::path::PathBuf;

use crate::args::EngineKind;
use crate::size::Size;

/// What `--help` says at the end.
pub const HELP: &str = "\
Examples:
  ringer test -- uname -m
  ringer test --share . -- make check
  ringer test --share src,ro -- 'cd lib && ./run-tests > /tmp/log; tail /tmp/log'
  ringer test --packages build-essential,git --share . -- make check
  tar c tests | ringer test -- 'tar x && ./tests/all'

The image is the one that `ringer image debian` has made; where none is, the small guest of Ringer's
source tree. The first use starts it, installs --packages in it and saves it; later uses go on from
there at once. Other --packages make another saved machine; the image stays as it is. The folder is mounted in the guest, at /work, where the command starts. The command's
output and exit status are this command's; its standard input is this one's, unless that is a
terminal. One word is a line for the guest's shell, several are a command and its arguments.
All that the guest wrote elsewhere than in the folder is gone afterwards.

Exit status: the command's own (127: there is no such command; 125: the folder cannot be mounted).
If there is a line that begins with `ringer:`, the status is Ringer's own: 2 the command line makes
no sense, 100 Ringer could not do its work, 103 the guest went down before the command ended,
104 stopped by a signal, 124 --timeout ran out.";

/// Arguments of `ringer test`.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = HELP)]
pub struct TestArgs {
    /// The guest: an image that `ringer image debian` has made, or debian-busybox, a small one
    /// made by `cargo xtask debian`
    #[arg(long, value_name = "IMAGE", default_value = "debian")]
    pub image: String,
    /// A machine that `ringer test` or `ringer save` has saved, by name or path, with an agent in
    /// its guest
    #[arg(long, value_name = "NAME", conflicts_with_all = ["harts", "memory", "packages", "fresh"])]
    pub snapshot: Option<String>,
    /// Debian's packages that the command needs beside those of the image
    #[arg(long, value_delimiter = ',', value_name = "PACKAGES")]
    pub packages: Vec<String>,
    /// Folder that the command works in; `ro` lets it only read
    #[arg(long, value_name = "DIR[,ro]")]
    pub share: Option<String>,
    /// Number of harts (CPUs), 1 to 8 [default: the image's]
    #[arg(long, value_name = "N")]
    pub harts: Option<u64>,
    /// RAM of the guest [default: the image's]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Size>,
    /// How instructions are executed [default: as in `ringer run`]
    #[arg(long, value_enum)]
    pub engine: Option<EngineKind>,
    /// Give up after this many seconds
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<f64>,
    /// Start the image and save it again
    #[arg(long)]
    pub fresh: bool,
    /// Only start the image and save it here: the process that does so can do nothing else
    /// afterwards
    #[arg(long, hide = true, value_name = "DIR")]
    pub make: Option<PathBuf>,
    /// The command
    #[arg(last = true, required_unless_present = "make")]
    pub command: Vec<String>,
}
