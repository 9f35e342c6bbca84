//! What the definition says about an address: the only place where a shadow's rights come from.

use ringer_hart::extensions::Paging;
use ringer_hart::translate::{Access, AccessContext, Survey, Translation, WalkStep};
use ringer_hart::{Bus, GuestPhys, GuestVirt, Hart, PAGE_SIZE};
use ringer_isa::pte::Pte;

use crate::paging::{Rights, size};
use crate::pool::{HostPhys, PHYSICAL_END};

/// How often the guest's other harts may change an entry under our eyes before the instruction
/// is left to the definition, which makes progress in any case.
const ATTEMPTS: usize = 4;
/// The largest leaf a shadow has is at this level: 1 GiB.
const LARGEST: u32 = 2;
/// Levels that any guest's tables have.
pub(crate) const MAX_LEVELS: u32 = 5;

const ACCESSES: [Access; 3] = [Access::Fetch, Access::Load, Access::Store];

/// The guest's entries that a walk went through, by level.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Path {
    places: [(GuestPhys, Pte); MAX_LEVELS as usize],
    /// A bit for each level that the guest has.
    levels: u32,
}

impl Path {
    fn note(&mut self, level: u32, at: GuestPhys, entry: Pte) {
        if let Some(place) = self.places.get_mut(level as usize) {
            *place = (at, entry);
            self.levels |= 1 << level;
        }
    }

    /// Where the entry at `level` was, and what it held.
    pub fn at(&self, level: u32) -> Option<(GuestPhys, Pte)> {
        let place = *self.places.get(level as usize)?;
        (self.levels >> level & 1 != 0).then_some(place)
    }

    /// What the entry at `level` held; 0 where the guest has none.
    pub fn seen(&self, level: u32) -> Pte {
        self.at(level).map_or(Pte(0), |(_, entry)| entry)
    }

    /// The guest's table at `level`.
    pub fn table(&self, level: u32) -> Option<GuestPhys> {
        self.at(level).map(|(at, _)| at.page())
    }
}

/// An address that leads to RAM, and the largest leaf for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub path: Path,
    /// The level of the shadow's leaf.
    pub level: u32,
    /// Where the leaf leads.
    pub host: HostPhys,
    /// All that may be done now without a change to the guest's tables; at least what was asked.
    pub rights: Rights,
}

/// Who looks, and where RAM is.
pub(crate) struct Looker<'a, B: Bus + ?Sized> {
    pub hart: &'a Hart,
    pub bus: &'a B,
    pub context: &'a AccessContext,
    pub paging: Paging,
    pub ram: HostPhys,
}

impl<B: Bus + ?Sized> Looker<'_, B> {
    /// Asks about one access. `None` if it faults, or leads elsewhere than to RAM, or to a page
    /// in which not all may be accessed so: then the definition must do it.
    pub fn look(&self, va: GuestVirt, access: Access) -> Option<Found> {
        for _ in 0..ATTEMPTS {
            let mut path = Path::default();
            let note = |step: WalkStep| path.note(step.level, step.entry_at, step.entry);
            let survey = self.hart.survey(self.bus, va, self.context, note)?;
            if !survey.permits(access) {
                return None;
            }
            if !survey.is_marked(access) {
                // It is this that may set A and D; what it led to is seen at the next look.
                self.hart
                    .translate(self.bus, va, access, self.context)
                    .ok()?;
                continue;
            }
            let (level, host, open) = self.largest_leaf(&survey.translation, LARGEST)?;
            let rights = rights(&survey, open);
            return rights
                .contains(Rights::needed_for(access))
                .then_some(Found {
                    path,
                    level,
                    host,
                    rights,
                });
        }
        None
    }

    /// What an entry of the guest's, in a table of last level that leads to `va`, allows without
    /// a change to it.
    pub fn look_at_entry(
        &self,
        va: GuestVirt,
        at: GuestPhys,
        entry: Pte,
    ) -> Option<(HostPhys, Rights)> {
        let survey = self.hart.survey_entry(va, at, entry, self.context)?;
        let (_, host, open) = self.largest_leaf(&survey.translation, 0)?;
        let rights = rights(&survey, open);
        (!rights.is_empty()).then_some((host, rights))
    }

    /// The largest leaf that is all in RAM, inside the guest's leaf, of one mind by the PMP, and
    /// possible on the host: its level, where it starts for the host, and what nothing but the
    /// page tables forbids there.
    fn largest_leaf(&self, found: &Translation, largest: u32) -> Option<(u32, HostPhys, Rights)> {
        let largest = largest.min(self.paging.levels() - 1);
        (0..=largest).rev().find_map(|level| {
            let bytes = size(level);
            if bytes > found.leaf_size {
                return None;
            }
            let span = GuestPhys(found.phys.0 & !(bytes - 1));
            let offset = self.bus.ram().offset(span, bytes)?;
            let host = HostPhys(self.ram.0.checked_add(offset)?);
            if host.0 & (bytes - 1) != 0 || host.0.checked_add(bytes)? > PHYSICAL_END {
                return None;
            }
            let watched =
                (self.bus.watched_page()).is_some_and(|page| page.0.wrapping_sub(span.0) < bytes);
            // Stores to a watched page are for the definition, so it has a leaf of its own.
            if watched && level != 0 {
                return None;
            }
            let privilege = self.context.mode.privilege;
            let open = self.hart.csrs.pmp.permissions(span, bytes, privilege)?;
            let mut rights = rights_where(|access| open[access as usize]);
            rights.set(Rights::WRITE, rights.contains(Rights::WRITE) && !watched);
            Some((level, host, rights))
        })
    }
}

fn rights_where(allowed: impl Fn(Access) -> bool) -> Rights {
    (ACCESSES.into_iter())
        .filter(|access| allowed(*access))
        .fold(Rights::empty(), |rights, access| {
            rights | Rights::needed_for(access)
        })
}

/// All that may be done now, without a change to the guest's tables, where these are `open`.
fn rights(survey: &Survey, open: Rights) -> Rights {
    let ready = |access| survey.permits(access) && survey.is_marked(access);
    let mut rights = open & rights_where(ready);
    // Hardware has no leaf with W and without R. The definition does not either.
    if !rights.contains(Rights::READ) {
        rights.remove(Rights::WRITE);
    }
    rights
}

const _: () = assert!(size(0) == PAGE_SIZE);
