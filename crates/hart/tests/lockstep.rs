//! The interpreter against the definition, on random programs.
//!
//! `RINGER_LOCKSTEP=COUNT` runs that many programs, `RINGER_LOCKSTEP=FIRST..END` those seeds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use ringer_hart::Interpreter;
use ringer_hart::counter::Counts;
use ringer_lockstep::compare::{self, Difference};
use ringer_lockstep::generate::Program;

/// How many programs are run unless the environment says otherwise.
const PROGRAMS: u64 = 3000;

/// Programs that once told the engines apart.
const KEPT: [u64; 0] = [];

fn run(program: &Program) -> Result<compare::Agreement, Difference> {
    compare::run(program, &mut Interpreter::new())
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
            text += &format!("{at:#x}: {word:08x} {:?}\n", insn.map(|insn| insn.op));
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
fn interpreter_and_definition_agree() {
    let seeds = range();
    let next = AtomicU64::new(seeds.start);
    let results = Mutex::new((Vec::new(), Vec::new(), 0u64));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let outcome = run(&Program::new(seed));
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    match outcome {
                        Ok(agreement) => {
                            results.2 += u64::from(agreement.given_up);
                            results.0.push(agreement.counts);
                        }
                        Err(difference) => results.1.push((seed, difference)),
                    }
                    if results.1.len() >= 3 {
                        break;
                    }
                }
            });
        }
    });
    let (counts, failures, given_up) = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (seed, difference) in &failures {
        eprintln!("{}", explain(Program::new(*seed), difference.clone()));
    }
    assert!(failures.is_empty(), "the engines differ");
    if seeds.end - seeds.start >= PROGRAMS {
        covers(&counts);
        assert!(
            given_up * 10 < seeds.end - seeds.start,
            "{given_up} given up"
        );
    }
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

/// The programs must do everything that can go wrong.
fn covers(counts: &[Counts]) {
    let total = |of: &dyn Fn(&Counts) -> u64| counts.iter().map(of).sum::<u64>();
    let retired = total(&|c| c.retired);
    println!("{} programs, {retired} instructions", counts.len());
    for cause in [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15] {
        let taken = total(&|c| c.exceptions[cause]);
        println!("cause {cause}: {taken}");
        assert!(taken > 20, "exceptions with cause {cause}");
    }
    for code in [1, 3, 5, 7, 9, 11] {
        let taken = total(&|c| c.interrupts[code]);
        println!("interrupt {code}: {taken}");
        assert!(taken > 20, "interrupts with code {code}");
    }
    let others: [(&str, u64); 7] = [
        ("device loads", total(&|c| c.device_loads)),
        ("device stores", total(&|c| c.device_stores)),
        ("fence.i", total(&|c| c.fences_i)),
        ("sfence.vma", total(&|c| c.fences_vma)),
        ("waits", total(&|c| c.waits)),
        ("failed sc", total(&|c| c.failed_sc)),
        ("SBI calls", total(&|c| c.sbi_calls)),
    ];
    for (what, count) in others {
        println!("{what}: {count}");
        assert!(count > 20, "{what}");
    }
}
