//! A running `ringer` that is reached by its control socket, in a folder of its own.
#![allow(dead_code, reason = "not every test file uses all of it")]

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long things may take that need no time on an idle computer.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A folder for machines that nobody else uses.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    pub fn path(&self) -> &Path {
        self.0.path()
    }
    /// `ringer` with these arguments, in this folder.
    pub fn ringer(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringer"));
        command.args(args).env("XDG_RUNTIME_DIR", self.0.path());
        command
    }
    /// What `ringer` with these arguments prints, and its status.
    pub fn said(&self, args: &[&str]) -> (i32, String, String) {
        let output = self.ringer(args).stdin(Stdio::null()).output().unwrap();
        (
            output.status.code().unwrap_or(-1),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }
    /// Starts the demo under this name.
    pub fn start(&self, name: &str, more: &[&str]) -> Machine {
        self.run(name, &[&["demo"], more].concat())
    }
    /// Starts a machine under this name.
    pub fn run(&self, name: &str, more: &[&str]) -> Machine {
        let args = ["--name", name, "--timeout", "300"];
        let child = self
            .ringer(&[more, &args].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Machine {
            child,
            socket: self.socket(name),
        }
    }
    pub fn socket(&self, name: &str) -> PathBuf {
        self.0.path().join("ringer").join(name).join("control.sock")
    }
}

/// A running machine. Killed when the test ends without having ended it.
pub struct Machine {
    pub child: Child,
    pub socket: PathBuf,
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Machine {
    pub fn connect(&self) -> UnixStream {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match UnixStream::connect(&self.socket) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    return stream;
                }
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    /// The status and body of what is answered to a request.
    pub fn request(&self, method: &str, path: &str, body: &[u8]) -> (u16, Value) {
        let mut stream = self.connect();
        let len = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: vm\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        // A body that is too long is answered, and the connection closed, before it is all there.
        let _ = stream.write_all(body);
        read_answer(stream)
    }
    pub fn get(&self, path: &str) -> (u16, Value) {
        self.request("GET", path, b"")
    }
    pub fn act(&self, action: &str) -> (u16, Value) {
        self.request("POST", "/actions", action.as_bytes())
    }
    pub fn wait_until_ready(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.get("/healthz").0 != 200 {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    pub fn status(&mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

/// Reads an answer to its end. Where the other side did not take all of the request, that is a
/// reset connection.
pub fn read_answer(mut stream: UnixStream) -> (u16, Value) {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
    let text = String::from_utf8(bytes).unwrap();
    let status = text.split(' ').nth(1).unwrap_or_default();
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (
        status.parse().unwrap_or(0),
        serde_json::from_str(body).unwrap_or(Value::Null),
    )
}
