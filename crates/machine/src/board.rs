//! The board: everything around the harts at its place in the memory map. Harts see it as
//! their [`Bus`].

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use core::sync::atomic::{Ordering::Relaxed, Ordering::SeqCst};

use minicbor::bytes::ByteVec;
use ringer_hart::bus::irq;
use ringer_hart::extensions::Profile;
use ringer_hart::persist::{Persist, PersistError, decode, encode};
use ringer_hart::{Bus, BusFault, GuestPhys, HartId, Lines, Ram, Width};
use spin::Once;

use crate::aclint::Aclint;
use crate::backend::ConsoleBackend;
use crate::clock::Clock;
use crate::device::{Device, IrqLine};
use crate::generation::{Generation, Id};
use crate::memory_map::{self, Span, VIRTIO_SLOTS, virtio_slot};
use crate::plic::Plic;
use crate::power::{PowerSwitch, Shutdown};
use crate::rom::{Handover, Rom};
use crate::rtc::Rtc;
use crate::syscon::Syscon;
use crate::uart::Uart;
use crate::virtio::EmptySlot;

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

/// Who wants to know of every access to a device.
pub trait AccessTap: Send + Sync {
    /// `value` was read by hart `hart` at `offset` of this device, or written if `store`.
    fn access(
        &self,
        hart: HartId,
        device: &str,
        offset: u64,
        width: Width,
        value: u64,
        store: bool,
    );
}

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

/// A device at its place, and how often it was reached.
struct Region {
    span: Span,
    device: Arc<dyn Device>,
    loads: AtomicU64,
    stores: AtomicU64,
}

impl Region {
    fn new(span: Span, device: Arc<dyn Device>) -> Self {
        Self {
            span,
            device,
            loads: AtomicU64::new(0),
            stores: AtomicU64::new(0),
        }
    }
    fn is_plic(&self) -> bool {
        self.span == memory_map::PLIC
    }
}

/// How often harts have reached a device since the board was built.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccessCount {
    /// The device's name.
    pub device: String,
    /// Reads.
    pub loads: u64,
    /// Writes.
    pub stores: u64,
}

/// The machine around the harts.
pub struct Board {
    ram: Arc<Ram>,
    lines: Arc<[Lines]>,
    /// For each hart the time when it began its slice.
    recent: Box<[AtomicU64]>,
    clock: Arc<dyn Clock>,
    /// By address, without overlaps.
    regions: Vec<Region>,
    unmapped: AtomicU64,
    /// Who looks on, if somebody does.
    tap: Once<Arc<dyn AccessTap>>,
    /// The address of the watched page; odd for none.
    watched: AtomicU64,
    power: Arc<PowerSwitch>,
    rom: Arc<Rom>,
    uart: Arc<Uart>,
    virtio_devices: usize,
    profile: Profile,
    generation: Option<Arc<Generation>>,
    /// Devices must not take anything up.
    still: AtomicBool,
    /// Polls that are under way.
    polls: AtomicUsize,
}

#[derive(minicbor::Encode, minicbor::Decode)]
struct State {
    #[n(0)]
    devices: BTreeMap<String, ByteVec>,
}

impl Board {
    /// How many harts there are.
    pub fn harts(&self) -> usize {
        self.lines.len()
    }
    /// The wires into all harts.
    pub fn all_lines(&self) -> &Arc<[Lines]> {
        &self.lines
    }
    /// Guest RAM, to be shared.
    pub fn shared_ram(&self) -> &Arc<Ram> {
        &self.ram
    }
    /// Has harts look up after a store to the page of RAM at `address`, where a program leaves
    /// messages for its host. One page at most; harts must not run yet.
    pub fn watch(&self, address: GuestPhys) {
        self.watched.store(address.page().0, Relaxed);
    }
    /// Has somebody told of every access of the harts to devices. Once; harts must not run yet.
    pub fn set_tap(&self, tap: Arc<dyn AccessTap>) {
        self.tap.call_once(|| tap);
    }
    /// The devices' names.
    pub fn device_names(&self) -> Vec<String> {
        let names = self.regions.iter().map(|region| region.device.name());
        names.map(ToString::to_string).collect()
    }
    /// The clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }
    /// How many virtio slots have a device, from slot 0 on.
    pub fn virtio_devices(&self) -> usize {
        self.virtio_devices
    }
    /// What the guest is told that its harts have.
    pub fn profile(&self) -> Profile {
        self.profile
    }
    /// The serial port, for what else writes to the terminal behind it.
    pub fn uart(&self) -> &Arc<Uart> {
        &self.uart
    }
    /// The switch by which guests end their run.
    pub fn power(&self) -> &Arc<PowerSwitch> {
        &self.power
    }
    /// The generation id, if the machine has one.
    pub fn generation(&self) -> Option<&Generation> {
        self.generation.as_deref()
    }
    /// Burns the reset vector into the boot ROM.
    pub fn set_handover(&self, handover: Handover) {
        self.rom.set_handover(handover);
    }
    /// What the guest has asked for, if anything, to end its run.
    pub fn take_shutdown(&self) -> Option<Shutdown> {
        self.power.take()
    }
    /// Lets all devices take up what their backends have, unless they are to keep still.
    pub fn poll(&self) {
        self.poll_some(&self.regions);
    }
    /// Lets the device in a virtio slot do so.
    pub fn poll_virtio(&self, slot: usize) {
        let base = virtio_slot(slot).base;
        let at = self.regions.binary_search_by_key(&base, |r| r.span.base);
        self.poll_some(at.ok().and_then(|at| self.regions.get(at)));
    }
    fn poll_some<'a>(&'a self, regions: impl IntoIterator<Item = &'a Region>) {
        // One of the two sides sees the other: this is counted before `still` is looked at.
        self.polls.fetch_add(1, SeqCst);
        if !self.still.load(SeqCst) {
            for region in regions {
                region.device.poll();
            }
        }
        self.polls.fetch_sub(1, SeqCst);
    }
    /// Has the devices keep still, so that neither they nor RAM change by polls: while a machine
    /// is saved, say. What came meanwhile is taken up at the first poll afterwards.
    pub fn keep_still(&self, still: bool) {
        self.still.store(still, SeqCst);
    }
    /// Whether a poll that began before [`Board::keep_still`] is still under way.
    pub fn is_polling(&self) -> bool {
        self.polls.load(SeqCst) != 0
    }
    /// All devices back to power-on. RAM and harts are not touched.
    pub fn reset(&self) {
        // The one wire that no device holds: harts and SBI calls raise it.
        for lines in self.lines.iter() {
            lines.lower(irq::SSI);
        }
        for region in self.plic_last() {
            region.device.reset();
        }
        self.power.take();
    }
    /// How often each device was reached.
    pub fn access_counts(&self) -> Vec<AccessCount> {
        (self.regions.iter())
            .map(|region| AccessCount {
                device: region.device.name().to_string(),
                loads: region.loads.load(Relaxed),
                stores: region.stores.load(Relaxed),
            })
            .collect()
    }
    /// How many accesses found nothing, or no register of that width.
    pub fn faults(&self) -> u64 {
        self.unmapped.load(Relaxed)
    }

    /// All regions; the PLIC after those whose wires lead to it, which it latches.
    fn plic_last(&self) -> impl Iterator<Item = &Region> {
        let others = self.regions.iter().filter(|region| !region.is_plic());
        others.chain(self.regions.iter().filter(|region| region.is_plic()))
    }

    /// The device at `addr` and the offset there, if the access is aligned and all inside.
    fn find(&self, addr: GuestPhys, width: Width) -> Option<(&Region, u64)> {
        if !addr.is_aligned(width.bytes()) {
            return None;
        }
        let behind = self.regions.partition_point(|r| r.span.base <= addr);
        let region = self.regions.get(behind.checked_sub(1)?)?;
        let offset = addr.0.checked_sub(region.span.base.0)?;
        // Both are multiples of the width, so an access that starts inside ends inside.
        (offset < region.span.len).then_some((region, offset))
    }

    fn fault(&self) -> BusFault {
        self.unmapped.fetch_add(1, Relaxed);
        BusFault
    }

    fn restore_all(&self, states: &BTreeMap<String, ByteVec>) -> Result<(), PersistError> {
        let mismatch = |reason| PersistError::Mismatch {
            part: "the board",
            reason,
        };
        for region in self.plic_last() {
            let name = region.device.name();
            let state = states
                .get(name)
                .ok_or_else(|| mismatch(format!("it has no {name}")))?;
            region.device.restore(state)?;
        }
        Ok(())
    }
}

impl Bus for Board {
    #[inline]
    fn ram(&self) -> &Ram {
        &self.ram
    }
    fn load(&self, hart: HartId, addr: GuestPhys, width: Width) -> Result<u64, BusFault> {
        let (region, offset) = self.find(addr, width).ok_or_else(|| self.fault())?;
        region.loads.fetch_add(1, Relaxed);
        let value = (region.device.load(offset, width)).map_err(|BusFault| self.fault())?;
        if let Some(tap) = self.tap.get() {
            tap.access(hart, region.device.name(), offset, width, value, false);
        }
        Ok(value)
    }
    fn store(
        &self,
        hart: HartId,
        addr: GuestPhys,
        width: Width,
        value: u64,
    ) -> Result<(), BusFault> {
        let (region, offset) = self.find(addr, width).ok_or_else(|| self.fault())?;
        region.stores.fetch_add(1, Relaxed);
        if let Some(tap) = self.tap.get() {
            let value = value & width.mask();
            tap.access(hart, region.device.name(), offset, width, value, true);
        }
        region
            .device
            .store(offset, width, value & width.mask())
            .map_err(|BusFault| self.fault())
    }
    fn watched_page(&self) -> Option<GuestPhys> {
        let page = self.watched.load(Relaxed);
        (page & 1 == 0).then_some(GuestPhys(page))
    }
    fn fetch(&self, addr: GuestPhys) -> Result<u16, BusFault> {
        // Of all that is not RAM, only the boot ROM holds code.
        let (region, offset) = self.find(addr, Width::Half).ok_or_else(|| self.fault())?;
        if region.span != memory_map::ROM {
            return Err(self.fault());
        }
        region
            .device
            .load(offset, Width::Half)
            .map(|parcel| parcel as u16)
    }
    #[inline]
    fn time(&self) -> u64 {
        self.clock.ticks()
    }
    #[inline]
    fn recent_time(&self, hart: HartId) -> u64 {
        match self.recent.get(hart) {
            Some(recent) => recent.load(Relaxed),
            None => self.time(),
        }
    }
    fn recent_time_place(&self, hart: HartId) -> Option<&AtomicU64> {
        self.recent.get(hart)
    }
    fn look_at_clock(&self, hart: HartId) {
        if let Some(recent) = self.recent.get(hart) {
            recent.store(self.time(), Relaxed);
        }
    }
    #[inline]
    fn lines(&self, hart: HartId) -> &Lines {
        &self.lines[hart]
    }
}

impl Persist for Board {
    fn save(&self) -> Vec<u8> {
        let devices = (self.regions.iter())
            .map(|region| {
                let device = &region.device;
                (device.name().to_string(), device.save().into())
            })
            .collect();
        encode(&State { devices })
    }
    fn restore(&self, bytes: &[u8]) -> Result<(), PersistError> {
        let saved: State = decode("the board", bytes)?;
        let stranger = (saved.devices.keys()).find(|name| {
            !self
                .regions
                .iter()
                .any(|r| r.device.name() == name.as_str())
        });
        if let Some(name) = stranger {
            return Err(PersistError::Mismatch {
                part: "the board",
                reason: format!("this one has no {name}"),
            });
        }
        // A device that refuses its state must not leave the others with theirs.
        let before: State = decode("the board", &self.save())?;
        self.restore_all(&saved.devices).inspect_err(|_| {
            for region in self.plic_last() {
                if let Some(state) = before.devices.get(region.device.name()) {
                    let taken = region.device.restore(state);
                    debug_assert!(taken.is_ok(), "a device refuses what it saved");
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::VirtualClock;
    use crate::conformance::{SharedTerminal, WIDTHS, test_ram};
    use proptest::prelude::*;
    use ringer_hart::bus::request;

    fn board(harts: usize) -> (Board, SharedTerminal, Arc<VirtualClock>) {
        let terminal = SharedTerminal::default();
        let clock = Arc::new(VirtualClock::default());
        let lines = (0..harts).map(|_| Lines::new()).collect();
        let board = BoardBuilder::new(
            Arc::new(test_ram(1 << 20)),
            lines,
            clock.clone(),
            Box::new(terminal.clone()),
        )
        .build()
        .unwrap();
        (board, terminal, clock)
    }
    fn load(board: &Board, addr: u64, width: Width) -> Result<u64, BusFault> {
        board.load(0, GuestPhys(addr), width)
    }
    fn store(board: &Board, addr: u64, width: Width, value: u64) -> Result<(), BusFault> {
        board.store(0, GuestPhys(addr), width, value)
    }

    #[test]
    fn everything_is_where_the_virt_board_has_it() {
        let (board, terminal, clock) = board(1);
        board.set_handover(Handover {
            firmware: memory_map::RAM_BASE,
            device_tree: GuestPhys(0x8010_0000),
            kernel: GuestPhys(0),
        });
        clock.advance(77);
        assert_eq!(load(&board, 0x1000, Width::Word), Ok(0x297));
        assert_eq!(load(&board, 0x200_bff8, Width::Double), Ok(77));
        for slot in 0..8 {
            let base = 0x1000_1000 + slot * 0x1000;
            assert_eq!(load(&board, base, Width::Word), Ok(0x7472_6976));
            assert_eq!(load(&board, base + 8, Width::Word), Ok(0));
        }
        assert_eq!(board.time(), 77);
        assert_ne!(load(&board, 0x10_1000, Width::Word), Ok(0));
        store(&board, 0x1000_0000, Width::Byte, u64::from(b'!')).unwrap();
        assert_eq!(terminal.shown(), "!");
        store(&board, 0xc00_0028, Width::Word, 1).unwrap();
        store(&board, 0xc00_2080, Width::Word, 1 << 10).unwrap();
        store(&board, 0x1000_0001, Width::Byte, 1).unwrap();
        terminal.type_in("x");
        board.poll();
        assert_eq!(board.lines(0).pending(), irq::SEI);
        assert_eq!(load(&board, 0xc20_1004, Width::Word), Ok(10));
        store(&board, 0x10_0000, Width::Word, 0x5555).unwrap();
        assert_ne!(board.lines(0).requests() & request::YIELD, 0);
        assert_eq!(board.take_shutdown(), Some(Shutdown::PowerOff));
        let counts = board.access_counts();
        let uart = counts.iter().find(|c| c.device == "uart").unwrap();
        assert_eq!((uart.loads, uart.stores), (0, 2));
    }

    #[test]
    fn code_is_fetched_from_the_rom_only() {
        let (board, ..) = board(1);
        board.set_handover(Handover {
            firmware: memory_map::RAM_BASE,
            device_tree: GuestPhys(0),
            kernel: GuestPhys(0),
        });
        assert_eq!(board.fetch(GuestPhys(0x1000)), Ok(0x297));
        assert_eq!(board.fetch(GuestPhys(0x1006)), Ok(0x0282));
        for addr in [0x10_0000, 0xc20_0004, 0x1000_0000, 0] {
            assert_eq!(board.fetch(GuestPhys(addr)), Err(BusFault));
        }
    }

    /// A hart run from reset reaches the firmware with what it needs in its registers.
    #[test]
    fn the_reset_vector_runs() {
        let (board, ..) = board(2);
        board.set_handover(Handover {
            firmware: GuestPhys(0x8000_1000),
            device_tree: GuestPhys(0x8008_0000),
            kernel: GuestPhys(0),
        });
        let mut hart = ringer_hart::Hart::new(1, memory_map::ROM.base.0);
        for _ in 0..6 {
            assert_eq!(hart.step(&board), None);
        }
        assert_eq!(hart.pc, 0x8000_1000);
        assert_eq!(hart.x[10], 1);
        assert_eq!(hart.x[11], 0x8008_0000);
        let info = board.load(1, GuestPhys(hart.x[12]), Width::Double);
        assert_eq!(info, Ok(0x4942_534f));
    }

    #[test]
    fn holes_misalignment_and_read_only_fault() {
        let (board, ..) = board(1);
        for addr in [
            0,
            0xfff,
            0x10_2000,
            0x2f0_0000,
            0x1000_0100,
            0x7fff_ffff,
            u64::MAX,
        ] {
            assert_eq!(load(&board, addr, Width::Byte), Err(BusFault));
            assert_eq!(store(&board, addr, Width::Byte, 0), Err(BusFault));
        }
        assert_eq!(load(&board, 0x1001, Width::Half), Err(BusFault));
        assert_eq!(load(&board, 0x200_4004, Width::Double), Err(BusFault));
        assert_eq!(store(&board, 0x1000, Width::Word, 0), Err(BusFault));
        assert_eq!(board.faults(), 17);
    }

    #[test]
    fn impossible_boards_are_refused() {
        let build = |ram, harts: usize| {
            let lines = (0..harts).map(|_| Lines::new()).collect();
            let clock = Arc::new(VirtualClock::default());
            let console = Box::new(SharedTerminal::default());
            BoardBuilder::new(Arc::new(ram), lines, clock, console)
        };
        let error = |builder: BoardBuilder| builder.build().err();
        assert_eq!(error(build(test_ram(4096), 0)), Some(BuildError::Harts(0)));
        assert_eq!(
            error(build(test_ram(4096), 513)),
            Some(BuildError::Harts(513))
        );
        let same = |name: &'static str| -> MakeDevice {
            Box::new(move |_, _| Arc::new(crate::conformance::Named(name)))
        };
        let full = (0..9).fold(build(test_ram(4096), 1), |b, _| b.virtio(same("x")));
        assert_eq!(error(full), Some(BuildError::Slots(9)));
        let twice = build(test_ram(4096), 1).virtio(same("uart"));
        assert_eq!(error(twice), Some(BuildError::Name("uart".to_string())));
    }

    #[test]
    fn state_moves_to_another_board_and_reset_clears_it() {
        let (one, _, clock) = board(2);
        let power_on = one.save();
        store(&one, 0xc00_0004, Width::Word, 5).unwrap();
        store(&one, 0x200_4008, Width::Double, 99).unwrap();
        store(&one, 0x1000_0007, Width::Byte, 0xaa).unwrap();
        clock.advance(1234);
        let (two, ..) = board(2);
        two.restore(&one.save()).unwrap();
        assert_eq!(two.save(), one.save());
        assert_eq!(two.time(), 1234);
        assert_eq!(two.lines(1).mtimecmp(), 99);
        one.reset();
        assert_eq!(one.save(), power_on);
    }

    #[test]
    fn state_that_does_not_fit_changes_nothing() {
        let (one, ..) = board(1);
        store(&one, 0x1000_0007, Width::Byte, 0xaa).unwrap();
        let (two, ..) = board(2);
        let before = two.save();
        assert!(matches!(
            two.restore(&one.save()),
            Err(PersistError::Mismatch { .. })
        ));
        assert_eq!(two.save(), before);

        let mut state: State = decode("", &before).unwrap();
        state.devices.remove("rtc");
        assert!(two.restore(&encode(&state)).is_err());
        state
            .devices
            .insert("rtc".to_string(), ByteVec::from(Vec::new()));
        assert!(two.restore(&encode(&state)).is_err());
        let mut state: State = decode("", &before).unwrap();
        state
            .devices
            .insert("gpu".to_string(), ByteVec::from(Vec::new()));
        assert!(two.restore(&encode(&state)).is_err());
        assert_eq!(two.save(), before);
    }

    proptest! {
        /// Any access anywhere: an answer of that width or a fault, and state that can be
        /// saved and restored.
        #[test]
        fn random_accesses(
            accesses in prop::collection::vec(
                (
                    prop_oneof![
                        any::<u64>(),
                        0..0x1200_0000u64,
                        0x1000_0000..0x1000_0008u64,
                        0xc00_0000..0xc00_2400u64,
                        0x200_0000..0x200_c000u64,
                    ],
                    prop::sample::select(&WIDTHS[..]),
                    any::<Option<u64>>(),
                ),
                0..200,
            ),
        ) {
            let (one, ..) = board(2);
            for (addr, width, value) in accesses {
                match value {
                    Some(value) => drop(store(&one, addr, width, value)),
                    None => {
                        if let Ok(value) = load(&one, addr, width) {
                            prop_assert_eq!(value & !width.mask(), 0);
                        }
                    }
                }
                one.poll();
            }
            let (two, ..) = board(2);
            two.restore(&one.save()).unwrap();
            prop_assert_eq!(two.save(), one.save());
        }

        /// Damaged state is refused without a trace, or does no harm.
        #[test]
        fn damaged_state(
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let (one, ..) = board(2);
            let before = one.save();
            let mut bytes = before.clone();
            for (at, value) in flips {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            match one.restore(&bytes) {
                Err(_) => prop_assert_eq!(one.save(), before),
                Ok(()) => {
                    one.poll();
                    one.reset();
                }
            }
        }
    }
}
