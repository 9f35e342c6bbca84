//! Starts a guest on bare hardware or on the monitor, on our machine or QEMU's, in time by counts
//! of instructions.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use ringer_debian::Archive;

use super::counts::{self, Counts, Ticks};
use super::rows::{Row, Work};
use crate::bench::machine::QEMU;
use crate::toolchain::root;

/// Million instructions in a second of our machine's time: as QEMU's with `-icount shift=0`.
const MIPS: &str = "1000";

/// Seconds after which a machine surely hangs.
const TIME_LIMIT: &str = "900";
const MEMORY: &str = "256M";
/// The benchmark as the first process, which reads what to do from a file: a command line that
/// differs makes another boot of it.
const FIRST_PROCESS: &str = "console=ttyS0 quiet rdinit=/bench/bench -- -n @/work";
/// The same, after `/init` has loaded the drivers.
const AFTER_INIT: &str = "console=ttyS0 quiet ringer.run=\"bench -n @/work\"";
/// The same, with an address on a network.
const ON_A_NETWORK: &str = "console=ttyS0 quiet ringer.run=\"ip addr add 10.9.0.2/24 dev eth0; ip link set eth0 up; bench -n @/work\"";
/// A network card behind which somebody sends everything back.
const CARD: &str = "echo,mac=52:54:00:00:00:01";
/// The guest's on the monitor.
const PORT: &str = "[[network]]\nbridged = true\nmac = \"52:54:00:00:00:02\"";
/// Room for the words in the file, so that its length is always the same.
const WORDS: usize = 512;
/// The size of the disk: `disk_read` of the benchmark starts again there.
const DISK: usize = 16 << 20;

/// What a guest runs on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Place {
    Bare,
    Monitor,
}

impl Place {
    pub const BOTH: [Self; 2] = [Self::Bare, Self::Monitor];

    /// Its name in messages.
    pub fn title(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Monitor => "on the monitor",
        }
    }
}

/// A guest, described for all machines.
struct Guest {
    /// An option of `ringer run` and of bundles, and its file.
    program: (&'static str, PathBuf),
    initrd: Option<PathBuf>,
    disk: Option<PathBuf>,
    /// Whether there is a network card.
    card: bool,
    append: String,
    memory: &'static str,
    /// What the console says at the end if all went well.
    end: &'static str,
}

/// A folder of one run, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new(label: &str) -> Result<Self> {
        let folder = root().join("build/bench/metal").join(label);
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays is overwritten by the next run.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a row on our machine, with its rounds `times` as often, and counts.
pub fn ours(row: &Row, times: u64, place: Place) -> Result<Counts> {
    let folder = Folder::new(&format!("{}-{times}-{place:?}", row.name))?;
    let words = |rounds: u64| format!("{}:{}", row.name, times * rounds);
    let guest = match row.work {
        Work::Boot => Guest::debian(&folder.0, "", FIRST_PROCESS)?,
        Work::Kernel { rounds } | Work::Waits { rounds } => {
            Guest::debian(&folder.0, &words(rounds), FIRST_PROCESS)?
        }
        Work::WithDisk { rounds } => {
            let disk = folder.0.join("disk");
            fs::write(&disk, vec![0x5a; DISK])?;
            Guest {
                disk: Some(disk),
                end: "ringer-guest: exit 0",
                ..Guest::debian(&folder.0, &words(rounds), AFTER_INIT)?
            }
        }
        Work::WithCard { rounds } => Guest {
            card: true,
            end: "ringer-guest: exit 0",
            ..Guest::debian(&folder.0, &words(rounds), ON_A_NETWORK)?
        },
        Work::Getpid { rounds } => Guest {
            program: ("bios", root().join("guests/images/m-kernel")),
            initrd: None,
            disk: None,
            card: false,
            append: format!("getpid={}", times * rounds),
            memory: "128M",
            end: "m-kernel: all calls made",
        },
    };
    let mut command = limited(&ringer());
    match place {
        Place::Bare => {
            command.args(["run", "--deterministic", "--mips", MIPS, "--stats"]);
            command.args(["--memory", guest.memory, "--append", &guest.append]);
            command.arg(format!("--{}", guest.program.0));
            command.arg(&guest.program.1);
            if let Some(initrd) = &guest.initrd {
                command.arg("--initrd").arg(initrd);
            }
            if let Some(disk) = &guest.disk {
                command.arg("--disk").arg(format!("{},ro", disk.display()));
            }
            if guest.card {
                command.args(["--net", CARD]);
            }
        }
        Place::Monitor => {
            let bundle = guest.bundle(&folder.0)?;
            command.args(["metal", "run", "--deterministic", "--stats"]);
            command.arg("--monitor").arg(monitor()).arg(bundle);
            command.args(["--", "--append", "stats", "--mips", MIPS]);
            if guest.card {
                command.args(["--net", CARD]);
            }
        }
    }
    let (console, stats) = run(&mut command, guest.end)?;
    Counts::read(&console, &stats)
}

/// Runs all of these rows that are kernels of the benchmark on QEMU's machine; the benchmark tells
/// how far the timer went in each, and until it started.
pub fn qemu(rows: &[&Row], place: Place) -> Result<BTreeMap<String, Ticks>> {
    let folder = Folder::new(&format!("qemu-{place:?}"))?;
    let kernels = rows.iter().filter_map(|row| match row.work {
        Work::Kernel { rounds } => Some(format!("{}:{rounds}", row.name)),
        _ => None,
    });
    let words = kernels.collect::<Vec<_>>().join(" ");
    let guest = Guest::debian(&folder.0, &words, FIRST_PROCESS)?;
    let mut command = match place {
        Place::Bare => {
            let mut command = limited(Path::new(QEMU));
            command.args(["-M", "virt", "-nographic", "-m", guest.memory]);
            command.args(["-icount", "shift=0,sleep=off", "-append", &guest.append]);
            command.arg("-kernel").arg(&guest.program.1);
            command.arg("-initrd").args(&guest.initrd);
            command
        }
        Place::Monitor => {
            let bundle = guest.bundle(&folder.0)?;
            let mut command = limited(&ringer());
            command.args(["metal", "run", "--on", "qemu", "--deterministic"]);
            command.arg("--monitor").arg(monitor()).arg(bundle);
            command.arg("--");
            command
        }
    };
    // The random seed in the device tree, and the time of day, which would be the host's.
    command.args(["-seed", "1", "-rtc", "base=2024-01-01,clock=vm"]);
    let (console, _) = run(&mut command, guest.end)?;
    Ok(counts::ticks(&console))
}

fn ringer() -> PathBuf {
    root().join("target/release/ringer")
}

fn monitor() -> PathBuf {
    root().join("build/metal/ringer-metal")
}

/// A command that is ended if it comes to no end.
fn limited(program: &Path) -> Command {
    let mut command = Command::new("timeout");
    command.arg(TIME_LIMIT).arg(program);
    command
}

/// Runs a machine to its end; gives what it printed, on its console and beside it.
fn run(command: &mut Command, end: &str) -> Result<(String, String)> {
    let output = (command.stdin(Stdio::null()).output()).context("cannot start the machine")?;
    let console = String::from_utf8_lossy(&output.stdout).into_owned();
    let beside = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = || {
        let lines: Vec<&str> = console.lines().chain(beside.lines()).collect();
        let first = lines.len().saturating_sub(8);
        lines.get(first..).unwrap_or_default().join("\n    ")
    };
    let status = output.status;
    ensure!(
        status.success() && console.contains(end),
        "ended with {status}, {} {end:?}; it printed last:\n    {}",
        if console.contains(end) {
            "with"
        } else {
            "without"
        },
        last()
    );
    Ok((console, beside))
}

impl Guest {
    /// Debian's kernel with a file `/work` that holds these words, beside its initial RAM disk.
    fn debian(folder: &Path, words: &str, append: &str) -> Result<Self> {
        let debian = root().join("build/debian");
        let mut archive = Archive::default();
        archive.file("work", format!("{words:<WORDS$}").as_bytes(), false);
        // Linux takes archives one behind the other, the compressed one last.
        let mut initrd = archive.finish();
        initrd.extend(fs::read(debian.join("initrd.cpio.zst"))?);
        let place = folder.join("initrd");
        fs::write(&place, initrd)?;
        Ok(Self {
            program: ("kernel", debian.join("Image")),
            initrd: Some(place),
            disk: None,
            card: false,
            append: append.to_owned(),
            memory: MEMORY,
            end: "count end 0",
        })
    }

    /// Packs it for the monitor.
    fn bundle(&self, folder: &Path) -> Result<PathBuf> {
        let mut lines = vec![
            "name = \"guest\"".to_owned(),
            format!("{} = {:?}", self.program.0, self.program.1),
            format!("append = {:?}", self.append),
            format!("memory = {:?}", self.memory),
        ];
        if let Some(initrd) = &self.initrd {
            lines.push(format!("initrd = {initrd:?}"));
        }
        if let Some(disk) = &self.disk {
            lines.push(format!("disk = [{{ path = {disk:?} }}]"));
        }
        if self.card {
            lines.push(PORT.to_owned());
        }
        let (description, bundle) = (folder.join("guest.toml"), folder.join("bundle"));
        fs::write(&description, lines.join("\n"))?;
        let output = Command::new(ringer())
            .arg("bundle")
            .arg(&description)
            .arg("-o")
            .arg(&bundle)
            .output()?;
        ensure!(
            output.status.success(),
            "ringer bundle: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(bundle)
    }
}
