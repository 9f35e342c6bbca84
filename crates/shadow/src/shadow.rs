//! The shadow page tables of one virtual hart: entered, filled by faults, fenced.

use ringer_hart::extensions::Paging;
use ringer_hart::hart::AddressFence;
use ringer_hart::translate::{Access, AccessContext};
use ringer_hart::{Bus, GuestVirt, Hart, pmp};
use ringer_isa::pte::Pte;

use crate::counts::Counts;
use crate::fence::{Due, HostFence};
use crate::heed::FenceLog;
use crate::look::{Found, Looker, MAX_LEVELS};
use crate::paging::{Rights, index, leaf, leaf_phys};
use crate::pool::{HostPhys, TablePool};
use crate::roots::{Above, RootRecord, Roots};
use crate::tables::{Content, Dropped, Place, TableId, Tables, still_holds};

/// What [`Shadow::new`] refuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ShadowError {
    /// Too few pages to map a single address.
    #[error("{pages} pages for shadow tables are fewer than the {needed} that one address takes")]
    SmallPool {
        /// How many there are.
        pages: usize,
        /// How many one path of tables takes.
        needed: usize,
    },
    /// The pool lies where entries cannot point to.
    #[error("shadow tables at {0:?} are not at a page of physical memory")]
    MisplacedPool(HostPhys),
    /// No root can be held.
    #[error("a shadow needs at least one root")]
    NoRoots,
}

/// The root to run the guest on.
#[must_use = "the fence is due before the guest runs"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Root {
    /// Where the root table is.
    pub table: HostPhys,
    /// Its slot: less than the number of roots. Another root may get it later, and then comes
    /// with a [`HostFence::Slot`].
    pub slot: usize,
    /// What the real hart must do before it runs on this root.
    pub fence: HostFence,
}

/// What became of a fault.
#[must_use = "the fence is due before the guest runs"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The access is allowed now: after the fence, run the guest on. Its root is the same.
    Filled(HostFence),
    /// This one instruction is for `Hart::step`, which raises the right exception or reaches
    /// the device. Nothing changed.
    Emulate,
}

/// All that rights depend on beside the access context and the guest's tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Rules {
    config: [u8; pmp::ENTRIES],
    address: [u64; pmp::ENTRIES],
    menvcfg: u64,
}

impl Rules {
    fn of(hart: &Hart) -> Self {
        let (config, address) = hart.csrs.pmp.registers();
        Self {
            config: *config,
            address: *address,
            menvcfg: hart.csrs.menvcfg,
        }
    }
}

/// The shadow page tables of one virtual hart. Holds nothing but caches: it can be dropped and
/// made anew at any time.
#[derive(Debug)]
pub struct Shadow {
    tables: Tables,
    roots: Roots,
    fences: FenceLog,
    paging: Paging,
    ram: HostPhys,
    live: Option<usize>,
    /// What the entries were made under.
    rules: Option<Rules>,
    rules_suspect: bool,
    /// The last fault for what was allowed already.
    spurious: Option<GuestVirt>,
    counts: Counts,
}

impl Shadow {
    /// A shadow with tables from `pool` and up to `roots` roots, for a real hart with this
    /// paging. The guest's RAM starts at `ram` on the real machine, all in one piece.
    pub fn new(
        pool: TablePool,
        paging: Paging,
        roots: usize,
        ram: HostPhys,
    ) -> Result<Self, ShadowError> {
        let needed = paging.levels() as usize;
        if pool.len() < needed {
            let pages = pool.len();
            return Err(ShadowError::SmallPool { pages, needed });
        }
        if !pool.is_placed() {
            return Err(ShadowError::MisplacedPool(pool.base()));
        }
        if roots == 0 {
            return Err(ShadowError::NoRoots);
        }
        Ok(Self {
            tables: Tables::new(pool),
            roots: Roots::new(roots),
            fences: FenceLog::default(),
            paging,
            ram,
            live: None,
            rules: None,
            rules_suspect: true,
            spurious: None,
            counts: Counts::default(),
        })
    }

    /// Selects the root for what `hart` is about to do, made anew if need be. Called before the
    /// guest runs whenever its mode, `satp`, SUM, MXR or MPRV may have changed, and after
    /// [`Shadow::fence`] and [`Shadow::flush`].
    ///
    /// `None` if fetches and data accesses follow different rules (`MPRV`): then single
    /// instructions are for `Hart::step`, until this says otherwise.
    pub fn enter<B: Bus + ?Sized>(&mut self, hart: &Hart, bus: &B) -> Option<Root> {
        let context = hart.fetch_context();
        if context != hart.data_context() {
            return None;
        }
        if self.rules_suspect {
            self.heed_rules(hart);
        }
        let slot = match self.roots.find(&context) {
            Some(slot) => slot,
            None => self.make_root(context)?,
        };
        self.counts.enters += 1;
        self.live = Some(slot);
        self.roots.stamp(slot);
        if self.roots.get(slot)?.heeded != self.fences.count() {
            self.heed(slot, hart, bus);
        }
        Some(Root {
            table: self.tables.phys(self.roots.get(slot)?.table),
            slot,
            fence: self.roots.take_due(slot).in_slot(slot),
        })
    }

    /// Handles a page fault that the real hart took on the live root, at `va`. Right also if
    /// [`Shadow::enter`] should have been called and was not: then the answer is
    /// [`Outcome::Emulate`].
    pub fn fault<B: Bus + ?Sized>(
        &mut self,
        hart: &Hart,
        bus: &B,
        va: GuestVirt,
        access: Access,
    ) -> Outcome {
        let va = va.page();
        let filled = self.live_for(hart).and_then(|slot| {
            let context = &self.roots.get(slot)?.context;
            let looker = Looker {
                hart,
                bus,
                context,
                paging: self.paging,
                ram: self.ram,
            };
            let canonical = self.paging.is_canonical(va);
            let found = canonical.then(|| looker.look(va, access)).flatten()?;
            self.fill(slot, va, access, &found)
        });
        match filled {
            Some(fence) => Outcome::Filled(fence),
            None => {
                self.counts.emulated += 1;
                Outcome::Emulate
            }
        }
    }

    /// Does what the guest's `sfence.vma` asks. [`Shadow::enter`] must follow.
    ///
    /// That throws nothing away: what the fence concerns is compared with the guest's tables when
    /// its root is entered next. Global mappings get no exception.
    pub fn fence(&mut self, fence: AddressFence) {
        match fence.va {
            None => self.counts.space_fences += 1,
            Some(_) => self.counts.address_fences += 1,
        }
        self.fences.add(fence);
    }

    /// All translations are void, as `Effects::FLUSH_TLB` says: the PMP or `menvcfg` changed, or
    /// another hart asks for a fence of everything. Which, [`Shadow::enter`] finds out, which
    /// must follow.
    pub fn flush(&mut self) {
        self.rules_suspect = true;
        self.fence(AddressFence::default());
    }

    /// Running totals.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How many of the pool's pages are tables now, and how many pages it has.
    pub fn tables_in_use(&self) -> (usize, usize) {
        (self.tables.in_use(), self.tables.pool().len())
    }

    /// The memory that the tables are in, to be walked as the hardware does.
    pub fn pool(&self) -> &TablePool {
        self.tables.pool()
    }

    /// Where the guest's RAM starts on the real machine.
    pub(crate) fn ram(&self) -> HostPhys {
        self.ram
    }

    /// The table of the root entered last, if it holds only what is right.
    pub(crate) fn live_table(&self) -> Option<TableId> {
        let root = self.roots.get(self.live?)?;
        self.is_settled(root).then_some(root.table)
    }

    pub(crate) fn tables(&self) -> &Tables {
        &self.tables
    }

    pub(crate) fn paging(&self) -> Paging {
        self.paging
    }

    pub(crate) fn live_slot(&self) -> Option<usize> {
        self.live
    }

    pub(crate) fn root_records(&self) -> impl Iterator<Item = (usize, &RootRecord)> {
        self.roots.iter()
    }

    /// The live root, if it is up to date and the one for what `hart` does.
    fn live_for(&self, hart: &Hart) -> Option<usize> {
        let slot = self.live?;
        let root = self.roots.get(slot)?;
        let context = hart.fetch_context();
        let entered = root.context == context && context == hart.data_context();
        (entered && self.is_settled(root)).then_some(slot)
    }

    /// Whether a root holds only what is right.
    fn is_settled(&self, root: &RootRecord) -> bool {
        root.heeded == self.fences.count() && !self.rules_suspect
    }

    /// Whether a root will be compared with the guest's tables when it is entered.
    pub(crate) fn is_suspect(&self, root: &RootRecord) -> bool {
        self.fences.concerns(root)
    }

    fn heed_rules(&mut self, hart: &Hart) {
        let rules = Rules::of(hart);
        self.rules_suspect = false;
        if self.rules.replace(rules).is_some_and(|old| old != rules) {
            self.counts.new_rules += 1;
            self.live = None;
            for slot in self.roots.occupied() {
                self.remove(slot);
            }
        }
    }

    fn remove(&mut self, slot: usize) {
        if let Some(root) = self.roots.take(slot) {
            self.tables.release(root.table);
        }
    }

    fn make_root(&mut self, context: AccessContext) -> Option<usize> {
        // The root that was live is no more; as the latest it is the last to be evicted.
        self.live = None;
        let slot = loop {
            match self.roots.vacant() {
                Some(slot) => break slot,
                None => self.evict()?,
            }
        };
        let table = loop {
            // What the table mirrors is known when it is filled.
            match self.tables.allocate(None) {
                Some(table) => break table,
                None => self.evict()?,
            }
        };
        self.roots.put(slot, context, table, self.fences.count());
        self.counts.roots += 1;
        Some(slot)
    }

    /// Gives up a root that is not live.
    fn evict(&mut self) -> Option<()> {
        let oldest = self.roots.oldest(self.live)?;
        self.counts.evictions += 1;
        self.remove(oldest);
        Some(())
    }

    /// Brings a root, that `hart` is about to use, up to date with the guest's fences.
    fn heed<B: Bus + ?Sized>(&mut self, slot: usize, hart: &Hart, bus: &B) {
        let Some(root) = self.roots.get_mut(slot) else {
            return;
        };
        let context = root.context;
        let looker = Looker {
            hart,
            bus,
            context: &context,
            paging: self.paging,
            ram: self.ram,
        };
        let heeded = self.fences.heed(root, &mut self.tables, &looker);
        self.counts.revalidations += u64::from(heeded.whole);
        self.counts.kept += heeded.kept;
        self.counts.dropped += heeded.dropped.leaves;
        self.counts.expected += heeded.expected;
        self.roots.add_due(slot, heeded.due);
    }

    /// Enters what was found into the live root.
    fn fill(
        &mut self,
        slot: usize,
        va: GuestVirt,
        access: Access,
        found: &Found,
    ) -> Option<HostFence> {
        // Whatever is dropped here is dropped for good reason even if the fill fails, and its
        // fence stays due.
        while !self.try_fill(slot, va, access, found)? {
            self.make_room(slot)?;
        }
        Some(self.roots.take_due(slot).in_slot(slot))
    }

    /// Makes at least one page free. The live root keeps its page.
    fn make_room(&mut self, slot: usize) -> Option<()> {
        if self.evict().is_none() {
            let table = self.roots.get(slot)?.table;
            let dropped = self.tables.clear_all(table);
            self.counts.emptied += 1;
            self.roots.add_due(slot, Due::after_many(dropped));
            // The pool has a page for each level, so this happens once in a fill.
            (dropped.tables != 0).then_some(())?;
        }
        Some(())
    }

    /// False if there is no page for a table.
    fn try_fill(
        &mut self,
        slot: usize,
        va: GuestVirt,
        access: Access,
        found: &Found,
    ) -> Option<bool> {
        let top = self.paging.levels() - 1;
        let root = self.roots.get_mut(slot)?;
        let mut table = root.table;
        let stale = prepare_half(&mut self.tables, self.paging, root, va, found);
        self.note_replaced(slot, va, stale);

        for level in (found.level + 1..=top).rev() {
            let at = Place {
                table,
                index: index(va, level),
            };
            let seen = found.path.seen(level);
            self.drop_unless(slot, va, at, seen, |content| {
                matches!(content, Content::Table(_))
            });
            table = match self.tables.content(at) {
                Content::Table(below) => {
                    self.tables.see(at, seen);
                    below
                }
                _ => {
                    let source = found.path.table(level - 1);
                    let Some(below) = self.tables.allocate(source) else {
                        return Some(false);
                    };
                    self.tables.set_table(at, below, seen);
                    below
                }
            };
        }

        let at = Place {
            table,
            index: index(va, found.level),
        };
        let seen = found.path.seen(found.level);
        self.drop_unless(
            slot,
            va,
            at,
            seen,
            |content| matches!(content, Content::Leaf(old) if leaf_phys(old) == found.host),
        );
        match self.tables.content(at) {
            Content::Leaf(old) if Rights::of(old).contains(Rights::needed_for(access)) => {
                self.note_spurious(slot, va);
            }
            Content::Leaf(_) => {
                self.counts.upgrades += 1;
                self.roots.add_due(slot, Due::Address(va));
            }
            _ => {
                self.spurious = None;
                if let Some(count) = self.counts.fills.get_mut(found.level as usize) {
                    *count += 1;
                }
            }
        }
        self.tables.set(at, leaf(found.host, found.rights), seen);
        Some(true)
    }

    /// Empties a place unless it was made from what the guest has there now, and is as wanted.
    fn drop_unless(
        &mut self,
        slot: usize,
        va: GuestVirt,
        at: Place,
        now: Pte,
        wanted: impl Fn(Content) -> bool,
    ) {
        let content = self.tables.content(at);
        let holds = self
            .tables
            .seen(at)
            .is_none_or(|seen| still_holds(seen, now));
        if content != Content::Nothing && !(holds && wanted(content)) {
            let stale = self.tables.clear(at);
            self.note_replaced(slot, va, stale);
        }
    }

    fn note_replaced(&mut self, slot: usize, va: GuestVirt, stale: Dropped) {
        if stale != Dropped::default() {
            self.counts.replaced += stale.leaves + stale.tables;
            self.roots.add_due(slot, Due::after(stale, va));
        }
    }

    /// The hardware has not seen that the access is allowed. That is its right until a fence;
    /// if one for the address does not help, one for all does.
    fn note_spurious(&mut self, slot: usize, va: GuestVirt) {
        self.counts.spurious += 1;
        let again = self.spurious.replace(va) == Some(va);
        let due = if again { Due::Whole } else { Due::Address(va) };
        self.roots.add_due(slot, due);
    }
}

/// Lets the root's half that `va` is in mirror what the guest has there: only there is a choice
/// for a guest with more levels than the host. Returns what was dropped for it.
fn prepare_half(
    tables: &mut Tables,
    paging: Paging,
    root: &mut RootRecord,
    va: GuestVirt,
    found: &Found,
) -> Dropped {
    let half = (va.0 >> 63) as usize;
    let mut now = Above::default();
    for level in paging.levels()..MAX_LEVELS {
        if let Some((at, entry)) = found.path.at(level) {
            now.set(paging, level, at, entry);
        }
    }
    let mut stale = Dropped::default();
    if let Some(above) = root.above.get_mut(half) {
        if !above.still_holds(&now) {
            stale = tables.clear_half(root.table, half);
        }
        *above = now;
    }
    tables.set_source(root.table, half, found.path.table(paging.levels() - 1));
    stale
}
