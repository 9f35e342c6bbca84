//! Starts one of the machines that are compared, and reads what the benchmark in it prints.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::memory::OwnMemory;
use super::rows::{Group, Row};
use crate::toolchain::root;

/// QEMU's program.
pub const QEMU: &str = "qemu-system-riscv64";
const GUEST_RAM: u64 = 1 << 30;
/// What the guest's /init says first.
const INIT: &str = "ringer-guest: init";

/// How Ringer executes instructions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, clap::ValueEnum)]
pub enum Engine {
    /// Host code made from guest code.
    Translate,
    /// The reference interpreter.
    Interpret,
}

/// A machine that is measured: its column of the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Column {
    Ringer(Engine),
    Qemu,
    Native,
}

impl Column {
    /// Its name in the table.
    pub fn title(self) -> &'static str {
        match self {
            Self::Ringer(Engine::Translate) => "ringer",
            Self::Ringer(Engine::Interpret) => "ringer interpret",
            Self::Qemu => "QEMU TCG",
            Self::Native => "native",
        }
    }
}

/// One start of a machine, and what it does.
pub struct Job {
    pub harts: usize,
    pub rows: Vec<&'static Row>,
    /// How long each kernel of the benchmark runs.
    pub seconds: f64,
}

impl Job {
    /// A name for messages.
    pub fn title(&self) -> String {
        match self.harts {
            1 => "1 hart".to_owned(),
            harts => format!("{harts} harts"),
        }
    }

    fn kernels(&self) -> Vec<&'static str> {
        self.rows
            .iter()
            .filter(|row| row.group != Group::Boot)
            .map(|row| row.kernel())
            .collect()
    }

    /// The arguments of the benchmark program.
    fn benchmark(&self) -> Vec<String> {
        let mut words = vec!["-t".to_owned(), self.seconds.to_string()];
        if self.harts > 1 {
            words.extend(["-j".to_owned(), self.harts.to_string()]);
        }
        words.extend(self.kernels().into_iter().map(str::to_owned));
        words
    }

    /// What starts the machine; nothing if this job means nothing to it.
    pub fn command(&self, column: Column, native: &Path) -> Option<Command> {
        let debian = root().join("build/debian");
        let harts = self.harts.to_string();
        let memory = format!("{}M", GUEST_RAM >> 20);
        let (image, initrd) = (debian.join("Image"), debian.join("initrd.cpio.zst"));
        let work = if self.kernels().is_empty() {
            "ringer.poweroff".to_owned()
        } else {
            format!("ringer.run=\"bench {}\"", self.benchmark().join(" "))
        };
        let append = format!("console=ttyS0 quiet {work}");
        Some(match column {
            Column::Ringer(engine) => {
                let engine = match engine {
                    Engine::Translate => "translate",
                    Engine::Interpret => "interpret",
                };
                let mut command = Command::new(root().join("target/release/ringer"));
                command
                    .args(["run", "--engine", engine, "--memory", &memory])
                    .args(["--harts", &harts, "--append", &append])
                    .arg("--kernel")
                    .arg(image)
                    .arg("--initrd")
                    .arg(initrd);
                command
            }
            Column::Qemu => {
                let mut command = Command::new(QEMU);
                command
                    .args(["-M", "virt", "-m", &memory, "-nographic"])
                    .args(["-smp", &harts, "-append", &append])
                    .arg("-kernel")
                    .arg(image)
                    .arg("-initrd")
                    .arg(initrd);
                command
            }
            Column::Native if self.kernels().is_empty() => return None,
            Column::Native => {
                let mut command = Command::new(native);
                command.args(self.benchmark());
                command
            }
        })
    }

    /// When a machine surely hangs: some twenty times what a slow one needs.
    pub fn time_limit(&self) -> Duration {
        let kernels = self.kernels().len() as f64;
        Duration::from_secs_f64(180.0 + kernels * (30.0 + 10.0 * self.seconds))
    }
}

/// What the benchmark says of one kernel.
#[derive(Debug, PartialEq)]
pub struct KernelResult {
    pub kernel: String,
    /// Rounds in a second.
    pub rate: f64,
    /// Must be the same on all machines.
    pub check: u64,
}

/// What one start of a machine yielded.
#[derive(Default)]
pub struct Outcome {
    /// Seconds from the start of the process to the guest's /init.
    pub boot: Option<f64>,
    pub results: Vec<KernelResult>,
    /// Only of Ringer.
    pub memory: OwnMemory,
    /// Why it did not get to its end.
    pub failure: Option<String>,
}

/// Runs one machine to its end, and ends it if it comes to none within `limit`.
pub fn run(command: &mut Command, column: Column, job: &Job, limit: Duration) -> Outcome {
    let mut outcome = Outcome::default();
    let mut last_lines = Vec::new();
    let ended = watch(command, column, job, limit, &mut outcome, &mut last_lines);
    if let Err(error) = ended {
        let said = match last_lines.is_empty() {
            true => " (it printed nothing)".to_owned(),
            false => format!("; it printed last:\n    {}", last_lines.join("\n    ")),
        };
        outcome.failure = Some(format!("{error:#}{said}"));
    }
    outcome
}

/// A child that does not outlive its use.
pub(super) struct Process(pub(super) Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail if it has ended by itself, which is as well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn watch(
    command: &mut Command,
    column: Column,
    job: &Job,
    limit: Duration,
    outcome: &mut Outcome,
    last_lines: &mut Vec<String>,
) -> Result<()> {
    const KEPT_LINES: usize = 8;
    let start = Instant::now();
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let mut process = Process(child);
    let lines = read_lines(process.0.stdout.take().context("no output")?);
    loop {
        let left = limit.saturating_sub(start.elapsed());
        let (at, line) = match lines.recv_timeout(left) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                bail!("HANGS: ended after the time limit of {} s", limit.as_secs())
            }
        };
        if outcome.boot.is_none() && line.contains(INIT) {
            outcome.boot = Some(at.duration_since(start).as_secs_f64());
        }
        let result = result(&line);
        if matches!(column, Column::Ringer(_)) && (result.is_some() || line.contains(INIT)) {
            outcome.memory.sample(process.0.id(), GUEST_RAM);
        }
        outcome.results.extend(result);
        let panicked = line.contains("Kernel panic");
        if last_lines.len() == KEPT_LINES {
            last_lines.remove(0);
        }
        last_lines.push(line);
        // The machine would stand there until the time limit.
        ensure!(!panicked, "the guest's kernel panicked");
    }
    let status = loop {
        if let Some(status) = process.0.try_wait()? {
            break status;
        }
        ensure!(
            start.elapsed() < limit,
            "HANGS without output: ended after the time limit of {:.1} s",
            limit.as_secs_f64()
        );
        thread::sleep(Duration::from_millis(20));
    };
    ensure!(status.success(), "ended with {status}");
    for kernel in job.kernels() {
        let there = outcome.results.iter().any(|r| r.kernel == kernel);
        ensure!(there, "no result of {kernel}");
    }
    Ok(())
}

/// The lines of a machine's console with the time of each, read by a thread, so that waiting for
/// one can end.
pub(super) fn read_lines(output: impl Read + Send + 'static) -> Receiver<(Instant, String)> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send((Instant::now(), text)).is_err() {
                break;
            }
        }
    });
    lines
}

/// A line `NAME ROUNDS_PER_SECOND CHECK`, with the check value in 16 hexadecimal digits.
fn result(line: &str) -> Option<KernelResult> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [kernel, rate, check] = words[..] else {
        return None;
    };
    let named = kernel.bytes().all(|b| b.is_ascii_lowercase());
    let rate: f64 = rate.parse().ok()?;
    let check = u64::from_str_radix(check, 16)
        .ok()
        .filter(|_| check.len() == 16)?;
    (named && rate.is_finite() && rate > 0.0).then(|| KernelResult {
        kernel: kernel.to_owned(),
        rate,
        check,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::rows;

    const LONG: Duration = Duration::from_secs(60);

    fn job(names: &[&str], harts: usize) -> Job {
        let names: Vec<String> = names.iter().map(|&n| n.to_owned()).collect();
        Job {
            harts,
            rows: rows::choose(&names).unwrap(),
            seconds: 0.5,
        }
    }

    #[test]
    fn results_are_told_from_other_lines() {
        let got = result("nbody            123.5 00000000000000ff\r");
        let wanted = KernelResult {
            kernel: "nbody".to_owned(),
            rate: 123.5,
            check: 255,
        };
        assert_eq!(got, Some(wanted));
        for line in [
            "",
            "ringer-guest: nproc 4",
            "nbody 123.5 ff",
            "nbody nan 00000000000000ff",
            "nbody 0.0 00000000000000ff",
        ] {
            assert_eq!(result(line), None, "{line}");
        }
    }

    #[test]
    fn a_failing_machine_is_a_failure_with_its_last_words() {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "echo ringer-guest: init; echo integer 5.0 0000000000000007; echo ouch; exit 3",
        ]);
        let got = run(&mut command, Column::Qemu, &job(&["integer"], 1), LONG);
        assert!(got.boot.is_some());
        assert_eq!(got.results.len(), 1);
        let failure = got.failure.unwrap();
        assert!(
            failure.contains("exit status: 3") && failure.contains("ouch"),
            "{failure}"
        );
    }

    #[test]
    fn a_missing_result_and_a_panic_are_failures() {
        let mut silent = Command::new("true");
        let got = run(&mut silent, Column::Native, &job(&["fork"], 1), LONG);
        assert!(got.failure.unwrap().contains("no result of fork"));
        let mut panics = Command::new("sh");
        panics.args(["-c", "echo Kernel panic - not syncing; exec sleep 1000"]);
        let got = run(&mut panics, Column::Qemu, &job(&["fork"], 1), LONG);
        assert!(got.failure.unwrap().contains("panicked"));
    }

    #[test]
    fn a_machine_that_hangs_is_ended() {
        for script in ["echo here; exec sleep 1000", "exec sleep 1000 >&-"] {
            let mut hangs = Command::new("sh");
            hangs.args(["-c", script]);
            let limit = Duration::from_millis(200);
            let got = run(&mut hangs, Column::Qemu, &job(&["fork"], 1), limit);
            assert!(got.failure.unwrap().contains("HANGS"));
        }
    }

    #[test]
    fn commands_say_what_to_run() {
        let command = job(&["fork-4"], 4).command(Column::Qemu, Path::new("/x"));
        let text = format!("{:?}", command.unwrap());
        assert!(text.contains("bench -t 0.5 -j 4 fork"), "{text}");
        assert!(text.contains(r#""-smp" "4""#), "{text}");
        let boot = job(&["boot"], 1);
        assert!(boot.command(Column::Native, Path::new("/x")).is_none());
        let text = format!("{:?}", boot.command(Column::Qemu, Path::new("/x")).unwrap());
        assert!(text.contains("ringer.poweroff"), "{text}");
    }
}
