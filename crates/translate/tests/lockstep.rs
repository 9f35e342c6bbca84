//! The translator against the definition, on random programs.
//!
//! `RINGER_LOCKSTEP=COUNT` runs that many programs, `RINGER_LOCKSTEP=FIRST..END` those seeds.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use ringer_hart::{Exit, Hart};
use ringer_lockstep::Machine;
use ringer_lockstep::compare::{self, Difference};
use ringer_lockstep::generate::Program;
use ringer_lockstep::reference::Engine;
use ringer_translate::{Features, SharedCode, Translator};

/// How many programs are run unless the environment says otherwise.
const PROGRAMS: u64 = 3000;

/// Programs that once told the engines apart.
const KEPT: [u64; 0] = [];

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

fn run(program: &Program) -> Result<compare::Agreement, Difference> {
    let shared = SharedCode::with_features(1, features(program.seed)).expect("memory for code");
    compare::run(program, &mut Translate(Translator::new(shared)))
}

/// Takes out of a failing program what it does not need to fail, and says what is left.
fn explain(mut program: Program, mut difference: Difference) -> String {
    loop {
        let failing = program.simpler().find_map(|simpler| {
            let difference = run(&simpler).err()?;
            Some((simpler, difference))
        });
        match failing {
            Some(found) => (program, difference) = found,
            None => break,
        }
    }
    let mut text = format!("seed {}, turn {}:\n", program.seed, difference.turn);
    text += &difference.what;
    for (at, words) in program.listing() {
        for (word, at) in words.iter().zip((at..).step_by(4)) {
            let insn = ringer_isa::decode(*word);
            text += &format!("{at:#x}: {word:08x} {:?}\n", insn);
        }
    }
    text
}

fn range() -> std::ops::Range<u64> {
    let Ok(asked) = std::env::var("RINGER_LOCKSTEP") else {
        return 0..PROGRAMS;
    };
    let number = |text: &str| text.parse::<u64>().expect("RINGER_LOCKSTEP is a number");
    match asked.split_once("..") {
        Some((first, end)) => number(first)..number(end),
        None => 0..number(&asked),
    }
}

#[test]
fn translator_and_definition_agree() {
    let seeds = range();
    let next = AtomicU64::new(seeds.start);
    let failures = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let full = || {
                        failures
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .len()
                            >= 3
                    };
                    if seed >= seeds.end || full() {
                        break;
                    }
                    if let Err(difference) = run(&Program::new(seed)) {
                        let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
                        failures.push((seed, difference));
                    }
                }
            });
        }
    });
    let failures = failures
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    for (seed, difference) in &failures {
        eprintln!("{}", explain(Program::new(*seed), difference.clone()));
    }
    assert!(failures.is_empty(), "the engines differ");
}

#[test]
fn kept_programs_agree() {
    for seed in KEPT {
        let program = Program::new(seed);
        if let Err(difference) = run(&program) {
            panic!("{}", explain(program, difference));
        }
    }
}
