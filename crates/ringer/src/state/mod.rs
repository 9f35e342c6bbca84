//! A running machine to and from its saved form.

mod ram;

use std::io;
use std::path::Path;

use ringer_hart::persist::Persist;
use ringer_hart::{Bus, Hart};

use crate::agent::Task;
use crate::boot::BootFiles;
use crate::config::{DEFAULT_MIPS, DiskSpec, VmConfig};
use crate::disk;
use crate::exit::Failure;
use crate::loader::Symbols;
use crate::machine::{MachineClock, random_generation};
use crate::net::NetSpec;
use crate::net::spec::parse_publish;
use crate::net::user::{Publish, SavedPair};
use crate::runner::{Activity, Seat, Vm, sit};
use crate::sandbox::Needs;
use crate::share;
use crate::snapshot::{Description, Reader, SavedDisk, Shelf, Writer};

/// Names of the parts.
mod part {
    pub const BOARD: &str = "board";
    pub const SBI: &str = "sbi";
    pub const CONNECTIONS: &str = "connections";
    pub fn hart(number: usize) -> String {
        format!("hart{number}")
    }
    pub fn overlay(number: usize) -> String {
        format!("disk{number}.overlay")
    }
}

/// The largest part of connections: far more than there can be.
const LARGEST_CONNECTIONS: u64 = 1 << 20;

/// What the harts were doing, beside their registers.
#[derive(minicbor::Encode, minicbor::Decode)]
struct HartPart {
    #[n(0)]
    hart: minicbor::bytes::ByteVec,
    /// 0 running, 1 waiting for an interrupt, 2 stopped.
    #[n(1)]
    activity: u8,
}

/// The ends of the guest's connections through networks in this process, by card.
#[derive(minicbor::Encode, minicbor::Decode)]
struct ConnectionsPart {
    #[n(0)]
    ends: Vec<Vec<SavedPair>>,
}

/// What saving takes, and going on with a saved machine: it is replaced from beside it, and what it
/// was booted from is read when the guest is reset.
pub fn needs(config: &VmConfig, needs: &mut Needs) {
    let absolute = config.save.as_ref().map(std::path::absolute);
    if let Some(Ok(dir)) = &absolute {
        needs.change(dir.parent().unwrap_or(dir));
    }
    if let Some(dir) = &config.restore {
        needs.read(dir);
    }
    if let Some(Task::Prepare { place, .. }) = &config.agent {
        needs.change(place.parent().unwrap_or(place));
    }
    // Who can ask for a machine to be saved can give it a name.
    if config.control
        && let Ok(shelf) = Shelf::open()
    {
        needs.change(shelf.dir());
    }
}

/// Where a machine comes from, as far as saving it again can make use of that.
pub struct Origin {
    /// What it was restored from, or saved to last.
    pub saved: Option<Reader>,
    /// The host knows which pages of memory differ from that, or from zero.
    pub tracked: bool,
}

/// Saves a machine whose harts and devices stand still.
pub fn save(
    vm: &Vm,
    config: &VmConfig,
    symbols: &Symbols,
    files: Option<&BootFiles>,
    origin: &Origin,
    dir: &Path,
) -> Result<(), Failure> {
    vm.machine.write_back_disks()?;
    let mut writer = Writer::new(dir).map_err(Failure::monitor)?;
    let board = &vm.machine.board;
    for (number, seat) in vm.seats.iter().enumerate() {
        let seat = sit(seat);
        let state = HartPart {
            hart: seat.hart.save().into(),
            activity: seat.activity as u8,
        };
        let bytes = ringer_hart::persist::encode(&state);
        writer
            .part(&part::hart(number), &bytes)
            .map_err(Failure::monitor)?;
    }
    writer
        .part(part::BOARD, &board.save())
        .map_err(Failure::monitor)?;
    if let Some(sbi) = &vm.sbi {
        writer
            .part(part::SBI, &sbi.save())
            .map_err(Failure::monitor)?;
    }
    let ends = vm.machine.networks.save_ends();
    if ends.iter().any(|ends| !ends.is_empty()) {
        let bytes = ringer_hart::persist::encode(&ConnectionsPart { ends });
        writer
            .part(part::CONNECTIONS, &bytes)
            .map_err(Failure::monitor)?;
    }
    match (files, &origin.saved) {
        (Some(files), _) => files.save(&mut writer).map_err(Failure::monitor)?,
        (None, Some(saved)) => BootFiles::pass_on(saved, &mut writer).map_err(Failure::monitor)?,
        (None, None) => {}
    }
    ram::save(board.ram(), &vm.machine.memory, origin, &mut writer).map_err(Failure::monitor)?;
    for (number, disk) in vm.machine.disks.iter().enumerate() {
        if let Some(overlay) = &disk.overlay {
            writer
                .pages(&part::overlay(number), |take| {
                    overlay
                        .for_each_block(take)?
                        .map_err(|error| io::Error::other(error.to_string()))
                })
                .map_err(Failure::monitor)?;
        }
    }
    writer
        .finish(describe(vm, config, symbols))
        .map_err(Failure::monitor)
}

/// Has a machine that was just saved to `dir`, and still stands, go on as one that was restored
/// from there: its memory is the file's until it writes to it. The next save then needs only
/// what changed. What comes back is where the machine comes from now.
pub fn go_on_from(vm: &Vm, dir: &Path) -> Origin {
    let attempt = || -> Option<Reader> {
        let saved = Reader::open(dir).ok()?;
        ram::map(vm.machine.board.ram(), &vm.machine.memory, &saved).ok()?;
        Some(saved)
    };
    let saved = attempt();
    Origin {
        // Where some is mapped and some is not, the memory is as it was all the same; but nobody
        // knows what changed.
        tracked: saved.is_some(),
        saved,
    }
}

fn describe(vm: &Vm, config: &VmConfig, symbols: &Symbols) -> Description {
    let disks = vm.machine.disks.iter().map(|disk| SavedDisk {
        path: match std::path::absolute(&disk.spec.path) {
            Ok(path) if !disk::demo::is_demo(&disk.spec.path) => path,
            _ => disk.spec.path.clone(),
        },
        len: disk.len,
        read_only: disk.spec.read_only,
        overlay: disk.spec.overlay,
        format: disk.spec.format,
        kept: disk
            .spec
            .kept
            .as_ref()
            .map(|file| std::path::absolute(file).unwrap_or_else(|_| file.clone())),
        serial: disk.spec.serial.clone(),
    });
    Description {
        harts: config.harts,
        memory: config.memory,
        append: config.append.clone(),
        deterministic: config.deterministic,
        mips: (config.mips != DEFAULT_MIPS).then_some(config.mips),
        semihosting: config.semihosting,
        sbi: vm.sbi.is_some(),
        generation: config.generation,
        button: vm.machine.button.is_some(),
        agent: config.agent.is_some(),
        nets: config.nets.len(),
        net: config.nets.iter().map(NetSpec::to_string).collect(),
        publish: config.publish.iter().map(Publish::to_string).collect(),
        ready: vm.machine.console.history().is_ready(),
        tohost: symbols.tohost,
        fromhost: symbols.fromhost,
        begin_signature: symbols.begin_signature,
        end_signature: symbols.end_signature,
        disks: disks.collect(),
        shares: config.shares.iter().map(share::describe).collect(),
    }
}

/// Makes `config`, as given for a resume, describe the machine that was saved. Disks given on
/// the command line stand in for those it had.
pub fn adopt(config: &mut VmConfig, saved: &Description) -> Result<Symbols, Failure> {
    crate::config::check_shape(saved.harts as u64, saved.memory)?;
    config.harts = saved.harts;
    config.memory = saved.memory;
    config.append.clone_from(&saved.append);
    config.deterministic = saved.deterministic;
    config.mips = crate::config::check_mips(saved.mips)?;
    config.semihosting = saved.semihosting;
    config.generation = saved.generation;
    config.button = saved.button;
    if saved.agent {
        config.agent.get_or_insert(Task::None);
    } else if config.agent.take().is_some() {
        return Err(Failure::usage(
            "the saved machine has no channels to an agent; `ringer test` makes one that has, with --image",
        ));
    }
    if config.disks.is_empty() {
        config.disks = saved
            .disks
            .iter()
            .map(|disk| DiskSpec {
                path: disk.path.clone(),
                read_only: disk.read_only,
                format: disk.format,
                overlay: disk.overlay,
                kept: disk.kept.clone(),
                serial: disk.serial.clone(),
            })
            .collect();
    }
    if config.disks.len() != saved.disks.len() {
        return Err(Failure::usage(format_args!(
            "the saved machine has {} disks, and --disk names {}; leave --disk out or name all",
            saved.disks.len(),
            config.disks.len()
        )));
    }
    for (given, had) in config.disks.iter().zip(&saved.disks) {
        if given.overlay != had.overlay {
            return Err(Failure::usage(format_args!(
                "the saved machine had the disk {} {} overlay; give it so",
                had.path.display(),
                if had.overlay { "with" } else { "without" }
            )));
        }
    }
    if config.nets.is_empty() {
        for text in &saved.net {
            config.nets.extend(NetSpec::parse(text)?);
        }
        if config.as_clone {
            // The one that was saved has it.
            config.nets.iter_mut().for_each(|card| card.mac = None);
        }
    }
    if config.publish.is_empty() {
        for text in &saved.publish {
            let mut publish = parse_publish(text)?;
            if config.as_clone {
                // The one that was saved has the port; another one is free.
                publish.host.set_port(0);
            }
            config.publish.push(publish);
        }
    }
    if config.nets.len() != saved.nets {
        return Err(Failure::usage(format_args!(
            "the saved machine has {} network cards; give --net as often",
            saved.nets
        )));
    }
    config.shares = share::adopt(&config.shares, &saved.shares)?;
    Ok(Symbols {
        tohost: saved.tohost,
        fromhost: saved.fromhost,
        begin_signature: saved.begin_signature,
        end_signature: saved.end_signature,
    })
}

/// Puts the saved state into a machine built from the adopted description.
pub fn restore(vm: &Vm, config: &VmConfig, reader: &Reader) -> Result<(), Failure> {
    let board = &vm.machine.board;
    let console = &vm.machine.console;
    console.history().set_ready(reader.machine().ready);
    for (disk, had) in vm.machine.disks.iter().zip(&reader.machine().disks) {
        if disk.len != had.len {
            return Err(Failure::monitor(format_args!(
                "the disk {} has {} bytes now and had {} when the machine was saved; give the same disk",
                disk.spec.path.display(),
                disk.len,
                had.len
            )));
        }
    }
    ram::restore(board.ram(), &vm.machine.memory, reader).map_err(Failure::monitor)?;
    for (number, disk) in vm.machine.disks.iter().enumerate() {
        if let Some(overlay) = &disk.overlay {
            reader
                .pages(&part::overlay(number), |number, content| {
                    overlay
                        .restore_blocks(number, content)
                        .map_err(|error| error.to_string())
                })
                .map_err(Failure::monitor)?;
        }
    }
    let bytes = reader.part(part::BOARD).map_err(Failure::monitor)?;
    board.restore(&bytes).map_err(Failure::monitor)?;
    if let Some(sbi) = &vm.sbi {
        let bytes = reader.part(part::SBI).map_err(Failure::monitor)?;
        sbi.restore(&bytes).map_err(Failure::monitor)?;
    }
    for (number, seat) in vm.seats.iter().enumerate() {
        let bytes = reader.part(&part::hart(number)).map_err(Failure::monitor)?;
        restore_hart(&mut sit(seat), number, &bytes)
            .map_err(|reason| Failure::monitor(reader.damaged(reason)))?;
    }
    let bytes = reader
        .optional_part(part::CONNECTIONS, LARGEST_CONNECTIONS)
        .map_err(Failure::monitor)?;
    if let Some(bytes) = bytes {
        let saved: ConnectionsPart = ringer_hart::persist::decode("the connections", &bytes)
            .map_err(|error| Failure::monitor(reader.damaged(error)))?;
        vm.machine.networks.restore_ends(&saved.ends);
    }
    // Others may go on from the same state. A run that is to repeat must not see a difference.
    if let (Some(generation), MachineClock::Host(_)) = (board.generation(), &vm.machine.clock) {
        generation.begin(random_generation(false)?);
    }
    vm.machine.networks.renew_addresses(board, config.as_clone);
    Ok(())
}

fn restore_hart(seat: &mut Seat, number: usize, bytes: &[u8]) -> Result<(), String> {
    let state: HartPart =
        ringer_hart::persist::decode("a hart", bytes).map_err(|error| error.to_string())?;
    let hart = Hart::restore(&state.hart).map_err(|error| error.to_string())?;
    if hart.id != number {
        return Err(format!("hart {number} has another hart's state"));
    }
    seat.activity = match state.activity {
        0 => Activity::Running,
        1 => Activity::Waiting,
        2 => Activity::Stopped,
        _ => return Err(format!("hart {number} does nothing known")),
    };
    seat.hart = hart;
    Ok(())
}
