//! The two address spaces of a program, and the addresses that are worth touching in them.

use ringer_hart::bus::request;
use ringer_isa::pte::Pte;

use super::{
    CODE_PAGES, DATA, FUNCTION_PAGES, FUNCTIONS, RAM, SUPERVISOR_HANDLER, TABLES, USED, USED_PAGES,
};
use crate::machine::{DEVICE, FENCES, Poke, ROM, register};
use crate::random::Random;

/// Tables of one address space, by their place in it.
const ROOT57: u64 = 0;
const ROOT48: u64 = 1;
const ROOT39: u64 = 2;
/// What the first and the last but two GiB lead to.
const MIDDLE: u64 = 3;
/// The handlers' 2 MiB.
const HANDLERS: u64 = 4;
/// Code and data one to one.
const SAME: u64 = 5;
/// Code and data any other way.
const ALIASES: u64 = 6;
const TABLE_COUNT: u64 = 7;
const SPACES: u64 = 2;

/// Virtual addresses where the entries of the middle table begin.
const GIGABYTE: u64 = 0x8000_0000;
/// The superpage over code and data.
const SUPERPAGE: u64 = GIGABYTE + 2 * MEGAPAGE;
/// The superpage over the device.
const DEVICE_SUPERPAGE: u64 = GIGABYTE + 3 * MEGAPAGE;
/// What [`ALIASES`] maps.
const ALIAS: u64 = GIGABYTE + 4 * MEGAPAGE;
const MEGAPAGE: u64 = 0x20_0000;
/// The same as [`GIGABYTE`], with the sign bit.
const NEGATIVE: u64 = 0xffff_ffff_c000_0000;
/// The gigapage over all of RAM.
const GIGAPAGE: u64 = 0xc000_0000;

/// Aliases of single pages; 16 more are one NAPOT range.
const ALIAS_PAGES: u64 = 48;

const LEAF: u64 = Pte::V | Pte::R | Pte::W | Pte::X | Pte::A | Pte::D;

/// How the address spaces of a program are named, and the pages that most of it is about: what
/// is changed must be used before and after, or else nobody notices.
#[derive(Clone, Debug)]
pub(super) struct Spaces {
    /// Their ASIDs.
    pub asids: [u64; 2],
    /// Pages of data, by their number in code and data.
    data: [u64; 2],
    /// Pages among the aliases.
    aliases: [u64; 2],
    /// A page of code.
    code: u64,
    /// What M-mode's first services change.
    pub edits: Vec<Edit>,
}

impl Spaces {
    pub fn new(r: &mut Random) -> Self {
        let first = r.below(4);
        let mut spaces = Self {
            asids: [first, r.pick(&[first + 1, 0xffff])],
            data: [(); 2].map(|()| DATA / 0x1000 + r.below(USED_PAGES - DATA / 0x1000)),
            aliases: [(); 2].map(|()| r.below(ALIAS_PAGES)),
            code: r.below(CODE_PAGES),
            edits: Vec::new(),
        };
        spaces.edits = (0..4).map(|_| Edit::new(r, &spaces)).collect();
        spaces
    }

    /// A page of data, by its number in code and data.
    pub fn data_page(&self, r: &mut Random) -> u64 {
        if r.one_in(4) {
            DATA / 0x1000 + r.below(USED_PAGES - DATA / 0x1000)
        } else {
            r.pick(&self.data)
        }
    }

    /// The page of data that the program protects at times.
    pub fn protected_page(&self) -> u64 {
        USED + 0x1000 * self.data[0]
    }

    /// A page among the aliases.
    fn alias_page(&self, r: &mut Random) -> u64 {
        if r.one_in(4) {
            r.below(ALIAS_PAGES)
        } else {
            r.pick(&self.aliases)
        }
    }

    /// A value for `satp`: mostly an address space, in any of its depths.
    pub fn satp(&self, r: &mut Random) -> u64 {
        if r.one_in(12) {
            return r.pick(&[0, 1 << 60, 11 << 60, u64::MAX, 0xffff << 44]);
        }
        let space = r.below(SPACES);
        let (mode, root) = r.pick(&[(8, ROOT39), (8, ROOT39), (9, ROOT48), (10, ROOT57)]);
        mode << 60 | self.asids[space as usize] << 44 | table(space, root) >> 12
    }
}

fn table(space: u64, which: u64) -> u64 {
    TABLES + (space * TABLE_COUNT + which) * 0x1000
}

fn pointer(space: u64, which: u64) -> u64 {
    Pte::new(table(space, which) >> 12, Pte::V).0
}

fn leaf(addr: u64, flags: u64) -> u64 {
    Pte::new(addr >> 12, flags).0
}

/// Flags of a leaf: mostly usable, sometimes lacking something or odd.
fn flags(r: &mut Random, user: bool) -> u64 {
    let mut flags = LEAF;
    if user != r.one_in(8) {
        flags |= Pte::U;
    }
    for bit in [Pte::V, Pte::R, Pte::W, Pte::X] {
        if r.one_in(20) {
            flags &= !bit;
        }
    }
    if flags & (Pte::R | Pte::W | Pte::X) == 0 {
        flags |= Pte::R; // not a pointer: data is no page table
    }
    for bit in [Pte::A, Pte::D] {
        if r.one_in(3) {
            flags &= !bit;
        }
    }
    flags |= r.below(4) << Pte::RSW_SHIFT;
    if r.one_in(12) {
        flags |= r.below(4) << Pte::PBMT_SHIFT;
    }
    if r.one_in(40) {
        flags |= r.pick(&[1 << 54, 1 << 60, Pte::N]);
    }
    flags
}

/// What an alias leads to.
fn alias_target(r: &mut Random) -> u64 {
    match r.below(16) {
        0 => DEVICE,
        1 => r.pick(&[ROM, 0x2000_0000, USED + USED_PAGES * 0x1000, 0xf_ffff_f000]),
        _ => USED + 0x1000 * r.below(USED_PAGES),
    }
}

fn napot(flags: u64) -> u64 {
    leaf(USED | 0x8000, flags | Pte::N)
}

/// Both address spaces.
pub(super) fn build(r: &mut Random) -> Vec<(u64, Vec<u8>)> {
    let mut pages = Vec::new();
    let global = if r.one_in(2) { Pte::G } else { 0 };
    for space in 0..SPACES {
        // The first is more of a kernel's, the second more of a user's.
        let user = space == 1;
        let mut entries = vec![[0; 512]; TABLE_COUNT as usize];
        let mut set = |which: u64, index: u64, entry: u64| {
            entries[which as usize][index as usize] = entry;
        };
        for (root, next) in [(ROOT57, ROOT48), (ROOT48, ROOT39)] {
            set(root, 0, pointer(space, next));
            set(root, 511, pointer(space, next));
        }
        set(ROOT39, 0, leaf(0, flags(r, user)));
        set(ROOT39, 2, pointer(space, MIDDLE));
        set(ROOT39, 3, leaf(GIGABYTE, flags(r, user) & !Pte::W));
        set(ROOT39, 511, pointer(space, MIDDLE));
        set(MIDDLE, 0, pointer(space, HANDLERS));
        set(MIDDLE, 1, pointer(space, SAME));
        set(MIDDLE, 2, leaf(USED, flags(r, user)));
        set(MIDDLE, 3, leaf(DEVICE, flags(r, user)));
        set(MIDDLE, 4, pointer(space, ALIASES));
        set(MIDDLE, 5, leaf(USED + 0x1000, LEAF | global));
        let odd = r.pick(&[Pte::A, Pte::D, Pte::U, Pte::N, 1 << 61, 1 << 54]);
        set(MIDDLE, 6, pointer(space, ALIASES) | odd);
        // Global is only what both address spaces map alike: all else is a mistake (4.3.1).
        let handler = Pte::V | Pte::R | Pte::X | Pte::A | global;
        set(
            HANDLERS,
            (SUPERVISOR_HANDLER - RAM) / 0x1000 + 0x1e0,
            leaf(SUPERVISOR_HANDLER, handler),
        );
        for page in 0..USED_PAGES {
            set(SAME, page, leaf(USED + page * 0x1000, flags(r, user)));
        }
        for page in 0..ALIAS_PAGES {
            set(ALIASES, page, leaf(alias_target(r), flags(r, user)));
        }
        for page in 0..16 {
            set(ALIASES, ALIAS_PAGES + page, napot(flags(r, user)));
        }
        for (which, table_entries) in (0..).zip(&entries) {
            let bytes = table_entries
                .iter()
                .flat_map(|entry: &u64| entry.to_le_bytes());
            pages.push((table(space, which), bytes.collect()));
        }
    }
    pages
}

/// A change of a leaf.
#[derive(Clone, Debug)]
pub(super) struct Edit {
    /// Where the entry is.
    pub addr: u64,
    /// The new one.
    pub entry: u64,
    /// In which address space.
    pub space: usize,
    /// Addresses that it translates, one in each place that the tables are reached from.
    pub addresses: [u64; 2],
    /// The page that a program had best look at to see the change.
    pub page: u64,
}

impl Edit {
    pub fn new(r: &mut Random, spaces: &Spaces) -> Self {
        let space = r.below(SPACES);
        let user = (space == 1) != r.one_in(3);
        let flags = flags(r, user);
        let (which, index, entry, va) = match r.below(10) {
            0 => {
                let va = SUPERPAGE + r.below(MEGAPAGE);
                (MIDDLE, 2, leaf(USED, flags), va)
            }
            1 => {
                let va = DEVICE_SUPERPAGE + r.below(MEGAPAGE);
                (MIDDLE, 3, leaf(DEVICE, flags), va)
            }
            2 => {
                let index = ALIAS_PAGES + r.below(16);
                (ALIASES, index, napot(flags), ALIAS + index * 0x1000)
            }
            3 | 4 => {
                let index = spaces.alias_page(r);
                let entry = leaf(alias_target(r), flags);
                (ALIASES, index, entry, ALIAS + index * 0x1000)
            }
            5 | 6 => {
                // One function in place of another.
                let target = USED + FUNCTIONS + 0x1000 * r.below(FUNCTION_PAGES);
                let va = USED + FUNCTIONS;
                (SAME, FUNCTIONS / 0x1000, leaf(target, flags), va)
            }
            7 => {
                let target = USED + 0x1000 * r.below(CODE_PAGES);
                let va = USED + spaces.code * 0x1000;
                (SAME, spaces.code, leaf(target, flags), va)
            }
            _ => {
                let index = spaces.data_page(r);
                let other = if r.one_in(2) {
                    index
                } else {
                    spaces.data_page(r)
                };
                let target = USED + 0x1000 * other;
                (SAME, index, leaf(target, flags), USED + index * 0x1000)
            }
        };
        Self {
            addr: table(space, which) + 8 * index,
            entry,
            space: space as usize,
            addresses: [va, va - GIGABYTE + NEGATIVE],
            page: match va {
                // In a superpage the fence is for one page, and the look is at another.
                SUPERPAGE..DEVICE_SUPERPAGE => SUPERPAGE + 0x1000 * spaces.data_page(r),
                _ => va & !0xfff,
            },
        }
    }
}

/// A change from outside: of a leaf, of code, or of data.
pub(super) fn poke(r: &mut Random, spaces: &Spaces) -> Poke {
    if r.one_in(2) {
        let edit = Edit::new(r, spaces);
        return Poke {
            addr: edit.addr,
            value: edit.entry,
            request: r.pick(&[request::FENCE_VMA, FENCES]),
        };
    }
    let words = [super::items::one(r), super::items::one(r)];
    Poke {
        addr: code_slot(r) & !7,
        value: u64::from(words[0]) | u64::from(words[1]) << 32,
        request: r.pick(&[request::FENCE_I, FENCES, FENCES | request::YIELD]),
    }
}

/// The physical address of an instruction.
pub(super) fn code_slot(r: &mut Random) -> u64 {
    USED + 0x1000 * r.below(CODE_PAGES) + super::HEAD + 4 * r.below(80)
}

/// A virtual address for an offset in code and data.
fn view(r: &mut Random, offset: u64) -> u64 {
    match r.below(12) {
        0 => SUPERPAGE + offset,
        1 => NEGATIVE + (USED - GIGABYTE) + offset,
        2 => GIGAPAGE + (USED - GIGABYTE) + offset,
        3 => NEGATIVE + (SUPERPAGE - GIGABYTE) + offset,
        4 => ALIAS + ALIAS_PAGES * 0x1000 + offset,
        _ => USED + offset,
    }
}

/// The virtual address of code to jump to.
pub(super) fn code_address(r: &mut Random) -> u64 {
    let offset = code_slot(r) - USED;
    view(r, offset)
}

/// The virtual address of something to load from and store to.
pub(super) fn data_address(r: &mut Random, spaces: &Spaces) -> u64 {
    let page = 0x1000 * spaces.data_page(r);
    let in_page = match r.below(8) {
        0 => r.below(0x1000),
        1 => 0xff0 + r.below(16),
        2 => 0xff8,
        _ => 8 * r.below(512),
    };
    match r.below(16) {
        0..=2 => DEVICE + device_register(r),
        3 => DEVICE_SUPERPAGE + device_register(r),
        4 | 5 => ALIAS + 0x1000 * spaces.alias_page(r) + in_page,
        6 => r.pick(&[
            0,
            ROM,
            0x2000_0000,
            USED + USED_PAGES * 0x1000 - 4,
            GIGABYTE + 5 * MEGAPAGE,
            GIGABYTE + 6 * MEGAPAGE + 8,
            GIGABYTE + 7 * MEGAPAGE,
            1 << 38,
            1 << 56,
            u64::MAX - 3,
        ]),
        _ => view(r, page + in_page),
    }
}

/// A place in the device. Asking for a yield and for pokes is as likely as the rest.
fn device_register(r: &mut Random) -> u64 {
    if r.one_in(8) {
        r.below(register::END + 16)
    } else {
        8 * r.below(register::END / 8)
    }
}
