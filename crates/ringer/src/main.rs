//! The `ringer` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    ringer::cli::main()
}
