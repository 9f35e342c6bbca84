//! Ringer on a terminal: raw mode, the escape key, the monitor prompt, signals; and the terminal
//! as it was afterwards.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, tcgetattr};

struct Session {
    child: Child,
    keyboard: File,
    terminal: File,
    screen: Arc<Mutex<String>>,
    before: Termios,
}

impl Session {
    fn start(args: &[&str]) -> Self {
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
        let child = Command::new(env!("CARGO_BIN_EXE_ringer"))
            .args(args)
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
    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }
    /// Waits until `text` is on the screen, behind what was waited for before.
    fn expect(&mut self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            {
                let mut screen = self.screen.lock().unwrap();
                if let Some(at) = screen.find(text) {
                    *screen = screen.split_off(at + text.len());
                    return;
                }
                assert!(Instant::now() < deadline, "no {text:?} in {screen:?}");
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
    fn is_raw(&self) -> bool {
        let now = tcgetattr(&self.terminal).unwrap();
        !now.local_modes.contains(LocalModes::ICANON)
    }
    fn end(mut self) -> i32 {
        let status = self.child.wait().unwrap().code().unwrap_or(-1);
        let after = tcgetattr(&self.terminal).unwrap();
        assert_eq!(after.local_modes, self.before.local_modes);
        assert_eq!(after.input_modes, self.before.input_modes);
        assert_eq!(after.output_modes, self.before.output_modes);
        status
    }
}

const DEMO: [&str; 5] = ["demo", "--harts", "2", "--timeout", "300"];

#[test]
fn the_monitor_prompt() {
    let mut session = Session::start(&DEMO);
    session.expect("demo>");
    assert!(session.is_raw());
    session.press("\x01c");
    session.expect("ringer> ");
    assert!(!session.is_raw());
    for (command, answer) in [
        ("help", "save [DIR]"),
        ("stats", "SBI calls"),
        ("harts", "hart 1"),
        ("regs", "satp"),
        ("regs 7", "there is no hart 7"),
        ("disas", ">0x"),
        ("x 0xffffffffffffffff 2", "not readable RAM"),
        ("walk 0x80200000", "physical"),
        ("pause", "paused"),
        ("harts", "hart 0"),
        ("resume", "running"),
        ("dance", "no command 'dance'"),
    ] {
        session.press(&format!("{command}\n"));
        session.expect(answer);
        session.expect("ringer> ");
    }
    session.press("\n");
    // Back at the guest, which has lost nothing.
    while !session.is_raw() {
        thread::sleep(Duration::from_millis(10));
    }
    session.press("echo still here\r");
    session.expect("still here");
    session.expect("still here");
    session.press("\x01x");
    assert_eq!(session.end(), 104);
}

#[test]
fn signals_end_it_and_the_terminal_is_restored() {
    for (signal, times) in [("-TERM", 2), ("-INT", 1)] {
        let mut session = Session::start(&DEMO);
        session.expect("demo>");
        for _ in 0..times {
            let pid = session.child.id().to_string();
            Command::new("kill").args([signal, &pid]).status().unwrap();
            thread::sleep(Duration::from_millis(300));
        }
        session.expect("ringer: stopped by");
        assert_eq!(session.end(), 104);
    }
}

#[test]
fn the_guest_powers_off() {
    let mut session = Session::start(&DEMO);
    session.expect("demo>");
    session.press("poweroff\r");
    assert_eq!(session.end(), 0);
}
