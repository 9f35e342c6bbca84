//! The spaces of one hart: which ones there are, which is in force, and what fences do to them.
//! Going back to an address space that was left finds its space as it was.

use std::alloc::{Layout, handle_alloc_error};

use ringer_hart::csr::{Csrs, mstatus};
use ringer_hart::hart::AddressFence;
use ringer_hart::{Hart, Privilege};

use crate::space::{Conditions, Space};
use crate::tables::Tables;

/// Spaces kept; the one unused for longest makes room.
const MOST: usize = 48;
/// Places in the index by hash.
const INDEX: usize = 256;

/// What the spaces have done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SpaceCounts {
    /// Changes from one space to another.
    pub switches: u64,
    /// Spaces begun anew.
    pub begun: u64,
    /// Times that a space was emptied by a fence.
    pub flushes: u64,
    /// Fences of one page.
    pub page_flushes: u64,
}

/// All spaces of a hart.
#[derive(Debug)]
pub struct Spaces {
    all: Vec<Space>,
    /// By hash of the conditions, where in `all` to look first.
    index: [u8; INDEX],
    current: usize,
    /// The spaces last in force, the present one first, by what is seen at a glance.
    recent: [(Glance, usize); 4],
    /// Counts switches, to tell which space was unused for longest.
    now: u64,
    counts: SpaceCounts,
}

/// What the conditions of accesses follow from, so that it can be compared quickly. Different ones
/// may mean the same conditions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Glance {
    satp: u64,
    status: u64,
}

impl Glance {
    /// No hart looks so.
    const NOTHING: Self = Self {
        satp: u64::MAX,
        status: u64::MAX,
    };

    fn at(hart: &Hart) -> Self {
        let &Csrs {
            mstatus: status,
            satp,
            ..
        } = &hart.csrs;
        let mode = hart.mode.privilege;
        let in_force = if status & mstatus::MPRV != 0 {
            mstatus::MPRV | mstatus::MPP | mstatus::SUM | mstatus::MXR
        } else {
            match mode {
                Privilege::Machine => 0,
                Privilege::Supervisor => mstatus::SUM | mstatus::MXR,
                Privilege::User => mstatus::MXR,
            }
        };
        Self {
            satp: if mode == Privilege::Machine && in_force == 0 {
                0
            } else {
                satp
            },
            // No field that counts here is in the bits that name a mode.
            status: status & in_force | mode as u64,
        }
    }
}

const _: () = {
    let fields = mstatus::MPRV | mstatus::MPP | mstatus::SUM | mstatus::MXR;
    assert!(fields & 3 == 0);
};

fn hash(conditions: &Conditions) -> usize {
    let of = |context: &ringer_hart::translate::AccessContext| {
        let flags = u64::from(context.sum) << 2 | u64::from(context.mxr) << 3;
        (context.satp ^ context.satp >> 40) << 4 ^ flags ^ context.mode.privilege as u64
    };
    let both = of(&conditions.fetch) ^ of(&conditions.data).rotate_left(7);
    (both.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize % INDEX
}

impl Spaces {
    /// None but an empty one, for M-mode.
    pub fn new() -> Self {
        let hart = ringer_hart::Hart::new(0, 0);
        let first = Conditions {
            fetch: hart.fetch_context(),
            data: hart.data_context(),
        };
        // As with any other memory, there is no going on without.
        let space =
            Space::new(first).unwrap_or_else(|_| handle_alloc_error(Layout::new::<Tables>()));
        Self {
            all: vec![space],
            index: [0; INDEX],
            current: 0,
            recent: [(Glance::NOTHING, 0); 4],
            now: 0,
            counts: SpaceCounts::default(),
        }
    }

    /// What they have done.
    pub fn counts(&self) -> SpaceCounts {
        self.counts
    }

    /// The tables of the space in force, for generated code.
    pub fn current(&mut self) -> *mut Tables {
        self.all[self.current].tables()
    }

    /// The space in force.
    pub fn current_mut(&mut self) -> &mut Space {
        &mut self.all[self.current]
    }

    /// Puts the space for what `hart` can reach now in force.
    pub fn enter(&mut self, hart: &Hart) {
        let wanted = Glance::at(hart);
        if self.recent[0].0 == wanted {
            return;
        }
        self.counts.switches += 1;
        self.now += 1;
        let known = self.recent.iter().position(|(glance, _)| *glance == wanted);
        match known {
            Some(place) => self.recent[..=place].rotate_right(1),
            None => {
                let space = self.find(Conditions {
                    fetch: hart.fetch_context(),
                    data: hart.data_context(),
                });
                self.recent.rotate_right(1);
                self.recent[0] = (wanted, space);
            }
        }
        self.current = self.recent[0].1;
        self.all[self.current].last_used = self.now;
    }

    /// The space for `conditions`.
    fn find(&mut self, conditions: Conditions) -> usize {
        let place = hash(&conditions);
        let likely = usize::from(self.index[place]);
        let found = match self.all.get(likely) {
            Some(space) if space.conditions == conditions => likely,
            _ => self.seek(conditions),
        };
        self.index[place] = found as u8;
        found
    }

    fn seek(&mut self, conditions: Conditions) -> usize {
        let known = self
            .all
            .iter()
            .position(|space| space.conditions == conditions);
        if let Some(known) = known {
            return known;
        }
        self.counts.begun += 1;
        if self.all.len() < MOST
            && let Ok(space) = Space::new(conditions)
        {
            self.all.push(space);
            return self.all.len() - 1;
        }
        let oldest = (0..self.all.len()).min_by_key(|at| self.all[*at].last_used);
        let oldest = oldest.unwrap_or(0);
        for (glance, space) in &mut self.recent {
            if *space == oldest {
                *glance = Glance::NOTHING;
            }
        }
        self.all[oldest].reuse(conditions);
        oldest
    }

    /// Does what `sfence.vma` asks. Global pages are not told apart: a fence of an address
    /// space forgets them too.
    pub fn fence(&mut self, fence: AddressFence) {
        let Self { all, counts, .. } = self;
        let concerned = all
            .iter_mut()
            .filter(|space| fence == AddressFence::default() || space.conditions.is_in(fence.asid));
        match fence.va {
            None => {
                counts.flushes += 1;
                concerned.for_each(|space| space.forget());
            }
            Some(va) => {
                counts.page_flushes += 1;
                for space in concerned {
                    if space.forget_page(va) {
                        counts.flushes += 1;
                    }
                }
            }
        }
    }

    /// Forgets everything.
    pub fn forget_all(&mut self) {
        self.all.iter_mut().for_each(|space| space.forget());
    }

    /// Forgets which code belongs to which address.
    pub fn forget_jumps(&mut self) {
        self.all.iter_mut().for_each(|space| space.forget_jumps());
    }

    /// See [`Space::note_stores`].
    pub fn note_stores(&mut self, is_code: impl Fn(u64) -> bool) {
        for space in &mut self.all {
            space.note_stores(&is_code);
        }
    }
}

const _: () = assert!(MOST < 256);
