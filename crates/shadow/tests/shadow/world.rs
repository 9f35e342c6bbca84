//! A guest to shadow: RAM at an invented place on the real machine, tables in it, and a hart.

use std::ptr::NonNull;

use ringer_hart::csr::satp;
use ringer_hart::extensions::Paging;
use ringer_hart::pmp::PageVerdict;
use ringer_hart::translate::Access;
use ringer_hart::{
    Bus, BusFault, GuestPhys, GuestVirt, Hart, HartId, Lines, Mode, PAGE_SIZE, Ram, Width,
};
use ringer_isa::pte::Pte;
use ringer_shadow::{HostPhys, Outcome, Root, Shadow, TablePool};

use crate::hardware::{Hardware, Leaf};

pub const RAM: GuestPhys = GuestPhys(0x8000_0000);
pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;
pub const ACCESSES: [Access; 3] = [Access::Fetch, Access::Load, Access::Store];
/// V and every right, accessed and dirty.
pub const RWX: u64 = Pte::V | Pte::R | Pte::W | Pte::X | Pte::A | Pte::D;

/// Nothing but RAM.
pub struct Board {
    ram: Ram,
    lines: Lines,
    pub watched: Option<GuestPhys>,
    _memory: Vec<u8>,
}

impl Board {
    fn new(len: u64) -> Self {
        // Unlike `Ram::zeroed`, this takes no memory that is not touched.
        let mut memory = vec![0; (len + PAGE_SIZE) as usize];
        let skip = memory.as_ptr().align_offset(PAGE_SIZE as usize);
        let start = NonNull::from(&mut memory[skip]);
        Self {
            // SAFETY: `len` bytes from the aligned start, kept by the board, and never touched
            // but through this `Ram`.
            ram: unsafe { Ram::new(start, RAM, len) },
            lines: Lines::new(),
            watched: None,
            _memory: memory,
        }
    }
}

impl Bus for Board {
    fn ram(&self) -> &Ram {
        &self.ram
    }
    fn load(&self, _: HartId, _: GuestPhys, _: Width) -> Result<u64, BusFault> {
        Err(BusFault)
    }
    fn store(&self, _: HartId, _: GuestPhys, _: Width, _: u64) -> Result<(), BusFault> {
        Err(BusFault)
    }
    fn watched_page(&self) -> Option<GuestPhys> {
        self.watched
    }
    fn time(&self) -> u64 {
        0
    }
    fn lines(&self, _: HartId) -> &Lines {
        &self.lines
    }
}

/// What a world is made with.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub paging: Paging,
    pub pages: usize,
    pub roots: usize,
    pub ram_len: u64,
    pub host_ram: HostPhys,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            paging: Paging::Sv39,
            pages: 64,
            roots: 8,
            ram_len: 8 * MIB,
            host_ram: HostPhys(0x4_0000_0000),
        }
    }
}

/// A guest, its shadow, and a real hart.
pub struct World {
    pub setup: Setup,
    pub bus: Board,
    pub hart: Hart,
    pub shadow: Shadow,
    pub hardware: Hardware,
    pub root: Option<Root>,
}

impl World {
    pub fn new(setup: Setup) -> Self {
        let pool = TablePool::owned(setup.pages);
        let mut hart = Hart::new(0, 0);
        hart.start_supervisor(RAM.0, 0);
        Self {
            setup,
            bus: Board::new(setup.ram_len),
            hart,
            shadow: Shadow::new(pool, setup.paging, setup.roots, setup.host_ram).unwrap(),
            hardware: Hardware::new(setup),
            root: None,
        }
    }

    /// Writes entry `index` of the guest's table in page `table` of RAM.
    pub fn write(&self, table: u64, index: u64, entry: Pte) {
        self.bus.ram.store(slot(table, index), entry.0).unwrap();
    }

    pub fn read(&self, table: u64, index: u64) -> Pte {
        Pte(self.bus.ram.load(slot(table, index)).unwrap())
    }

    /// Sets `satp`: the mode's number of levels, the root in page `table` of RAM.
    pub fn set_satp(&mut self, levels: u64, asid: u16, table: u64) {
        self.hart.csrs.satp = (levels + 5) << satp::MODE_SHIFT
            | u64::from(asid) << satp::ASID_SHIFT
            | ((RAM.0 >> 12) + table);
    }

    /// Enters the root for the hart's context, and lets the hardware fence.
    pub fn enter(&mut self) -> Option<Root> {
        self.root = self.shadow.enter(&self.hart, &self.bus);
        if let Some(root) = self.root {
            self.hardware.fence(root.fence);
        }
        self.root
    }

    /// Enters, and lets the real hart try the access until it succeeds: where it led to. `None`
    /// if it is for the definition.
    pub fn access(&mut self, va: u64, access: Access) -> Option<Leaf> {
        let root = self.enter()?;
        let va = GuestVirt(va);
        for _ in 0..3 {
            if let Some(leaf) = self.hardware.access(&self.shadow, root, va, access) {
                return Some(leaf);
            }
            match self.shadow.fault(&self.hart, &self.bus, va, access) {
                Outcome::Emulate => return None,
                Outcome::Filled(fence) => self.hardware.fence(fence),
            }
            // This hardware remembers nothing that is invalid.
            assert_eq!(self.shadow.counts().spurious, 0, "at {va:?}");
        }
        panic!("no progress at {va:?}");
    }

    /// Where the definition leads, if the whole page is RAM that may be accessed so.
    pub fn defined(&self, va: GuestVirt, access: Access) -> Option<Defined> {
        let context = self.hart.fetch_context();
        let mut last = None;
        let found = self
            .hart
            .inspect(&self.bus, va, access, &context, |step| {
                last = Some(step.entry)
            })
            .ok()?;
        let offset = self.bus.ram.offset(found.phys.page(), PAGE_SIZE)?;
        let privilege = context.mode.privilege;
        let verdict = self.hart.csrs.pmp.page(found.phys, access, privilege);
        let wanted = Pte::A | if access == Access::Store { Pte::D } else { 0 };
        (verdict == PageVerdict::Allowed).then_some(Defined {
            host: HostPhys(self.setup.host_ram.0 + offset),
            leaf_size: found.leaf_size,
            marked: last.is_none_or(|leaf| leaf.0 & wanted == wanted),
        })
    }

    pub fn set_mode(&mut self, mode: Mode) {
        self.hart.mode = mode;
    }
}

/// An access that the definition allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Defined {
    /// The page that it reaches.
    pub host: HostPhys,
    /// The size of the guest's leaf.
    pub leaf_size: u64,
    /// Whether A, and D for a store, are set already.
    pub marked: bool,
}

fn slot(table: u64, index: u64) -> GuestPhys {
    RAM.offset(table * PAGE_SIZE + index * 8)
}

/// A pointer to the table in page `table` of RAM.
pub fn pointer(table: u64) -> Pte {
    Pte::new((RAM.0 >> 12) + table, Pte::V)
}

/// A leaf for the page of RAM at `offset`.
pub fn leaf(offset: u64, flags: u64) -> Pte {
    Pte::new((RAM.0 + offset) >> 12, flags)
}
