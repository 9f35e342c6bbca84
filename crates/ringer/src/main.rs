//! The `ringer` command.

use clap::Parser;

fn main() {
    ringer::args::Args::parse();
}
