//! From arguments to the machine that is started.

use std::ffi::OsStr;
use std::fs;

use ringer_bundle::{Builder, Guest, Program};

use super::*;
use crate::args::{Args, Command, EngineKind, MetalCommand};

/// A folder with a bundle of two guests, 48 MiB and three harts together, and a damaged one.
fn folder() -> tempfile::TempDir {
    let guest = |name, memory, harts| Guest {
        harts,
        kernel: Some(Program::movable(b"kernel", 0)),
        ..Guest::new(name, memory)
    };
    let guests = [guest("one", 16 * MIB, 1), guest("two", 32 * MIB, 2)];
    let bundle = guests.into_iter().fold(Builder::new(), Builder::guest);
    let mut bytes = bundle.finish().unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("good"), &bytes).unwrap();
    bytes.pop();
    fs::write(folder.path().join("cut"), &bytes).unwrap();
    folder
}

fn plan_of(folder: &tempfile::TempDir, bundle: &str, options: &[&str]) -> Result<Machine, Failure> {
    let bundle = folder.path().join(bundle).to_str().unwrap().to_string();
    let line = [
        &["ringer", "metal", "run", &bundle, "--monitor", "mon"],
        options,
    ]
    .concat();
    let Some(Command::Metal(MetalCommand::Run(args))) = Args::parse_from(line).command else {
        panic!("not `metal run`")
    };
    plan(*args)
}

fn ours_of(folder: &tempfile::TempDir, bundle: &str, options: &[&str]) -> VmConfig {
    match plan_of(folder, bundle, options).unwrap() {
        Machine::Ours(config) => *config,
        Machine::Qemu(command) => panic!("{command:?}"),
    }
}

#[test]
fn our_machine_has_the_monitor_as_firmware() {
    let folder = folder();
    let config = ours_of(&folder, "good", &[]);
    assert_eq!(config.bios.as_deref(), Some(Path::new("mon")));
    assert_eq!(config.initrd, Some(folder.path().join("good")));
    assert!(config.kernel.is_none());
    // 48 MiB of guests, 64 of the monitor's, 128 below the bundle, and the bundle.
    assert_eq!(config.memory, 241 * MIB);
    assert!((1..=3).contains(&config.harts));
    let options = ["--harts", "5", "--memory", "1G", "--engine", "interpret"];
    let more = ["--deterministic", "--stats", "--disk", "a.img,ro"];
    let further = ["--", "--timeout", "3", "--append", "x"];
    let options = [&options[..], &more, &further].concat();
    let config = ours_of(&folder, "good", &options);
    assert_eq!((config.harts, config.memory), (5, 1 << 30));
    assert_eq!(config.engine, Some(EngineKind::Interpret));
    assert!(config.deterministic && config.stats && config.disks[0].read_only);
    assert_eq!(config.timeout, Some(std::time::Duration::from_secs(3)));
    assert_eq!(config.append, "x");
    assert_eq!(ours_of(&folder, "good", &["--deterministic"]).harts, 1);
}

#[test]
fn qemu_gets_the_same() {
    let folder = folder();
    let options = [
        "--on",
        "qemu",
        "--harts",
        "2",
        "--disk",
        "a,ro",
        "--disk",
        "b,overlay",
    ];
    let options = [&options[..], &["--", "-d", "int"]].concat();
    let Machine::Qemu(command) = plan_of(&folder, "good", &options).unwrap() else {
        panic!("it is QEMU's")
    };
    assert_eq!(command.get_program(), "qemu-system-riscv64");
    let line: Vec<_> = command.get_args().filter_map(OsStr::to_str).collect();
    let line = line.join(" ");
    let bundle = folder.path().join("good").display().to_string();
    for part in [
        "-M virt -nographic -bios none",
        &format!("-kernel mon -initrd {bundle} -smp 2 -m 625M"),
        "-drive if=none,format=raw,id=disk0,file=a,readonly=on",
        "-device virtio-blk-device,drive=disk0,bus=virtio-mmio-bus.0",
        "file=b,snapshot=on",
        "drive=disk1,bus=virtio-mmio-bus.1 -d int",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[test]
fn what_cannot_work_is_refused_before() {
    let folder = folder();
    for (bundle, options, needle) in [
        ("cut", &[][..], "is truncated"),
        ("cut", &["--on", "qemu"], "is truncated"),
        ("absent", &["--no-check"], "no such file"),
        ("good", &["--on", "qemu", "--stats"], "--stats"),
        ("good", &["--harts", "0"], "1 to 8 harts"),
        ("good", &["--", "--frob"], "--frob"),
        ("good", &["--", "word"], "behind --"),
        ("good", &["--", "--restore", "x"], "--restore"),
    ] {
        let failure = plan_of(&folder, bundle, options).unwrap_err().to_string();
        assert!(failure.contains(needle), "{options:?}: {failure}");
        assert!(!failure.contains('\n'), "{failure}");
    }
    let config = ours_of(&folder, "cut", &["--no-check"]);
    assert_eq!((config.harts, config.memory), (1, 449 * MIB));
}
