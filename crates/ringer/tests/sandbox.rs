//! The sandbox, from inside: what a monitor that has been taken over would try.

mod machine;

use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

use machine::Folder;
use ringer::sandbox::{Enforced, Needs, restrict_calls, restrict_files};
use rustix::fs::{AtFlags, CWD, FileType, Mode};
use rustix::mm::{MapFlags, ProtFlags};

/// Says to the process of [`inside`] what to try, and in which folder.
const TRY: &str = "RINGER_TEST_TRY";
const FOLDER: &str = "RINGER_TEST_FOLDER";

/// Confines the process that runs it, as a machine's monitor is confined, and tries something.
#[test]
#[ignore = "run by the other tests, each in a process of its own"]
fn inside() {
    let folder = std::env::var(FOLDER).unwrap();
    let mut needs = Needs::new();
    needs.change(&folder);
    let what = std::env::var(TRY).unwrap();
    if what.starts_with("a share's") {
        needs.attributes();
    }
    let enforced = restrict_files(&needs).unwrap();
    restrict_calls(&needs).unwrap();
    match what.as_str() {
        "files" => {
            fs::write(format!("{folder}/inside"), "allowed").unwrap();
            assert_eq!(fs::read(format!("{folder}/inside")).unwrap(), b"allowed");
            if enforced == Enforced::Yes {
                let denied = |result: std::io::Result<File>| {
                    assert_eq!(
                        result.unwrap_err().kind(),
                        std::io::ErrorKind::PermissionDenied
                    );
                };
                denied(File::open("/etc/passwd"));
                denied(File::create("/tmp/ringer-test-outside"));
                denied(File::open(format!("{folder}/../outside")));
            }
        }
        "threads" => {
            let threads: Vec<_> = (0..4).map(|n| std::thread::spawn(move || n * n)).collect();
            let sum: i32 = threads.into_iter().map(|t| t.join().unwrap()).sum();
            assert_eq!(sum, 14);
        }
        "a share's modes and links" => {
            let path = format!("{folder}/file");
            fs::write(&path, "").unwrap();
            rustix::fs::chmodat(CWD, path.as_str(), Mode::RUSR, AtFlags::empty()).unwrap();
            rustix::fs::symlinkat("file", CWD, format!("{folder}/link")).unwrap();
        }
        "a share's owners" => {
            let own = Some(rustix::process::getuid());
            let _ = rustix::fs::chownat(CWD, folder.as_str(), own, None, AtFlags::empty());
        }
        "a share's devices" => {
            let path = format!("{folder}/device");
            let _ = rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, Mode::RUSR, 0);
        }
        "a program" => drop(Command::new("/bin/true").spawn()),
        "another program instead" => drop(Command::new("/bin/true").exec()),
        "the network" => drop(TcpStream::connect("127.0.0.1:1")),
        "code that can be written" => {
            // SAFETY: memory that nothing else knows of.
            let _ = unsafe {
                rustix::mm::mmap_anonymous(
                    std::ptr::null_mut(),
                    4096,
                    ProtFlags::WRITE | ProtFlags::EXEC,
                    MapFlags::PRIVATE,
                )
            };
        }
        other => panic!("{other}?"),
    }
    println!("it went on");
}

/// What a confined process that tries this says, and its status.
fn try_inside(what: &str) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("outside"), "").unwrap();
    fs::create_dir(folder.path().join("own")).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "inside", "--ignored", "--nocapture"])
        .env(TRY, what)
        .env(FOLDER, folder.path().join("own"))
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[test]
fn what_a_machine_needs_works() {
    for what in ["files", "threads", "a share's modes and links"] {
        let (status, text) = try_inside(what);
        assert_eq!(status, 0, "{what}: {text}");
        assert!(text.contains("it went on"), "{what}: {text}");
    }
}

#[test]
fn what_an_intruder_needs_ends_the_process_and_is_named() {
    for (what, call) in [
        ("another program instead", "(execve)"),
        ("the network", "(socket)"),
        ("a share's owners", "(fchownat)"),
        ("a share's devices", "(mknodat)"),
        ("code that can be written", "(mmap)"),
    ] {
        let (status, text) = try_inside(what);
        assert_eq!(status, 100, "{what}: {text}");
        assert!(text.contains("the sandbox does not allow"), "{text}");
        assert!(text.contains(call), "{what}: {text}");
        assert!(!text.contains("it went on"), "{what}: {text}");
    }
}

#[test]
fn no_program_is_started() {
    // The C library blocks all signals meanwhile, so the kernel ends the process without a word.
    let (status, text) = try_inside("a program");
    assert_eq!(status, -1, "{text}");
    assert!(!text.contains("it went on"), "{text}");
}

/// For every thread of a process, whether a filter of system calls is in force.
fn filtered(pid: u32) -> Vec<bool> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks
        .map(|task| {
            let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            let line = status.lines().find(|line| line.starts_with("Seccomp:"));
            line.unwrap().ends_with('2')
        })
        .collect()
}

#[test]
fn every_thread_of_a_machine_is_confined_unless_told_otherwise() {
    let folder = Folder::new();
    let elsewhere = folder.path().join("elsewhere");
    let save = format!(r#"{{"action":"save","directory":{elsewhere:?}}}"#);

    let vm = folder.start("confined", &[]);
    vm.wait_until_ready();
    let threads = filtered(vm.child.id());
    assert!(threads.len() > 3, "{threads:?}");
    assert!(threads.iter().all(|&yes| yes), "{threads:?}");
    let (status, answer) = vm.act(&save);
    assert_eq!(status, 409);
    assert!(
        answer["error"].as_str().unwrap().contains("--save"),
        "{answer}"
    );
    assert!(!elsewhere.exists());
    // It can still do what it is asked: make code anew, start again, count.
    for action in [
        r#"{"action":"prompt","line":"engine interpret"}"#,
        r#"{"action":"reset"}"#,
        r#"{"action":"stats"}"#,
    ] {
        assert_eq!(vm.act(action).0, 200, "{action}");
    }

    let free = folder.start("free", &["--no-sandbox"]);
    free.wait_until_ready();
    assert!(filtered(free.child.id()).iter().all(|&yes| !yes));
    assert_eq!(free.act(&save).0, 200);
    assert!(elsewhere.join("manifest.toml").exists());
}

#[test]
fn a_confined_machine_is_saved_where_it_was_told() {
    let folder = Folder::new();
    let saved = folder.path().join("saved");
    let vm = folder.start("one", &["--save", saved.to_str().unwrap()]);
    vm.wait_until_ready();
    for _ in 0..2 {
        let (status, answer) = vm.act(r#"{"action":"save"}"#);
        assert_eq!(status, 200, "{answer}");
        assert!(saved.join("manifest.toml").exists());
    }
    drop(vm);
    // It was ready, and so it still is, though it does not say so again. What it was booted from
    // is read when it starts anew.
    let again = folder.run("again", &["run", "--restore", saved.to_str().unwrap()]);
    assert_eq!(again.get("/healthz").0, 200);
    assert_eq!(again.act(r#"{"action":"reset"}"#).0, 200);
    assert_eq!(again.act(r#"{"action":"status"}"#).1["resets"], 1);
    assert_eq!(again.get("/healthz").0, 503);
}
