//! Returns to where nobody was called from: generated code must not take a guess for granted.

use ringer_hart::Exit;
use ringer_isa::asm::Assembler;
use ringer_isa::asm::register::{A0, RA, T0};

use crate::rig::{self, CODE, Pair};

/// Runs `code` with budgets that end it at every place, and then to its end.
fn agrees(write: impl Fn(&mut Assembler), what: &str) {
    let start = || {
        let machine = rig::machine(0x1_0000, 1);
        let mut code = Assembler::new(CODE);
        write(&mut code);
        rig::place(&machine, code);
        (machine, rig::hart(0))
    };
    for budget in (1..20).chain([200]) {
        let mut pair = Pair::new(rig::code(), start);
        let exit = pair.run(budget, &|| format!("{what}, {budget} instructions"));
        assert!(budget < 200 || exit == Some(Exit::Wait), "{what}: {exit:?}");
    }
}

#[test]
fn returns_without_a_call() {
    for target in [
        0,
        1,
        2,
        3,
        u64::MAX,
        u64::MAX - 1,
        CODE + 0x101,
        1 << 62,
        1 << 63 | 1,
    ] {
        for link in [RA, T0] {
            let write = |code: &mut Assembler| {
                code.li(link, target).jr(link);
            };
            agrees(write, &format!("a return to {target:#x} by {link:?}"));
        }
    }
}

#[test]
fn returns_by_a_changed_address() {
    for target in [0, 1, 2, CODE + 0x101, 1 << 62, u64::MAX] {
        agrees(
            |code| {
                let function = code.label();
                code.call(function).wfi().bind(function);
                code.li(RA, target).ret();
            },
            &format!("a function that returns to {target:#x}"),
        );
        agrees(
            |code| {
                // The odd address of where it would return to: bit 0 does not count.
                let function = code.label();
                code.call(function).wfi().bind(function);
                code.addi(RA, RA, 1).ret();
            },
            "a function that returns to an odd address",
        );
    }
}

#[test]
fn more_returns_than_calls_and_more_calls_than_returns() {
    agrees(
        |code| {
            let (function, out) = (code.label(), code.label());
            code.li(A0, 3).call(function).addi(A0, A0, -1);
            code.beqz(A0, out).ret().bind(out).wfi();
            code.bind(function).ret();
        },
        "returns to the same place again",
    );
    // Calls without a return: the guesses must not fill the host's stack.
    let start = || {
        let machine = rig::machine(0x1_0000, 1);
        let mut code = Assembler::new(CODE);
        let again = code.label_here();
        code.addi(A0, A0, 1).call(again);
        rig::place(&machine, code);
        (machine, rig::hart(0))
    };
    let mut pair = Pair::new(rig::code(), start);
    for _ in 0..20 {
        pair.run(100_000, &|| "calls without a return".into());
    }
}
