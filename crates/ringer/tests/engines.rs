//! Both engines run the same machine: chosen, switched in the middle, saved under one and
//! resumed under the other, and the same to the instruction when runs are deterministic.

mod command;
mod session;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use command::{Ran, ringer, ringer_typing};
use ringer_isa::asm::register::{A0, A1, FT0, FT1, RA, S0, S1, T0, T1, T2, T3, T4, T5, ZERO};
use ringer_isa::asm::{Assembler, Label, Ordering, X};
use ringer_isa::{Op, csr};
use session::Session;

/// Whether this host has a translator.
const TRANSLATES: bool = cfg!(all(target_arch = "x86_64", target_os = "linux"));

const RAM: u64 = 0x8000_0000;
const UART: u64 = 0x1000_0000;
const TEST_DEVICE: u64 = 0x0010_0000;
/// Where each hart has a page of its own.
const PAGES: u64 = RAM + 0x10_0000;
const FACTOR: u64 = 6_364_136_223_846_793_005;
/// Steps of the chain in each round.
const STEPS: u64 = 500;

/// What the chain that starts with a hart's number comes to.
fn chain(hart: u64) -> u64 {
    (0..STEPS).fold(hart, |value, _| {
        value.wrapping_mul(FACTOR).wrapping_add(1).rotate_right(13)
    })
}

/// Ends the run with this code.
fn end(asm: &mut Assembler, word: u64) {
    asm.li(T0, TEST_DEVICE).li(T1, word);
    asm.store(Op::Sw, T1, 0, T0);
    let here = asm.label_here();
    asm.j(here);
}

/// If the registers differ, it goes on at `wrong`.
fn same(asm: &mut Assembler, one: X, other: X, wrong: Label) {
    let right = asm.label();
    asm.branch(Op::Beq, one, other, right);
    asm.j(wrong);
    asm.bind(right);
}

/// A program whose harts compute the same again and again, each in its own page, and check it
/// against what is known: arithmetic through memory, an instruction that they write anew in
/// each round (counted in `s1`), a floating-point register that goes on from round to round,
/// and a word that all count up. Passes when hart 0 gets a key.
fn program(dir: &Path) -> PathBuf {
    let mut asm = Assembler::new(RAM);
    let [wrong, expected] = [(); 2].map(|()| asm.label());
    // The floating-point unit on; s0: the hart's page; s1: rounds.
    asm.li(T0, 3 << 13).csrs(csr::MSTATUS, T0);
    asm.csrr(A0, csr::MHARTID);
    asm.i(Op::Slli, T0, A0, 12)
        .li(S0, PAGES)
        .r(Op::Add, S0, S0, T0);
    asm.li(S1, 0);
    asm.unary(Op::FcvtDL, FT0, ZERO);
    let round = asm.label_here();

    // The chain, each value by way of memory.
    asm.csrr(T0, csr::MHARTID).li(T1, STEPS).li(T2, FACTOR);
    let step = asm.label_here();
    asm.r(Op::Mul, T0, T0, T2).i(Op::Addi, T0, T0, 1);
    asm.i(Op::Rori, T0, T0, 13);
    asm.i(Op::Andi, T3, T0, 0x3f8).r(Op::Add, T3, T3, S0);
    asm.store(Op::Sd, T0, 0, T3).load(Op::Ld, T4, 0, T3);
    same(&mut asm, T0, T4, wrong);
    asm.i(Op::Addi, T1, T1, -1).bnez(T1, step);
    asm.csrr(T1, csr::MHARTID).i(Op::Slli, T1, T1, 3);
    asm.la(T2, expected)
        .r(Op::Add, T2, T2, T1)
        .load(Op::Ld, T2, 0, T2);
    same(&mut asm, T0, T2, wrong);

    // An instruction written anew: `addi a0, zero, round`, and `ret`.
    asm.i(Op::Andi, T5, S1, 0x7ff).i(Op::Slli, T1, T5, 20);
    asm.li(T2, 0x0000_0513).r(Op::Or, T1, T1, T2);
    asm.li(T2, 0x0000_8067);
    asm.i(Op::Addi, T3, S0, 0x400);
    asm.store(Op::Sw, T1, 0, T3).store(Op::Sw, T2, 4, T3);
    asm.op(Op::FenceI).i(Op::Jalr, RA, T3, 0);
    same(&mut asm, A0, T5, wrong);

    // A register that counts in floating point, and a word that all harts count up.
    asm.unary(Op::FcvtLD, A1, FT0);
    same(&mut asm, A1, S1, wrong);
    asm.li(T0, 1).unary(Op::FcvtDL, FT1, T0);
    asm.r(Op::FaddD, FT0, FT0, FT1);
    asm.li(T1, PAGES - 4096);
    asm.atomic(Op::AmoaddD, ZERO, T0, T1, Ordering::Relaxed);

    asm.i(Op::Addi, S1, S1, 1);
    asm.csrr(T0, csr::MHARTID).bnez(T0, round);
    asm.li(T0, UART).load(Op::Lbu, T1, 5, T0);
    asm.i(Op::Andi, T1, T1, 1).beqz(T1, round);
    end(&mut asm, 0x5555);
    asm.bind(wrong);
    end(&mut asm, 0x7_3333);
    asm.align(8).bind(expected);
    for hart in 0..8 {
        asm.double(chain(hart));
    }
    let path = dir.join("program");
    fs::write(&path, asm.finish().unwrap()).unwrap();
    path
}

/// Which engine's statistics these are.
fn engine_of(ran: &Ran) -> &'static str {
    let translates = ran.stderr.contains("blocks translated");
    assert_ne!(translates, ran.stderr.contains("blocks decoded"), "{ran:?}");
    if translates { "translate" } else { "interpret" }
}

#[test]
fn the_default_is_the_best_that_the_host_has() {
    let demo = |extra: &[&str]| {
        let ran = ringer_typing(&[&["demo", "--stats"], extra].concat(), b"poweroff\r");
        assert_eq!(ran.status, 0, "{ran:?}");
        engine_of(&ran)
    };
    let best = if TRANSLATES { "translate" } else { "interpret" };
    assert_eq!(demo(&[]), best);
    assert_eq!(demo(&["--engine", "interpret"]), "interpret");
    if TRANSLATES {
        assert_eq!(demo(&["--engine", "translate"]), "translate");
    }
}

#[test]
fn a_configuration_file_names_the_engine() {
    let dir = tempfile::tempdir().unwrap();
    let guest = program(dir.path());
    let config = dir.path().join("vm.toml");
    let text = format!(
        "bios = '{}'\nengine = 'interpret'\nstats = true\n",
        guest.display()
    );
    fs::write(&config, text).unwrap();
    let args = [
        "run",
        "--memory",
        "16M",
        "--config",
        config.to_str().unwrap(),
    ];
    let ran = ringer_typing(&args, b"x");
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(engine_of(&ran), "interpret");
}

#[test]
fn an_engine_that_is_not_there_is_refused_in_one_line() {
    let ran = ringer(&["demo", "--engine", "steam"]);
    assert_eq!(ran.status, 2, "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    if !TRANSLATES {
        let ran = ringer(&["demo", "--engine", "translate"]);
        assert_eq!(ran.status, 100, "{ran:?}");
        assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    }
}

/// Runs a guest in a process that may have so many KiB of addresses.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn with_addresses(kib: u64, guest: &Path, extra: &str) -> Ran {
    let script = format!(
        "ulimit -v {kib}; echo x | exec {} run --bios {} --memory 4M --stats {extra}",
        env!("CARGO_BIN_EXE_ringer"),
        guest.display()
    );
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    Ran {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The two views of the code take 128 MiB of addresses, which this process may not have.
#[test]
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn without_memory_for_code_the_interpreter_takes_over_with_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let guest = program(dir.path());
    let run = |extra: &str| with_addresses(125_000, &guest, extra);
    let ran = run("");
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(
        ran.stderr
            .starts_with("ringer: the guest runs on the interpreter"),
        "{ran:?}"
    );
    assert_eq!(engine_of(&ran), "interpret");
    let ran = run("--engine translate");
    assert_eq!(ran.status, 100, "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    assert!(ran.stderr.contains("--engine interpret"), "{ran:?}");
}

/// There is room for the code, and for the tables of some harts (32 MiB of addresses each), but
/// not for those of all.
#[test]
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn without_memory_for_tables_the_interpreter_takes_over_too() {
    let dir = tempfile::tempdir().unwrap();
    let guest = program(dir.path());
    let ran = with_addresses(340_000, &guest, "--harts 8");
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(
        ran.stderr
            .starts_with("ringer: the guest runs on the interpreter"),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("tables"), "{ran:?}");
    assert_eq!(engine_of(&ran), "interpret");
    let ran = with_addresses(340_000, &guest, "--harts 8 --engine translate");
    assert_eq!(ran.status, 100, "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    assert!(ran.stderr.contains("--engine interpret"), "{ran:?}");
}

#[test]
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn what_was_left_to_the_definition_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let guest = program(dir.path());
    let args = ["run", "--bios", guest.to_str().unwrap(), "--stats"];
    let ran = ringer_typing(&args, b"x");
    assert_eq!(ran.status, 0, "{ran:?}");
    // Where a number belongs to: the line's name, and how it is indented.
    let number = |name: &str| {
        let line = ran.stderr.lines().find_map(|line| line.strip_prefix(name));
        let digits = line.unwrap_or_else(|| panic!("no {name}: {ran:?}"));
        let digits = digits.trim().replace(',', "");
        digits.parse::<u64>().unwrap()
    };
    // The device that ends the run answers no generated code.
    assert!(number("    sw ") >= 1);
    assert!(number("    lbu ") >= 1);
    assert!(number("  links made ") >= number("  links in use "));
    assert!(number("  links in use ") > 0);
}

/// How many rounds a hart has made, by the monitor's `regs`.
fn rounds(session: &mut Session, hart: usize) -> u64 {
    session.press(&format!("regs {hart}\n"));
    let text = session.expect_and_read("s1   0x", 16);
    session.expect("ringer> ");
    u64::from_str_radix(&text, 16).unwrap()
}

#[test]
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn the_engine_of_a_running_machine_is_switched_to_and_fro() {
    let dir = tempfile::tempdir().unwrap();
    let guest = program(dir.path());
    let guest = guest.to_str().unwrap();
    for (harts, mode) in [(1, "--stats"), (3, "--stats"), (2, "--deterministic")] {
        let number = harts.to_string();
        let args = [
            "run", "--bios", guest, "--memory", "16M", "--harts", &number,
        ];
        let mut session = Session::start(&[&args[..], &[mode]].concat());
        session.open_prompt();
        for name in ["interpret", "translate"].repeat(5) {
            session.press(&format!("engine {name}\n"));
            session.expect(&format!("the engine is {name} from here on"));
            session.expect("ringer> ");
            session.press("engine\n");
            session.expect(&format!("\n{name}"));
            session.expect("ringer> ");
            for hart in 0..harts {
                let before = rounds(&mut session, hart);
                while rounds(&mut session, hart) < before + 3 {}
            }
        }
        session.press("engine translate\n");
        session.expect("translate already");
        session.press("\n");
        while !session.is_raw() {
            std::thread::yield_now();
        }
        session.press("x");
        assert_eq!(session.end(), 0, "{harts} harts");
    }
}

#[test]
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn host_code_is_shown_beside_the_guest_code() {
    let dir = tempfile::tempdir().unwrap();
    let guest = program(dir.path());
    let mut session = Session::start(&["run", "--bios", guest.to_str().unwrap()]);
    session.open_prompt();
    while rounds(&mut session, 0) == 0 {}
    let questions: [(&str, &[&str]); 6] = [
        (
            "host 0x80000000",
            &[
                "guest block of",
                "entry",
                "0x0000000080000000",
                "0x0000000080000004",
                "fallback",
                "budget",
                "seldom run",
                "exit_link",
            ],
        ),
        ("host 0x80000001", &["no host code"]),
        ("host 0x1000", &["no place in RAM"]),
        ("host 0x80000000 4", &["there is no hart 4"]),
        ("engine interpret", &["the engine is interpret"]),
        ("host", &["makes no host code"]),
    ];
    for (command, answers) in questions {
        session.press(&format!("{command}\n"));
        for answer in answers {
            session.expect(answer);
        }
        session.expect("ringer> ");
    }
    session.press("quit\n");
    assert_eq!(session.end(), 104);
}

#[test]
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn saved_under_one_engine_and_resumed_under_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let guest = program(dir.path());
    let guest = guest.to_str().unwrap();
    let saved = dir.path().join("saved");
    let saved = saved.to_str().unwrap();
    for engines in [["translate", "interpret"], ["interpret", "translate"]] {
        for mode in [&["--harts", "2"][..], &["--deterministic"]] {
            let args = [
                "run",
                "--bios",
                guest,
                "--memory",
                "16M",
                "--engine",
                engines[0],
                "--stats",
                "--timeout",
                "0.5",
                "--save",
                saved,
            ];
            let ran = ringer(&[&args, mode].concat());
            assert_eq!(ran.status, 0, "{ran:?}");
            assert_eq!(engine_of(&ran), engines[0]);
            let args = ["run", "--restore", saved, "--engine", engines[1], "--stats"];
            let ran = ringer_typing(&args, b"x");
            assert_eq!(ran.status, 0, "{ran:?}");
            assert_eq!(engine_of(&ran), engines[1]);
        }
    }
}

/// What a deterministic run must have in common with another: its output, the instructions,
/// traps and interrupts of each hart, and the accesses of each device.
fn traces(ran: &Ran) -> (String, Vec<&str>) {
    let mut section = "";
    let mut kept = Vec::new();
    for line in ran.stderr.lines() {
        if !line.starts_with(' ') {
            section = line;
        }
        let instructions = line.trim_start().starts_with("instructions ");
        let same = ["traps", "interrupts", "device accesses"];
        if instructions || same.iter().any(|name| section.starts_with(name)) {
            kept.push(line);
        }
    }
    (ran.stdout.clone(), kept)
}

#[test]
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn deterministic_runs_are_the_same_on_both_engines() {
    let commands = b"harts\rtrap\rtimer\rpaging sv48\rwalk 0x80200000\rdisk\rbench\rpoweroff\r";
    for harts in ["1", "4"] {
        let run = |engine| {
            let args = ["demo", "--deterministic", "--stats", "--harts", harts];
            let ran = ringer_typing(&[&args[..], &["--engine", engine]].concat(), commands);
            assert_eq!(ran.status, 0, "{ran:?}");
            assert_eq!(engine_of(&ran), engine);
            ran
        };
        let (interpreted, translated) = (run("interpret"), run("translate"));
        let (output, counts) = traces(&interpreted);
        assert!(output.contains("ns/round"), "{interpreted:?}");
        assert!(counts.len() > 6, "{interpreted:?}");
        assert_eq!((output, counts), traces(&translated));
    }
}
