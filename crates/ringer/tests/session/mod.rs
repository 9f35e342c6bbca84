//! `ringer` on a terminal of its own.
#![allow(dead_code, reason = "not every test file uses all of it")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, tcgetattr};

/// A running `ringer`, its screen and its keyboard.
pub struct Session {
    pub child: Child,
    keyboard: File,
    terminal: File,
    screen: Arc<Mutex<String>>,
    before: Termios,
}

impl Session {
    pub fn start(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringer"));
        command.args(args);
        Self::of(command)
    }
    pub fn of(mut command: Command) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let terminal = File::options()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        let before = tcgetattr(&terminal).unwrap();
        let stdio = || Stdio::from(OwnedFd::from(terminal.try_clone().unwrap()));
        let child = command
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .unwrap();
        let keyboard = File::from(controller);
        let mut reader = keyboard.try_clone().unwrap();
        let screen = Arc::new(Mutex::new(String::new()));
        let shown = Arc::clone(&screen);
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(len) = reader.read(&mut chunk) {
                let text = String::from_utf8_lossy(&chunk[..len]);
                shown.lock().unwrap().push_str(&text);
            }
        });
        Self {
            child,
            keyboard,
            terminal,
            screen,
            before,
        }
    }
    /// Opens the monitor prompt, once keys are no longer the terminal's own business.
    pub fn open_prompt(&mut self) {
        self.expect("Ctrl-A x");
        while !self.is_raw() {
            thread::yield_now();
        }
        self.press("\x01c");
        self.expect("ringer> ");
    }
    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }
    /// Waits until `text` is on the screen, behind what was waited for before.
    pub fn expect(&mut self, text: &str) {
        self.expect_and_read(text, 0);
    }
    /// As `expect`; returns the `len` bytes behind it.
    pub fn expect_and_read(&mut self, text: &str, len: usize) -> String {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            {
                let mut screen = self.screen.lock().unwrap();
                if let Some(at) = screen.find(text)
                    && let Some(read) = screen.get(at + text.len()..at + text.len() + len)
                {
                    let read = read.to_string();
                    *screen = screen.split_off(at + text.len() + len);
                    return read;
                }
                assert!(Instant::now() < deadline, "no {text:?} in {screen:?}");
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = rustix::termios::Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&self.terminal, size).unwrap();
    }
    pub fn is_raw(&self) -> bool {
        let now = tcgetattr(&self.terminal).unwrap();
        !now.local_modes.contains(LocalModes::ICANON)
    }
    pub fn end(mut self) -> i32 {
        let status = self.child.wait().unwrap().code().unwrap_or(-1);
        let after = tcgetattr(&self.terminal).unwrap();
        assert_eq!(after.local_modes, self.before.local_modes);
        assert_eq!(after.input_modes, self.before.input_modes);
        assert_eq!(after.output_modes, self.before.output_modes);
        status
    }
}
