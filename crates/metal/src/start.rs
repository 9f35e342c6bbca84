//! From reset to guests: finds the machine, shares out its memory, builds the guests of the
//! bundle, and releases the other harts.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use ringer_bundle::{Bundle, BundleError, Guest as Description};
use ringer_hart::extensions::{Paging, Profile};
use ringer_machine::memory_map::Span;
use ringer_metal::randomness::{Randomness, SEED};
use ringer_metal::schedule::Schedule;

use spin::{Mutex, Once};

use crate::bridge::Bridge;
use crate::clock;
use crate::console::Console;
use crate::cpu::{Abilities, Cpu, CpuPort};
use crate::grounds;
use crate::guest::{Guest, Surroundings};
use crate::hardware::memory::PhysicalMemory;
use crate::hardware::platform::Platform;
use crate::hardware::power::Power;
use crate::hardware::serial::Serial;
use crate::hardware::virtio::{self, HostCard, Slot};
use crate::hardware::{csr, leave_it_to_others, release_harts, stack};
use crate::monitor::{self, Monitor, Receiver, monitor};
use crate::network::Switches;
use crate::prompt::Prompt;

/// The monitor's heap: this part of memory, within bounds.
const HEAP_PART: u64 = 8;
const HEAP_LEAST: u64 = 8 << 20;
const HEAP_MOST: u64 = 256 << 20;
/// The exit code when the monitor itself cannot go on; `ringer` uses the same.
const FAILED: u16 = 125;

/// For last words.
static LAST_RESORT: Once<(Option<Serial>, Power)> = Once::new();

/// Stops with one line.
fn give_up(words: core::fmt::Arguments<'_>) -> ! {
    let (serial, power) = LAST_RESORT.get().copied().unwrap_or_default();
    Console::new(serial, &[]).say(format_args!("ringer: error: {words}\n"));
    power.off(FAILED)
}

#[panic_handler]
fn panicked(info: &core::panic::PanicInfo<'_>) -> ! {
    give_up(format_args!("{info}"))
}

/// The first hart comes here from reset.
#[unsafe(no_mangle)]
extern "C" fn first_hart(hart: usize, tree: usize, info: usize) -> ! {
    stack::close_the_end();
    let platform = match Platform::read(hart, tree, info) {
        Ok(platform) => platform,
        Err(error) => give_up(format_args!("{error}")),
    };
    if !platform.harts().contains(&hart) {
        // A small hart beside the others, say, which the device tree disables.
        leave_it_to_others();
    }
    let serial = platform.serial.map(|(serial, _)| serial);
    LAST_RESORT.call_once(|| (serial, platform.power));
    let mut memory = PhysicalMemory::of(&platform);
    let heap = (memory.total() / HEAP_PART).clamp(HEAP_LEAST, HEAP_MOST);
    let bundle = match load_bundle(&platform, &mut memory) {
        Ok(bundle) => bundle,
        Err(error) => give_up(format_args!("{error}")),
    };
    if memory.make_heap(heap).is_none() {
        let (heap, left) = (heap >> 20, memory.largest() >> 20);
        give_up(format_args!(
            "the monitor wants {heap} MiB of memory for itself, and {left} MiB are left: give the \
             machine more memory"
        ));
    }
    match build(platform, memory, bundle) {
        Ok(monitor) => monitor::set_up(monitor),
        Err(error) => give_up(format_args!("{error}")),
    };
    release_harts();
    work(hart)
}

/// The others come here once the first one has released them.
#[unsafe(no_mangle)]
extern "C" fn other_hart(hart: usize) -> ! {
    stack::close_the_end();
    work(hart)
}

fn work(hart: usize) -> ! {
    let monitor = monitor();
    let place = monitor.platform.harts().iter().position(|id| *id == hart);
    let Some(index) = place else {
        // A hart that the device tree does not name takes no part.
        loop {
            csr::wait();
        }
    };
    monitor.at_work.fetch_add(1, Ordering::Relaxed);
    Cpu::new(index).work()
}

/// Why there are no guests. It is found out before there is a heap.
#[derive(Debug, thiserror::Error)]
enum NoBundle {
    #[error(
        "there is no bundle of guests: make one by `ringer bundle`, and load it as the initial \
         RAM disk (-initrd)"
    )]
    NotNamed,
    #[error("what should be a bundle of guests is not in memory")]
    NotInMemory,
    #[error(transparent)]
    Unusable(#[from] BundleError),
}

fn load_bundle(
    platform: &Platform,
    memory: &mut PhysicalMemory,
) -> Result<&'static [u8], NoBundle> {
    let (start, len) = platform.bundle.ok_or(NoBundle::NotNamed)?;
    let len = match len {
        Some(len) => len,
        None => Bundle::length(platform.peek(start).ok_or(NoBundle::NotInMemory)?)?,
    };
    let span = Span::new(start, len);
    memory.loaded(span).ok_or(NoBundle::NotInMemory)
}

/// What guests are told of their harts: not what the real ones would have to be helped with.
fn profile(platform: &Platform, paging: Paging) -> Profile {
    /// Done by the monitor for the guest in any case, or without effect.
    const BY_THE_MONITOR: &[&str] = &["zicntr", "zihpm", "zicsr", "zifencei"];
    let by_the_monitor = |name: &str| {
        name.starts_with("ss") || name.starts_with("sv") || BY_THE_MONITOR.contains(&name)
    };
    let mut profile =
        Profile::FULL.filter(|name| by_the_monitor(name) || platform.has_extension(name));
    profile.paging = paging;
    profile
}

fn build(
    platform: Platform,
    mut memory: PhysicalMemory,
    bytes: &'static [u8],
) -> Result<Monitor, String> {
    let bundle = Bundle::parse(bytes).map_err(|error| alloc::format!("{error}"))?;
    let descriptions = bundle.guests;
    let names: Vec<&str> = descriptions.iter().map(|guest| guest.console).collect();
    let serial = platform.serial.map(|(serial, _)| serial);
    let console = Arc::new(Console::new(serial, &names));
    let cpus = platform.harts().len();
    console.say(format_args!(
        "ringer: {cpus} harts, {} MiB of memory, {} guests\n",
        memory.total() >> 20,
        names.len()
    ));
    let abilities = Abilities::find();
    if !abilities.protection {
        return Err("the harts of this machine have no physical memory protection".into());
    }
    let paging = abilities
        .paging
        .ok_or("the harts of this machine have no page tables (Sv39, Sv48 or Sv57)")?;
    let slots = platform.virtio_slots();
    let randomness = gather_randomness(&platform, &slots);
    let epoch = clock::epoch(&platform);
    let mut switches = Switches::default();
    let mut schedule = Schedule::new(cpus, platform.timebase);
    let mut seats = Vec::new();
    let mut guests = Vec::new();
    let bridges = build_bridges(&descriptions, &slots, &mut switches)?;
    let all_grounds = grounds::share_out(&descriptions, &mut memory, &slots, &console)?;
    for (number, (description, grounds)) in descriptions.into_iter().zip(all_grounds).enumerate() {
        let name = description.name;
        let share = description.share;
        let mut around = Surroundings {
            platform: &platform,
            console: &console,
            paging,
            profile: profile(&platform, paging),
            switches: &mut switches,
            epoch,
            randomness: &randomness,
        };
        let guest = Guest::build(number, seats.len(), description, grounds, &mut around)
            .map_err(|error| alloc::format!("{name} cannot start: {error}"))?;
        // A guest has its share, however many harts it asked for.
        let harts = u32::try_from(guest.harts.len()).unwrap_or(1).max(1);
        for hart in 0..guest.harts.len() {
            schedule.add(number, share / harts);
            seats.push((number, hart));
        }
        guests.push(guest);
    }
    if let Some(interrupts) = &platform.interrupts {
        let serial = platform.serial.map(|(_, irq)| irq);
        let cards = bridges.iter().filter_map(Bridge::interrupt);
        cards.chain(serial).for_each(|irq| interrupts.enable(irq));
    }
    Ok(Monitor {
        ports: (0..cpus).map(|_| CpuPort::default()).collect(),
        console,
        guests,
        schedule: Mutex::new(schedule),
        seats,
        prompt: Mutex::new(Prompt::default()),
        typed: Mutex::default(),
        bridges,
        due: AtomicU64::new(0),
        mail: AtomicBool::new(false),
        at_work: AtomicUsize::new(0),
        platform,
    })
}

/// What the machine has of randomness: a device, what its builder left, and how long it took
/// until here.
fn gather_randomness(platform: &Platform, slots: &[Slot]) -> Randomness {
    let mut bytes = [0; SEED];
    let count = virtio::random(slots, &mut bytes);
    let cycles = csr::read!("mcycle").to_le_bytes();
    let drawn = bytes.get(..count).unwrap_or_default();
    Randomness::new(&[platform.seed, drawn, &cycles])
}

/// Connects the bridged switches with the machine's network cards, both in their order.
fn build_bridges(
    descriptions: &[Description<'_>],
    slots: &[Slot],
    switches: &mut Switches,
) -> Result<Vec<Bridge>, String> {
    let ports = descriptions.iter().flat_map(|guest| &guest.ports);
    let bridged = ports.filter(|port| port.bridged).map(|port| port.switch);
    let bridged: BTreeSet<u32> = bridged.collect();
    let cards: Vec<&Slot> = virtio::cards(slots).collect();
    if bridged.len() > cards.len() {
        let (wanted, there) = (bridged.len(), cards.len());
        return Err(alloc::format!(
            "guests want {wanted} switches bridged, and the host has {there} network cards"
        ));
    }
    let pairs = bridged.into_iter().zip(cards).enumerate();
    pairs
        .map(|(number, (switch, slot))| {
            let card = HostCard::start(slot);
            let card = card
                .ok_or_else(|| alloc::format!("the host's network card {number} does not start"))?;
            let cable = switches.cable(switch, Receiver::Bridge(number));
            Ok(Bridge::new(card, cable))
        })
        .collect()
}
