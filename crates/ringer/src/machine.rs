//! Building a machine from its description: memory, clock, board, devices and what stands
//! behind them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringer_hart::{Bus, Lines};
use ringer_machine::backend::{ConsoleBackend, EntropyBackend};
use ringer_machine::board::{Board, BoardBuilder};
use ringer_machine::clock::{Clock, NANOS_PER_TICK, VirtualClock};
use ringer_machine::memory_map::{RAM_BASE, VIRTIO_SLOTS};
use ringer_machine::virtio::{Balloon, Blk, Button, ButtonControl, Rng, Share, in_slot};

use crate::agent::Agent;
use crate::args::ConsoleKind;
use crate::clock::{HostClock, Pausable};
use crate::config::{DiskSpec, VmConfig};
use crate::console::{Console, NoConsole};
use crate::disk::qcow2::Qcow2Disk;
use crate::disk::{self, Overlay};
use crate::entropy::{FixedEntropy, HostEntropy};
use crate::exit::Failure;
use crate::io_counts::{Counted, IoCounts};
use crate::memory::{HostMemory, Releaser};
use crate::net::{MacAddress, Networks};
use crate::runner::Parker;
use crate::share;

/// Seeds of the fixed random sequences; different uses draw from different ones.
mod seed {
    pub const DEVICE: u64 = 1;
    pub const NETWORK: u64 = 2;
    pub const BOOT: u64 = 3;
    pub const GENERATION: u64 = 4;
}

/// The machine's time.
#[derive(Clone)]
pub enum MachineClock {
    /// The host's.
    Host(Arc<HostClock>),
    /// By instruction counts.
    Virtual(Arc<VirtualClock>),
}

impl MachineClock {
    fn new(deterministic: bool) -> Self {
        if deterministic {
            Self::Virtual(Arc::default())
        } else {
            Self::Host(Arc::default())
        }
    }
    /// As the board takes it.
    pub fn shared(&self) -> Arc<dyn Clock> {
        match self {
            Self::Host(clock) => clock.clone(),
            Self::Virtual(clock) => clock.clone(),
        }
    }
    /// As the runner stops it.
    pub fn pausable(&self) -> &dyn Pausable {
        match self {
            Self::Host(clock) => &**clock,
            Self::Virtual(clock) => &**clock,
        }
    }
}

/// A disk with what its saved state needs.
pub struct OpenDisk {
    /// As it was described.
    pub spec: DiskSpec,
    /// Its size in bytes.
    pub len: u64,
    /// What was written, if it is kept apart.
    pub overlay: Option<Overlay>,
    /// The image, if it has tables to write back.
    pub tables: Option<Qcow2Disk>,
}

/// A machine without harts: all around them.
pub struct Machine {
    /// The board.
    pub board: Arc<Board>,
    /// The memory behind its RAM.
    pub memory: Arc<HostMemory>,
    /// Its time.
    pub clock: MachineClock,
    /// The terminal's end of the console.
    pub console: Arc<Console>,
    /// Its networks.
    pub networks: Networks,
    /// The disks.
    pub disks: Vec<OpenDisk>,
    /// What disks and network cards transfer, by name.
    pub io: Vec<(String, Arc<IoCounts>)>,
    /// The channels to an agent in the guest.
    pub agent: Option<Agent>,
    /// The power button.
    pub button: Option<ButtonControl>,
    /// Of a deterministic machine: what its random device gives.
    pub random: FixedEntropy,
    /// Where the harts' threads sleep; in a deterministic machine all are the same.
    pub parkers: Vec<Arc<Parker>>,
}

/// What stands behind the guest's console; the monitor's own output for the guest (HTIF,
/// semihosting) goes the same way.
pub fn console_backend(config: &VmConfig, console: &Arc<Console>) -> Box<dyn ConsoleBackend> {
    match config.console {
        ConsoleKind::Stdio | ConsoleKind::Virtio => Box::new(console.port()),
        ConsoleKind::None => Box::new(NoConsole),
    }
}

impl Machine {
    /// Builds what `config` describes. Nothing runs yet.
    pub fn build(config: &VmConfig) -> Result<Self, Failure> {
        let memory = HostMemory::new(config.memory).map_err(Failure::monitor)?;
        let clock = MachineClock::new(config.deterministic);
        let console = Console::new(config.deterministic, &config.ready);
        let parkers = make_parkers(config);
        let lines: Arc<[Lines]> = parkers
            .iter()
            .map(|parker| Lines::with_waker(parker.clone().into()))
            .collect();
        let ram = Arc::new(memory.ram(RAM_BASE));
        let terminal = console_backend(config, &console);
        let (serial, second) = match config.console {
            ConsoleKind::Virtio => (Box::new(NoConsole) as Box<dyn ConsoleBackend>, terminal),
            _ => (terminal, Box::new(NoConsole) as Box<dyn ConsoleBackend>),
        };
        let mut builder = BoardBuilder::new(ram, lines, clock.shared(), serial);
        if config.generation {
            builder = builder.generation(random_generation(config.deterministic)?);
        }
        let mut disks = Vec::new();
        let mut io = Vec::new();
        for (number, spec) in config.disks.iter().enumerate() {
            let opened = disk::open(spec).map_err(Failure::monitor)?;
            let len = opened.backend.len();
            let serial = spec.serial.clone();
            let serial = serial.unwrap_or_else(|| format!("ringer-disk{number}"));
            let (backend, counts) = Counted::new(opened.backend);
            let device = Blk::new(Box::new(backend), &serial);
            let name = format!("disk{number}");
            builder = builder.virtio(in_slot(name.clone(), Box::new(device)));
            io.push((name, counts));
            disks.push(OpenDisk {
                spec: spec.clone(),
                len,
                overlay: opened.overlay,
                tables: opened.tables,
            });
        }
        let mut networks = Networks::default();
        // Published ports lead to the first card that can have some.
        let mut publish = config.publish.as_slice();
        for (number, spec) in config.nets.iter().enumerate() {
            let mac = match spec.mac {
                Some(mac) => mac,
                None => mac_address(number, config.deterministic)?,
            };
            let ports = if spec.is_user() {
                std::mem::take(&mut publish)
            } else {
                &[]
            };
            let (slot, name) = (config.disks.len() + number, format!("net{number}"));
            let (card, counts) = networks.connect(slot, &name, spec, mac, ports)?;
            builder = builder.virtio(card);
            io.push((name, counts));
        }
        let servers = share::open(&config.shares).map_err(Failure::monitor)?;
        for (spec, server) in config.shares.iter().zip(servers) {
            let device = Share::new(Box::new(server), &spec.tag);
            builder = builder.virtio(in_slot(format!("share-{}", spec.tag), Box::new(device)));
        }
        let random = FixedEntropy::new(seed::DEVICE);
        let source: Box<dyn EntropyBackend> = match config.deterministic {
            true => Box::new(random.clone()),
            false => Box::new(HostEntropy),
        };
        builder = builder.virtio(in_slot("rng".to_string(), Box::new(Rng::new(source))));
        let balloon = Balloon::new(Box::new(Releaser(memory.clone())));
        builder = builder.virtio(in_slot("balloon".to_string(), Box::new(balloon)));
        let second = ringer_machine::virtio::Console::new(second);
        builder = builder.virtio(in_slot("console".to_string(), Box::new(second)));
        let agent = config.agent.as_ref().map(|_| Agent::default());
        if let Some(agent) = &agent {
            builder = builder.virtio(in_slot("agent".to_string(), Box::new(agent.device())));
        }
        // The button is worth a slot that nothing else wants.
        let mut button = None;
        if config.button && builder.virtio_devices() < VIRTIO_SLOTS {
            let device = Button::new();
            button = Some(device.control());
            builder = builder.virtio(in_slot("button".to_string(), Box::new(device)));
        }
        let board = builder.build().map_err(Failure::monitor)?;
        Ok(Self {
            board: Arc::new(board),
            memory,
            clock,
            console,
            networks,
            disks,
            io,
            agent,
            button,
            random,
            parkers,
        })
    }
    /// Writes back what is cached of the disks' images, so that their files hold all that the
    /// guest has written.
    pub fn write_back_disks(&self) -> Result<(), Failure> {
        for disk in &self.disks {
            if let Some(tables) = &disk.tables {
                tables.write_back().map_err(|error| {
                    Failure::monitor(format_args!(
                        "cannot write the disk {}: {error}",
                        disk.spec.path.display()
                    ))
                })?;
            }
        }
        Ok(())
    }
    /// When the guest's time will be `ticks`, by the host's clock.
    pub fn instant_of(&self, ticks: u64) -> Instant {
        let ahead = ticks.saturating_sub(self.board.time());
        // A timer set for the end of time is asked again tomorrow.
        let nanos = ahead.saturating_mul(NANOS_PER_TICK).min(86_400_000_000_000);
        Instant::now() + Duration::from_nanos(nanos)
    }
}

fn make_parkers(config: &VmConfig) -> Vec<Arc<Parker>> {
    if config.deterministic {
        let only = Arc::new(Parker::default());
        return vec![only; config.harts];
    }
    (0..config.harts).map(|_| Arc::default()).collect()
}

fn entropy(deterministic: bool, seed: u64) -> Box<dyn EntropyBackend> {
    if deterministic {
        Box::new(FixedEntropy::new(seed))
    } else {
        Box::new(HostEntropy)
    }
}

/// Random bytes for the device tree, from which kernels seed their generators.
pub fn boot_seed(deterministic: bool) -> Result<[u8; 32], Failure> {
    let mut bytes = [0; 32];
    entropy(deterministic, seed::BOOT)
        .fill(&mut bytes)
        .map_err(Failure::monitor)?;
    Ok(bytes)
}

/// A generation id that no other machine has.
pub fn random_generation(deterministic: bool) -> Result<[u8; 16], Failure> {
    let mut id = [0; 16];
    entropy(deterministic, seed::GENERATION)
        .fill(&mut id)
        .map_err(Failure::monitor)?;
    Ok(id)
}

/// A locally administered address. Machines on one network must not share one, so it is random;
/// a saved machine keeps its own.
fn mac_address(number: usize, deterministic: bool) -> Result<MacAddress, Failure> {
    let mut mac = [0; 6];
    let mut random = entropy(deterministic, seed::NETWORK + number as u64);
    random.fill(&mut mac).map_err(Failure::monitor)?;
    mac[0] = mac[0] & !1 | 2;
    Ok(mac)
}
