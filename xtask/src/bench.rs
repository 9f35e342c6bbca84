//! `cargo xtask bench`: Ringer, QEMU and the host on the same work, in turns, in one run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use xshell::{Shell, cmd};

use crate::debian;
use crate::toolchain::{have, root, say};

const QEMU: &str = "qemu-system-riscv64";
/// The row of the time to userspace.
const BOOT: &str = "boot to userspace (s)";

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Runs of each machine; the table has the medians.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// How long each benchmark runs in the guest.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
}

/// A machine that is measured: its column.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Column {
    Interpret,
    Qemu,
    Native,
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Interpret => "ringer interpret",
            Self::Qemu => "QEMU TCG",
            Self::Native => "native",
        }
    }
}

/// All values measured, by row and column.
type Samples = BTreeMap<String, BTreeMap<Column, Vec<f64>>>;

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<()> {
    let sh = Shell::new()?;
    sh.change_dir(root());
    ensure!(arguments.runs > 0, "--runs must be at least 1");
    cmd!(sh, "cargo build -q --release -p ringer")
        .quiet()
        .run()?;
    debian::run(&debian::Arguments::default())?;
    let native = compile_native(&sh)?;
    let mut columns = vec![Column::Interpret];
    if have(QEMU) {
        columns.push(Column::Qemu);
    } else {
        say(&format!(
            "{QEMU} IS MISSING: there is nothing to compare with. Install Debian's \
             qemu-system-riscv, version 10 or later (bookworm: from bookworm-backports)"
        ));
    }
    columns.push(Column::Native);

    let mut samples = Samples::new();
    for run in 1..=arguments.runs {
        for &column in &columns {
            say(&format!(
                "run {run} of {}: {}",
                arguments.runs,
                column.title()
            ));
            let mut command = match column {
                Column::Interpret => ringer(arguments.seconds),
                Column::Qemu => qemu(arguments.seconds),
                Column::Native => {
                    let mut command = Command::new(&native);
                    command.args(["-t", &arguments.seconds.to_string()]);
                    command
                }
            };
            measure(&mut command, column, &mut samples)?;
        }
    }
    let report = report(&sh, arguments, &columns, &samples)?;
    println!("{report}");
    fs::write(root().join("docs/BENCH.md"), report).context("cannot write docs/BENCH.md")
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

fn append(seconds: f64) -> String {
    format!("console=ttyS0 quiet ringer.run=\"bench -t {seconds}\"")
}

fn ringer(seconds: f64) -> Command {
    let debian = root().join("build/debian");
    let mut command = Command::new(root().join("target/release/ringer"));
    command.args(["run", "--engine", "interpret", "--memory", "1G", "--kernel"]);
    command.arg(debian.join("Image"));
    command.arg("--initrd").arg(debian.join("initrd.cpio.zst"));
    command.args(["--append", &append(seconds)]);
    command
}

fn qemu(seconds: f64) -> Command {
    let debian = root().join("build/debian");
    let mut command = Command::new(QEMU);
    command.args(["-M", "virt", "-m", "1G", "-nographic", "-kernel"]);
    command.arg(debian.join("Image"));
    command.arg("-initrd").arg(debian.join("initrd.cpio.zst"));
    command.args(["-append", &append(seconds)]);
    command
}

/// Runs one machine and takes down what it prints.
fn measure(command: &mut Command, column: Column, samples: &mut Samples) -> Result<()> {
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", column.title()))?;
    let output = child.stdout.take().context("no output")?;
    let mut take = |row: &str, value: f64| {
        let row = samples.entry(row.to_owned()).or_default();
        row.entry(column).or_default().push(value);
    };
    let mut results = 0;
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        if line.contains("ringer-guest: userspace up") {
            take(BOOT, start.elapsed().as_secs_f64());
        }
        // NAME ROUNDS_PER_SECOND CHECK
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [name, rate, _check] = words[..]
            && let Ok(rate) = rate.parse()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_+".contains(&b))
        {
            take(name, rate);
            results += 1;
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "{} ended with {status}", column.title());
    ensure!(results > 0, "{} printed no results", column.title());
    Ok(())
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// How far apart the runs were, as a part of the median.
fn spread(values: &[f64]) -> f64 {
    let most = values.iter().copied().fold(f64::MIN, f64::max);
    let least = values.iter().copied().fold(f64::MAX, f64::min);
    (most - least) / median(values)
}

fn number(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn report(
    sh: &Shell,
    arguments: &Arguments,
    columns: &[Column],
    samples: &Samples,
) -> Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name\t: "));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let commit = cmd!(sh, "git rev-parse --short HEAD")
        .quiet()
        .ignore_stderr()
        .read();
    let mut text = String::from("# Benchmarks\n\nWritten by `cargo xtask bench`.\n\n");
    writeln!(
        text,
        "- Ringer {}",
        commit.unwrap_or_else(|_| "without git".into())
    )?;
    if columns.contains(&Column::Qemu) {
        let version = cmd!(sh, "{QEMU} --version").quiet().read()?;
        writeln!(text, "- {}", version.lines().next().unwrap_or_default())?;
    } else {
        writeln!(text, "- QEMU was not installed: nothing to compare with")?;
    }
    writeln!(text, "- {} × {}", cores, cpu.unwrap_or("unknown CPU"))?;
    writeln!(
        text,
        "- medians of {} runs in turns, each benchmark {} s; rounds per second, more is better, \
         except the boot, which is in seconds; ± is the distance of the extremes\n",
        arguments.runs, arguments.seconds
    )?;
    let mut header = String::from("| |");
    let mut line = String::from("|---|");
    for column in columns {
        write!(header, " {} |", column.title())?;
        line.push_str("---:|");
    }
    writeln!(text, "{header} ringer ÷ QEMU |\n{line}---:|")?;
    for (row, values) in samples {
        write!(text, "| {row} |")?;
        for column in columns {
            match values.get(column) {
                Some(v) => write!(text, " {} ±{:.0}% |", number(median(v)), 100.0 * spread(v))?,
                None => text.push_str(" |"),
            }
        }
        let both = (values.get(&Column::Interpret), values.get(&Column::Qemu));
        match both {
            (Some(ringer), Some(qemu)) => {
                let ratio = median(ringer) / median(qemu);
                // Of times, less is better.
                let speed = if row == BOOT { 1.0 / ratio } else { ratio };
                writeln!(text, " {speed:.2}× |")?;
            }
            _ => writeln!(text, " |")?,
        }
    }
    Ok(text)
}
