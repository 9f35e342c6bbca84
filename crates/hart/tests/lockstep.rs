//! The interpreter against the definition, on random programs: as it runs guests, and as it runs
//! them for a debugger who stops the hart anywhere. See [`ringer_lockstep::suite`].

use std::cell::Cell;

use ringer_hart::interpret::{Slice, Watcher};
use ringer_hart::{Exit, Hart, Interpreter};
use ringer_isa::Insn;
use ringer_lockstep::generate::Program;
use ringer_lockstep::machine::Machine;
use ringer_lockstep::reference::Engine;
use ringer_lockstep::suite;

/// Programs that once told the engines apart.
const KEPT: [u64; 0] = [];

fn interpreter(_: &Program) -> Box<dyn Engine> {
    Box::new(Interpreter::new())
}

/// Stops the hart before and behind every few instructions.
#[derive(Default)]
struct Meddler {
    seen: Cell<u64>,
    stopped_at: Cell<Option<u64>>,
}

impl Meddler {
    fn wants(&self, every: u64) -> bool {
        self.seen.set(self.seen.get() + 1);
        self.seen.get().is_multiple_of(every)
    }
}

impl Watcher for Meddler {
    fn before(&self, hart: &Hart, _: Option<&Insn>) -> bool {
        // It must get on: not twice at the same place.
        let here = Some(hart.pc);
        let stop = self.stopped_at.get() != here && self.wants(5);
        self.stopped_at.set(here.filter(|_| stop));
        stop
    }
    fn after(&self, _: &Hart) -> bool {
        self.wants(7)
    }
    fn interrupted(&self, _: &Hart) {}
}

/// An interpreter that is stopped all the time, and now and then exchanged.
#[derive(Default)]
struct Stopped {
    interpreter: Interpreter,
    meddler: Meddler,
    stops: u64,
}

impl Engine for Stopped {
    fn run(&mut self, hart: &mut Hart, machine: &Machine, budget: u64) -> Exit {
        let mut slice = Slice::new(budget);
        loop {
            let exit = self
                .interpreter
                .run_watched(hart, machine, &mut slice, &self.meddler);
            if let Some(exit) = exit {
                return exit;
            }
            self.stops += 1;
            if self.stops.is_multiple_of(9) {
                self.interpreter.forget();
            }
        }
    }
}

#[test]
fn interpreter_and_definition_agree() {
    suite::run(interpreter);
}

#[test]
fn the_interpreter_under_a_debugger_and_the_definition_agree() {
    suite::run(|_: &Program| Box::<Stopped>::default() as Box<dyn Engine>);
}

#[test]
fn kept_programs_agree() {
    for seed in KEPT {
        suite::check(Program::new(seed), interpreter);
    }
}
