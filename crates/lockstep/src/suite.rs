//! The test that every engine must pass: many programs, run by it and by the definition, and
//! what there is to say when they differ.
//!
//! `RINGER_LOCKSTEP=COUNT` runs that many programs, `RINGER_LOCKSTEP=FIRST..END` those seeds.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use ringer_hart::counter::Counts;

use crate::compare::{self, Agreement, Difference};
use crate::coverage::Coverage;
use crate::generate::Program;
use crate::reference::Engine;

/// How many programs are run unless the environment says otherwise.
pub const PROGRAMS: u64 = 3000;

/// Differences that are looked into; it takes its time.
const MOST_FAILURES: usize = 3;

/// An engine under test: made anew for each program.
pub trait MakeEngine: Fn(&Program) -> Box<dyn Engine> + Sync {}
impl<M: Fn(&Program) -> Box<dyn Engine> + Sync> MakeEngine for M {}

/// Runs the programs that were asked for, and panics if an engine differs from the definition
/// or if the programs have not done all that can go wrong.
pub fn run(make: impl MakeEngine) {
    let seeds = range();
    let next = AtomicU64::new(seeds.start);
    let agreements = Mutex::new(Vec::new());
    let failures = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || lock(&failures).len() >= MOST_FAILURES {
                        break;
                    }
                    match run_one(&Program::new(seed), &make) {
                        Ok(agreement) => lock(&agreements).push(agreement),
                        Err(difference) => lock(&failures).push((seed, difference)),
                    }
                }
            });
        }
    });
    let failures = lock(&failures);
    for (seed, difference) in failures.iter() {
        eprintln!(
            "{}",
            explain(Program::new(*seed), difference.clone(), &make)
        );
    }
    assert!(failures.is_empty(), "the engines differ");
    if seeds.end - seeds.start >= PROGRAMS {
        expect_all(&lock(&agreements));
    }
}

/// Runs one program, and panics with what it needs to tell the engines apart.
pub fn check(program: Program, make: impl MakeEngine) {
    if let Err(difference) = run_one(&program, &make) {
        panic!("{}", explain(program, difference, &make));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run_one(program: &Program, make: &impl MakeEngine) -> Result<Agreement, Difference> {
    compare::run(program, &mut *make(program))
}

/// Takes out of a failing program what it does not need to fail, and says what is left.
fn explain(mut program: Program, mut difference: Difference, make: &impl MakeEngine) -> String {
    loop {
        let failing = program.simpler().find_map(|simpler| {
            let difference = run_one(&simpler, make).err()?;
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
            text += &format!("{at:#x}: {word:08x} {insn:?}\n");
        }
    }
    text
}

fn range() -> Range<u64> {
    let Ok(asked) = std::env::var("RINGER_LOCKSTEP") else {
        return 0..PROGRAMS;
    };
    let number = |text: &str| text.parse::<u64>().expect("RINGER_LOCKSTEP is a number");
    match asked.split_once("..") {
        Some((first, end)) => number(first)..number(end),
        None => 0..number(&asked),
    }
}

/// The programs must do everything that can go wrong.
fn expect_all(agreements: &[Agreement]) {
    let total = |of: &dyn Fn(&Counts) -> u64| -> u64 {
        agreements
            .iter()
            .map(|agreement| of(&agreement.counts))
            .sum()
    };
    let retired = total(&|c| c.retired);
    println!("{} programs, {retired} instructions", agreements.len());
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
    let mut coverage = Coverage::default();
    for agreement in agreements {
        coverage.add(&agreement.coverage);
    }
    coverage.expect_all(20);
    let given_up = agreements.iter().filter(|a| a.given_up).count();
    assert!(given_up * 10 < agreements.len(), "{given_up} given up");
}
