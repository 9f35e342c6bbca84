//! `cargo xtask bench --metal`: what a guest costs on the bare-metal monitor, in instructions and
//! exits, against the same guest on bare hardware. Both are counted, not timed: our machine in
//! deterministic mode and QEMU with `-icount` count the same on every run.
//!
//! On our machine a row is the difference of two runs, one with twice the rounds of the other, so
//! that booting and all else that happens once falls out, instructions and exits alike. QEMU shows
//! no count of its own, but there a tick of the guest's timer is a hundred instructions; one run
//! does for all rows.

mod counts;
mod machine;
mod report;
mod rows;

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use xshell::{Shell, cmd};

use crate::bench::machine::QEMU;
use crate::debian;
use crate::toolchain::{have, root, say};
use counts::{Counts, Ticks};
use machine::Place;
use rows::{Row, Work};

/// All that was counted.
#[derive(Default)]
struct Counted {
    /// On our machine, for all the rounds of a row by which its runs differ.
    ours: BTreeMap<(&'static str, Place), Counts>,
    /// On QEMU, by the benchmark's names.
    qemu: BTreeMap<Place, BTreeMap<String, Ticks>>,
    /// What went wrong, in words.
    failures: Vec<String>,
}

/// One run of a machine.
#[derive(Clone, Copy)]
enum Run {
    Ours {
        row: &'static Row,
        times: u64,
        place: Place,
    },
    Qemu {
        place: Place,
    },
}

/// Runs the command.
pub fn run(sh: &Shell, only: &[String]) -> Result<()> {
    let rows = rows::choose(only)?;
    cmd!(sh, "cargo build -q --release -p ringer")
        .quiet()
        .run()?;
    crate::metal::build(sh)?;
    debian::run(&debian::Arguments::default())?;
    let counted = count(&rows);
    let text = report::write(sh, &rows, &counted)?;
    println!("{text}");
    let whole = only.is_empty() && counted.failures.is_empty() && !counted.qemu.is_empty();
    let folder = root().join(if whole { "docs" } else { "build/bench" });
    fs::create_dir_all(&folder)?;
    let file = folder.join("METAL-BENCH.md");
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    say(&format!("written: {}", file.display()));
    ensure!(
        counted.failures.is_empty(),
        "not everything could be counted:\n{}",
        counted.failures.join("\n")
    );
    Ok(())
}

/// All runs, as many at once as there are CPUs: what is counted does not depend on it.
fn count(rows: &[&'static Row]) -> Counted {
    let mut runs = Vec::new();
    if have(QEMU) {
        runs.extend(Place::BOTH.map(|place| Run::Qemu { place }));
    } else {
        say(&format!("{QEMU} is missing: its columns stay empty"));
    }
    for row in rows.iter().copied() {
        for place in Place::BOTH {
            let times: &[u64] = match row.difference() {
                Some(_) => &[2, 1],
                None => &[1],
            };
            runs.extend(times.iter().map(|&times| Run::Ours { row, times, place }));
        }
    }
    let counted = Mutex::new(Counted::default());
    let single = Mutex::new(BTreeMap::new());
    let next = AtomicUsize::new(0);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(run) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    say(&format!(
                        "{} of {}: {run}",
                        next.load(Ordering::Relaxed),
                        runs.len()
                    ));
                    if let Err(error) = one(*run, rows, &counted, &single) {
                        let failure = format!("{run}: {error:#}");
                        say(&failure);
                        locked(&counted).failures.push(failure);
                    }
                }
            });
        }
    });
    let mut counted = counted
        .into_inner()
        .unwrap_or_else(|broken| broken.into_inner());
    let single = single
        .into_inner()
        .unwrap_or_else(|broken| broken.into_inner());
    for row in rows {
        for place in Place::BOTH {
            let run = |times| single.get(&(row.name, times, place));
            let counts = match (row.difference(), run(1), run(2)) {
                (None, Some(counts), _) => Ok(Counts::clone(counts)),
                (Some(_), Some(short), Some(long)) => long.since(short),
                // It has failed, and that has been said.
                _ => continue,
            };
            match counts {
                Ok(counts) => _ = counted.ours.insert((row.name, place), counts),
                Err(error) => {
                    let failure = format!("{} {}: {error:#}", row.name, place.title());
                    counted.failures.push(failure);
                }
            }
        }
    }
    counted
}

/// The counts of single runs: by row, how often the rounds were done, and place.
type Single = BTreeMap<(&'static str, u64, Place), Counts>;

fn one(
    run: Run,
    rows: &[&'static Row],
    counted: &Mutex<Counted>,
    single: &Mutex<Single>,
) -> Result<()> {
    match run {
        Run::Ours { row, times, place } => {
            let counts = machine::ours(row, times, place)?;
            locked(single).insert((row.name, times, place), counts);
        }
        Run::Qemu { place } => {
            let ticks = machine::qemu(rows, place)?;
            for row in rows {
                let there = ticks.contains_key(row.name);
                ensure!(
                    there || !matches!(row.work, Work::Kernel { .. }),
                    "no count of {}",
                    row.name
                );
            }
            locked(counted).qemu.insert(place, ticks);
        }
    }
    Ok(())
}

/// A thread that panicked has left nothing half done.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|broken| broken.into_inner())
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ours { row, times, place } => {
                write!(f, "{} {}, {times}×", row.name, place.title())
            }
            Self::Qemu { place } => write!(f, "QEMU {}", place.title()),
        }
    }
}
