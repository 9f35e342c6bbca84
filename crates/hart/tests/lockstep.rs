//! The interpreter against the definition, on random programs. See [`ringer_lockstep::suite`].

use ringer_hart::Interpreter;
use ringer_lockstep::generate::Program;
use ringer_lockstep::reference::Engine;
use ringer_lockstep::suite;

/// Programs that once told the engines apart.
const KEPT: [u64; 0] = [];

fn interpreter(_: &Program) -> Box<dyn Engine> {
    Box::new(Interpreter::new())
}

#[test]
fn interpreter_and_definition_agree() {
    suite::run(interpreter);
}

#[test]
fn kept_programs_agree() {
    for seed in KEPT {
        suite::check(Program::new(seed), interpreter);
    }
}
