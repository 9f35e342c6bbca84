//! Record and replay, and going back in gdb.

mod command;
mod debugged;
mod session;

use std::fs;
use std::path::Path;

use command::{ringer, ringer_typing};
use debugged::{Guest, LOOP, NEXT, PAGE};
use ringer_isa::asm::Assembler;
use ringer_isa::asm::register::{S0, S1, T0, T1, T2};
use ringer_isa::{Op, csr};
use session::Session;

const RAM: u64 = 0x8000_0000;
const UART: u64 = 0x1000_0000;

/// Hart 0 says every key again, and behind it a letter that depends on how often it has looked for
/// it. The other harts count.
fn echo() -> Vec<u8> {
    let mut asm = Assembler::new(RAM);
    asm.csrr(T0, csr::MHARTID).li(S0, UART).li(S1, 0);
    let looking = asm.label();
    asm.beqz(T0, looking);
    let counting = asm.label_here();
    asm.i(Op::Addi, S1, S1, 1).j(counting);
    asm.bind(looking);
    asm.i(Op::Addi, S1, S1, 1).load(Op::Lbu, T0, 5, S0);
    asm.i(Op::Andi, T0, T0, 1).beqz(T0, looking);
    asm.load(Op::Lbu, T1, 0, S0).store(Op::Sb, T1, 0, S0);
    asm.i(Op::Andi, T2, S1, 15)
        .i(Op::Addi, T2, T2, i32::from(b'a'));
    asm.store(Op::Sb, T2, 0, S0).j(looking);
    asm.finish().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Types at the guest at whatever time, and has it recorded; returns what it said.
fn record(dir: &Path, tape: &Path) -> String {
    let bios = dir.join("echo");
    fs::write(&bios, echo()).unwrap();
    let args = ["run", "--no-control", "--harts", "2", "--memory", "16M"];
    let files = ["--bios", text(&bios), "--record", text(tape)];
    let mut session = Session::start(&[&args[..], &files].concat());
    session.expect("Ctrl-A x");
    while !session.is_raw() {
        std::thread::yield_now();
    }
    let mut said = String::new();
    for key in ["1", "2", "3", "4", "5"] {
        session.press(key);
        said += key;
        said += &session.expect_and_read(key, 1);
    }
    session.press("\x01x");
    assert_eq!(session.end(), 104);
    said
}

#[test]
fn a_recorded_run_is_replayed_to_the_instruction() {
    let dir = tempfile::tempdir().unwrap();
    let tape = dir.path().join("tape");
    let said = record(dir.path(), &tape);
    let replay = |extra: &[&str]| {
        let args = ["run", "--no-control", "--replay", text(&tape)];
        let ran = ringer_typing(&[&args[..], extra].concat(), b"other keys\r");
        assert_eq!(ran.status, 0, "{ran:?}");
        assert!(ran.stderr.contains("ends as the recording did"), "{ran:?}");
        ran
    };
    let first = replay(&[]);
    assert_eq!(first.stdout, said);
    let second = replay(&["--engine", "interpret"]);
    assert_eq!(first.stdout, second.stdout);
    assert_eq!(first.stderr, second.stderr, "the same instructions");
}

#[test]
fn a_recording_that_does_not_fit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (tape, bios) = (dir.path().join("tape"), dir.path().join("bios"));
    fs::write(&bios, echo()).unwrap();
    let args = ["run", "--no-control", "--memory", "16M", "--timeout", "1"];
    let ran = ringer(&[&args[..], &["--bios", text(&bios), "--record", text(&tape)]].concat());
    assert_eq!(ran.status, 124, "{ran:?}");
    let replay = || ringer(&["run", "--no-control", "--replay", text(&tape)]);
    assert_eq!(replay().status, 0);
    // Another guest.
    fs::write(&bios, debugged::program()).unwrap();
    let ran = replay();
    assert_eq!(ran.status, 100, "{ran:?}");
    assert!(ran.stderr.contains("is not what it was"), "{ran:?}");
    fs::write(&bios, echo()).unwrap();
    // Half a recording is replayed as far as it goes; damage is refused or noticed.
    let bytes = fs::read(&tape).unwrap();
    fs::write(&tape, &bytes[..bytes.len() - 3]).unwrap();
    assert_eq!(replay().status, 0);
    fs::write(&tape, b"RNGTAPE1 and no more").unwrap();
    let ran = replay();
    assert_eq!(
        (ran.status, ran.stderr.lines().count()),
        (100, 1),
        "{ran:?}"
    );
    // A check that is not met.
    let end = bytes.len() - 60;
    let mut noticed = false;
    for at in end..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        fs::write(&tape, &bad).unwrap();
        let ran = replay();
        assert!([0, 100].contains(&ran.status), "{ran:?}");
        noticed |= ran.stderr.contains("differs");
    }
    assert!(noticed);
    let disk = dir.path().join("disk");
    fs::write(&disk, [0; 4096]).unwrap();
    let args = [
        "run",
        "--bios",
        text(&bios),
        "--record",
        text(&tape),
        "--disk",
    ];
    let ran = ringer(&[&args[..], &[text(&disk)]].concat());
    assert_eq!((ran.status, ran.stderr.lines().count()), (2, 1), "{ran:?}");
    assert!(ran.stderr.contains(",overlay"), "{ran:?}");
}

#[test]
fn a_deterministic_run_goes_back_in_time() {
    let guest = Guest::start(&["--deterministic", "--console", "none"]);
    let mut gdb = guest.connect();
    // Let it run for some rounds, and look where it is.
    for _ in 0..3 {
        gdb.stop_at(LOOP);
        for _ in 0..200 {
            gdb.resume("vCont;s:p1.1");
        }
    }
    gdb.ask("Hgp1.1");
    gdb.ask("Hcp1.1");
    let (pc, count) = (gdb.pc(), gdb.word(PAGE));
    assert!(count > 50, "{count}");
    // Ten back and ten forward.
    let mut places = vec![(pc, count)];
    for _ in 0..10 {
        let stop = gdb.resume("bs");
        assert!(stop.starts_with("T05") && gdb.thread() == 1, "{stop}");
        places.push((gdb.pc(), gdb.word(PAGE)));
    }
    for place in places.iter().rev().skip(1) {
        gdb.resume("vCont;s:p1.1");
        assert_eq!((gdb.pc(), gdb.word(PAGE)), *place);
    }
    // Back to the last time that it was counted, from behind; and the time before.
    assert_eq!(gdb.ask(&format!("Z2,{PAGE:x},8")), "OK");
    let stop = gdb.resume("bc");
    assert!(stop.contains("watch:"), "{stop}");
    assert_eq!((gdb.pc(), gdb.word(PAGE)), (NEXT, count));
    assert_eq!(gdb.ask(&format!("z2,{PAGE:x},8")), "OK");
    gdb.resume("bs");
    assert_eq!(gdb.word(PAGE), count - 1);
    // By a breakpoint.
    assert_eq!(gdb.ask(&format!("Z0,{LOOP:x},4")), "OK");
    let stop = gdb.resume("bc");
    assert!(stop.contains("swbreak"), "{stop}");
    gdb.ask(&format!("Hgp1.{}", gdb.thread()));
    assert_eq!(gdb.pc(), LOOP);
    assert_eq!(gdb.ask(&format!("z0,{LOOP:x},4")), "OK");
    // To the beginning, and from there again.
    let stop = gdb.resume("bc");
    assert!(stop.contains("replaylog:begin"), "{stop}");
    assert_eq!(gdb.word(PAGE), 0);
    gdb.stop_at(LOOP);
}

#[test]
fn gdb_itself_steps_back() {
    if !debugged::have_gdb() {
        return;
    }
    let guest = Guest::start(&["--deterministic", "--console", "none"]);
    let script = format!(
        "target remote {}\n\
         break *{LOOP:#x} thread 1\n\
         continue\n\
         continue 19\n\
         print *(long *){PAGE:#x}\n\
         delete\n\
         reverse-stepi\n\
         print/x $pc\n\
         watch *(long *){PAGE:#x}\n\
         reverse-continue\n\
         print *(long *){PAGE:#x}\n\
         delete\n\
         reverse-continue\n\
         print *(long *){PAGE:#x}\n\
         detach\n",
        guest.address()
    );
    let text = guest.run_gdb(&script);
    for expected in [
        "$1 = 19",
        &format!("$2 = {NEXT:#x}"),
        "Hardware watchpoint 2",
        "$3 = 18",
        "No more reverse-execution history",
        "$4 = 0",
    ] {
        assert!(text.contains(expected), "no {expected:?} in {text}");
    }
}
