//! Saving that goes wrong: a disk without room, a process that is killed, files that change under
//! a running machine. Nothing is lost by it.

mod command;
mod session;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use command::{Ran, ringer, ringer_typing};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use session::Session;

const PATIENCE: Duration = Duration::from_secs(120);

fn save_a_demo(to: &Path) {
    let args = ["demo", "--memory", "16M", "--timeout", "2"];
    let ran = ringer_typing(
        &[&args[..], &["--save", to.to_str().unwrap()]].concat(),
        b"paging sv48\r",
    );
    assert_eq!(ran.status, 0, "{ran:?}");
}

/// Goes on from there and sees that it is the machine that was saved.
fn goes_on(from: &Path) -> Ran {
    let from = from.to_str().unwrap();
    let args = ["run", "--restore", from, "--timeout", "120"];
    let ran = ringer_typing(&args, b"paging\rpoweroff\r");
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.stdout.to_lowercase().contains("sv48"), "{ran:?}");
    ran
}

/// Leaves the monitor prompt. What is typed before keys are the guest's again would be lost.
fn back_to_the_console(session: &mut Session) {
    session.press("\r");
    while !session.is_raw() {
        thread::yield_now();
    }
}

fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn without_room_the_machine_runs_on_and_the_older_one_stays() {
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("vm");
    save_a_demo(&saved);
    let path = saved.to_str().unwrap();
    // With --save it may write there, and beside it.
    let mut session = Session::start(&["run", "--restore", path, "--save", path]);
    session.open_prompt();
    let pid = Pid::from_raw(session.child.id() as i32);
    // Too little for the kernel that it was booted from, and for its memory.
    for limit in [20 << 10, 8 << 20] {
        let limits = Rlimit {
            current: Some(limit),
            maximum: None,
        };
        prlimit(pid, Resource::Fsize, limits).unwrap();
        // Elsewhere, where nothing can be shared, and to where it comes from.
        session.press(&format!("save {}\r", dir.path().join("other").display()));
        session.expect("cannot save to");
        session.expect("ringer> ");
        session.press(&format!("save {path}\r"));
        session.expect("cannot save to");
        session.expect("ringer> ");
        assert_eq!(names_in(dir.path()), ["vm"]);
    }
    let limits = Rlimit {
        current: None,
        maximum: None,
    };
    prlimit(pid, Resource::Fsize, limits).unwrap();
    session.press(&format!("save {path}\r"));
    session.expect("saved to");
    session.expect("ringer> ");
    back_to_the_console(&mut session);
    session.press("paging\r");
    session.expect("Sv48");
    session.press("poweroff\r");
    assert_eq!(session.end(), 0);
    assert_eq!(names_in(dir.path()), ["vm"]);
    goes_on(&saved);
}

/// A file system of 32 MiB for one process, in namespaces of its own.
fn on_a_small_disk(place: &Path, script: &str) -> Command {
    let mut command = Command::new("unshare");
    let mount = format!("mount -t tmpfs -o size=32M tmpfs {}", place.display());
    command.args(["--map-root-user", "--mount", "sh", "-c"]);
    command.arg(format!("{mount} && {script}"));
    command
}

#[test]
fn on_a_full_disk_the_machine_runs_on_and_the_older_one_stays() {
    let dir = tempfile::tempdir().unwrap();
    let small = dir.path().join("small");
    fs::create_dir(&small).unwrap();
    if !on_a_small_disk(&small, "true")
        .output()
        .is_ok_and(|ran| ran.status.success())
    {
        eprintln!("SKIPPED: this user can mount no file system, so no disk can be full");
        return;
    }
    let saved = dir.path().join("vm");
    save_a_demo(&saved);
    // All that is left is taken.
    let script = format!(
        "cp -r {saved} {small}/vm && head -c 64M /dev/zero >{small}/fill 2>/dev/null; exec {ringer} run --restore {small}/vm --save {small}/vm",
        saved = saved.display(),
        small = small.display(),
        ringer = env!("CARGO_BIN_EXE_ringer"),
    );
    let mut session = Session::of(on_a_small_disk(&small, &script));
    session.open_prompt();
    let seen = format!("/proc/{}/root{}", session.child.id(), small.display());
    let seen = Path::new(&seen);
    let mut fill = File::options()
        .append(true)
        .open(seen.join("fill"))
        .unwrap();
    let mut fill_up = |but: u64| {
        while fill.write_all(&[0; 4096]).is_ok() {}
        let full = fill.metadata().unwrap().len();
        fill.set_len(full.saturating_sub(but)).unwrap();
    };
    // Nothing is left, or enough for a part of it.
    for left in [0, 16 << 10] {
        fill_up(left);
        session.press(&format!("save {}\r", small.join("other").display()));
        session.expect("cannot save to");
        session.expect("No space left on device");
        session.expect("ringer> ");
        assert_eq!(names_in(seen), ["fill", "vm"]);
    }
    fill_up(0);
    session.press(&format!("save {}\r", small.join("vm").display()));
    session.expect("No space left on device");
    session.expect("ringer> ");
    assert_eq!(names_in(seen), ["fill", "vm"]);
    assert_eq!(names_in(&seen.join("vm")), names_in(&saved));
    fill_up(u64::MAX);
    session.press(&format!("save {}\r", small.join("vm").display()));
    session.expect("saved to");
    session.expect("ringer> ");
    goes_on(&seen.join("vm"));
    back_to_the_console(&mut session);
    session.press("paging\r");
    session.expect("Sv48");
    session.press("poweroff\r");
    assert_eq!(session.end(), 0);
}

#[test]
fn killed_while_it_saves_it_leaves_the_older_one() {
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("vm");
    save_a_demo(&saved);
    let path = saved.to_str().unwrap();
    let mut hits = 0;
    for round in 0..6_u64 {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ringer"))
            .args(["run", "--restore", path, "--timeout", "1", "--save", path])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // It looks whether it can save when it starts, too, but writes only at the end.
        let partial = dir.path().join(format!(".vm.partial-{}", child.id()));
        let deadline = Instant::now() + PATIENCE;
        while !partial.join("board").exists() && child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline);
            thread::yield_now();
        }
        thread::sleep(Duration::from_millis(5 * round));
        hits += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        goes_on(&saved);
    }
    assert!(hits > 0, "no process was killed while it saved");
    // The next one clears away what they left.
    let ran = ringer(&["run", "--restore", path, "--timeout", "1", "--save", path]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(names_in(dir.path()), ["vm"]);
    goes_on(&saved);
}

#[test]
fn a_machine_whose_file_is_cut_short_ends_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("vm");
    save_a_demo(&saved);
    let mut session = Session::start(&["run", "--restore", saved.to_str().unwrap()]);
    session.expect("Ctrl-A x");
    session.press("\r");
    session.expect("demo> ");
    let file = File::options()
        .write(true)
        .open(saved.join("memory.0"))
        .unwrap();
    file.set_len(0).unwrap();
    session.press("help\r");
    session.expect("was cut short");
    assert_eq!(session.end(), 100);
    let ran = ringer(&["run", "--restore", saved.to_str().unwrap()]);
    assert_eq!(
        (ran.status, ran.stderr.lines().count()),
        (100, 1),
        "{ran:?}"
    );
}

#[test]
fn a_machine_goes_on_when_what_it_came_from_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    save_a_demo(&first);
    let mut session = Session::start(&[
        "run",
        "--restore",
        first.to_str().unwrap(),
        "--save",
        second.to_str().unwrap(),
    ]);
    session.open_prompt();
    fs::remove_dir_all(&first).unwrap();
    back_to_the_console(&mut session);
    session.press("paging\r");
    session.expect("Sv48");
    session.press("\x01c");
    session.expect("ringer> ");
    session.press(&format!("save {}\r", second.display()));
    session.expect("saved to");
    // Once more, and only what changed: the same files, and a layer.
    session.press(&format!("save {}\r", first.display()));
    session.expect("saved to");
    assert!(first.join("memory.1").exists());
    session.press("quit\r");
    assert_eq!(session.end(), 104);
    goes_on(&second);
    fs::remove_dir_all(&second).unwrap();
    goes_on(&first);
}
