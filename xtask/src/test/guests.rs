//! Guest tests: the rows of `guests/tests.toml`, each run by the real `ringer` program.

use std::collections::VecDeque;
use std::fmt;
use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::bundle::make_bundle;
use super::table::{self, QEMU, Run, Test};
use crate::metal;
use crate::toolchain::{have, root};

/// The program of the host [`QEMU`].
const QEMU_PROGRAM: &str = "qemu-system-riscv64";

/// How many tests ended how.
#[derive(Default)]
pub struct Counts {
    /// Passed.
    pub passed: usize,
    /// Failed.
    pub failed: usize,
    /// Not run, for want of something that is not there.
    pub skipped: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// Which tests are to be run.
pub struct Selection<'a> {
    /// Those with this in their name.
    pub filter: &'a str,
    /// Also those that the table calls seldom.
    pub all: bool,
    /// Whether there is a Debian guest.
    pub debian: bool,
}

/// One test: a row with an engine, or a host of the bare-metal monitor, and a number of harts.
struct Case {
    test: Test,
    place: String,
    harts: usize,
}

impl Case {
    fn name(&self) -> String {
        let Self { test, place, harts } = self;
        format!(
            "{} [{place}, {harts} hart{}]",
            test.name,
            if *harts == 1 { "" } else { "s" }
        )
    }
}

/// Runs the tests of a selection.
pub fn run(selection: &Selection<'_>) -> Result<Counts> {
    let qemu = have(QEMU_PROGRAM);
    let mut counts = Counts::default();
    let (mut alone, mut together) = (VecDeque::new(), VecDeque::new());
    for test in table::read()? {
        for place in test.places() {
            for &harts in &test.harts {
                let case = Case {
                    test: test.clone(),
                    place: place.clone(),
                    harts,
                };
                let wanted = selection.all || !test.seldom.contains(place);
                if !wanted || !case.name().contains(selection.filter) {
                    continue;
                }
                let missing = if test.debian && !selection.debian {
                    Some("there is no Debian guest here")
                } else if test.is_metal() && place == QEMU && !qemu {
                    Some("qemu-system-riscv64 is not installed")
                } else {
                    None
                };
                if let Some(missing) = missing {
                    println!("SKIP    {}: {missing}", case.name());
                    counts.skipped += 1;
                } else if harts == 1 && test.guests.len() <= 1 {
                    together.push_back(case);
                } else {
                    alone.push_back(case);
                }
            }
        }
    }
    // Tests of one hart share the cores; those of several have them for themselves.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (queue, counts) = (Mutex::new(together), Mutex::new(counts));
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| work(&queue, &counts));
        }
    });
    work(&Mutex::new(alone), &counts);
    Ok(counts.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Runs tests until none is left.
fn work(queue: &Mutex<VecDeque<Case>>, counts: &Mutex<Counts>) {
    loop {
        let next = queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        let Some(case) = next else { return };
        let start = Instant::now();
        let result = run_case(&case);
        let seconds = start.elapsed().as_secs_f64();
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(()) => {
                counts.passed += 1;
                println!("ok      {} {seconds:.1} s", case.name());
            }
            Err(error) => {
                counts.failed += 1;
                println!("FAILED  {} {seconds:.1} s: {error:#}", case.name());
            }
        }
    }
}

/// A port of this host that nobody uses now, and hardly anybody takes in a moment.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.port())
}

fn run_case(case: &Case) -> Result<()> {
    let own = tempfile::tempdir()?;
    let root = root();
    let port = free_port()?.to_string();
    let fill = |text: &str| {
        text.replace("{images}", &root.join("guests/images").to_string_lossy())
            .replace("{debian}", &root.join("build/debian").to_string_lossy())
            .replace("{firmware}", &root.join("build/firmware").to_string_lossy())
            .replace("{monitor}", &root.join(metal::PLACE).to_string_lossy())
            .replace("{own}", &own.path().to_string_lossy())
            .replace("{harts}", &case.harts.to_string())
            .replace("{port}", &port)
    };
    for file in &case.test.copy {
        let from = fill(file);
        let name = Path::new(&from).file_name().context("no file name")?;
        fs::copy(&from, own.path().join(name)).with_context(|| format!("cannot copy {from}"))?;
    }
    let bundle = match case.test.is_metal() {
        true => Some(make_bundle(
            &case.test.guests,
            case.harts,
            own.path(),
            &fill,
        )?),
        false => None,
    };
    let mut before = None;
    for (index, run) in case.test.run.iter().enumerate() {
        let mut arguments = start_of_line(case, run, bundle.as_ref());
        arguments.extend(run.arguments.iter().map(|a| fill(a)));
        let output =
            run_once(run, &arguments, &fill).with_context(|| format!("run {}", index + 1))?;
        let trace = Trace::of(&output);
        if run.same {
            ensure!(trace.instructions.is_some(), "no count of instructions");
            ensure!(before == Some(trace.clone()), "run {} differs", index + 1);
        }
        before = Some(trace);
    }
    Ok(())
}

/// The words of the command line that do not stand in the table.
fn start_of_line(case: &Case, run: &Run, bundle: Option<&PathBuf>) -> Vec<String> {
    if let Some(bundle) = bundle {
        let bundle = bundle.to_string_lossy();
        return ["metal", "run", &bundle, "--on", &case.place]
            .map(str::to_owned)
            .to_vec();
    }
    let engine = match (run.other_engine, case.place.as_str()) {
        (false, own) => own,
        (true, "interpret") => "translate",
        (true, _) => "interpret",
    };
    let mut words = [&run.command, "--engine", engine]
        .map(str::to_owned)
        .to_vec();
    let saved = ["--restore", "--snapshot"];
    if !run.arguments.iter().any(|a| saved.contains(&a.as_str())) {
        words.extend(["--harts".into(), case.harts.to_string()]);
    }
    words
}

/// What two runs have in common that are the same.
#[derive(Clone, PartialEq)]
struct Trace {
    console: Vec<u8>,
    /// The line of the statistics that counts them.
    instructions: Option<String>,
}

impl Trace {
    fn of(output: &Output) -> Self {
        let mut lines = output.text.lines();
        Self {
            console: output.console.clone(),
            instructions: lines
                .find(|line| line.starts_with("  instructions  "))
                .map(str::to_owned),
        }
    }
}

/// A child process that does not outlive its test.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // Errors mean that it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where ringer's output comes from.
#[derive(Clone, Copy, PartialEq)]
enum Stream {
    /// Standard output: the guest's console.
    Console,
    /// Standard error: ringer itself.
    Messages,
}

/// The output so far, and where in it the next thing is awaited.
struct Output {
    chunks: Receiver<(Stream, Vec<u8>)>,
    text: String,
    console: Vec<u8>,
    seen: usize,
    deadline: Instant,
}

impl Output {
    /// Waits for more output; false if there is no more.
    fn more(&mut self) -> Result<bool> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match self.chunks.recv_timeout(left) {
            Ok((stream, chunk)) => {
                self.text.push_str(&String::from_utf8_lossy(&chunk));
                if stream == Stream::Console {
                    self.console.extend(chunk);
                }
                Ok(true)
            }
            Err(RecvTimeoutError::Disconnected) => Ok(false),
            Err(RecvTimeoutError::Timeout) => {
                anyhow::bail!("out of time; the output ends with\n{}", self.tail())
            }
        }
    }

    /// Waits for `wanted`, after what was awaited before.
    fn wait_for(&mut self, wanted: &str) -> Result<()> {
        loop {
            let unread = self.text.get(self.seen..).unwrap_or_default();
            if let Some(at) = unread.find(wanted) {
                self.seen += at + wanted.len();
                return Ok(());
            }
            let more = self
                .more()
                .with_context(|| format!("waiting for {wanted:?}"))?;
            ensure!(
                more,
                "no {wanted:?} in the output, which ends with\n{}",
                self.tail()
            );
        }
    }

    /// Waits for `wanted` anywhere in the output.
    fn wait_for_anywhere(&mut self, wanted: &str) -> Result<()> {
        let seen = std::mem::take(&mut self.seen);
        self.wait_for(wanted)?;
        self.seen = seen.max(self.seen);
        Ok(())
    }

    fn tail(&self) -> String {
        let lines: Vec<&str> = self.text.lines().collect();
        let first = lines.len().saturating_sub(15);
        lines[first..].join("\n")
    }
}

/// A name that no other machine has.
fn unused_name() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("xtask-{}-{number}", std::process::id())
}

fn run_once(run: &Run, arguments: &[String], fill: &dyn Fn(&str) -> String) -> Result<Output> {
    let ringer = root().join("target/release/ringer");
    let name = run.stop.then(unused_name);
    let mut child = Command::new(&ringer)
        .args(arguments)
        .args(name.iter().flat_map(|name| ["--name", name]))
        .stdin(if run.input.is_empty() {
            Stdio::null()
        } else {
            Stdio::piped()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start ringer")?;
    let (sender, chunks) = channel();
    let streams: [(Stream, Option<Box<dyn Read + Send>>); 2] = [
        (
            Stream::Console,
            child.stdout.take().map(|s| Box::new(s) as _),
        ),
        (
            Stream::Messages,
            child.stderr.take().map(|s| Box::new(s) as _),
        ),
    ];
    for (name, stream) in streams {
        let mut stream = stream.context("no output")?;
        let sender = sender.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = stream.read(&mut buffer) {
                if sender.send((name, buffer[..len].to_vec())).is_err() {
                    return;
                }
            }
        });
    }
    drop(sender);
    let mut child = Guard(child);
    let mut output = Output {
        chunks,
        text: String::new(),
        console: Vec::new(),
        seen: 0,
        deadline: Instant::now() + Duration::from_secs(run.seconds),
    };
    for wanted in &run.expect {
        output.wait_for(&fill(wanted))?;
    }
    for wanted in &run.anywhere {
        output.wait_for_anywhere(&fill(wanted))?;
    }
    if !run.input.is_empty() {
        let stdin = child.0.stdin.as_mut().context("no standard input")?;
        std::io::Write::write_all(stdin, run.input.as_bytes())?;
    }
    for wanted in &run.then {
        output.wait_for(&fill(wanted))?;
    }
    if run.terminate {
        let process = child.0.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &process]).status()?;
        ensure!(sent.success(), "cannot send SIGTERM to ringer");
    }
    if let Some(name) = &name {
        let stopped = Command::new(&ringer).args(["stop", name]).output()?;
        ensure!(
            stopped.status.success(),
            "`ringer stop` says: {}",
            String::from_utf8_lossy(&stopped.stderr)
        );
    }
    if let Some(exit) = run.exit {
        while output.more()? {}
        let status = child.0.wait()?;
        ensure!(
            status.code() == Some(exit),
            "ended with {status} instead of {exit}; the output ends with\n{}",
            output.tail()
        );
    }
    for unwanted in &run.never {
        let there = output.text.contains(unwanted);
        ensure!(!there, "{unwanted:?} in the output:\n{}", output.tail());
    }
    if let Some(expected) = &run.file {
        let path = fill(&expected.path);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        ensure!(text == expected.text, "{path} holds {text:?}");
    }
    Ok(output)
}
