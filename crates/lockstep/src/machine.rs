//! A machine small enough to be compared byte by byte: RAM, a boot ROM, and one device that
//! records what is done to it and gives the program the clock and the interrupt wires.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use ringer_hart::bus::{irq, request};
use ringer_hart::{Bus, BusFault, GuestPhys, HartId, Lines, PAGE_SIZE, Ram, Width};

/// Where the device is.
pub const DEVICE: u64 = 0x1000_0000;
/// How much address space it has.
pub const DEVICE_LEN: u64 = PAGE_SIZE;
/// Where the ROM is.
pub const ROM: u64 = 0x1000;

/// The device's registers, as offsets from [`DEVICE`].
pub mod register {
    /// Eight doublewords that hold what is written, at any width.
    pub const SCRATCH: u64 = 0x00;
    /// Writes raise these `mip` bits; reads show the wires.
    pub const RAISE: u64 = 0x40;
    /// Writes lower these `mip` bits.
    pub const LOWER: u64 = 0x48;
    /// The time at which the machine timer interrupt rises.
    pub const TIMER: u64 = 0x50;
    /// The clock. It moves only when it is written, here or by whoever owns the machine.
    pub const CLOCK: u64 = 0x58;
    /// Writes ask the hart for work: bits of `ringer_hart::bus::request`.
    pub const REQUEST: u64 = 0x60;
    /// Writes change memory from outside, by the number of a [`super::Poke`], and fence.
    pub const POKE: u64 = 0x68;
    /// Takes words only.
    pub const WORD: u64 = 0x70;
    /// From here on nothing answers.
    pub const END: u64 = 0x78;
}

/// A change of memory that another hart or a device might make, with the remote fence for it.
#[derive(Clone, Copy, Debug)]
pub struct Poke {
    /// Where: an aligned doubleword in RAM.
    pub addr: u64,
    /// What is put there.
    pub value: u64,
    /// The fence: bits of `ringer_hart::bus::request`.
    pub request: u32,
}

/// One access to the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeviceAccess {
    /// By which hart.
    pub hart: HartId,
    /// At which offset.
    pub offset: u64,
    /// How wide.
    pub width: Width,
    /// What was written; `None` for a read.
    pub written: Option<u64>,
}

/// The machine.
#[derive(Debug)]
pub struct Machine {
    ram: Ram,
    lines: Vec<Lines>,
    time: AtomicU64,
    scratch: [AtomicU64; 8],
    accesses: Mutex<Vec<DeviceAccess>>,
    /// Code that is fetched from [`ROM`].
    pub rom: Vec<u16>,
    /// Time moves on whenever it is looked at, so that interrupts must be sampled at the same
    /// points to be seen at the same time.
    pub restless: bool,
    /// What [`register::POKE`] can do.
    pub pokes: Vec<Poke>,
}

impl Machine {
    /// A machine with `len` zeroed bytes of RAM at `base`, both multiples of the page size, and
    /// the wires of `harts` harts.
    pub fn new(base: u64, len: u64, harts: usize) -> Self {
        Self {
            ram: Ram::zeroed(GuestPhys(base), len).expect("tests ask for whole pages, and few"),
            lines: (0..harts).map(|_| Lines::new()).collect(),
            time: AtomicU64::new(0),
            scratch: Default::default(),
            accesses: Mutex::default(),
            rom: Vec::new(),
            restless: false,
            pokes: Vec::new(),
        }
    }

    /// Sets the clock.
    pub fn set_time(&self, ticks: u64) {
        self.time.store(ticks, Ordering::Relaxed);
    }

    /// What was done to the device since this was last asked.
    pub fn take_accesses(&self) -> Vec<DeviceAccess> {
        std::mem::take(&mut self.accesses.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All of RAM.
    pub fn ram_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.ram.len() as usize];
        self.ram
            .read(self.ram.base(), &mut bytes)
            .expect("all of RAM is RAM");
        bytes
    }

    /// Writes `bytes` into RAM at `addr`.
    pub fn write(&self, addr: u64, bytes: &[u8]) {
        self.ram
            .write(GuestPhys(addr), bytes)
            .expect("tests write inside RAM");
    }

    /// The doubleword in RAM at `addr`.
    pub fn read_u64(&self, addr: u64) -> u64 {
        self.ram
            .load(GuestPhys(addr))
            .expect("tests read inside RAM")
    }

    /// Puts a doubleword into RAM at `addr`.
    pub fn write_u64(&self, addr: u64, value: u64) {
        self.write(addr, &value.to_le_bytes());
    }

    fn record(&self, access: DeviceAccess) {
        self.accesses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(access);
    }

    /// The offset in the device, if the access is all in its registers and aligned.
    fn device_offset(addr: GuestPhys, width: Width) -> Result<u64, BusFault> {
        let offset = addr.0.wrapping_sub(DEVICE);
        let only_words = offset & !7 == register::WORD;
        if offset >= register::END || (only_words && width != Width::Word) {
            return Err(BusFault);
        }
        Ok(offset)
    }
}

impl Bus for Machine {
    fn ram(&self) -> &Ram {
        &self.ram
    }

    fn load(&self, hart: HartId, addr: GuestPhys, width: Width) -> Result<u64, BusFault> {
        let offset = Self::device_offset(addr, width)?;
        self.record(DeviceAccess {
            hart,
            offset,
            width,
            written: None,
        });
        let lines = self.lines(hart);
        let value = match offset & !7 {
            register::RAISE | register::LOWER => lines.pending(),
            register::TIMER => lines.mtimecmp(),
            register::CLOCK => self.time(),
            register::REQUEST => lines.requests().into(),
            scratch => self
                .scratch
                .get((scratch / 8) as usize)
                .map_or(0, |cell| cell.load(Ordering::Relaxed)),
        };
        Ok(value >> (8 * (offset & 7)) & width.mask())
    }

    fn store(
        &self,
        hart: HartId,
        addr: GuestPhys,
        width: Width,
        value: u64,
    ) -> Result<(), BusFault> {
        let offset = Self::device_offset(addr, width)?;
        self.record(DeviceAccess {
            hart,
            offset,
            width,
            written: Some(value),
        });
        let lines = self.lines(hart);
        let wires = irq::MSI | irq::MEI | irq::SEI | irq::SSI;
        match offset & !7 {
            register::RAISE => lines.raise(value & wires),
            register::LOWER => lines.lower(value & wires),
            register::TIMER => lines.set_mtimecmp(value),
            register::CLOCK => self.set_time(value),
            register::REQUEST => lines.request(value as u32 & 0xf),
            register::POKE => {
                let number = value as usize;
                if let Some(poke) = self.pokes.get(number % self.pokes.len().max(1)) {
                    self.write_u64(poke.addr, poke.value);
                    lines.request(poke.request);
                }
            }
            scratch => {
                if let Some(cell) = self.scratch.get((scratch / 8) as usize) {
                    let shift = 8 * (offset & 7);
                    let mask = width.mask() << shift;
                    let old = cell.load(Ordering::Relaxed);
                    cell.store(old & !mask | value << shift & mask, Ordering::Relaxed);
                }
            }
        }
        Ok(())
    }

    fn fetch(&self, addr: GuestPhys) -> Result<u16, BusFault> {
        let index = addr.0.checked_sub(ROM).ok_or(BusFault)? / 2;
        self.rom.get(index as usize).copied().ok_or(BusFault)
    }

    fn time(&self) -> u64 {
        self.time
            .fetch_add(u64::from(self.restless), Ordering::Relaxed)
    }

    fn recent_time_place(&self, _hart: HartId) -> Option<&AtomicU64> {
        (!self.restless).then_some(&self.time)
    }

    fn lines(&self, hart: HartId) -> &Lines {
        &self.lines[hart]
    }
}

/// The requests that fence, for [`Poke::request`].
pub const FENCES: u32 = request::FENCE_I | request::FENCE_VMA;
