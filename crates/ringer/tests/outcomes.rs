//! How a guest's end becomes an exit status, what test programs leave behind, and runs that
//! must be the same.

mod command;

use std::fs;
use std::path::{Path, PathBuf};

use command::{ringer, ringer_typing, test_image};

/// A bare program that writes `word` to the test device and loops.
fn test_device_program(dir: &Path, word: u32) -> PathBuf {
    let low = word & 0xfff;
    assert!(low < 0x800, "no carry into the upper part");
    let path = dir.join(format!("program-{word:x}"));
    let code = [
        0x0010_02b7,                      // lui  t0, 0x100
        0x0000_0337 | word & 0xffff_f000, // lui  t1, %hi(word)
        0x0003_0313 | low << 20,          // addi t1, t1, %lo(word)
        0x0062_a023,                      // sw   t1, 0(t0)
        0x0000_006f,                      // j    .
    ];
    let bytes: Vec<u8> = code
        .iter()
        .flat_map(|word: &u32| word.to_le_bytes())
        .collect();
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn the_exit_status_tells_how_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    for (word, extra, status, says) in [
        (0x5555, &[][..], 0, ""),
        (0x0007_3333, &[], 7, "code 7"),
        (0x0100_3333, &[], 99, "code 256"),
        (0x3333, &[], 103, "crashed"),
        (0x7777, &["--resets", "3"], 102, "--resets 3"),
        (0x1111, &["--timeout", "0.3"], 124, "--timeout"),
    ] {
        let program = test_device_program(dir.path(), word);
        for mode in [&[][..], &["--deterministic"], &["--harts", "3"]] {
            let mut args = vec!["run", "--bios", program.to_str().unwrap(), "--memory", "4M"];
            args.extend(extra);
            args.extend(mode);
            let ran = ringer(&args);
            assert_eq!(ran.status, status, "{args:?} {ran:?}");
            assert!(ran.stderr.contains(says), "{args:?} {ran:?}");
            assert!(ran.stderr.lines().count() <= 1, "{ran:?}");
        }
    }
}

#[test]
fn a_guest_that_can_never_wake_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("asleep");
    let code = [0x1050_0073u32, 0xffdf_f06f]; // wfi; j .-4
    fs::write(&path, code.map(u32::to_le_bytes).concat()).unwrap();
    let ran = ringer(&[
        "run",
        "--bios",
        path.to_str().unwrap(),
        "--memory",
        "4M",
        "--deterministic",
    ]);
    assert_eq!(ran.status, 103, "{ran:?}");
}

#[test]
fn bare_tests_pass_in_both_modes() {
    for (name, harts) in [
        ("traps", "1"),
        ("privilege", "1"),
        ("mmu", "1"),
        ("pmp", "1"),
        ("timers", "1"),
        ("counters", "1"),
        ("atomics", "1"),
        ("float", "1"),
        ("misaligned", "1"),
        ("self_modify", "1"),
        ("smp_lock", "4"),
    ] {
        let image = test_image(name);
        for mode in ["--stats", "--deterministic"] {
            let args = [
                "run",
                "--bios",
                &image,
                "--harts",
                harts,
                "--memory",
                "64M",
                "--timeout",
                "120",
                mode,
            ];
            let ran = ringer(&args);
            assert_eq!(ran.status, 0, "{name} {mode}: {ran:?}");
            assert!(
                ran.stdout.contains(&format!("PASS {name}")),
                "{name}: {ran:?}"
            );
        }
    }
}

#[test]
fn htif_and_signature() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("signature");
    let image = test_image("htif");
    let args = [
        "run",
        "--bios",
        &image,
        "--memory",
        "16M",
        "--timeout",
        "60",
        "--signature",
        path.to_str().unwrap(),
    ];
    let ran = ringer(&args);
    assert_eq!(
        (ran.status, ran.stdout.as_str()),
        (0, "PASS htif\n"),
        "{ran:?}"
    );
    let signature = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = signature.lines().collect();
    assert_eq!(lines.len(), 4, "{signature}");
    for line in lines {
        assert_eq!(line.len(), 8);
        assert!(
            line.bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        );
    }
}

#[test]
fn semihosting_only_when_asked_for() {
    let image = test_image("semihosting");
    let args = [
        "run",
        "--bios",
        &image,
        "--memory",
        "16M",
        "--timeout",
        "60",
        "--semihosting",
    ];
    let ran = ringer(&args);
    assert_eq!(
        (ran.status, ran.stdout.as_str()),
        (0, "PASS semihosting\n"),
        "{ran:?}"
    );
    let ran = ringer(&args[..args.len() - 1]);
    assert_ne!(ran.status, 0, "{ran:?}");
}

/// The commands that the demo guest takes in a run without a person.
const DIALOGUE: &[u8] = b"harts\rmemory\rtrap\rpaging sv48\rwalk 0x80200000\rtimer\rpoweroff\r";

#[test]
fn piped_input_is_all_taken() {
    let ran = ringer_typing(&["demo", "--timeout", "120"], DIALOGUE);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.stdout.contains("poweroff"), "{ran:?}");
}

#[test]
fn the_demo_has_a_disk_to_read() {
    let ran = ringer_typing(&["demo", "--timeout", "120"], b"disk 3\rpoweroff\r");
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.stdout.contains("Sector 3 of the"), "{ran:?}");
}

#[test]
fn deterministic_runs_are_the_same_byte_for_byte() {
    let args = [
        "demo",
        "--deterministic",
        "--harts",
        "3",
        "--stats",
        "--timeout",
        "240",
    ];
    let runs = [0, 1].map(|_| ringer_typing(&args, DIALOGUE));
    for ran in &runs {
        assert_eq!(ran.status, 0, "{ran:?}");
    }
    assert_eq!(runs[0].stdout, runs[1].stdout);
    // The first line says how long it took on the host, and so does the translator's.
    let counts = |ran: &command::Ran| {
        let lines = ran.stderr.lines().skip(2);
        let lines = lines.filter(|line| !line.contains("time in translation"));
        let lines: Vec<String> = lines.map(str::to_string).collect();
        assert!(
            lines.iter().any(|line| line.contains("instructions")),
            "{ran:?}"
        );
        lines
    };
    assert_eq!(counts(&runs[0]), counts(&runs[1]));
}
