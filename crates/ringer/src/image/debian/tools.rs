//! Programs of this computer that the work is done with.

use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::exit::Failure;

/// What is needed, and the Debian package it comes in. Some are only in root's PATH.
const NEEDED: [(&str, &str); 5] = [
    ("apt-get", "apt"),
    ("dpkg-deb", "dpkg"),
    ("xz", "xz-utils"),
    ("mke2fs", "e2fsprogs"),
    ("debugfs", "e2fsprogs"),
];

/// PATH, with the folders of programs for root.
fn path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/sbin:/sbin")
}

/// A program of this computer.
pub fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("PATH", path());
    command
}

/// Whether all programs are there.
pub fn check_all() -> Result<(), Failure> {
    let path = path();
    let have =
        |program: &str| std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(program, _)| !have(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::monitor(format_args!(
        "this needs programs of the Debian packages {}; install them, on Debian and its relatives by `apt-get install`",
        missing.join(", ")
    )))
}

/// Runs a program to its end, and gives what it printed.
pub fn output(command: &mut Command, what: &str) -> Result<String, Failure> {
    let output = command.stdin(Stdio::null()).output();
    let output = check(what, output)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a program did what it should; if not, its own words.
pub fn check(what: &str, output: io::Result<Output>) -> Result<Output, Failure> {
    let output =
        output.map_err(|error| Failure::monitor(format_args!("cannot {what}: {error}")))?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("W:"))
        .collect();
    // The first complaint is the cause, and the others follow from it.
    Err(Failure::monitor(format_args!(
        "cannot {what}: {}",
        said.first()
            .copied()
            .unwrap_or("the program says no reason")
    )))
}

/// A program that cannot be started.
pub fn no_tool(command: &Command, error: &io::Error) -> Failure {
    Failure::monitor(format_args!(
        "cannot start {}: {error}",
        command.get_program().display()
    ))
}

/// A file that cannot be dealt with.
pub fn failed_to(what: &str, path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::monitor(format_args!("cannot {what} {}: {error}", path.display()))
}
