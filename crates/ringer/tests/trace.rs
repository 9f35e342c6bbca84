//! Traces of a small guest: what is written, shown and drawn.

mod command;

use std::fs;
use std::path::{Path, PathBuf};

use command::{Ran, ringer};
use ringer_isa::asm::Assembler;
use ringer_isa::asm::register::{A0, A7, S0, T0, T1, ZERO};
use ringer_isa::{Op, csr};
use serde_json::Value;

const START: u64 = 0x8020_0000;
const UART: u64 = 0x1000_0000;
const LEGACY_SHUTDOWN: u64 = 8;
const TIME: u64 = 0x5449_4d45;

/// A kernel that does one of each: a trap, a fence, an access, a call, a timer interrupt it waits
/// for; then it powers off.
fn kernel(dir: &Path) -> PathBuf {
    let mut asm = Assembler::new(START);
    let (handler, start) = (asm.label(), asm.label());
    // The header of a Linux Image: offset, size, flags, version, magic numbers.
    asm.j(start).align(8).double(0x20_0000).double(0x1_0000);
    asm.double(0).double(2).double(0);
    asm.bytes(b"RISCV\0\0\0RSC\x05\0\0\0\0");
    asm.bind(handler);
    // Interrupts return with the timer off; exceptions behind the instruction.
    asm.csrr(T0, csr::SCAUSE);
    let exception = asm.label();
    asm.branch(Op::Bge, T0, ZERO, exception);
    asm.li(T0, u64::MAX).csrw(csr::STIMECMP, T0).op(Op::Sret);
    asm.bind(exception);
    asm.csrr(T0, csr::SEPC).i(Op::Addi, T0, T0, 4);
    asm.csrw(csr::SEPC, T0).op(Op::Sret);
    asm.bind(start);
    asm.la(T0, handler).csrw(csr::STVEC, T0);
    asm.op(Op::Ebreak);
    asm.address_fence(Op::SfenceVma, ZERO, ZERO);
    asm.li(S0, UART).li(T1, u64::from(b'!'));
    asm.store(Op::Sb, T1, 0, S0).load(Op::Lbu, T1, 5, S0);
    asm.csrr(T0, csr::TIME).li(T1, 1000).r(Op::Add, A0, T0, T1);
    asm.li(A7, TIME)
        .li(ringer_isa::asm::register::A6, 0)
        .op(Op::Ecall);
    asm.li(T0, 1 << 5).csrs(csr::SIE, T0).csrsi(csr::SSTATUS, 2);
    asm.op(Op::Wfi);
    asm.li(A7, LEGACY_SHUTDOWN).op(Op::Ecall);
    let path = dir.join("kernel");
    fs::write(&path, asm.finish().unwrap()).unwrap();
    path
}

fn traced(dir: &Path, name: &str, extra: &[&str]) -> PathBuf {
    let (kernel, trace) = (kernel(dir), dir.join(name));
    let files = [kernel.to_str().unwrap(), trace.to_str().unwrap()];
    let args = [
        "run",
        "--no-control",
        "--memory",
        "64M",
        "--kernel",
        files[0],
    ];
    let ran = ringer(&[&args[..], &["--trace", files[1]], extra].concat());
    assert_eq!((ran.status, ran.stdout.as_str()), (0, "!"), "{ran:?}");
    trace
}

fn show(trace: &Path, extra: &[&str]) -> Ran {
    let ran = ringer(&[&["trace", "show", trace.to_str().unwrap()], extra].concat());
    assert_eq!(ran.status, 0, "{ran:?}");
    ran
}

#[test]
fn everything_that_happens_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    for kind in [&[][..], &["--deterministic"], &["--engine", "interpret"]] {
        let trace = traced(dir.path(), "all", kind);
        let text = show(&trace, &[]).stdout;
        let mut from = 0;
        for expected in [
            "runs",
            "trap       breakpoint at 0x802000",
            "fence      all addresses of all spaces",
            "store      uart+0x0, 1 bytes: 0x21",
            "load       uart+0x5, 1 bytes: 0x60",
            "sbi        TIME function 0",
            "waits",
            "runs",
            "interrupt  supervisor timer interrupt before 0x802000",
            "sbi        0x8 function 0",
        ] {
            let at = text[from..].find(expected);
            from += at.unwrap_or_else(|| panic!("no {expected:?} in {text}"));
        }
        let only = show(&trace, &["--events", "mmio,sbi", "--hart", "0"]).stdout;
        assert_eq!(only.lines().count(), 1 + 4, "{only}");
        assert_eq!(show(&trace, &["--hart", "1"]).stdout.lines().count(), 1);
        assert_eq!(show(&trace, &["--from", "1000"]).stdout.lines().count(), 1);
    }
}

/// These leave the guest on its engine.
#[test]
fn only_what_is_asked_for_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let trace = traced(dir.path(), "some", &["--trace-events", "sbi,sched"]);
    let text = show(&trace, &[]).stdout;
    assert!(text.contains("sbi") && text.contains("waits"), "{text}");
    assert!(!text.contains("trap") && !text.contains("uart"), "{text}");
}

#[test]
fn deterministic_runs_have_one_trace() {
    let dir = tempfile::tempdir().unwrap();
    let trace = |name| fs::read(traced(dir.path(), name, &["--deterministic"])).unwrap();
    assert!(trace("one") == trace("two"));
}

#[test]
fn a_timeline_is_json_with_spans_and_marks() {
    let dir = tempfile::tempdir().unwrap();
    let trace = traced(dir.path(), "all", &["--deterministic"]);
    let json = dir.path().join("timeline.json");
    let args = ["trace", "timeline", trace.to_str().unwrap(), "-o"];
    let ran = ringer(&[&args[..], &[json.to_str().unwrap()]].concat());
    assert_eq!(ran.status, 0, "{ran:?}");
    let entries: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let entries = entries.as_array().unwrap();
    let has = |phase: &str, name: &str| {
        let is = |entry: &&Value| entry["ph"] == phase && entry["name"] == name;
        entries.iter().any(|entry| is(&entry))
    };
    assert!(has("M", "thread_name") && has("X", "waiting") && has("X", "running"));
    assert!(has("i", "breakpoint") && has("i", "store uart") && has("i", "SBI TIME"));
}

#[test]
fn a_trace_keeps_to_its_limit_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (kernel, trace) = (kernel(dir.path()), dir.path().join("short"));
    let ran = ringer(&[
        "run",
        "--no-control",
        "--memory",
        "64M",
        "--kernel",
        kernel.to_str().unwrap(),
        "--trace",
        trace.to_str().unwrap(),
        "--trace-limit",
        "200",
    ]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.stderr.contains("is full"), "{ran:?}");
    assert!(fs::metadata(&trace).unwrap().len() < 300);
    assert!(show(&trace, &[]).stdout.lines().count() > 1);
}

#[test]
fn what_is_no_trace_is_refused_in_one_line_and_half_a_trace_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let trace = traced(dir.path(), "whole", &["--deterministic"]);
    let bytes = fs::read(&trace).unwrap();
    let bad = dir.path().join("bad");
    for content in [&b"no trace"[..], &[], b"RNGTRACE\xff\x01\x00"] {
        fs::write(&bad, content).unwrap();
        let ran = ringer(&["trace", "show", bad.to_str().unwrap()]);
        assert_eq!(ran.status, 100, "{ran:?}");
        assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    }
    fs::write(&bad, &bytes[..bytes.len() - 1]).unwrap();
    let ran = show(&bad, &[]);
    assert!(ran.stderr.contains("breaks off"), "{ran:?}");
    // Whatever it holds, it is shown or refused.
    for at in (0..bytes.len()).step_by(3) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x55;
        fs::write(&bad, &changed).unwrap();
        let ran = ringer(&["trace", "show", bad.to_str().unwrap()]);
        assert!([0, 100].contains(&ran.status), "{ran:?}");
    }
}
