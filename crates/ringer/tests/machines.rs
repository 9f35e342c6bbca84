//! Machines by name: `ps`, `console`, `wait`, `stats`, `stop`, `--detach`, and what a killed monitor
//! leaves behind.

mod machine;
mod session;

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use machine::{Folder, PATIENCE};
use serde_json::Value;
use session::Session;

fn listed(folder: &Folder) -> Vec<(String, String)> {
    let (status, out, err) = folder.said(&["ps", "--json"]);
    assert_eq!(status, 0, "{err}");
    let rows: Vec<Value> = serde_json::from_str(&out).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    rows.iter()
        .map(|row| (text(&row["name"]), text(&row["state"])))
        .collect()
}

fn detach(folder: &Folder, name: &str) {
    let args = ["demo", "--detach", "--name", name, "--timeout", "300"];
    let (status, out, err) = folder.said(&args);
    assert_eq!((status, out.trim()), (0, name), "{err}");
}

#[test]
fn machines_are_found_by_name() {
    let folder = Folder::new();
    assert!(listed(&folder).is_empty());
    let (_, out, _) = folder.said(&["ps"]);
    assert!(out.contains("no machine runs"));
    detach(&folder, "one");
    let mut two = folder.start("two", &[]);
    two.wait_until_ready();
    assert_eq!(
        listed(&folder),
        [("one", "running"), ("two", "running")].map(|(a, b)| (a.to_string(), b.to_string()))
    );
    // The name is taken, and the reason names the process.
    let (status, _, err) = folder.said(&["demo", "--name", "two"]);
    assert_eq!(status, 100);
    assert!(
        err.contains(&format!("process {}", two.child.id())),
        "{err}"
    );
    assert_eq!(folder.said(&["demo", "--name", "a/b"]).0, 2);
    assert_eq!(folder.said(&["demo", "--detach", "--no-control"]).0, 2);

    assert_eq!(folder.said(&["wait", "one", "--timeout", "100"]).0, 0);
    let (status, out, _) = folder.said(&["stats", "two", "--json"]);
    assert_eq!(status, 0);
    let stats: Value = serde_json::from_str(&out).unwrap();
    assert!(stats["instructions"].as_u64().unwrap() > 0);
    let (status, _, err) = folder.said(&["stats"]);
    assert_eq!(status, 2);
    assert!(err.contains("one, two"), "{err}");
    let (status, _, err) = folder.said(&["stop", "three"]);
    assert_eq!(status, 100);
    assert!(err.contains("there are: one, two"), "{err}");

    let (status, out, _) = folder.said(&["stop", "--force", "one", "two"]);
    assert_eq!(status, 104);
    assert_eq!(out.lines().count(), 2, "{out}");
    assert_eq!(two.status(), 104);
    assert!(listed(&folder).is_empty());
}

#[test]
fn a_guest_that_does_not_power_off_runs_on() {
    let folder = Folder::new();
    let mut vm = folder.start("deaf", &[]);
    vm.wait_until_ready();
    // The demo's kernel does not know SysRq.
    let (status, _, err) = folder.said(&["stop", "deaf"]);
    assert_eq!(status, 100);
    assert!(err.contains("--force"), "{err}");
    assert_eq!(
        listed(&folder),
        [("deaf".to_string(), "running".to_string())]
    );
    assert_eq!(folder.said(&["stop", "-f", "deaf"]).0, 104);
    assert_eq!(vm.status(), 104);
}

#[test]
fn several_share_a_console() {
    let folder = Folder::new();
    detach(&folder, "one");
    folder.said(&["wait", "one"]);
    let start = || Session::of(folder.ringer(&["console", "one"]));
    let (mut first, mut second) = (start(), start());
    // What was written before they came.
    for session in [&mut first, &mut second] {
        session.expect("Ctrl-A d");
        session.expect("demo>");
        while !session.is_raw() {
            thread::yield_now();
        }
    }
    first.press("echo heard by all\r");
    for session in [&mut first, &mut second] {
        // What was typed, and what the guest says.
        session.expect("heard by all");
        session.expect("heard by all");
    }
    first.press("\x01d");
    first.expect("detached");
    assert_eq!(first.end(), 0);
    second.press("poweroff\r");
    second.expect("Goodbye");
    second.expect("has ended");
    assert_eq!(second.end(), 0);
    assert!(listed(&folder).is_empty());
}

#[test]
fn a_console_without_a_terminal_shows_all_to_the_end() {
    let folder = Folder::new();
    detach(&folder, "one");
    folder.said(&["wait", "one"]);
    let mut child = folder
        .ringer(&["console", "one"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keys = child.stdin.take().unwrap();
    keys.write_all(b"poweroff\r").unwrap();
    drop(keys);
    let mut text = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(text.contains("demo>") && text.contains("Goodbye"), "{text}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_killed_monitor_is_in_nobodys_way() {
    let folder = Folder::new();
    let mut vm = folder.start("one", &[]);
    vm.wait_until_ready();
    vm.child.kill().unwrap();
    vm.child.wait().unwrap();
    assert!(vm.socket.exists());
    let mut again = folder.start("one", &[]);
    again.wait_until_ready();
    assert_eq!(
        listed(&folder),
        [("one".to_string(), "running".to_string())]
    );
    again.child.kill().unwrap();
    again.child.wait().unwrap();
    assert!(listed(&folder).is_empty());
    assert!(!vm.socket.parent().unwrap().exists());
}

#[test]
fn what_a_machine_in_the_background_said_last_is_found() {
    let folder = Folder::new();
    // Nothing can ever come to this guest, and Ringer says so and ends it.
    let args = ["demo", "-d", "--deterministic", "--name", "idle"];
    assert_eq!(folder.said(&args).0, 0);
    let deadline = Instant::now() + PATIENCE;
    while !listed(&folder).is_empty() {
        assert!(Instant::now() < deadline);
    }
    let (status, _, err) = folder.said(&["console", "idle"]);
    assert_eq!(status, 100);
    let (_, log) = err.trim_end().rsplit_once(' ').unwrap();
    let words = std::fs::read_to_string(log).unwrap();
    assert!(words.contains("all harts wait"), "{err}{words}");
}

#[test]
fn a_stopped_process_is_silent_and_holds_nobody_up() {
    let folder = Folder::new();
    let mut vm = folder.start("one", &[]);
    vm.wait_until_ready();
    let pid = vm.child.id().to_string();
    let signal = |name: &str| Command::new("kill").args([name, &pid]).status().unwrap();
    signal("-STOP");
    let start = Instant::now();
    assert_eq!(listed(&folder), [("one".to_string(), "silent".to_string())]);
    assert!(start.elapsed() < PATIENCE);
    signal("-CONT");
    assert_eq!(
        listed(&folder),
        [("one".to_string(), "running".to_string())]
    );
    assert_eq!(folder.said(&["stop", "-f", "one"]).0, 104);
    assert_eq!(vm.status(), 104);
}

#[test]
fn without_a_directory_it_runs_all_the_same() {
    let folder = Folder::new();
    // Somebody's file is where the folder would be.
    std::fs::write(folder.path().join("ringer"), "").unwrap();
    let image = format!(
        "{}/../../guests/images/tests/counters",
        env!("CARGO_MANIFEST_DIR")
    );
    let args = ["run", "--bios", &image];
    let (status, _, err) = folder.said(&args);
    assert_eq!(status, 0, "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(err.contains("no control socket"), "{err}");
    let (status, _, err) = folder.said(&["run", "--bios", &image, "--no-control"]);
    assert_eq!((status, err.as_str()), (0, ""));
    // In the background nobody could reach it.
    assert_eq!(folder.said(&["run", "--bios", &image, "--detach"]).0, 100);
}

#[test]
fn the_monitor_shows_a_machine_and_leaves_the_terminal_as_it_was() {
    let folder = Folder::new();
    detach(&folder, "one");
    folder.said(&["wait", "one"]);
    let mut monitor = Session::of(folder.ringer(&["monitor"]));
    monitor.resize(30, 110);
    monitor.expect("one");
    monitor.expect("instructions");
    thread::sleep(Duration::from_millis(50));
    monitor.press("q");
    assert_eq!(monitor.end(), 0);
    assert_eq!(folder.said(&["stop", "-f", "one"]).0, 104);
}
