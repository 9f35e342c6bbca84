//! `--detach`: the machine runs in a process of its own, without a terminal. The process that was
//! asked for it waits until the machine runs, prints its name and ends.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use super::Place;
use crate::exit::{Failure, status};

/// The hidden option that tells the process that it is the one in the background.
const OPTION: &str = "--detached";

/// Starts this same command line in the background. Returns the exit status: its own if it did not
/// come to run a machine.
pub fn start() -> Result<u8, Failure> {
    let failed = |error: std::io::Error| {
        Failure::monitor(format_args!(
            "cannot start a process in the background: {error}"
        ))
    };
    let mut child = Command::new(std::env::current_exe().map_err(failed)?)
        .args(std::env::args_os().skip(1))
        .arg(OPTION)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let complaints = child.stderr.take();
    let complaints = thread::spawn(move || {
        if let Some(mut from) = complaints {
            let _ = std::io::copy(&mut from, &mut std::io::stderr());
        }
    });
    let mut name = String::new();
    if let Some(mut from) = child.stdout.take() {
        from.read_to_string(&mut name).map_err(failed)?;
    }
    let _ = complaints.join();
    if !name.is_empty() {
        print!("{name}");
        return Ok(status::SUCCESS);
    }
    let ended = child.wait().map_err(failed)?;
    Ok(ended
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(status::MONITOR))
}

/// In the process in the background, before anything else: leaves the terminal's session.
pub fn leave_terminal() {
    // Fails only for a process that leads a group, and this one has just been started.
    let _ = rustix::process::setsid();
}

/// Where the output of a process in the background goes once its machine runs.
pub struct Background {
    name: String,
    log: File,
    nowhere: File,
}

impl Background {
    /// In the process in the background: opens what is needed.
    pub fn new(place: &Place) -> Result<Self, Failure> {
        let open = |path: &Path| {
            let mut options = File::options();
            options.write(true).create(true).truncate(true).mode(0o600);
            let opened = options.open(path);
            opened.map_err(|error| Failure::monitor(format_args!("{}: {error}", path.display())))
        };
        Ok(Self {
            name: place.name().to_string(),
            log: open(&place.log())?,
            nowhere: open(Path::new("/dev/null"))?,
        })
    }
    /// Tells the machine's name to whoever waits. From here on messages go to the log.
    pub fn settle(self) -> Result<(), Failure> {
        let mut out = std::io::stdout();
        // Whoever waited may have gone.
        let _ = writeln!(out, "{}", self.name).and_then(|()| out.flush());
        rustix::stdio::dup2_stdout(&self.nowhere).map_err(Failure::monitor)?;
        rustix::stdio::dup2_stderr(&self.log).map_err(Failure::monitor)
    }
}
