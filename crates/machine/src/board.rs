//! The board: everything around the harts at its place in the memory map. Harts see it as
//! their [`Bus`].

mod builder;
#[cfg(test)]
mod tests;

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

use crate::clock::Clock;
use crate::device::Device;
use crate::generation::Generation;
use crate::memory_map::{self, Span, virtio_slot};
use crate::power::{PowerSwitch, Shutdown};
use crate::rom::{Handover, Rom};
use crate::uart::Uart;

pub use builder::{BoardBuilder, BuildError, MakeDevice};

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
