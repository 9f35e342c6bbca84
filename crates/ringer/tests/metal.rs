//! `ringer metal run`, with a small program in the monitor's place: it passes if the device tree
//! that it is given leads it to a bundle.

mod command;

use std::fs;
use std::path::Path;
use std::process::Command;

use command::{Ran, ringer, test_image};
use ringer_isa::asm::Assembler;
use ringer_isa::asm::register::{A1, T0, T1, T2, T3, T4};
use ringer_isa::{Op, csr};

const RAM: u64 = 0x8000_0000;
const TEST_DEVICE: u64 = 0x10_0000;
/// More than a device tree has.
const TREE: u64 = 64 << 10;

/// Takes every two words of the device tree for an address, and looks whether a bundle is there:
/// only `linux,initrd-start` can be one.
fn seeker() -> Vec<u8> {
    let mut asm = Assembler::new(RAM);
    let [next, found] = [(); 2].map(|()| asm.label());
    // An address where no memory is traps, and is none.
    asm.la(T0, next).csrw(csr::MTVEC, T0);
    asm.li(T0, TREE).r(Op::Add, T0, A1, T0);
    asm.li(T1, u64::from_le_bytes(*b"RINGERVM"));
    let look = asm.label_here();
    asm.load(Op::Lwu, T2, 0, A1).load(Op::Lwu, T3, 4, A1);
    for half in [T2, T3] {
        asm.unary(Op::Rev8, half, half).i(Op::Srli, half, half, 32);
    }
    asm.i(Op::Slli, T2, T2, 32).r(Op::Or, T2, T2, T3);
    asm.load(Op::Ld, T4, 0, T2);
    asm.branch(Op::Beq, T4, T1, found);
    asm.align(4).bind(next);
    asm.i(Op::Addi, A1, A1, 4);
    asm.branch(Op::Bltu, A1, T0, look);
    end(&mut asm, 0x7_3333);
    asm.bind(found);
    end(&mut asm, 0x5555);
    asm.finish().unwrap()
}

/// Ends the run with this code.
fn end(asm: &mut Assembler, word: u64) {
    asm.li(T0, TEST_DEVICE).li(T1, word);
    asm.store(Op::Sw, T1, 0, T0);
    let here = asm.label_here();
    asm.j(here);
}

/// A folder with that program and a bundle of two guests.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("monitor"), seeker()).unwrap();
    let program = test_image("traps");
    let mut line = vec!["bundle".to_string()];
    for name in ["one", "two"] {
        let path = folder.path().join(format!("{name}.toml"));
        fs::write(&path, format!("bios = '{program}'\nmemory = '4M'")).unwrap();
        line.push(path.to_str().unwrap().to_string());
    }
    line.extend(["-o".to_string(), file(&folder, "bundle")]);
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    let ran = ringer(&line);
    assert_eq!(ran.status, 0, "{ran:?}");
    folder
}

fn file(folder: &tempfile::TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_string()
}

fn metal(folder: &tempfile::TempDir, bundle: &str, options: &[&str]) -> Ran {
    let (bundle, monitor) = (file(folder, bundle), file(folder, "monitor"));
    let line = ["metal", "run", &bundle, "--monitor", &monitor];
    ringer(&[&line[..], options].concat())
}

#[test]
fn the_monitor_finds_the_bundle() {
    let folder = folder();
    let ran = metal(&folder, "bundle", &["--", "--timeout", "60"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{ran:?}");
    let options = [
        "--deterministic",
        "--stats",
        "--harts",
        "2",
        "--memory",
        "16M",
    ];
    let ran = metal(&folder, "bundle", &options);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.stderr.contains("hart"), "{ran:?}");
}

#[test]
fn a_damaged_bundle_goes_only_to_who_insists() {
    let folder = folder();
    let mut bytes = fs::read(folder.path().join("bundle")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(folder.path().join("damaged"), &bytes).unwrap();
    let ran = metal(&folder, "damaged", &[]);
    assert_eq!(ran.status, 100, "{ran:?}");
    assert!(ran.stderr.contains("the bundle is damaged"), "{ran:?}");
    // The program looks no further than at the first bytes.
    let ran = metal(&folder, "damaged", &["--no-check"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    fs::write(folder.path().join("text"), "something else entirely").unwrap();
    let ran = metal(&folder, "text", &["--no-check"]);
    assert_eq!(ran.status, 7, "{ran:?}");
}

/// The program alone in a folder, so that there is no source tree around it.
#[test]
fn the_monitor_is_searched() {
    let folder = folder();
    let program = folder.path().join("ringer");
    fs::copy(env!("CARGO_BIN_EXE_ringer"), &program).unwrap();
    let run = |monitor: Option<&Path>| {
        let mut command = Command::new(&program);
        command
            .current_dir(folder.path())
            .env_remove("RINGER_METAL")
            .args(["metal", "run", "bundle"]);
        if let Some(monitor) = monitor {
            command.env("RINGER_METAL", monitor);
        }
        let output = command.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), stderr)
    };
    let (status, stderr) = run(None);
    assert_eq!(status, Some(100));
    assert!(stderr.contains("run `cargo xtask metal`"), "{stderr}");
    let beside = folder.path().join("ringer-metal");
    // Built for this computer, as Cargo does it: not this one.
    fs::copy(&program, &beside).unwrap();
    assert_eq!(run(None).0, Some(100));
    let built = folder.path().join("build/metal/ringer-metal");
    fs::create_dir_all(built.parent().unwrap()).unwrap();
    fs::copy(folder.path().join("monitor"), &built).unwrap();
    assert_eq!(run(None), (Some(0), String::new()));
    fs::remove_file(&built).unwrap();
    // Any program for RISC-V is taken for the monitor there.
    fs::copy(test_image("traps"), &beside).unwrap();
    assert_eq!(run(None), (Some(0), String::new()));
    let (status, stderr) = run(Some(Path::new("absent")));
    assert_eq!(status, Some(100));
    assert!(stderr.contains("absent"), "{stderr}");
}
