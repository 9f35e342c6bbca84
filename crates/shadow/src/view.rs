//! The shadow as the monitor's prompt shows it: its roots, and what each maps.

use ringer_hart::GuestVirt;
use ringer_hart::extensions::Paging;
use ringer_hart::translate::AccessContext;

use crate::paging::{Rights, leaf_phys, shift, size};
use crate::pool::HostPhys;
use crate::shadow::Shadow;
use crate::tables::{Content, Place, TableId, Tables};

/// A root, as it is listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RootView {
    /// The conditions that it is for.
    pub context: AccessContext,
    /// Its slot.
    pub slot: usize,
    /// Whether it is the one last entered.
    pub live: bool,
    /// Whether it will be compared with the guest's tables when it is entered.
    pub suspect: bool,
    /// Where the root table is.
    pub table: HostPhys,
}

/// A leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// The first address it is for.
    pub va: GuestVirt,
    /// Where that leads.
    pub host: HostPhys,
    /// How many bytes: 4 KiB, 2 MiB or 1 GiB.
    pub size: u64,
    /// What may be done there.
    pub rights: Rights,
}

impl Shadow {
    /// The roots, by slot.
    pub fn roots(&self) -> impl Iterator<Item = RootView> {
        let live = self.live_slot();
        self.root_records().map(move |(slot, root)| RootView {
            context: root.context,
            slot,
            live: live == Some(slot),
            suspect: self.is_suspect(root),
            table: self.tables().phys(root.table),
        })
    }

    /// What a root maps, by address as an unsigned number.
    pub fn mappings(&self, root: &RootView) -> Mappings<'_> {
        // The view may be older than the root.
        let current = self
            .root_records()
            .find(|(slot, now)| *slot == root.slot && now.context == root.context);
        Mappings {
            tables: self.tables(),
            paging: self.paging(),
            rest: current.map(|(_, now)| (now.table, 0)),
        }
    }
}

/// The leaves of a root: see [`Shadow::mappings`].
#[derive(Debug)]
pub struct Mappings<'a> {
    tables: &'a Tables,
    paging: Paging,
    /// The root table, and the address to look from, without the sign's copies.
    rest: Option<(TableId, u64)>,
}

impl Mappings<'_> {
    /// The first leaf at or after `from`, or where to look on, or nothing.
    fn look_at(&self, root: TableId, from: u64) -> Result<Mapping, Option<u64>> {
        let mut table = root;
        let mut level = self.paging.levels() - 1;
        loop {
            let index = (from >> shift(level) & 0x1ff) as usize;
            let Some(used) = self.tables.used(table).find(|&used| used >= index) else {
                // Nothing more in this table.
                return Err(self.after(from, level + 1));
            };
            if used > index {
                let start = from >> shift(level + 1) << shift(level + 1);
                return Err(Some(start | (used as u64) << shift(level)));
            }
            match self.tables.content(Place { table, index }) {
                Content::Leaf(leaf) => {
                    let unused = 64 - shift(self.paging.levels());
                    let first = from >> shift(level) << shift(level);
                    return Ok(Mapping {
                        va: GuestVirt(((first << unused) as i64 >> unused) as u64),
                        host: leaf_phys(leaf),
                        size: size(level),
                        rights: Rights::of(leaf),
                    });
                }
                Content::Table(below) if level > 0 => {
                    table = below;
                    level -= 1;
                }
                _ => return Err(self.after(from, level)),
            }
        }
    }

    /// The first address after what an entry at `level` maps.
    fn after(&self, address: u64, level: u32) -> Option<u64> {
        let next = ((address >> shift(level)) + 1) << shift(level);
        (next >> shift(self.paging.levels()) == 0).then_some(next)
    }
}

impl Iterator for Mappings<'_> {
    type Item = Mapping;

    fn next(&mut self) -> Option<Mapping> {
        loop {
            let (root, from) = self.rest?;
            let (found, next) = match self.look_at(root, from) {
                Ok(mapping) => {
                    let level = (mapping.size.trailing_zeros() - shift(0)) / 9;
                    (Some(mapping), self.after(from, level))
                }
                Err(next) => (None, next),
            };
            self.rest = next.map(|next| (root, next));
            if found.is_some() {
                return found;
            }
        }
    }
}
