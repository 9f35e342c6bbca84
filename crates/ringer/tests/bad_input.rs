//! Whatever is wrong with what a user gives, the answer is one line on standard error that says
//! so, and an exit status by its kind.

mod command;

use std::fs;

use command::{Ran, ringer};

const USAGE: i32 = 2;
const MONITOR: i32 = 100;

/// One line, with the program's name, that holds `needle`; nothing on standard output.
fn refused(ran: &Ran, status: i32, needle: &str) {
    assert_eq!(ran.status, status, "{ran:?}");
    assert_eq!(ran.stdout, "", "{ran:?}");
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{ran:?}");
    assert!(lines[0].starts_with("ringer: "), "{ran:?}");
    assert!(lines[0].contains(needle), "{needle}: {ran:?}");
}

#[test]
fn command_lines_that_make_no_sense() {
    for (args, needle) in [
        (&["run"][..], "nothing to run"),
        (&["run", "--frobnicate"], "--frobnicate"),
        (&["run", "--kernel"], "--kernel"),
        (&["run", "Image"], "--kernel Image"),
        (&["walk"], "walk"),
        (&["run", "--kernel", "x", "--harts", "0"], "harts"),
        (&["run", "--kernel", "x", "--harts", "99"], "harts"),
        (&["run", "--kernel", "x", "--harts", "two"], "two"),
        (&["run", "--kernel", "x", "--harts", "-1"], "-1"),
        (&["run", "--kernel", "x", "--memory", "0"], "too little"),
        (
            &["run", "--kernel", "x", "--memory", "1T"],
            "more than this computer has",
        ),
        (&["run", "--kernel", "x", "--memory", "lots"], "lots"),
        (&["run", "--kernel", "x", "--memory", "5000000"], "4 KiB"),
        (&["run", "--kernel", "x", "--engine", "steam"], "steam"),
        (&["run", "--kernel", "x", "--net", "bridge"], "bridge"),
        (&["run", "--kernel", "x", "--net", "user,open"], "isolated"),
        (&["run", "--kernel", "x", "--publish", "22"], "2222:22"),
        (
            &["run", "--kernel", "x", "--net", "none", "--publish", "1:2"],
            "--net user",
        ),
        (&["run", "--bios", "x", "--publish", "1:2"], "--net user"),
        (&["run", "--kernel", "x", "--disk", "a,rw"], "rw"),
        (&["run", "--kernel", "x", "--timeout", "-3"], "-3"),
        (&["run", "--kernel", "x", "--timeout", "nan"], "timeout"),
        (&["run", "--kernel", "x", "--restore", "y"], "--restore"),
        (&["run", "--initrd", "x", "--restore", "y"], "--initrd"),
        (&["metal"], "requires a subcommand"),
        (&["metal", "run"], "not provided: <BUNDLE>; see"),
        (&["demo", "--kernel", "x"], "demo"),
    ] {
        refused(&ringer(args), USAGE, needle);
    }
}

#[test]
fn a_published_port_that_is_in_use() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let publish = format!("{}:22", other.local_addr().unwrap().port());
    let kernel = command::test_image("traps");
    let ran = ringer(&["run", "--kernel", &kernel, "--publish", &publish]);
    refused(&ran, MONITOR, "another program uses the port");
}

#[test]
fn files_that_are_not_there_or_not_right() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_string()
    };
    let noise: Vec<u8> = (0..100_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let noise = file("noise", &noise);
    let empty = file("empty", b"");
    let mut bytes = vec![0; 4096];
    bytes[0x38..0x3c].copy_from_slice(b"ARM\x64");
    let arm = file("arm", &bytes);
    let folder = dir.path().to_str().unwrap();
    let short = file("short", b"x");
    let qcow = file(
        "qcow",
        &[b"QFI\xfb\0\0\0\x03".as_slice(), &[0; 4096]].concat(),
    );
    let kernel = command::test_image("traps");
    for (args, needle) in [
        (&["run", "--kernel", "/no/such/file"][..], "no such file"),
        (&["run", "--bios", "/no/such/file"], "no such file"),
        (&["run", "--kernel", folder], "directory"),
        (&["run", "--kernel", &noise], "no RISC-V kernel"),
        (&["run", "--kernel", &empty], "empty"),
        (&["run", "--kernel", &arm], "ARM"),
        (&["run", "--bios", &arm], "ARM"),
        (
            &["run", "--bios", &kernel, "--disk", "/no/such/disk"],
            "no such file",
        ),
        (
            &["run", "--bios", &kernel, "--disk", &short],
            "less than one sector",
        ),
        (
            &["run", "--bios", &kernel, "--disk", &qcow],
            "cannot be used",
        ),
        (
            &[
                "run",
                "--bios",
                &kernel,
                "--kernel",
                &noise,
                "--initrd",
                "/no/initrd",
            ],
            "no such file",
        ),
        (
            &["run", "--bios", &noise, "--signature", "/tmp/x"],
            "begin_signature",
        ),
        (
            &[
                "run", "--bios", &noise, "--memory", "1M", "--kernel", &noise,
            ],
            "memory",
        ),
        (&["run", "--restore", "/no/such/dir"], "no such directory"),
        (&["run", "--restore", folder], "no saved machine"),
        (&["demo", "--save", folder], "no saved machine"),
        (&["demo", "--save", "/proc/none/vm"], "cannot save"),
        (&["run", "--config", "/no/such/config"], "no such file"),
    ] {
        refused(&ringer(args), MONITOR, needle);
    }
}

#[test]
fn configurations_are_refused_with_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vm.toml");
    for (text, needle) in [
        (
            "kernel = 'x'\nharts = 2\nspeed = 'fast'\n",
            "line 3: unknown field `speed`",
        ),
        ("kernel = \n", "line 1"),
        ("kernel = 'x'\nmemory = 'much'\n", "line 2"),
        ("kernel = 'x'\nmemory = -5\n", "line 2"),
        ("kernel = 'x'\nharts = 'two'\n", "line 2"),
        ("kernel = 'x'\nengine = 'steam'\n", "line 2"),
    ] {
        fs::write(&path, text).unwrap();
        refused(
            &ringer(&["run", "--config", path.to_str().unwrap()]),
            USAGE,
            needle,
        );
    }
    fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
    let ran = ringer(&["run", "--config", path.to_str().unwrap()]);
    refused(&ran, MONITOR, "not a text file");
    // A path in the file is relative to the file.
    fs::write(&path, "kernel = 'missing-kernel'\n").unwrap();
    let ran = ringer(&["run", "--config", path.to_str().unwrap()]);
    refused(&ran, MONITOR, dir.path().to_str().unwrap());
}

#[test]
fn help_and_doctor_succeed() {
    for args in [
        &["--help"][..],
        &["run", "--help"],
        &["demo", "--help"],
        &["--version"],
        &["doctor"],
    ] {
        let ran = ringer(args);
        assert_eq!(ran.status, 0, "{ran:?}");
        assert!(!ran.stdout.is_empty());
    }
    let help = ringer(&["run", "--help"]).stdout;
    for word in ["Examples:", "Exit status:", "102", "--deterministic"] {
        assert!(help.contains(word), "{word}");
    }
}
