//! A space: everything a hart remembers under one set of access conditions (mode, `satp`, SUM,
//! MXR): where its pages lie in host memory, and which generated code runs at which address.
//!
//! Generated code looks into the tables itself; see `emit/memory.rs` and `emit/jump.rs`.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ringer_hart::code_pages::CodePages;
use ringer_hart::csr::satp;
use ringer_hart::memory::TranslationCache;
use ringer_hart::translate::{Access, AccessContext, Translation};
use ringer_hart::{GuestVirt, Hart, Mode, PAGE_SIZE, Ram};
use rustix::io::Errno;

use crate::tables::{JUMPS, Jump, MappedTables, PAGES, Page, PageTable, Tables};

/// Pages remembered for fetches.
const FETCH_PAGES: usize = 512;
/// What the tag of a store entry is combined with if the page holds code, so that stores must be
/// noted. The tag is then one of another place in the table: no address that is looked up here
/// has it, and generated code never stores by it. Bit 0 tells it from an empty entry.
const NOTED: u64 = PAGE_SIZE | 1;
/// No instruction is at an odd address.
const NO_JUMP: Jump = Jump { pc: 1, code: 0 };
/// Bits of the set of pages that jump targets lie in.
const JUMP_PAGES: usize = 1024;

/// Tag of an empty entry. It only matches page 0, so it must not be in that page's place.
const EMPTY: u64 = 0;
/// For the place of page 0.
const EMPTY_AT_0: u64 = PAGE_SIZE;

/// A page that code is fetched from, and its offset in RAM.
#[derive(Clone, Copy, Debug)]
struct FetchPage {
    tag: u64,
    offset: u64,
}

const NO_FETCH: FetchPage = FetchPage { tag: 1, offset: 0 };

/// Entries of a table that lie in one page of the host's memory.
const CHUNK: usize = 512;
/// Chunks of a table.
const CHUNKS: usize = PAGES / CHUNK;
/// Entries that are remembered one by one, to be emptied so.
const LISTED: usize = 1024;
/// Chunks of a table that may be in use: 2 MiB of memory, tags and deltas together.
const MOST_CHUNKS: u32 = 256;

const _: () = assert!(JUMPS / CHUNK <= 64 && size_of::<Jump>() == size_of::<Page>());

/// Counts the host's memory behind the tables of all spaces of a hart, which share the counter.
#[derive(Clone, Debug, Default)]
pub struct Backed(Arc<AtomicU32>);

impl Backed {
    /// What is counted as one: the memory of a chunk, tags and deltas.
    pub const UNIT: usize = CHUNK * size_of::<Page>();

    /// How much there is.
    pub fn units(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
    fn add(&self, units: u32) {
        self.0.fetch_add(units, Ordering::Relaxed);
    }
    fn remove(&self, units: u32) {
        self.0.fetch_sub(units, Ordering::Relaxed);
    }
}

/// Which entries of a table of pages are in use.
#[derive(Debug)]
struct Used {
    /// The slots, if they are not too many.
    list: Vec<u32>,
    /// The chunks.
    chunks: Box<[u64; CHUNKS / 64]>,
    /// How many chunks have been in use since memory was given back.
    touched: u32,
    /// Those, too.
    backed: Box<[u64; CHUNKS / 64]>,
}

impl Used {
    fn none() -> Self {
        Self {
            list: Vec::new(),
            chunks: Box::new([0; CHUNKS / 64]),
            touched: 0,
            backed: Box::new([0; CHUNKS / 64]),
        }
    }

    /// True if the host has to back another chunk.
    fn add(&mut self, slot: usize) -> bool {
        if self.list.len() < LISTED {
            self.list.push(slot as u32);
        }
        let (word, bit) = (slot / CHUNK / 64, 1 << (slot / CHUNK % 64));
        self.chunks[word] |= bit;
        let more = self.backed[word] & bit == 0;
        if more {
            self.backed[word] |= bit;
            self.touched += 1;
        }
        more
    }

    fn is_listed(&self) -> bool {
        self.list.len() < LISTED
    }

    /// Calls `each` with runs of slots that hold all the entries in use.
    fn runs(&self, mut each: impl FnMut(std::ops::Range<usize>)) {
        if self.is_listed() {
            for &slot in &self.list {
                each(slot as usize..slot as usize + 1);
            }
            return;
        }
        for (word, &bits) in self.chunks.iter().enumerate() {
            let mut bits = bits;
            while bits != 0 {
                let chunk = word * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                each(chunk * CHUNK..(chunk + 1) * CHUNK);
            }
        }
    }

    /// Empties the entries in use.
    fn clear(&mut self, table: &mut PageTable) {
        self.runs(|run| table.tags[run].fill(EMPTY));
        table.tags[0] = EMPTY_AT_0;
        self.list.clear();
        self.chunks.fill(0);
    }

    /// The memory was given back.
    fn forget(&mut self) {
        self.list.clear();
        self.chunks.fill(0);
        self.backed.fill(0);
        self.touched = 0;
    }
}

/// A tag that matches no address which is looked up at `slot`.
fn empty(slot: usize) -> u64 {
    if slot == 0 { EMPTY_AT_0 } else { EMPTY }
}

/// Addresses between which large leaves were seen, apart for each half of the address space.
#[derive(Clone, Copy, Debug, Default)]
struct Hull(Option<(u64, u64)>);

impl Hull {
    fn add(&mut self, first: u64, last: u64) {
        let (low, high) = self.0.unwrap_or((first, last));
        self.0 = Some((low.min(first), high.max(last)));
    }
    fn contains(&self, va: u64) -> bool {
        self.0.is_some_and(|(low, high)| (low..=high).contains(&va))
    }
}

/// Everything remembered under one set of conditions.
#[derive(Debug)]
pub struct Space {
    tables: MappedTables,
    loads: Used,
    stores: Used,
    fetch: [FetchPage; FETCH_PAGES],
    /// Which conditions this is for.
    pub conditions: Conditions,
    /// Serves several address spaces, one after the other; see [`Space::enter_root`].
    shared: Option<Shared>,
    /// Large leaves that entries were cut from: a fence inside one is a fence on all of them.
    large: [Hull; 2],
    /// Pages that jump targets lie in, by a hash, apart for each half of the address space: fences
    /// of a program's pages leave the kernel's jumps alone.
    jump_pages: [[u64; JUMP_PAGES / 64]; 2],
    /// Nothing was put in since it was last emptied.
    pages_empty: bool,
    jumps_empty: bool,
    /// Parts of the table of jumps, of [`CHUNK`] entries, in use since memory was given back.
    jumps_backed: u64,
    backed: Backed,
    /// Jumps that were put in since then, as slots, if they are not too many.
    jumps_used: Vec<u32>,
    /// When it was last entered, for replacement.
    pub last_used: u64,
}

/// What a space remembers that serves several address spaces.
#[derive(Debug)]
struct Shared {
    /// `satp` of the address space that it serves now.
    root: u64,
    /// Pages that are not global, as slots; stores with the top bit.
    local: Vec<u32>,
    /// Code was fetched from pages that are not global.
    local_code: bool,
}

/// In [`Shared::local`].
const OF_STORES: u32 = 1 << 31;

/// The conditions under which code is fetched and data reached.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Conditions {
    /// Of fetches.
    pub fetch: AccessContext,
    /// Of loads and stores.
    pub data: AccessContext,
}

impl Conditions {
    /// The conditions that hold for `hart` now.
    pub fn of(hart: &Hart) -> Self {
        Self {
            fetch: hart.fetch_context(),
            data: hart.data_context(),
        }
    }

    /// The conditions without the address space, if it is a kernel's: kernels map themselves
    /// into all of theirs alike, and say so by the global bit.
    pub fn shared(&self) -> Option<Self> {
        let kernel = self.fetch.mode == Mode::S && self.data.mode == Mode::S;
        (kernel && self.fetch.satp != 0).then(|| {
            let without = |context: AccessContext| AccessContext {
                satp: context.satp >> satp::MODE_SHIFT << satp::MODE_SHIFT,
                ..context
            };
            Self {
                fetch: without(self.fetch),
                data: without(self.data),
            }
        })
    }

    /// Whether a fence of this address space concerns what was found under these conditions.
    pub fn is_in(&self, asid: Option<u16>) -> bool {
        let of = |context: &AccessContext| {
            context.satp != 0 && asid.is_none_or(|asid| asid == asid_of(context.satp))
        };
        of(&self.fetch) || of(&self.data)
    }
}

fn asid_of(root: u64) -> u16 {
    (root >> satp::ASID_SHIFT) as u16
}

/// The place of `va`'s page in a table of pages.
fn slot(va: u64) -> usize {
    (va / PAGE_SIZE) as usize % PAGES
}

/// The place of `pc` in the table of jumps; generated code computes the same.
fn jump_slot(pc: u64) -> usize {
    ((pc >> 12 ^ pc) >> 1) as usize % JUMPS
}

/// Which half of the address space this is in.
fn half(va: u64) -> usize {
    usize::from(va >> 63 != 0)
}

fn jump_page(pc: u64) -> (usize, usize, u64) {
    let hash = (pc / PAGE_SIZE) as usize % JUMP_PAGES;
    (half(pc), hash / 64, 1 << (hash % 64))
}

impl Shared {
    fn new(shared: bool) -> Option<Self> {
        shared.then(|| Self {
            root: 0,
            local: Vec::new(),
            local_code: false,
        })
    }
}

impl Space {
    /// An empty space, for one address space or for several.
    pub fn new(conditions: Conditions, shared: bool, backed: Backed) -> Result<Self, Errno> {
        let mut space = Self {
            tables: MappedTables::new()?,
            loads: Used::none(),
            stores: Used::none(),
            fetch: [NO_FETCH; FETCH_PAGES],
            conditions,
            shared: Shared::new(shared),
            large: [Hull::default(); 2],
            jump_pages: [[0; JUMP_PAGES / 64]; 2],
            pages_empty: true,
            jumps_empty: true,
            jumps_backed: 0,
            backed,
            jumps_used: Vec::new(),
            last_used: 0,
        };
        space.mark_first_entries();
        Ok(space)
    }

    /// What zeroed memory does not say.
    fn mark_first_entries(&mut self) {
        self.tables.load.tags[0] = EMPTY_AT_0;
        self.tables.store.tags[0] = EMPTY_AT_0;
        self.tables.jumps[0] = NO_JUMP;
    }

    /// The tables, for generated code.
    pub fn tables(&mut self) -> *mut Tables {
        self.tables.address()
    }

    /// Forgets everything, to serve other conditions.
    pub fn reuse(&mut self, conditions: Conditions, shared: bool) {
        self.forget();
        self.conditions = conditions;
        self.shared = Shared::new(shared);
    }

    /// The address space is the one of `root` from now on: pages that are not global go. False
    /// if they were so many that sharing does not pay.
    pub fn enter_root(&mut self, root: u64) -> bool {
        match &mut self.shared {
            Some(shared) if shared.root != root => {
                shared.root = root;
                self.forget_local()
            }
            _ => true,
        }
    }

    /// Forgets the pages that are not global. False if all had to be forgotten.
    fn forget_local(&mut self) -> bool {
        let Some(shared) = &mut self.shared else {
            return true;
        };
        if shared.local.len() >= LISTED {
            self.forget();
            return false;
        }
        for &entry in &shared.local {
            let slot = (entry & !OF_STORES) as usize;
            let table = if entry & OF_STORES != 0 {
                &mut self.tables.store
            } else {
                &mut self.tables.load
            };
            table.tags[slot] = empty(slot);
        }
        shared.local.clear();
        if std::mem::take(&mut shared.local_code) {
            self.fetch.fill(NO_FETCH);
            self.forget_jumps();
        }
        true
    }

    /// Forgets what belongs to this address space (`None`: to all).
    pub fn fence(&mut self, asid: Option<u16>) {
        match (&self.shared, asid) {
            // Global pages stay.
            (Some(shared), Some(asid)) => {
                if asid_of(shared.root) == asid {
                    self.forget_local();
                }
            }
            (None, Some(_)) if !self.conditions.is_in(asid) => {}
            _ => self.forget(),
        }
    }

    /// Forgets everything.
    pub fn forget(&mut self) {
        if !self.pages_empty {
            self.loads.clear(&mut self.tables.load);
            self.stores.clear(&mut self.tables.store);
            self.fetch.fill(NO_FETCH);
            self.large = [Hull::default(); 2];
            self.pages_empty = true;
        }
        if let Some(shared) = &mut self.shared {
            shared.local.clear();
            shared.local_code = false;
        }
        self.forget_jumps();
    }

    /// Forgets which code belongs to which address.
    pub fn forget_jumps(&mut self) {
        if !self.jumps_empty {
            if self.jumps_used.len() < LISTED {
                for &slot in &self.jumps_used {
                    self.tables.jumps[slot as usize] = NO_JUMP;
                }
            } else {
                self.tables.jumps.fill(NO_JUMP);
            }
            self.jumps_used.clear();
            self.jump_pages = [[0; JUMP_PAGES / 64]; 2];
            self.jumps_empty = true;
        }
    }

    /// Forgets the page at `va`, and all others cut from the same large leaf, if it belongs to
    /// this address space (`None`: to any). True if that meant to forget everything.
    pub fn forget_page(&mut self, va: GuestVirt, asid: Option<u16>) -> bool {
        if self.shared.is_none() && !self.conditions.is_in(asid) {
            return false;
        }
        if self.large[half(va.0)].contains(va.0) {
            self.forget();
            return true;
        }
        let page = va.0 & !(PAGE_SIZE - 1);
        let slot = slot(page);
        self.tables.load.tags[slot] = empty(slot);
        self.tables.store.tags[slot] = empty(slot);
        self.fetch[slot % FETCH_PAGES] = NO_FETCH;
        let (half, word, bit) = jump_page(page);
        if self.jump_pages[half][word] & bit != 0 {
            self.forget_jumps();
        }
        false
    }

    /// The pages of RAM at host addresses for which `is_code` is true hold code from now on:
    /// stores to them must be noted.
    pub fn note_stores(&mut self, mut is_code: impl FnMut(u64) -> bool) {
        if self.pages_empty {
            return;
        }
        let Self { tables, stores, .. } = self;
        stores.runs(|run| {
            for index in run {
                let Page { tag, delta } = tables.store.get(index);
                // Neither empty nor noted.
                let in_use = tag & 1 == 0 && slot(tag) == index;
                if in_use && is_code(tag.wrapping_add(delta)) {
                    tables.store.tags[index] = tag ^ NOTED;
                }
            }
        });
    }

    /// Puts in an entry for loads or stores.
    fn put(&mut self, store: bool, va: u64, page: Page, global: bool) {
        if self.loads.touched.max(self.stores.touched) >= MOST_CHUNKS {
            self.release();
        }
        self.pages_empty = false;
        let slot = slot(va);
        if let Some(shared) = &mut self.shared
            && !global
            && shared.local.len() < LISTED
        {
            let of = if store { OF_STORES } else { 0 };
            shared.local.push(slot as u32 | of);
        }
        let more = if store {
            self.tables.store.set(slot, page);
            self.stores.add(slot)
        } else {
            self.tables.load.set(slot, page);
            self.loads.add(slot)
        };
        if more {
            self.backed.add(1);
        }
    }

    /// How much of what [`Backed`] counts is this space's.
    pub fn backed(&self) -> u32 {
        self.loads.touched + self.stores.touched + self.jumps_backed.count_ones()
    }

    /// Forgets all and gives the memory back.
    pub fn release(&mut self) {
        self.forget();
        self.backed.remove(self.backed());
        self.jumps_backed = 0;
        self.loads.forget();
        self.stores.forget();
        self.tables.release();
        self.mark_first_entries();
    }

    /// Remembers where the code for `pc` is.
    pub fn remember_jump(&mut self, pc: u64, code: u64) {
        let slot = jump_slot(pc);
        self.tables.jumps[slot] = Jump { pc, code };
        if self.jumps_used.len() < LISTED {
            self.jumps_used.push(slot as u32);
        }
        let (half, word, bit) = jump_page(pc);
        self.jump_pages[half][word] |= bit;
        self.jumps_empty = false;
        let part = 1 << (slot / CHUNK);
        if self.jumps_backed & part == 0 {
            self.jumps_backed |= part;
            self.backed.add(1);
        }
    }

    /// The code for `pc`, if remembered.
    pub fn find_jump(&self, pc: u64) -> Option<u64> {
        let jump = &self.tables.jumps[jump_slot(pc)];
        (jump.pc == pc).then_some(jump.code)
    }
}

/// A space together with the RAM it leads to: what the definition is given to look into when it
/// executes an instruction for an engine.
pub struct SpaceCache<'a> {
    space: &'a mut Space,
    /// Host address of the start of RAM.
    ram: u64,
    code: &'a CodePages,
    /// A store that went to a page which held code when the entry was made: address, and
    /// offset in RAM.
    stored: Cell<Option<(u64, u64)>>,
    /// Entries filled.
    pub fills: u64,
}

impl<'a> SpaceCache<'a> {
    /// The pages of `space` in `ram`.
    pub fn new(space: &'a mut Space, ram: &'a Ram) -> Self {
        Self {
            space,
            ram: ram.host().as_ptr() as u64,
            code: ram.watch_code(),
            stored: Cell::new(None),
            fills: 0,
        }
    }

    /// To be called after every instruction: a store that went to a page of code is noted. If
    /// the page holds none any more, stores to it need no noting from now on.
    pub fn note_stored(&mut self) {
        let Some((va, offset)) = self.stored.take() else {
            return;
        };
        if self.code.holds_code(offset / PAGE_SIZE) {
            self.code.note(offset, 8);
        } else {
            let page = Page {
                tag: va & !(PAGE_SIZE - 1),
                delta: self.ram.wrapping_add(offset).wrapping_sub(va),
            };
            // Not known to be global any more; to take it for local only costs time.
            self.space.put(true, va, page, false);
        }
    }
}

impl TranslationCache for SpaceCache<'_> {
    fn find(&self, access: Access, va: u64, bytes: u64) -> Option<u64> {
        if va & (bytes - 1) != 0 {
            return None;
        }
        let page = va & !(PAGE_SIZE - 1);
        let offset = |entry: Page| va.wrapping_add(entry.delta).wrapping_sub(self.ram);
        match access {
            Access::Fetch => {
                let entry = &self.space.fetch[slot(va) % FETCH_PAGES];
                (entry.tag == page).then(|| entry.offset + (va & (PAGE_SIZE - 1)))
            }
            Access::Load => {
                let entry = self.space.tables.load.get(slot(va));
                (entry.tag == page).then(|| offset(entry))
            }
            Access::Store => {
                let entry = self.space.tables.store.get(slot(va));
                if entry.tag == page {
                    return Some(offset(entry));
                }
                (entry.tag == page ^ NOTED).then(|| {
                    self.stored.set(Some((va, offset(entry))));
                    offset(entry)
                })
            }
        }
    }

    fn fill(&mut self, access: Access, va: u64, offset: u64, found: &Translation) {
        let &Translation {
            leaf_size, global, ..
        } = found;
        self.fills += 1;
        let page = va & !(PAGE_SIZE - 1);
        let entry = Page {
            tag: page,
            delta: self.ram.wrapping_add(offset).wrapping_sub(page),
        };
        self.space.pages_empty = false;
        match access {
            Access::Fetch => {
                if let Some(shared) = &mut self.space.shared {
                    shared.local_code |= !global;
                }
                self.space.fetch[slot(va) % FETCH_PAGES] = FetchPage { tag: page, offset }
            }
            Access::Load => self.space.put(false, va, entry, global),
            Access::Store if self.code.holds_code(offset / PAGE_SIZE) => {
                self.stored.set(Some((va, offset + (va & (PAGE_SIZE - 1)))));
                let noted = Page {
                    tag: page ^ NOTED,
                    ..entry
                };
                self.space.put(true, va, noted, global);
            }
            Access::Store => self.space.put(true, va, entry, global),
        }
        if leaf_size > PAGE_SIZE && leaf_size != u64::MAX {
            let first = va & !(leaf_size - 1);
            self.space.large[half(va)].add(first, first | (leaf_size - 1));
        }
    }
}
