//! `ringer metal run`: starts the bare-metal monitor with a bundle of guests, on a machine of
//! ours or QEMU's.

mod find;
mod qemu;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use clap::Parser;
use clap::error::ErrorKind;

use crate::args::{FurtherOptions, MetalHost, MetalRunArgs, RunOptions};
use crate::bundle;
use crate::config::{MAX_HARTS, VmConfig};
use crate::exit::Failure;
use crate::size::Size;

pub use qemu::become_qemu;

const MIB: u64 = 1 << 20;
/// What the monitor itself needs, with its tables for guests.
const MONITOR_MEMORY: u64 = 64 * MIB;
/// The default for guests that are not known, since the bundle cannot be read.
const UNKNOWN_GUESTS: u64 = 256 * MIB;
/// Where our machine puts an initial RAM disk: a guest larger than what is below goes above.
const OUR_INITRD_OFFSET: u64 = 128 * MIB;
/// As [`OUR_INITRD_OFFSET`], of QEMU's virt board.
const QEMU_INITRD_OFFSET: u64 = 512 * MIB;

/// A machine, ready to be started.
#[derive(Debug)]
pub enum Machine {
    /// Ours, as `ringer run` would run it.
    Ours(Box<VmConfig>),
    /// QEMU's.
    Qemu(std::process::Command),
}

/// The machine's size and what goes into it.
struct Shape<'a> {
    monitor: PathBuf,
    bundle: &'a Path,
    harts: u64,
    memory: u64,
}

/// What the guests ask for together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Need {
    memory: u64,
    harts: u64,
}

/// Checks the bundle, finds the monitor, and fills in what was left open.
pub fn plan(args: MetalRunArgs) -> Result<Machine, Failure> {
    let need = need(&args.bundle, args.no_check)?;
    let monitor = find::monitor(args.monitor.as_deref())?;
    let initrd_offset = match args.on {
        MetalHost::Ringer => OUR_INITRD_OFFSET,
        MetalHost::Qemu => QEMU_INITRD_OFFSET,
    };
    let memory = match args.memory {
        Some(Size(memory)) => memory,
        None => need
            .memory
            .saturating_add(MONITOR_MEMORY)
            .saturating_add(initrd_offset)
            .checked_next_multiple_of(MIB)
            .unwrap_or(u64::MAX),
    };
    let shape = Shape {
        monitor,
        bundle: &args.bundle,
        harts: args
            .harts
            .unwrap_or_else(|| default_harts(need, args.deterministic)),
        memory,
    };
    match args.on {
        MetalHost::Ringer => ours(&shape, &args).map(Box::new).map(Machine::Ours),
        MetalHost::Qemu => qemu::command(&shape, &args).map(Machine::Qemu),
    }
}

/// What the guests in a bundle need, the bundle itself included.
fn need(path: &Path, unchecked: bool) -> Result<Need, Failure> {
    let bytes = bundle::read(path)?;
    let memory = bytes.len() as u64;
    let bundle = match bundle::parse(path, &bytes) {
        Ok(bundle) => bundle,
        Err(_) if unchecked => {
            return Ok(Need {
                memory: memory.saturating_add(UNKNOWN_GUESTS),
                harts: 1,
            });
        }
        Err(failure) => return Err(failure),
    };
    Ok(Need {
        memory: (bundle.guests.iter()).fold(memory, |sum, guest| sum.saturating_add(guest.memory)),
        harts: bundle.guests.iter().map(|guest| guest.harts as u64).sum(),
    })
}

/// More harts than CPUs or than the guests have only wait for one another. A deterministic run
/// must not depend on the computer.
fn default_harts(need: Need, deterministic: bool) -> u64 {
    if deterministic {
        return 1;
    }
    let cpus = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    need.harts.min(cpus).clamp(1, MAX_HARTS)
}

/// The monitor is the machine's firmware, and the bundle its initial RAM disk.
fn ours(shape: &Shape<'_>, args: &MetalRunArgs) -> Result<VmConfig, Failure> {
    let further = FurtherOptions::try_parse_from(&args.further).map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        let what = match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => "there is no help here",
            _ => first.strip_prefix("error: ").unwrap_or(first),
        };
        Failure::usage(format_args!(
            "behind --, {what}; options of `ringer run` can stand there"
        ))
    })?;
    let options = RunOptions {
        bios: Some(shape.monitor.clone()),
        initrd: Some(shape.bundle.to_path_buf()),
        harts: Some(shape.harts),
        memory: Some(Size(shape.memory)),
        engine: args.engine,
        disk: args.disk.clone(),
        deterministic: args.deterministic,
        stats: args.stats,
        ..RunOptions::default()
    };
    VmConfig::from_options(options.over(further.options))
}
