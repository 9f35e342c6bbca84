//! `cargo xtask bench --share`: a shared folder by Ringer and by QEMU, the same guest and the same
//! tree of files, in turns, in one run. Writes docs/SHARE-BENCH.md.

mod tools;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use xshell::{Shell, cmd};

use super::machine::{Process, QEMU, read_lines};
use super::median;
use super::report::{commit, qemu_version};
use crate::debian;
use crate::toolchain::{have, root, say};

/// What the guest does.
#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    title: &'static str,
    /// Shell commands, with the share as their folder.
    commands: &'static str,
}

const fn row(name: &'static str, title: &'static str, commands: &'static str) -> Row {
    Row {
        name,
        title,
        commands,
    }
}

/// All rows, in the order in which they are done.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("list", "list the tree with all attributes (`ls -lR`)", "ls -lR tree >/dev/null"),
    row("read", "read all files of the tree (`find`, `cat`)", "find tree -type f -exec cat {} + >/dev/null"),
    row("compare", "`git status`, the first: git compares all files", "cd tree; git -c safe.directory=* status >/dev/null"),
    row("status", "`git status` again: git looks at all files' attributes", "cd tree; git -c safe.directory=* status >/dev/null"),
    row("build", "`make`: 60 objects, for each of which a source and 30 headers are read", "cd project; make -s"),
    row("rebuild", "`make` again, which finds nothing to do", "cd project; make -sq"),
    row("unpack", "unpack a tar of the tree", "tar xf tree.tar -C unpacked"),
    row("remove", "remove what was unpacked", "rm -r unpacked"),
    row("create", "make 500 small files", "i=0; while [ $i -lt 500 ]; do i=$((i+1)); echo $i >small/$i; done"),
    row("rename", "give 100 of them other names", "cd small; i=0; while [ $i -lt 100 ]; do i=$((i+1)); mv $i new-$i; done"),
    row("write", "write 64 MiB in order", "dd if=/dev/zero of=large bs=1M count=64 2>/dev/null"),
    row("again", "read them in order", "dd if=large of=/dev/null bs=1M 2>/dev/null"),
];
/// Sources and headers of the project that is built.
const SOURCES: usize = 60;
const HEADERS: usize = 30;
/// What is done to build it: as a compiler does with files, and little besides.
const MAKEFILE: &str = "\
HEADERS := $(wildcard include/*.h)
OBJECTS := $(patsubst src/%.c,obj/%.o,$(wildcard src/*.c))
program: $(OBJECTS)
\tcat $^ >$@
obj/%.o: src/%.c $(HEADERS)
\tcat $(HEADERS) $< | tail -c 20000 >$@
";
/// The longest message: what Linux' driver can do.
const MSIZE: &str = "512000";
const SCRIPT: &str = "bench.sh";
const BEGIN: &str = "share-begin ";
const END: &str = "share-end ";
/// When a machine surely hangs.
const LIMIT: Duration = Duration::from_secs(900);

/// The machines that are compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Machine {
    Ringer,
    Qemu,
}

impl Machine {
    fn title(self) -> &'static str {
        match self {
            Self::Ringer => "ringer",
            Self::Qemu => "QEMU",
        }
    }
    /// What starts it with `folder` shared.
    fn command(self, initrd: &Path, folder: &Path) -> Command {
        let kernel = root().join("build/debian/Image");
        let append = format!(
            "console=ttyS0 quiet ringer.run=\"mount -t 9p -o trans=virtio,version=9p2000.L,msize={MSIZE} work /mnt && sh /mnt/{SCRIPT}\""
        );
        let mut command = match self {
            Self::Ringer => {
                let mut command = Command::new(root().join("target/release/ringer"));
                command.args(["run", "--memory", "1G", "--share"]);
                command.arg(format!("{}:work", folder.display()));
                command.arg("--kernel").arg(kernel);
                command.arg("--initrd").arg(initrd);
                command.arg("--append");
                command
            }
            Self::Qemu => {
                let mut command = Command::new(QEMU);
                command.args(["-M", "virt", "-m", "1G", "-nographic", "-virtfs"]);
                command.arg(format!(
                    "local,path={},mount_tag=work,security_model=none",
                    folder.display()
                ));
                command.arg("-kernel").arg(kernel);
                command.arg("-initrd").arg(initrd);
                command.arg("-append");
                command
            }
        };
        command.arg(append);
        command
    }
}

/// Seconds by row and machine, one value for each run.
type Samples = BTreeMap<(&'static str, Machine), Vec<f64>>;

/// Runs the command.
pub fn run(sh: &Shell, runs: usize, only: &[String]) -> Result<()> {
    let rows = choose(only)?;
    ensure!(
        have(QEMU),
        "{QEMU} is missing, and there is nothing else to compare with: install qemu-system-riscv"
    );
    cmd!(sh, "cargo build -q --release -p ringer")
        .quiet()
        .run()?;
    debian::run(&debian::Arguments::default())?;
    let initrd = tools::add_to(sh, &root().join("build/debian/initrd.cpio.zst"))?;
    let mut samples = Samples::new();
    let mut tree = String::new();
    for run in 1..=runs {
        for machine in [Machine::Ringer, Machine::Qemu] {
            say(&format!("run {run} of {runs}: {}", machine.title()));
            let folder = tempfile::tempdir()?;
            tree = prepare(sh, &folder, &rows)?;
            let times = measure(machine, &initrd, folder.path(), &rows)
                .with_context(|| format!("{} in run {run}", machine.title()))?;
            for (name, seconds) in times {
                samples.entry((name, machine)).or_default().push(seconds);
            }
        }
    }
    let text = report(sh, runs, &rows, &tree, &samples)?;
    println!("{text}");
    let folder = root().join(if only.is_empty() {
        "docs"
    } else {
        "build/bench"
    });
    fs::create_dir_all(&folder)?;
    let file = folder.join("SHARE-BENCH.md");
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    say(&format!("written: {}", file.display()));
    Ok(())
}

fn choose(only: &[String]) -> Result<Vec<Row>> {
    if let Some(unknown) = only
        .iter()
        .find(|name| ROWS.iter().all(|row| row.name != **name))
    {
        let known: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        bail!("there is no row {unknown}; there are {}", known.join(", "));
    }
    let wanted = |row: &&Row| only.is_empty() || only.iter().any(|name| name == row.name);
    Ok(ROWS.iter().filter(wanted).copied().collect())
}

/// Fills the folder to share: files of this repository, as they are and as a tar, and the script.
/// Says what that is.
fn prepare(sh: &Shell, folder: &TempDir, rows: &[Row]) -> Result<String> {
    let to = folder.path();
    let (tree, tar) = (to.join("tree"), to.join("tree.tar"));
    for name in ["tree", "unpacked", "small"] {
        fs::create_dir(to.join(name))?;
    }
    cmd!(sh, "git archive --format=tar -o {tar} HEAD crates docs")
        .quiet()
        .run()?;
    cmd!(sh, "tar xf {tar} -C {tree}").quiet().run()?;
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"];
        cmd!(sh, "git -C {tree} {identity...} {arguments...}")
            .quiet()
            .run()
    };
    git(&["init", "-q"])?;
    git(&["add", "."])?;
    git(&["commit", "-q", "-m", "All"])?;
    project(&to.join("project"))?;
    let mut script = String::from("cd /mnt\n");
    for Row { name, commands, .. } in rows {
        writeln!(
            script,
            "echo {BEGIN}{name}\n( {commands} )\necho {END}{name} $?"
        )?;
    }
    fs::write(to.join(SCRIPT), script)?;
    let names = cmd!(sh, "tar tf {tar}").quiet().read()?;
    let count = names.lines().filter(|name| !name.ends_with('/')).count();
    let bytes = fs::metadata(&tar)?.len();
    Ok(format!(
        "{count} files in {} folders, {:.1} MiB as a tar",
        names.lines().count() - count,
        bytes as f64 / 1_048_576.0
    ))
}

/// Fills a folder with what `make` is to build.
fn project(to: &Path) -> Result<()> {
    for name in ["src", "include", "obj"] {
        fs::create_dir_all(to.join(name))?;
    }
    let files = (0..SOURCES)
        .map(|number| format!("src/{number}.c"))
        .chain((0..HEADERS).map(|number| format!("include/{number}.h")));
    for (number, name) in files.enumerate() {
        let text = format!("extern int declared_{number};\n").repeat(200);
        fs::write(to.join(name), text)?;
    }
    Ok(fs::write(to.join("Makefile"), MAKEFILE)?)
}

/// The rows' seconds on one machine, by the host's clock.
fn measure(
    machine: Machine,
    initrd: &Path,
    folder: &Path,
    rows: &[Row],
) -> Result<Vec<(&'static str, f64)>> {
    let mut command = machine.command(initrd, folder);
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let mut process = Process(child);
    let lines = read_lines(process.0.stdout.take().context("no output")?);
    let start = Instant::now();
    let mut begun = None;
    let mut times = Vec::new();
    let mut said = Vec::new();
    loop {
        let left = LIMIT.saturating_sub(start.elapsed());
        let (at, line) = match lines.recv_timeout(left) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => bail!("it hangs; it said last: {}", said.join(" | ")),
        };
        if let Some(name) = line.strip_prefix(BEGIN) {
            begun = rows
                .iter()
                .find(|row| row.name == name)
                .map(|row| (row.name, at));
        } else if let Some(end) = line.strip_prefix(END) {
            let (name, since) = begun.take().context("an end without a beginning")?;
            ensure!(
                end == format!("{name} 0"),
                "{name} failed: {}",
                said.join(" | ")
            );
            times.push((name, at.duration_since(since).as_secs_f64()));
        }
        said.push(line);
    }
    ensure!(
        times.len() == rows.len(),
        "it did {} of {} rows; it said: {}",
        times.len(),
        rows.len(),
        said.join(" | ")
    );
    Ok(times)
}

fn report(sh: &Shell, runs: usize, rows: &[Row], tree: &str, samples: &Samples) -> Result<String> {
    let mut text =
        String::from("# Shared folders, measured\n\nWritten by `cargo xtask bench --share`.\n\n");
    writeln!(text, "- Ringer {}", commit(sh))?;
    writeln!(text, "- {}", qemu_version(sh)?)?;
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split(' ').take(3).collect();
    writeln!(
        text,
        "- {} CPUs, with a load of {} at the end; where it is high, both are slowed down, and QEMU \
         more, whose server works in threads of its own",
        std::thread::available_parallelism().map_or(1, usize::from),
        load.join(", ")
    )?;
    writeln!(
        text,
        "- The Debian guest with one hart, busybox, git and make, on both with the share mounted by \
         `trans=virtio,version=9p2000.L,msize={MSIZE}`; Ringer by `--share DIR:work`, QEMU by \
         `-virtfs local,path=DIR,mount_tag=work,security_model=none`. The tree is `crates` and `docs` of this repository: \
         {tree}. What is shared lies in the host's page cache.\n\
         - Seconds by the host's clock, medians of {runs} runs in turns; the guest's own work is part of \
         them. More than 1 means that Ringer is faster.\n"
    )?;
    writeln!(
        text,
        "| work | ringer | QEMU | QEMU / ringer |\n|---|---:|---:|---:|"
    )?;
    for Row { name, title, .. } in rows {
        let of = |machine| {
            samples
                .get(&(*name, machine))
                .map_or(f64::NAN, |times| median(times))
        };
        let (ours, theirs) = (of(Machine::Ringer), of(Machine::Qemu));
        writeln!(
            text,
            "| {title} | {ours:.2} s | {theirs:.2} s | {:.2} |",
            theirs / ours
        )?;
    }
    Ok(text)
}
