//! Shadow tables as a tree: which entries are used, what guest entry each was made from, and
//! taking parts of the tree away.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::AddAssign;

use ringer_hart::{GuestPhys, PAGE_SHIFT, Ram};
use ringer_isa::pte::Pte;

use crate::pool::{ENTRIES, HostPhys, TablePool};

/// A table in use: the number of its page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TableId(usize);

/// An entry of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub table: TableId,
    pub index: usize,
}

/// What is in a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Content {
    Nothing,
    Leaf(Pte),
    Table(TableId),
}

/// How much was taken away.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Dropped {
    pub leaves: u64,
    pub tables: u64,
}

impl AddAssign for Dropped {
    fn add_assign(&mut self, more: Self) {
        self.leaves += more.leaves;
        self.tables += more.tables;
    }
}

/// 64 entries, compared with their sources.
#[derive(Clone, Copy, Default)]
struct Compared {
    /// What is no longer so.
    changed: u64,
    /// What is, and was made from a pointer or from nothing.
    others: u64,
    /// How many were made from a leaf, and still hold.
    leaves: u64,
}

/// What is known of a table beside what the hardware reads.
#[derive(Clone)]
struct Record {
    /// A bit for each entry that is not 0.
    used: [u64; ENTRIES / 64],
    /// The guest's table that this one mirrors, entry by entry; for the lower and the upper half
    /// of the entries, as these differ in the root of a host with fewer levels than the guest.
    sources: [Option<GuestPhys>; 2],
    /// What each used entry's source held when the entry was made from it.
    seen: [Pte; ENTRIES],
}

impl Record {
    const EMPTY: Self = Self {
        used: [0; ENTRIES / 64],
        sources: [None; 2],
        seen: [Pte(0); ENTRIES],
    };

    fn set_used(&mut self, index: usize, used: bool) {
        if let Some(word) = self.used.get_mut(index / 64) {
            let bit = 1 << (index % 64);
            *word = if used { *word | bit } else { *word & !bit };
        }
    }

    fn source(&self, index: usize) -> Option<GuestPhys> {
        let table = (*self.sources.get(index / (ENTRIES / 2))?)?;
        Some(table.offset(index as u64 * 8))
    }

    /// Compares the used ones of 64 entries. Kernels fence often, so each takes few instructions.
    #[inline]
    fn compare(&self, number: usize, ram: &Ram) -> Compared {
        let mut compared = Compared::default();
        let mut rest = self.used.get(number).copied().unwrap_or(0);
        let first = number * 64;
        let Some(Some(source)) = self.sources.get(first / (ENTRIES / 2)) else {
            compared.others = rest;
            return compared;
        };
        let (Some(table), Some(seen)) = (ram.table(*source), self.seen.get(first..first + 64))
        else {
            // What is no RAM any more has changed.
            compared.changed = rest;
            return compared;
        };
        while rest != 0 {
            let bit = rest.trailing_zeros() as usize;
            let lowest = rest & rest.wrapping_neg();
            rest ^= lowest;
            let seen = seen.get(bit).copied().unwrap_or_default();
            if !still_holds(seen, Pte(table.entry(first + bit))) {
                compared.changed |= lowest;
            } else if seen.is_leaf() {
                compared.leaves += 1;
            } else {
                compared.others |= lowest;
            }
        }
        compared
    }
}

/// Whether an entry made when its source held `seen` is still right if that now holds `now`.
/// A leaf may have become dirty: the hart itself does that to entries it uses, and it takes no
/// right away.
#[inline(always)]
pub(crate) fn still_holds(seen: Pte, now: Pte) -> bool {
    seen == now || (seen.is_leaf() && Pte(seen.0 | Pte::D) == now)
}

/// All tables of a hart, and the pool that they come from. Pages in the pool that are no table
/// hold zeros only.
#[derive(Debug)]
pub(crate) struct Tables {
    pool: TablePool,
    records: Box<[Record]>,
    free: Vec<TableId>,
}

impl core::fmt::Debug for Record {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let used: u32 = self.used.iter().map(|word| word.count_ones()).sum();
        write!(f, "{used} used, from {:?}", self.sources)
    }
}

impl Tables {
    pub fn new(pool: TablePool) -> Self {
        let pages = pool.len();
        let mut records = Vec::with_capacity(pages);
        records.resize(pages, Record::EMPTY);
        Self {
            pool,
            records: records.into_boxed_slice(),
            free: (0..pages).rev().map(TableId).collect(),
        }
    }

    pub fn pool(&self) -> &TablePool {
        &self.pool
    }

    pub fn in_use(&self) -> usize {
        self.pool.len() - self.free.len()
    }

    pub fn phys(&self, table: TableId) -> HostPhys {
        self.pool.phys(table.0)
    }

    /// An empty table that mirrors this table of the guest, if any.
    pub fn allocate(&mut self, source: Option<GuestPhys>) -> Option<TableId> {
        let table = self.free.pop()?;
        if let Some(record) = self.records.get_mut(table.0) {
            record.sources = [source; 2];
        }
        Some(table)
    }

    /// Sets what one half of the table mirrors; that half is empty.
    pub fn set_source(&mut self, table: TableId, half: usize, source: Option<GuestPhys>) {
        if let Some(record) = self.records.get_mut(table.0)
            && let Some(place) = record.sources.get_mut(half)
        {
            *place = source;
        }
    }

    #[inline]
    pub fn content(&self, at: Place) -> Content {
        let entry = self.pool.load(at.table.0, at.index);
        if !entry.valid() {
            Content::Nothing
        } else if entry.is_leaf() {
            Content::Leaf(entry)
        } else {
            let phys = HostPhys(entry.ppn() << PAGE_SHIFT);
            self.pool
                .page_at(phys)
                .map_or(Content::Nothing, |page| Content::Table(TableId(page)))
        }
    }

    /// The guest's entry that the place mirrors.
    pub fn source(&self, at: Place) -> Option<GuestPhys> {
        self.records.get(at.table.0)?.source(at.index)
    }

    /// What the place's source held, if it has a source and is used.
    #[inline]
    pub fn seen(&self, at: Place) -> Option<Pte> {
        let record = self.records.get(at.table.0)?;
        record.source(at.index)?;
        record.seen.get(at.index).copied()
    }

    /// Fills a place.
    #[inline]
    pub fn set(&mut self, at: Place, entry: Pte, seen: Pte) {
        self.see(at, seen);
        if let Some(record) = self.records.get_mut(at.table.0) {
            record.set_used(at.index, true);
        }
        self.pool.store(at.table.0, at.index, entry);
    }

    /// Lets an empty place point to `table`.
    #[inline]
    pub fn set_table(&mut self, at: Place, table: TableId, seen: Pte) {
        let entry = Pte::new(self.phys(table).0 >> PAGE_SHIFT, Pte::V);
        self.set(at, entry, seen);
    }

    /// Notes what the place's source holds now.
    #[inline]
    pub fn see(&mut self, at: Place, seen: Pte) {
        if let Some(record) = self.records.get_mut(at.table.0)
            && let Some(place) = record.seen.get_mut(at.index)
        {
            *place = seen;
        }
    }

    /// The used entries of a table, in order.
    pub fn used(&self, table: TableId) -> impl Iterator<Item = usize> + use<> {
        let used = self.records.get(table.0).map_or([0; 8], |r| r.used);
        (used.into_iter().enumerate())
            .flat_map(|(number, word)| bits(word).map(move |bit| number * 64 + bit))
    }

    /// Empties a place; the tables below it are free again.
    #[inline]
    pub fn clear(&mut self, at: Place) -> Dropped {
        let content = self.content(at);
        self.pool.store(at.table.0, at.index, Pte(0));
        if let Some(record) = self.records.get_mut(at.table.0) {
            record.set_used(at.index, false);
        }
        match content {
            Content::Nothing => Dropped::default(),
            Content::Leaf(_) => Dropped {
                leaves: 1,
                tables: 0,
            },
            Content::Table(table) => self.release(table),
        }
    }

    /// Empties the places of a table in `half`.
    pub fn clear_half(&mut self, table: TableId, half: usize) -> Dropped {
        self.clear_where(table, |index| index / (ENTRIES / 2) == half)
    }

    /// Empties a table.
    pub fn clear_all(&mut self, table: TableId) -> Dropped {
        self.clear_where(table, |_| true)
    }

    fn clear_where(&mut self, table: TableId, wanted: impl Fn(usize) -> bool) -> Dropped {
        let mut dropped = Dropped::default();
        // The recursion is as deep as the host's tables.
        for index in self.used(table).filter(|&index| wanted(index)) {
            dropped += self.clear(Place { table, index });
        }
        dropped
    }

    /// Gives a table back, and all below it.
    pub fn release(&mut self, table: TableId) -> Dropped {
        let mut dropped = self.clear_all(table);
        dropped.tables += 1;
        self.free.push(table);
        dropped
    }

    /// The used entries among the sixteen, aligned, that `index` is one of.
    pub fn used_of_sixteen(
        &self,
        table: TableId,
        index: usize,
    ) -> impl Iterator<Item = usize> + use<> {
        let first = index & !0xf;
        let record = self.records.get(table.0);
        let word = record.and_then(|r| r.used.get(first / 64)).copied();
        let sixteen = word.unwrap_or(0) >> (first % 64) & 0xffff;
        bits(sixteen).map(move |bit| first + bit)
    }

    /// Compares what was seen with what the guest's tables hold now, and takes away what is no
    /// longer so. Returns how many leaves remain, and `each` is told of what went.
    pub fn revalidate(&mut self, table: TableId, ram: &Ram, each: &mut impl FnMut(Dropped)) -> u64 {
        let mut kept = 0;
        for number in 0..ENTRIES / 64 {
            let Some(record) = self.records.get(table.0) else {
                return kept;
            };
            if record.used.get(number).is_none_or(|used| *used == 0) {
                continue;
            }
            let compared = record.compare(number, ram);
            kept += compared.leaves;
            for bit in bits(compared.changed) {
                let index = number * 64 + bit;
                each(self.clear(Place { table, index }));
            }
            // The recursion is as deep as the host's tables.
            for bit in bits(compared.others) {
                let index = number * 64 + bit;
                match self.content(Place { table, index }) {
                    Content::Table(below) => kept += self.revalidate(below, ram, each),
                    Content::Leaf(_) => kept += 1,
                    Content::Nothing => {}
                }
            }
        }
        kept
    }

    /// Whether a place's source holds what it did.
    #[inline]
    pub fn is_current(&self, at: Place, ram: &Ram) -> bool {
        let Some(record) = self.records.get(at.table.0) else {
            return false;
        };
        let Some(source) = record.source(at.index) else {
            return true;
        };
        let seen = record.seen.get(at.index).copied().unwrap_or_default();
        // What is no RAM any more has changed.
        ram.load::<u64>(source)
            .is_some_and(|now| still_holds(seen, Pte(now)))
    }
}

/// The numbers of the bits that are set.
#[inline]
fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
        word &= word - 1;
        Some(bit)
    })
}
