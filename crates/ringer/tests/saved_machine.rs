//! Saving a running machine and going on with it in another process.

mod command;

use std::fs;
use std::path::Path;

use command::{Ran, ringer, ringer_typing};

fn start_and_save(dir: &Path, extra: &[&str], input: &[u8]) -> Ran {
    let mut args = vec!["demo", "--timeout", "3", "--save", dir.to_str().unwrap()];
    args.extend(extra);
    ringer_typing(&args, input)
}

#[test]
fn a_saved_machine_goes_on_in_a_new_process() {
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("vm");
    for mode in [&["--harts", "2"][..], &["--harts", "1"]] {
        let ran = start_and_save(&saved, mode, b"paging sv48\r");
        assert_eq!(ran.status, 0, "{ran:?}");
        assert!(ran.stderr.contains("saved to"), "{ran:?}");
        let args = [
            "run",
            "--restore",
            saved.to_str().unwrap(),
            "--timeout",
            "120",
        ];
        // It still knows what was set before, and its other harts still start.
        let ran = ringer_typing(&args, b"paging\rharts\rpoweroff\r");
        assert_eq!(ran.status, 0, "{ran:?}");
        assert!(ran.stdout.to_lowercase().contains("sv48"), "{ran:?}");
        assert!(
            !ran.stdout.contains("This is a small kernel"),
            "it booted anew: {ran:?}"
        );
    }
}

#[test]
fn a_resumed_guest_can_reboot_without_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let ran = start_and_save(&first, &[], b"");
    assert_eq!(ran.status, 0, "{ran:?}");
    // What was resumed can be saved again, and that too still has what it needs.
    let resume = |from: &Path, extra: &[&str], input: &[u8]| {
        let args = [&["run", "--restore", from.to_str().unwrap()], extra].concat();
        ringer_typing(&args, input)
    };
    let to = second.to_str().unwrap();
    let ran = resume(&first, &["--timeout", "2", "--save", to], b"");
    assert_eq!(ran.status, 0, "{ran:?}");
    let ran = resume(&second, &["--timeout", "15"], b"reboot\r");
    assert_eq!(
        ran.stdout.matches("This is a small kernel").count(),
        1,
        "{ran:?}"
    );
    let ran = resume(&second, &["--timeout", "60", "--resets", "0"], b"reboot\r");
    assert_eq!(ran.status, 102, "{ran:?}");
}

#[test]
fn damaged_and_strange_state_is_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("vm");
    let ran = start_and_save(&saved, &[], b"");
    assert_eq!(ran.status, 0, "{ran:?}");
    let resume = || {
        ringer(&[
            "run",
            "--restore",
            saved.to_str().unwrap(),
            "--timeout",
            "20",
        ])
    };
    for name in [
        "board",
        "boot-kernel",
        "hart0",
        "memory.0",
        "memory.0.table",
        "sbi",
        "manifest.toml",
    ] {
        let path = saved.join(name);
        let good = fs::read(&path).unwrap();
        let mut flipped = good.clone();
        // In memory, where the kernel is: elsewhere nothing is saved, and nothing is used.
        let place = if name == "memory.0" {
            2 << 20
        } else {
            good.len() / 2
        };
        flipped[place] ^= 1;
        for bad in [&flipped[..], &good[..good.len() - 1], b""] {
            fs::write(&path, bad).unwrap();
            let ran = resume();
            assert_eq!(ran.status, 100, "{name}: {ran:?}");
            assert_eq!(ran.stderr.lines().count(), 1, "{name}: {ran:?}");
        }
        fs::write(&path, good).unwrap();
    }
    // Consistent in itself, but not a machine: the checksums are right, the content is noise.
    for name in ["board", "hart0", "sbi", "memory.0.table"] {
        let path = saved.join(name);
        let good = fs::read(&path).unwrap();
        let noise: Vec<u8> = good.iter().map(|byte| byte ^ 0x5a).collect();
        forge(&saved, name, &noise);
        let ran = resume();
        assert_eq!(ran.status, 100, "{name}: {ran:?}");
        assert_eq!(ran.stderr.lines().count(), 1, "{name}: {ran:?}");
        forge(&saved, name, &good);
    }
    let args = [
        "run",
        "--restore",
        saved.to_str().unwrap(),
        // It had one.
        "--disk",
        "/dev/null",
        "--disk",
        "/dev/null",
    ];
    assert_eq!(ringer(&args).status, 2);
}

/// Made by the version that knew format 1 only.
#[test]
fn the_first_format_is_still_read() {
    let dir = tempfile::tempdir().unwrap();
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/saved/version-1");
    let saved = dir.path().join("vm");
    fs::create_dir(&saved).unwrap();
    for entry in fs::read_dir(kept).unwrap() {
        let from = entry.unwrap().path();
        fs::copy(&from, saved.join(from.file_name().unwrap())).unwrap();
    }
    let from = saved.to_str().unwrap();
    let args = ["run", "--restore", from, "--timeout", "120"];
    let ran = ringer_typing(&args, b"paging\rpoweroff\r");
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.stdout.to_lowercase().contains("sv48"), "{ran:?}");
    // Saved again it has the new form, and still what it needs to start anew.
    let newer = dir.path().join("newer");
    let to = newer.to_str().unwrap();
    let args = ["run", "--restore", from, "--timeout", "1", "--save", to];
    assert_eq!(ringer(&args).status, 0);
    assert!(newer.join("memory.0").exists());
    let args = ["run", "--restore", to, "--timeout", "15", "--resets", "1"];
    let ran = ringer_typing(&args, b"paging\rreboot\r");
    assert!(ran.stdout.to_lowercase().contains("sv48"), "{ran:?}");
    assert!(ran.stdout.contains("This is a small kernel"), "{ran:?}");
    // Its memory, too, is checked.
    let path = saved.join("memory");
    let mut bytes = fs::read(&path).unwrap();
    bytes[60_000] ^= 4;
    fs::write(&path, bytes).unwrap();
    let ran = ringer(&["run", "--restore", from, "--timeout", "20"]);
    assert_eq!(
        (ran.status, ran.stderr.lines().count()),
        (100, 1),
        "{ran:?}"
    );
}

/// Replaces a part and makes the manifest agree.
fn forge(saved: &Path, name: &str, content: &[u8]) {
    let old = fs::read(saved.join(name)).unwrap();
    fs::write(saved.join(name), content).unwrap();
    let path = saved.join("manifest.toml");
    let text = fs::read_to_string(&path).unwrap();
    let (body, _) = text.rsplit_once("# crc32").unwrap();
    let (old, new) = (crc32fast::hash(&old), crc32fast::hash(content));
    assert!(body.contains(&format!("crc32 = {old}")));
    let body = body.replace(&format!("crc32 = {old}"), &format!("crc32 = {new}"));
    let checksum = crc32fast::hash(body.as_bytes());
    fs::write(
        &path,
        format!("{body}# crc32 of the lines above: {checksum:08x}\n"),
    )
    .unwrap();
}
