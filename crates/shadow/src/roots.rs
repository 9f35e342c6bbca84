//! The shadow roots of a hart: one for each access context that it was in lately.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ringer_hart::address::GuestPhys;
use ringer_hart::csr::satp;
use ringer_hart::translate::AccessContext;
use ringer_hart::{GuestVirt, PAGE_SHIFT};
use ringer_isa::pte::Pte;

use crate::fence::Due;
use crate::tables::{TableId, still_holds};
use ringer_hart::extensions::Paging;

/// Levels that a guest may have above the root of a host: Sv57 on Sv39.
const LEVELS_ABOVE: usize = 2;
/// Contexts whose slot is remembered by a hash.
const HINTS: usize = 64;

/// The guest's entries that lead to what one half of a root table mirrors, where the guest has
/// more levels than the host. In each half of the host's addresses there is one per level.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Above([Option<(GuestPhys, Pte)>; LEVELS_ABOVE]);

impl Above {
    /// Notes the entry at `level`.
    pub fn set(&mut self, paging: Paging, level: u32, at: GuestPhys, entry: Pte) {
        let place = level.checked_sub(paging.levels());
        if let Some(place) = place.and_then(|p| self.0.get_mut(p as usize)) {
            *place = Some((at, entry));
        }
    }

    /// Whether what was made from these entries is right for those too.
    pub fn still_holds(&self, now: &Self) -> bool {
        self.0.iter().zip(&now.0).all(|pair| match pair {
            (None, None) => true,
            (Some((at, seen)), Some((now_at, now))) => at == now_at && still_holds(*seen, *now),
            _ => false,
        })
    }

    /// Whether memory holds these entries.
    pub fn is_current(&self, load: impl Fn(GuestPhys) -> Option<u64>) -> bool {
        self.0
            .iter()
            .flatten()
            .all(|(at, seen)| load(*at).is_some_and(|now| still_holds(*seen, Pte(now))))
    }

    /// Whether one of these entries is a leaf that maps `va`. `half` says which half of the
    /// host's addresses they are for.
    pub fn has_leaf_at(&self, paging: Paging, half: usize, va: GuestVirt) -> bool {
        let prefix = if half == 0 { 0 } else { u64::MAX };
        (paging.levels()..).zip(&self.0).any(|(level, above)| {
            let shift = PAGE_SHIFT + 9 * level;
            above.is_some_and(|(_, seen)| seen.is_leaf() && (va.0 ^ prefix) >> shift == 0)
        })
    }
}

/// One root.
#[derive(Debug)]
pub(crate) struct RootRecord {
    pub context: AccessContext,
    pub table: TableId,
    /// How many of the guest's fences its entries are up to date with.
    pub heeded: u64,
    /// By halves of the address space.
    pub above: [Above; 2],
    entered: u64,
}

impl RootRecord {
    /// Whether a fence of this address space concerns it.
    pub fn is_of(&self, asid: Option<u16>) -> bool {
        let own = (self.context.satp >> satp::ASID_SHIFT) as u16;
        self.context.satp != 0 && asid.is_none_or(|asid| asid == own)
    }
}

#[derive(Debug)]
struct Slot {
    root: Option<RootRecord>,
    /// What the hardware must forget of this slot before it is entered again. Outlives the root.
    due: Due,
}

/// All roots, by slot.
#[derive(Debug)]
pub(crate) struct Roots {
    slots: Box<[Slot]>,
    /// Where a context was last found.
    hints: [usize; HINTS],
    entries: u64,
}

fn hash(context: &AccessContext) -> usize {
    let flags = u64::from(context.sum) << 1 | u64::from(context.mxr);
    let mode = context.mode.privilege as u64;
    let mixed = (context.satp ^ context.satp >> 44).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
    (mixed ^ mode << 2 ^ flags) as usize % HINTS
}

impl Roots {
    pub fn new(slots: usize) -> Self {
        Self {
            slots: (0..slots)
                .map(|_| Slot {
                    root: None,
                    // Nobody knows what the hardware holds at first.
                    due: Due::Whole,
                })
                .collect(),
            hints: [0; HINTS],
            entries: 0,
        }
    }

    pub fn get(&self, slot: usize) -> Option<&RootRecord> {
        self.slots.get(slot)?.root.as_ref()
    }

    pub fn get_mut(&mut self, slot: usize) -> Option<&mut RootRecord> {
        self.slots.get_mut(slot)?.root.as_mut()
    }

    pub fn iter(&self) -> impl Iterator<Item = (usize, &RootRecord)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(slot, s)| Some((slot, s.root.as_ref()?)))
    }

    pub fn find(&mut self, context: &AccessContext) -> Option<usize> {
        let hint = self.hints.get_mut(hash(context))?;
        let is_it = |s: &Slot| s.root.as_ref().is_some_and(|r| r.context == *context);
        if !self.slots.get(*hint).is_some_and(is_it) {
            *hint = self.slots.iter().position(is_it)?;
        }
        Some(*hint)
    }

    /// A slot without a root.
    pub fn vacant(&self) -> Option<usize> {
        self.slots.iter().position(|s| s.root.is_none())
    }

    /// The slot of the root that was not entered for the longest time, other than `except`.
    pub fn oldest(&self, except: Option<usize>) -> Option<usize> {
        self.iter()
            .filter(|(slot, _)| Some(*slot) != except)
            .min_by_key(|(_, root)| root.entered)
            .map(|(slot, _)| slot)
    }

    pub fn put(&mut self, slot: usize, context: AccessContext, table: TableId, heeded: u64) {
        if let Some(place) = self.slots.get_mut(slot) {
            place.root = Some(RootRecord {
                context,
                table,
                heeded,
                above: [Above::default(); 2],
                entered: 0,
            });
        }
    }

    /// Takes a root away; what the hardware knows of it is void.
    pub fn take(&mut self, slot: usize) -> Option<RootRecord> {
        let place = self.slots.get_mut(slot)?;
        let root = place.root.take()?;
        place.due = Due::Whole;
        Some(root)
    }

    /// Notes that a root is entered, as the latest.
    pub fn stamp(&mut self, slot: usize) {
        self.entries += 1;
        let now = self.entries;
        if let Some(root) = self.get_mut(slot) {
            root.entered = now;
        }
    }

    pub fn add_due(&mut self, slot: usize, due: Due) {
        if let Some(place) = self.slots.get_mut(slot) {
            place.due.add(due);
        }
    }

    pub fn take_due(&mut self, slot: usize) -> Due {
        self.slots
            .get_mut(slot)
            .map_or(Due::Whole, |s| core::mem::take(&mut s.due))
    }

    /// The slots that have a root.
    pub fn occupied(&self) -> Vec<usize> {
        self.iter().map(|(slot, _)| slot).collect()
    }
}
