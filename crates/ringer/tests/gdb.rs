//! The gdb stub: by its protocol, by gdb itself where there is one, and under hostile peers.

mod debugged;

use std::path::Path;
use std::process::Command;

use debugged::{Guest, LOOP, NEXT, PAGE, RAM};

/// How the guest runs.
const KINDS: [&[&str]; 3] = [
    &["--engine", "interpret"],
    &[],
    &["--deterministic", "--console", "none"],
];

fn le(value: u64) -> String {
    value
        .to_le_bytes()
        .map(|byte| format!("{byte:02x}"))
        .concat()
}

fn value(hex: &str) -> u64 {
    u64::from_str_radix(hex, 16).unwrap().swap_bytes()
}

/// gdb's number of a CSR.
fn csr(number: u16) -> String {
    format!("{:x}", 65 + number)
}

#[test]
fn harts_are_threads_with_all_their_registers() {
    for kind in KINDS {
        let guest = Guest::start(kind);
        let mut gdb = guest.connect();
        assert_eq!(gdb.ask("qfThreadInfo"), "mp01.01,p01.02");
        let description = gdb.description();
        for name in ["satp", "mhartid", "ft11", "fcsr", "priv", "stimecmp"] {
            assert!(description.contains(&format!("name=\"{name}\"")), "{name}");
        }
        assert!(!description.contains("hstatus"), "a CSR that is not there");
        gdb.stop_at(LOOP);
        for hart in 0..2 {
            assert_eq!(gdb.ask(&format!("Hgp1.{}", hart + 1)), "OK");
            assert_eq!(value(&gdb.ask(&format!("p{}", csr(0xf14)))), hart);
            assert_eq!(value(&gdb.ask("p1041")), 3, "M-mode");
            assert_eq!(gdb.ask(&format!("P1f={}", le(0x1234 + hart))), "OK");
            assert_eq!(value(&gdb.ask("p1f")), 0x1234 + hart);
            assert_eq!(gdb.ask(&format!("P0={}", le(7))), "OK");
            assert_eq!(value(&gdb.ask("p0")), 0, "x0 stays");
            assert_eq!(gdb.ask(&format!("P{}={}", csr(0x340), le(99))), "OK");
            assert_eq!(value(&gdb.ask(&format!("p{}", csr(0x340)))), 99, "mscratch");
            assert_eq!(gdb.ask(&format!("P21={}", le(1 << 62))), "OK");
            assert_eq!(value(&gdb.ask("p21")), 1 << 62, "ft0");
        }
        assert_eq!(gdb.ask("p1042"), "", "no such register");
        assert!(
            gdb.ask(&format!("p{}", csr(0x600))).starts_with('E'),
            "hstatus"
        );
    }
}

#[test]
fn harts_stop_at_breakpoints_and_go_on_by_single_steps() {
    for kind in KINDS {
        let guest = Guest::start(kind);
        let mut gdb = guest.connect();
        for number in ['0', '1'] {
            gdb.stop_at_kind(number, LOOP);
            let thread = gdb.thread();
            let counted = gdb.word(PAGE + 8 * (thread - 1));
            gdb.ask(&format!("Hgp1.{thread}"));
            // ld, addi, sd, j, and from the start again.
            for pc in [LOOP + 4, LOOP + 6, NEXT, LOOP, LOOP + 4] {
                let stop = gdb.resume(&format!("vCont;s:p1.{thread}"));
                assert!(stop.starts_with("T05"), "{stop}");
                assert_eq!(gdb.pc(), pc);
            }
            assert_eq!(gdb.word(PAGE + 8 * (thread - 1)), counted + 1);
        }
    }
}

#[test]
fn watchpoints_stop_before_the_access() {
    for kind in KINDS {
        let guest = Guest::start(kind);
        let mut gdb = guest.connect();
        // Only hart 1 writes there, and reads there.
        let counter = PAGE + 8;
        let (loads, stores) = (LOOP, LOOP + 6);
        for (number, places) in [
            ('2', &[stores][..]),
            ('3', &[loads]),
            ('4', &[loads, stores]),
        ] {
            assert_eq!(gdb.ask(&format!("Z{number},{counter:x},8")), "OK");
            let word = ["watch", "rwatch", "awatch"][number as usize - '2' as usize];
            let stop = gdb.resume("vCont;c");
            assert!(stop.contains(&format!("{word}:{counter:08x}")), "{stop}");
            assert_eq!(gdb.thread(), 2);
            gdb.ask("Hgp1.2");
            assert!(places.contains(&gdb.pc()), "{word}");
            assert_eq!(gdb.ask(&format!("z{number},{counter:x},8")), "OK");
            assert!(
                gdb.ask(&format!("z{number},{counter:x},8"))
                    .starts_with('E')
            );
            gdb.resume("vCont;s:p1.2");
        }
    }
}

#[test]
fn memory_is_read_and_written_and_code_changes_take_effect() {
    for kind in KINDS {
        let guest = Guest::start(kind);
        let mut gdb = guest.connect();
        gdb.stop_at(LOOP);
        assert_eq!(gdb.word(RAM + 0x10_0000), 0);
        assert_eq!(
            gdb.ask(&format!("M{:x},8:{}", RAM + 0x10_0000, le(5))),
            "OK"
        );
        assert_eq!(gdb.word(RAM + 0x10_0000), 5);
        assert!(gdb.ask("m40000000,8").starts_with('E'), "nothing there");
        assert!(gdb.ask("m10000000,1").starts_with('E'), "a device");
        assert_eq!(gdb.ask("m1000,4").len(), 8, "the boot ROM");
        // `addi t1, t1, 1` becomes `addi t1, t1, 2`, in front of a hart that has executed it.
        let thread = gdb.thread();
        let counter = PAGE + 8 * (thread - 1);
        gdb.ask(&format!("Hgp1.{thread}"));
        assert_eq!(gdb.ask(&format!("M{:x},2:0903", LOOP + 4)), "OK");
        let before = gdb.word(counter);
        for _ in 0..4 {
            gdb.resume(&format!("vCont;s:p1.{thread}"));
        }
        assert_eq!(gdb.word(counter), before + 2);
        assert_eq!(
            gdb.monitor("phys on"),
            "memory by physical addresses from here on\n"
        );
        assert_eq!(gdb.word(counter), before + 2);
        assert!(gdb.monitor("harts").contains("hart 1"));
        assert!(gdb.monitor("nonsense").contains("try help"));
        assert!(gdb.monitor("help").contains("phys on|off"));
    }
}

#[test]
fn gdb_comes_and_goes_and_ends_the_run() {
    for kind in KINDS {
        let mut guest = Guest::start(kind);
        let mut gdb = guest.connect();
        gdb.stop_at(LOOP);
        let before = gdb.word(PAGE);
        assert_eq!(gdb.ask("D;1"), "OK");
        drop(gdb);
        // It runs on, on its engine; Ctrl-C stops it again.
        let mut gdb = guest.connect();
        loop {
            gdb.send("vCont;c");
            gdb.interrupt();
            let stop = gdb.reply();
            assert!(stop.starts_with("T02"), "{stop}");
            if gdb.word(PAGE) > before + 100_000 {
                break;
            }
        }
        gdb.send("vKill;1");
        assert_eq!(guest.end(), 104, "ended by the operator");
    }
}

#[test]
fn a_guest_that_ends_tells_gdb_how() {
    for kind in KINDS {
        let mut guest = Guest::start(kind);
        let mut gdb = guest.connect();
        gdb.stop_at(LOOP);
        let thread = gdb.thread();
        gdb.ask(&format!("Hgp1.{thread}"));
        // Where the guest goes to end its run with code 7.
        assert_eq!(gdb.ask(&format!("P20={}", le(RAM))), "OK");
        assert_eq!(gdb.ask(&format!("Pa={}", le(7))), "OK");
        let stop = gdb.resume("vCont;c");
        assert!(stop.starts_with("W07"), "{stop}");
        assert_eq!(guest.end(), 7);
    }
}

/// Whatever a peer sends, the monitor lives on and serves the next.
#[test]
fn hostile_peers_do_no_harm() {
    let guest = Guest::start(&[]);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let known = [
        "g",
        "G",
        "p",
        "P",
        "m",
        "M",
        "X",
        "Z0,",
        "Z2,",
        "z1,",
        "vCont;",
        "vCont;s:",
        "vCont;c:p1.",
        "qXfer:features:read:target.xml:",
        "qRcmd,",
        "Hg",
        "Hc",
        "T",
        "?",
        "vAttach;",
        "vRun;",
        "qfThreadInfo",
        "qThreadExtraInfo,",
        "bs",
        "bc",
        "QStartNoAckMode",
        "!",
        "R",
        "vFile:open:",
    ];
    for round in 0..300 {
        let mut peer = guest.connect_raw();
        for _ in 0..next() % 12 {
            let mut body = known[next() as usize % known.len()].as_bytes().to_vec();
            for _ in 0..next() % 40 {
                let byte = next() as u8;
                let tame = b"0123456789abcdef,;:.-pr=#$*}+"[byte as usize % 29];
                body.push(if next() % 8 == 0 { byte } else { tame });
            }
            if round % 3 == 0 {
                peer.raw(&body);
            } else {
                peer.packet(&body);
            }
            if next() % 5 == 0 {
                peer.raw(&[3]);
            }
        }
        if round % 50 == 0 {
            peer.packet(&vec![b'm'; 100_000]);
        }
    }
    let mut gdb = guest.connect();
    assert_eq!(gdb.ask("qfThreadInfo"), "mp01.01,p01.02");
}

/// The same with gdb itself; its package is called gdb-multiarch.
#[test]
fn gdb_itself_works() {
    if !debugged::have_gdb() {
        return;
    }
    for kind in KINDS {
        let guest = Guest::start(kind);
        let script = format!(
            "target remote {}\n\
             break *{LOOP:#x}\n\
             continue\n\
             delete\n\
             info threads\n\
             print/x $pc\n\
             stepi\n\
             x/i $pc\n\
             thread 2\n\
             print $mhartid\n\
             print $priv\n\
             print $ft0.double\n\
             watch *(long *){:#x}\n\
             continue\n\
             print/x $pc\n\
             monitor harts\n\
             detach\n",
            guest.address(),
            PAGE + 8,
        );
        let text = guest.run_gdb(&script);
        for expected in [
            &format!("Breakpoint 1, {LOOP:#018x}"),
            "Thread 1.2 (hart 1 in M, running)",
            &format!("$1 = {LOOP:#x}"),
            "t1,t1,1",
            "$2 = 1",
            "$3 = 3",
            "$4 = 0",
            "Hardware watchpoint 2",
            "New value",
            &format!("$5 = {NEXT:#x}"),
            "instructions",
            "detached",
        ] {
            assert!(text.contains(expected), "no {expected:?} in {text}");
        }
    }
}

/// Symbols as a kernel lists them, in the file that `ringer symbols` makes of them.
#[test]
fn gdb_takes_the_symbols_of_a_kernel() {
    let dir = tempfile::tempdir().unwrap();
    let (list, elf) = (dir.path().join("kallsyms"), dir.path().join("kernel.elf"));
    let text = format!("{LOOP:016x} t counting\n{PAGE:016x} B counters\n{RAM:016x} T _start\n");
    std::fs::write(&list, text).unwrap();
    let symbols = |list: &Path| {
        Command::new(env!("CARGO_BIN_EXE_ringer"))
            .args(["symbols".as_ref(), list, "-o".as_ref(), elf.as_path()])
            .output()
            .unwrap()
    };
    let output = symbols(&list);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.ends_with("2 functions, 1 other symbols\n"), "{said}");
    let output = symbols(Path::new("/dev/null"));
    assert_eq!(output.status.code(), Some(100));
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(told, "ringer: /dev/null: there are no symbols in it\n");
    if !debugged::have_gdb() {
        return;
    }
    let guest = Guest::start(&[]);
    let script = format!(
        "file {}\n\
         target remote {}\n\
         break *counting\n\
         continue\n\
         info symbol $pc + 4\n\
         info symbol {:#x}\n\
         watch *(long *)&counters\n\
         detach\n",
        elf.display(),
        guest.address(),
        PAGE + 8,
    );
    let said = guest.run_gdb(&script);
    for expected in [
        &format!("{LOOP:#018x} in counting ()"),
        "counting + 4 in section .text",
        "counters + 8 in section .data",
        "Hardware watchpoint 2: *(long *)&counters",
    ] {
        assert!(said.contains(expected), "no {expected:?} in {said}");
    }
}
