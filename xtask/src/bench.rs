//! `cargo xtask bench`: Ringer, QEMU and the host on the same work, in turns, in one run. Writes a
//! table and a plot; a newcomer to the numbers starts with `bench/rows.rs`.

mod machine;
mod memory;
mod metal;
mod net;
mod plot;
mod report;
mod rows;
mod share;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use xshell::{Shell, cmd};

use crate::debian;
use crate::toolchain::{have, root, say};
use machine::{Column, Engine, Job, Outcome};
use memory::OwnMemory;
use rows::{Group, HARTS, Row};

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Runs of each machine; the table has the medians.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// How long each benchmark runs in the guest.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Ringer's engine that is compared with the others.
    #[arg(long, value_enum, default_value_t = Engine::Translate)]
    engine: Engine,
    /// Also measure the interpreter, in a column of its own.
    #[arg(long)]
    interpret: bool,
    /// Only these rows of the table, by their short names (`nbody,exec,integer-4`).
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Count instructions and exits of guests on the bare-metal monitor instead, against the same
    /// guests on bare hardware; writes docs/METAL-BENCH.md.
    #[arg(long, conflicts_with_all = ["runs", "seconds", "engine", "interpret"])]
    metal: bool,
    /// Measure a shared folder against QEMU's 9p instead; writes docs/SHARE-BENCH.md.
    #[arg(long, conflicts_with_all = ["metal", "seconds", "engine", "interpret"])]
    share: bool,
    /// Measure a TCP stream on `--net user` instead, against QEMU's user networking; writes
    /// docs/NET-BENCH.md.
    #[arg(long, conflicts_with_all = ["seconds", "engine", "interpret", "only", "metal"])]
    net: bool,
}

/// All that was measured.
struct Measured {
    /// Ringer with the engine in question comes first.
    columns: Vec<Column>,
    rows: Vec<&'static Row>,
    /// By row and column, one value of each run.
    samples: BTreeMap<&'static str, BTreeMap<Column, Vec<f64>>>,
    /// What Ringer needed beside the guest's RAM, by the number of harts.
    memory: BTreeMap<usize, OwnMemory>,
    /// What went wrong, in words.
    failures: Vec<String>,
    /// Each kernel's check value, and who said so first.
    checks: BTreeMap<&'static str, (u64, Column)>,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<()> {
    let sh = Shell::new()?;
    sh.change_dir(root());
    if arguments.metal {
        return metal::run(&sh, &arguments.only);
    }
    if arguments.net {
        return net::run(&sh, arguments.runs);
    }
    ensure!(arguments.runs > 0, "--runs must be at least 1");
    if arguments.share {
        return share::run(&sh, arguments.runs, &arguments.only);
    }
    ensure!(
        arguments.seconds > 0.0 && arguments.seconds <= 3600.0,
        "--seconds must be more than 0 and at most 3600"
    );
    let rows = rows::choose(&arguments.only)?;
    cmd!(sh, "cargo build -q --release -p ringer")
        .quiet()
        .run()?;
    // Builds the initramfs anew, with guests/bench as it is now.
    debian::run(&debian::Arguments::default())?;
    let native = compile_native(&sh)?;

    let mut measured = Measured::new(columns(arguments), rows);
    let jobs = measured.jobs(arguments.seconds);
    for run in 1..=arguments.runs {
        for job in &jobs {
            for column in measured.columns.clone() {
                say(&format!(
                    "run {run} of {}: {}, {}",
                    arguments.runs,
                    column.title(),
                    job.title()
                ));
                let Some(mut command) = job.command(column, &native) else {
                    continue;
                };
                let ended = machine::run(&mut command, column, job, job.time_limit());
                measured.take(column, job, ended);
            }
        }
    }

    let folder = folder(arguments, &measured);
    fs::create_dir_all(&folder)?;
    let text = report::write(&sh, arguments, &measured)?;
    println!("{text}");
    let (table, plot) = (folder.join("BENCH.md"), folder.join("bench.svg"));
    fs::write(&table, text).with_context(|| format!("cannot write {}", table.display()))?;
    fs::write(&plot, plot::draw(&measured))
        .with_context(|| format!("cannot write {}", plot.display()))?;
    say(&format!("written: {}, {}", table.display(), plot.display()));
    ensure!(
        measured.failures.is_empty(),
        "not everything could be measured:\n{}",
        measured.failures.join("\n")
    );
    Ok(())
}

/// The machines that can be measured here.
fn columns(arguments: &Arguments) -> Vec<Column> {
    let mut columns = vec![Column::Ringer(arguments.engine)];
    if arguments.interpret && arguments.engine != Engine::Interpret {
        columns.push(Column::Ringer(Engine::Interpret));
    }
    if have(machine::QEMU) {
        columns.push(Column::Qemu);
    } else {
        say(&format!(
            "{} IS MISSING: there is nothing to compare with. Install Debian's \
             qemu-system-riscv, version 10 or later (bookworm: from bookworm-backports)",
            machine::QEMU
        ));
    }
    columns.push(Column::Native);
    columns
}

/// Where the report goes: `docs/` keeps only whole ones, of the engine that users get.
fn folder(arguments: &Arguments, measured: &Measured) -> PathBuf {
    let whole = arguments.only.is_empty()
        && arguments.engine == Engine::Translate
        && measured.columns.contains(&Column::Qemu)
        && measured.failures.is_empty();
    root().join(if whole { "docs" } else { "build/bench" })
}

/// Compiles the benchmarks for this host, as they are compiled for the guest.
fn compile_native(sh: &Shell) -> Result<PathBuf> {
    let to = root().join("build/bench-native");
    let files: Vec<PathBuf> = sh
        .read_dir("guests/bench")?
        .into_iter()
        .filter(|file| file.extension().is_some_and(|e| e == "c"))
        .collect();
    cmd!(sh, "cc -O2 -ffp-contract=off -o {to} {files...} -lm")
        .quiet()
        .run()
        .context("the benchmark does not compile for this host")?;
    Ok(to)
}

impl Measured {
    fn new(columns: Vec<Column>, rows: Vec<&'static Row>) -> Self {
        Self {
            columns,
            rows,
            samples: BTreeMap::new(),
            memory: BTreeMap::new(),
            failures: Vec::new(),
            checks: BTreeMap::new(),
        }
    }

    /// The machines' starts that yield the rows: one with one hart, one with several.
    fn jobs(&self, seconds: f64) -> Vec<Job> {
        let of = |harts, groups: &[Group]| {
            let rows: Vec<&Row> = self
                .rows
                .iter()
                .copied()
                .filter(|row| groups.contains(&row.group))
                .collect();
            (!rows.is_empty()).then_some(Job {
                harts,
                rows,
                seconds,
            })
        };
        [
            of(1, &[Group::Boot, Group::OneHart]),
            of(HARTS, &[Group::ManyHarts]),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Takes down what a machine yielded, also if it failed in the middle.
    fn take(&mut self, column: Column, job: &Job, ended: Outcome) {
        let mut failures = ended.failure.into_iter().collect::<Vec<_>>();
        for row in job.rows.iter().copied() {
            if row.group == Group::Boot {
                if let Some(seconds) = ended.boot {
                    self.add(row, column, seconds);
                }
                continue;
            }
            let Some(result) = ended.results.iter().find(|r| r.kernel == row.kernel()) else {
                continue;
            };
            self.add(row, column, result.rate);
            let (check, first) = *self
                .checks
                .entry(row.kernel())
                .or_insert((result.check, column));
            if check != result.check {
                failures.push(format!(
                    "WRONG RESULT of {}: {:x}, but {check:x} by {}",
                    row.kernel(),
                    result.check,
                    first.title()
                ));
            }
        }
        // The engine in question only.
        if self.columns.first() == Some(&column) {
            self.memory
                .entry(job.harts)
                .or_default()
                .merge(&ended.memory);
        }
        for failure in failures {
            let failure = format!("{}, {}: {failure}", column.title(), job.title());
            say(&failure);
            self.failures.push(failure);
        }
    }

    fn add(&mut self, row: &'static Row, column: Column, value: f64) {
        let values = self.samples.entry(row.name).or_default();
        values.entry(column).or_default().push(value);
    }

    /// The runs' values of one cell of the table.
    fn values(&self, row: &Row, column: Column) -> Option<&[f64]> {
        Some(self.samples.get(row.name)?.get(&column)?)
    }

    /// The column of Ringer with the engine in question.
    fn ringer(&self) -> Column {
        self.columns.first().copied().unwrap_or(Column::Native)
    }

    /// How often as fast as in another column Ringer is.
    fn speed(&self, row: &Row, other: Column) -> Option<f64> {
        let ours = median(self.values(row, self.ringer())?);
        let theirs = median(self.values(row, other)?);
        // Of times, less is better.
        Some(match row.group {
            Group::Boot => theirs / ours,
            Group::OneHart | Group::ManyHarts => ours / theirs,
        })
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
