//! Runs the built `ringer` and takes what it says.
#![allow(dead_code, reason = "not every test file uses all of it")]

use std::io::Write;
use std::process::{Command, Stdio};

/// What a run came to.
#[derive(Debug)]
pub struct Ran {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `ringer` with nothing typed.
pub fn ringer(args: &[&str]) -> Ran {
    ringer_typing(args, b"")
}

/// Runs `ringer` with `input` on its standard input.
pub fn ringer_typing(args: &[&str], input: &[u8]) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringer"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // The program may end without reading it.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Ran {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A bare test program that is kept in the repository.
pub fn test_image(name: &str) -> String {
    format!(
        "{}/../../guests/images/tests/{name}",
        env!("CARGO_MANIFEST_DIR")
    )
}
