//! Ringer on a terminal: raw mode, the escape key, the monitor prompt, signals; and the terminal
//! as it was afterwards.

mod session;

use std::process::Command;
use std::thread;
use std::time::Duration;

use session::Session;

const DEMO: [&str; 5] = ["demo", "--harts", "2", "--timeout", "300"];

#[test]
fn the_monitor_prompt() {
    let mut session = Session::start(&DEMO);
    session.expect("demo>");
    assert!(session.is_raw());
    session.press("\x01c");
    session.expect("ringer> ");
    assert!(!session.is_raw());
    for (command, answer) in [
        ("help", "save [DIR]"),
        ("stats", "SBI calls"),
        ("harts", "hart 1"),
        ("regs", "satp"),
        ("regs 7", "there is no hart 7"),
        ("disas", ">0x"),
        ("x 0xffffffffffffffff 2", "not readable RAM"),
        ("walk 0x80200000", "physical"),
        ("pause", "paused"),
        ("harts", "hart 0"),
        ("resume", "running"),
        ("dance", "no command 'dance'"),
    ] {
        session.press(&format!("{command}\n"));
        session.expect(answer);
        session.expect("ringer> ");
    }
    session.press("\n");
    // Back at the guest, which has lost nothing.
    while !session.is_raw() {
        thread::sleep(Duration::from_millis(10));
    }
    session.press("echo still here\r");
    session.expect("still here");
    session.expect("still here");
    session.press("\x01x");
    assert_eq!(session.end(), 104);
}

#[test]
fn signals_end_it_and_the_terminal_is_restored() {
    for (signal, times) in [("-TERM", 2), ("-INT", 1)] {
        let mut session = Session::start(&DEMO);
        session.expect("demo>");
        for _ in 0..times {
            let pid = session.child.id().to_string();
            Command::new("kill").args([signal, &pid]).status().unwrap();
            thread::sleep(Duration::from_millis(300));
        }
        session.expect("ringer: stopped by");
        assert_eq!(session.end(), 104);
    }
}

#[test]
fn the_guest_powers_off() {
    let mut session = Session::start(&DEMO);
    session.expect("demo>");
    session.press("poweroff\r");
    assert_eq!(session.end(), 0);
}
