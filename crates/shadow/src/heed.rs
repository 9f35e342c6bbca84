//! How roots heed the guest's fences: not at once, but when they are used again. Until then the
//! fences wait in a log, and roots that are not used cost nothing.

use ringer_hart::hart::AddressFence;
use ringer_hart::{Bus, GuestVirt, PAGE_SHIFT, Ram};
use ringer_isa::pte::Pte;

use crate::fence::Due;
use crate::look::Looker;
use crate::paging::{index, leaf};
use crate::roots::RootRecord;
use crate::tables::{Content, Dropped, Place, TableId, Tables};

/// Fences that are remembered one by one. A root that has missed more is compared as a whole.
const REMEMBERED: usize = 32;

/// The guest's fences, in their order.
#[derive(Debug, Default)]
pub(crate) struct FenceLog {
    latest: [AddressFence; REMEMBERED],
    /// How many there were.
    count: u64,
}

/// What a root must do for the fences that it has missed.
enum Missed {
    Nothing,
    /// Compare what it holds for these addresses, which are so many of the latest.
    Addresses(usize),
    Everything,
}

/// What heeding fences came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heeded {
    /// All of the root was compared.
    pub whole: bool,
    /// Leaves that are right still, of those compared as a whole.
    pub kept: u64,
    pub dropped: Dropped,
    /// Leaves made since they will be needed.
    pub expected: u64,
    /// What the hardware must forget.
    pub due: Due,
}

impl Heeded {
    fn drop_at(&mut self, dropped: Dropped, va: GuestVirt) {
        self.dropped += dropped;
        self.due.add(Due::after(dropped, va));
    }

    fn drop_many(&mut self, dropped: Dropped) {
        self.dropped += dropped;
        self.due.add(Due::after_many(dropped));
    }
}

impl FenceLog {
    pub fn add(&mut self, fence: AddressFence) {
        if let Some(place) = self.latest.get_mut(self.count as usize % REMEMBERED) {
            *place = fence;
        }
        self.count += 1;
    }

    /// How many fences there were: what a root that is up to date has heeded.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The latest so many, latest first.
    fn latest(&self, many: usize) -> impl Iterator<Item = &AddressFence> {
        (1..=many as u64).filter_map(move |back| {
            let number = self.count.wrapping_sub(back);
            self.latest.get(number as usize % REMEMBERED)
        })
    }

    fn missed(&self, root: &RootRecord) -> Missed {
        let many = self.count.wrapping_sub(root.heeded) as usize;
        if many > REMEMBERED {
            return Missed::Everything;
        }
        let mut missed = Missed::Nothing;
        for fence in self.latest(many).filter(|fence| root.is_of(fence.asid)) {
            match fence.va {
                None => return Missed::Everything,
                Some(_) => missed = Missed::Addresses(many),
            }
        }
        missed
    }

    /// Whether there is anything that a root has not heeded yet.
    pub fn concerns(&self, root: &RootRecord) -> bool {
        !matches!(self.missed(root), Missed::Nothing)
    }

    /// Brings a root up to date: whatever fences concern is compared with the guest's tables,
    /// and taken away if they say something else now.
    pub fn heed<B: Bus + ?Sized>(
        &self,
        root: &mut RootRecord,
        tables: &mut Tables,
        looker: &Looker<'_, B>,
    ) -> Heeded {
        let ram = looker.bus.ram();
        let mut heeded = Heeded::default();
        match self.missed(root) {
            Missed::Nothing => {}
            Missed::Addresses(many) => {
                for fence in self.latest(many).filter(|fence| root.is_of(fence.asid)) {
                    if let Some(va) = fence.va {
                        compare_address(&mut heeded, root, tables, looker, va);
                    }
                }
            }
            Missed::Everything => {
                heeded.whole = true;
                for half in [0, 1] {
                    compare_above(&mut heeded, root, tables, ram, half);
                }
                heeded.kept = tables.revalidate(root.table, ram, &mut |dropped| {
                    heeded.dropped += dropped;
                    heeded.due.add(Due::after_many(dropped));
                });
            }
        }
        root.heeded = self.count;
        heeded
    }
}

/// Compares what leads to one half of the root table.
fn compare_above(
    heeded: &mut Heeded,
    root: &RootRecord,
    tables: &mut Tables,
    ram: &Ram,
    half: usize,
) {
    let above = root.above.get(half);
    if above.is_some_and(|above| !above.is_current(|at| ram.load::<u64>(at))) {
        heeded.drop_many(tables.clear_half(root.table, half));
    }
}

/// Compares all that was made of the guest's leaf at `va`, which may be larger than the shadow's,
/// and of the pointers to it.
fn compare_address<B: Bus + ?Sized>(
    heeded: &mut Heeded,
    root: &RootRecord,
    tables: &mut Tables,
    looker: &Looker<'_, B>,
    va: GuestVirt,
) {
    let (paging, ram) = (looker.paging, looker.bus.ram());
    for (half, above) in root.above.iter().enumerate() {
        let own = half == (va.0 >> 63) as usize;
        if own || above.has_leaf_at(paging, half, va) {
            compare_above(heeded, root, tables, ram, half);
        }
    }
    if !paging.is_canonical(va) {
        return;
    }
    let mut table = root.table;
    for level in (0..paging.levels()).rev() {
        if level == 0 {
            compare_napot(heeded, tables, ram, table, va);
            heeded.expected += u64::from(expect(tables, looker, table, va));
            return;
        }
        let index = index(va, level);
        let at = Place { table, index };
        let content = tables.content(at);
        if content == Content::Nothing {
            return;
        }
        if !tables.is_current(at, ram) {
            return heeded.drop_at(tables.clear(at), va);
        }
        // A leaf of the guest's that was split is compared by its one entry.
        let split = tables.seen(at).is_some_and(|seen| seen.is_leaf());
        match content {
            Content::Table(below) if !split => table = below,
            _ => return,
        }
    }
}

/// Compares the place of `va` in a table of 4-KiB leaves, and its neighbours that were made from
/// the same leaf of 64 KiB: a fence on any address in that concerns all of it (Svnapot).
fn compare_napot(
    heeded: &mut Heeded,
    tables: &mut Tables,
    ram: &Ram,
    table: TableId,
    va: GuestVirt,
) {
    let own = index(va, 0);
    for index in tables.used_of_sixteen(table, own) {
        let place = Place { table, index };
        let concerned = index == own || tables.seen(place).is_some_and(|seen| seen.napot());
        if concerned && !tables.is_current(place, ram) {
            let page = va.0 & !0xffff | (index as u64 & 0xf) << PAGE_SHIFT;
            heeded.drop_at(tables.clear(place), GuestVirt(page));
        }
    }
}

/// Fills the place of `va` in a table of 4-KiB leaves: kernels fence an address when they have
/// mapped it, and use it next.
fn expect<B: Bus + ?Sized>(
    tables: &mut Tables,
    looker: &Looker<'_, B>,
    table: TableId,
    va: GuestVirt,
) -> bool {
    let index = index(va, 0);
    let at = Place { table, index };
    if tables.content(at) != Content::Nothing {
        return false;
    }
    let Some(source) = tables.source(at) else {
        return false;
    };
    let Some(entry) = looker.bus.ram().load::<u64>(source).map(Pte) else {
        return false;
    };
    if !entry.valid() || !entry.accessed() {
        return false; // without a look: that must be left to an access
    }
    let found = looker.look_at_entry(va.page(), source, entry);
    if let Some((host, rights)) = found {
        tables.set(at, leaf(host, rights), entry);
    }
    found.is_some()
}
