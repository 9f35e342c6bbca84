//! Puts a board together: the devices that every machine has, those it was given, and their wires.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use ringer_hart::extensions::Profile;
use ringer_hart::{GuestPhys, Lines, Ram};
use spin::Once;

use crate::aclint::Aclint;
use crate::backend::ConsoleBackend;
use crate::clock::Clock;
use crate::device::{Device, IrqLine};
use crate::generation::{Generation, Id};
use crate::memory_map::{self, VIRTIO_SLOTS, virtio_slot};
use crate::plic::Plic;
use crate::power::PowerSwitch;
use crate::rom::Rom;
use crate::rtc::Rtc;
use crate::syscon::Syscon;
use crate::uart::Uart;
use crate::virtio::EmptySlot;

use super::{Board, Region};

/// Why a board cannot be built.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BuildError {
    /// There is no hart, or more than the memory map has room for.
    #[error("a machine has 1 to {most} harts, not {0}", most = memory_map::MAX_HARTS)]
    Harts(usize),
    /// RAM is elsewhere than the memory map has it, beyond all addresses, or ends in a page.
    #[error(
        "RAM is whole pages from {} to below 2^56, not {len:#x} bytes at {base}",
        memory_map::RAM_BASE
    )]
    Ram {
        /// Where it was to start.
        base: GuestPhys,
        /// How large it was to be.
        len: u64,
    },
    /// More virtio devices than slots.
    #[error("a machine has {VIRTIO_SLOTS} virtio slots, and {0} devices were asked for")]
    Slots(usize),
    /// Two devices have one name.
    #[error("two devices are called {0}")]
    Name(String),
}

/// Makes the device for a slot, given the RAM it reaches and the wire it interrupts by.
pub type MakeDevice = Box<dyn FnOnce(Arc<Ram>, IrqLine) -> Arc<dyn Device>>;

/// What a board is to be made of.
pub struct BoardBuilder {
    ram: Arc<Ram>,
    lines: Arc<[Lines]>,
    clock: Arc<dyn Clock>,
    console: Box<dyn ConsoleBackend>,
    virtio: Vec<MakeDevice>,
    profile: Profile,
    generation: Option<Id>,
}

impl BoardBuilder {
    /// A board with this RAM, a hart for each of `lines`, and `console` behind its serial port.
    pub fn new(
        ram: Arc<Ram>,
        lines: Arc<[Lines]>,
        clock: Arc<dyn Clock>,
        console: Box<dyn ConsoleBackend>,
    ) -> Self {
        Self {
            ram,
            lines,
            clock,
            console,
            virtio: Vec::new(),
            profile: Profile::FULL,
            generation: None,
        }
    }

    /// Gives the machine a generation id.
    pub fn generation(mut self, id: Id) -> Self {
        self.generation = Some(id);
        self
    }

    /// Tells the guest that its harts have less than all of [`Profile::FULL`].
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// How many virtio slots are taken.
    pub fn virtio_devices(&self) -> usize {
        self.virtio.len()
    }
    /// Puts a device into the next virtio slot.
    pub fn virtio(mut self, make: MakeDevice) -> Self {
        self.virtio.push(make);
        self
    }

    /// Builds the board.
    pub fn build(self) -> Result<Board, BuildError> {
        let Self {
            ram,
            lines,
            clock,
            console,
            virtio,
            profile,
            generation,
        } = self;
        if lines.is_empty() || lines.len() > memory_map::MAX_HARTS {
            return Err(BuildError::Harts(lines.len()));
        }
        let (base, len) = (ram.base(), ram.len());
        let whole_pages = len % ringer_hart::PAGE_SIZE == 0;
        if base != memory_map::RAM_BASE || len > (1 << 56) - base.0 || !whole_pages {
            return Err(BuildError::Ram { base, len });
        }
        if virtio.len() > VIRTIO_SLOTS {
            return Err(BuildError::Slots(virtio.len()));
        }

        let plic = Arc::new(Plic::new(lines.clone()));
        let wire = |source| IrqLine::new(plic.clone(), source);
        let power = Arc::new(PowerSwitch::new(lines.clone()));
        let rom = Arc::new(Rom::new());
        let uart = Arc::new(Uart::new(console, wire(memory_map::UART_IRQ)));
        let mut regions = Vec::new();
        let mut place = |span, device: Arc<dyn Device>| regions.push(Region::new(span, device));
        place(memory_map::ROM, rom.clone());
        place(memory_map::SYSCON, Arc::new(Syscon::new(power.clone())));
        place(
            memory_map::RTC,
            Arc::new(Rtc::new(clock.clone(), wire(memory_map::RTC_IRQ))),
        );
        place(
            memory_map::ACLINT,
            Arc::new(Aclint::new(lines.clone(), clock.clone())),
        );
        place(memory_map::PLIC, plic.clone());
        place(memory_map::UART, uart.clone());
        let generation =
            generation.map(|id| Arc::new(Generation::new(id, wire(memory_map::GENERATION_IRQ))));
        if let Some(generation) = &generation {
            place(memory_map::GENERATION, generation.clone());
        }
        let occupied = virtio.len();
        for slot in occupied..VIRTIO_SLOTS {
            let empty = EmptySlot::new(&format!("virtio slot {slot}"));
            place(virtio_slot(slot), Arc::new(empty));
        }
        for (slot, make) in virtio.into_iter().enumerate() {
            let irq = wire(memory_map::VIRTIO_IRQ + slot as u32);
            place(virtio_slot(slot), make(ram.clone(), irq));
        }
        regions.sort_by_key(|region| region.span.base);
        let mut names: Vec<&str> = regions.iter().map(|r| r.device.name()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(BuildError::Name(twice[0].to_string()));
        }
        Ok(Board {
            ram,
            recent: lines.iter().map(|_| AtomicU64::new(0)).collect(),
            lines,
            clock,
            regions,
            unmapped: AtomicU64::new(0),
            tap: Once::new(),
            watched: AtomicU64::new(1),
            power,
            rom,
            uart,
            virtio_devices: occupied,
            profile,
            generation,
            still: AtomicBool::new(false),
            polls: AtomicUsize::new(0),
        })
    }
}
