//! The translator against the definition, on random programs. See [`ringer_lockstep::suite`].
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use ringer_hart::{Bus, Exit, Hart, Interpreter};
use ringer_lockstep::Machine;
use ringer_lockstep::generate::{Program, Turn};
use ringer_lockstep::reference::Engine;
use ringer_lockstep::suite;
use ringer_translate::{Features, Options, SharedCode, Translator};

/// Programs that once told the engines apart.
const KEPT: [u64; 3] = [20, 69, 170];

struct Translate(Translator<Machine>);

impl Engine for Translate {
    fn run(&mut self, hart: &mut Hart, machine: &Machine, budget: u64) -> Exit {
        self.0.run(hart, machine, budget)
    }
}

/// By turns what this host can do, what every host can do, and code for several harts.
fn features(seed: u64) -> Features {
    let host = Features::of_host();
    match seed % 4 {
        0 => Features::baseline(),
        1 => Features {
            parallel: true,
            ..host
        },
        _ => host,
    }
}

fn translator(program: &Program) -> Box<dyn Engine> {
    let shared = SharedCode::with_features(1, features(program.seed)).expect("memory for code");
    Box::new(Translate(
        Translator::new(shared).expect("memory for tables"),
    ))
}

#[test]
fn translator_and_definition_agree() {
    suite::run(translator);
}

#[test]
fn kept_programs_agree() {
    for seed in KEPT {
        suite::check(Program::new(seed), translator);
    }
}

/// A block is left at every place, and entered there again.
#[test]
fn every_budget_ends_at_the_same_place() {
    for seed in 0..30 {
        let program = Program::new(seed);
        for budget in 1..=100 {
            let turn = |budget| Turn {
                budget,
                ticks: 0,
                raise: 0,
            };
            let mut program = program.clone();
            program.turns = vec![turn(budget), turn(100)];
            suite::check(program, translator);
        }
    }
}

/// Both engines by turns, as the monitor changes them: with the hart saved and restored, and with
/// nothing left of what the translator knew.
struct Switching {
    turn: u64,
    translate: Option<Translate>,
    interpret: Interpreter,
}

impl Engine for Switching {
    fn run(&mut self, hart: &mut Hart, machine: &Machine, budget: u64) -> Exit {
        *hart = Hart::restore(&hart.save()).expect("it was just saved");
        self.turn += 1;
        // Some engines are kept for two turns.
        match self.turn % 3 {
            0 => {
                self.translate = None;
                self.interpret = Interpreter::new();
                self.interpret.run(hart, machine, budget)
            }
            1 => {
                machine.ram().watch_code().forget_all();
                let options = Options {
                    features: features(self.turn),
                    code_bytes: 1 << 20,
                };
                let shared = SharedCode::with_options(1, options).expect("memory for code");
                let translate = self.translate.insert(Translate(
                    Translator::new(shared).expect("memory for tables"),
                ));
                translate.run(hart, machine, budget)
            }
            _ => match &mut self.translate {
                Some(translate) => translate.run(hart, machine, budget),
                None => self.interpret.run(hart, machine, budget),
            },
        }
    }
}

#[test]
fn engines_may_change_at_any_time() {
    for seed in 0..1500 {
        suite::check(Program::new(seed), |program: &Program| {
            Box::new(Switching {
                turn: program.seed,
                translate: None,
                interpret: Interpreter::new(),
            })
        });
    }
}
