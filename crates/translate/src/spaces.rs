//! The spaces of one hart: which ones there are, which is in force, and what fences do to them.
//! Going back to an address space that was left finds its space as it was.

use ringer_hart::csr::{Csrs, mstatus};
use ringer_hart::hart::AddressFence;
use ringer_hart::{Hart, Privilege};
use rustix::io::Errno;

use crate::space::{Backed, Conditions, Space};
use crate::tables::Tables;

/// Spaces kept; the one unused for longest makes room.
const MOST: usize = 48;
/// Memory of the host's that the tables of all harts' spaces may take together, in bytes. Where a
/// hart has more than its part, the spaces unused for longest give theirs back: programs that come
/// and go leave tables behind that nobody looks into any more.
const MOST_BYTES: usize = 24 << 20;
/// What each hart may have in any case: what one space takes at most.
const LEAST_BYTES: usize = 4 << 20;
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
    /// A kernel's address spaces share one space.
    sharing: bool,
    /// The spaces last in force, the present one first, by what is seen at a glance.
    recent: [(Glance, usize); 4],
    /// Of these, the ones under `near_satp` that generated code may go to.
    near: NearSpaces,
    near_satp: u64,
    /// Counts switches, to tell which space was unused for longest.
    now: u64,
    /// Memory behind the tables, and how much of it there may be.
    backed: Backed,
    most_backed: u32,
    counts: SpaceCounts,
}

/// The spaces that a program and its kernel change between without a change of `satp`, while MPRV
/// and MXR are clear. Null where none is known. Generated code changes between them by itself;
/// whatever is in force then, [`Spaces::enter`] has put it in force before, and finds it quickly.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NearSpaces {
    /// U-mode's.
    pub user: *mut Tables,
    /// S-mode's, by SUM.
    pub kernel: [*mut Tables; 2],
}

impl NearSpaces {
    /// None is known.
    pub const NONE: Self = Self {
        user: std::ptr::null_mut(),
        kernel: [std::ptr::null_mut(); 2],
    };

    /// The one for what `hart` can reach now.
    fn at(&mut self, hart: &Hart) -> Option<&mut *mut Tables> {
        let status = hart.csrs.mstatus;
        if status & (mstatus::MPRV | mstatus::MXR) != 0 {
            return None;
        }
        match hart.mode.privilege {
            Privilege::User => Some(&mut self.user),
            Privilege::Supervisor => {
                Some(&mut self.kernel[usize::from(status & mstatus::SUM != 0)])
            }
            Privilege::Machine => None,
        }
    }
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
    /// None but an empty one, for M-mode, for one of so many harts. Fails if the host gives no memory for its tables.
    pub fn new(harts: usize) -> Result<Self, Errno> {
        let first = Conditions::of(&Hart::new(0, 0));
        let backed = Backed::default();
        let most_bytes = (MOST_BYTES / harts.max(1)).max(LEAST_BYTES);
        Ok(Self {
            all: vec![Space::new(first, false, backed.clone())?],
            backed,
            most_backed: (most_bytes / Backed::UNIT) as u32,
            index: [0; INDEX],
            current: 0,
            sharing: true,
            recent: [(Glance::NOTHING, 0); 4],
            near: NearSpaces::NONE,
            near_satp: 0,
            now: 0,
            counts: SpaceCounts::default(),
        })
    }

    /// What they have done.
    pub fn counts(&self) -> SpaceCounts {
        self.counts
    }

    /// The tables of the space in force, for generated code.
    pub fn current(&mut self) -> *mut Tables {
        self.all[self.current].tables()
    }

    /// The address space in force, as `satp`.
    pub fn root(&self) -> u64 {
        self.recent[0].0.satp
    }

    /// The space in force.
    pub fn current_mut(&mut self) -> &mut Space {
        &mut self.all[self.current]
    }

    /// Puts the space for what `hart` can reach now in force.
    pub fn enter(&mut self, hart: &Hart) {
        if self.near_satp != hart.csrs.satp {
            self.near_satp = hart.csrs.satp;
            self.near = NearSpaces::NONE;
        }
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
                // One of them may have to make room.
                self.near = NearSpaces::NONE;
                let space = self.find(Conditions::of(hart));
                if self.backed.units() > self.most_backed {
                    self.give_back(space);
                }
                self.recent.rotate_right(1);
                self.recent[0] = (wanted, space);
            }
        }
        self.current = self.recent[0].1;
        let space = &mut self.all[self.current];
        space.last_used = self.now;
        if !space.enter_root(hart.csrs.satp) {
            // This kernel's pages are not global. From now on each of its address spaces has a
            // space of its own.
            self.sharing = false;
            self.recent[1..].fill((Glance::NOTHING, 0));
            self.near = NearSpaces::NONE;
            let conditions = Conditions::of(hart);
            self.current = self.find(conditions);
            self.recent[0].1 = self.current;
        }
        if let Some(near) = self.near.at(hart) {
            *near = self.all[self.current].tables();
        }
    }

    /// The spaces that generated code may go to from the one in force.
    pub fn near(&self) -> NearSpaces {
        self.near
    }

    /// The space for `conditions`.
    fn find(&mut self, conditions: Conditions) -> usize {
        let shared = conditions.shared().filter(|_| self.sharing);
        let conditions = shared.unwrap_or(conditions);
        let place = hash(&conditions);
        let likely = usize::from(self.index[place]);
        let found = match self.all.get(likely) {
            Some(space) if space.conditions == conditions => likely,
            _ => self.seek(conditions, shared.is_some()),
        };
        self.index[place] = found as u8;
        found
    }

    fn seek(&mut self, conditions: Conditions, shared: bool) -> usize {
        let known = self
            .all
            .iter()
            .position(|space| space.conditions == conditions);
        if let Some(known) = known {
            return known;
        }
        self.counts.begun += 1;
        if self.all.len() < MOST
            && let Ok(space) = Space::new(conditions, shared, self.backed.clone())
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
        self.all[oldest].reuse(conditions, shared);
        oldest
    }

    /// Gives memory back to the host until there is no more than there may be, but not that of
    /// space `but`.
    fn give_back(&mut self, but: usize) {
        while self.backed.units() > self.most_backed {
            let others = self.all.iter_mut().enumerate();
            let oldest = others
                .filter(|(at, space)| *at != but && space.backed() > 0)
                .min_by_key(|(_, space)| space.last_used);
            match oldest {
                Some((_, space)) => space.release(),
                None => return,
            }
        }
    }

    /// Does what `sfence.vma` asks.
    pub fn fence(&mut self, fence: AddressFence) {
        let Self { all, counts, .. } = self;
        match fence.va {
            None => {
                counts.flushes += 1;
                all.iter_mut().for_each(|space| space.fence(fence.asid));
            }
            Some(va) => {
                counts.page_flushes += 1;
                for space in all {
                    if space.forget_page(va, fence.asid) {
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

#[cfg(test)]
mod tests {
    use ringer_hart::{GuestVirt, Mode};

    use super::*;

    fn hart(mode: Mode, root: u64) -> Hart {
        let mut hart = Hart::new(0, 0);
        hart.mode = mode;
        hart.csrs.satp = 8 << 60 | root << 44 | root;
        hart
    }

    #[test]
    fn programs_have_spaces_of_their_own_and_the_oldest_makes_room() {
        let mut spaces = Spaces::new(1).unwrap();
        for root in 1..=200 {
            spaces.enter(&hart(Mode::U, root));
            spaces.current_mut().remember_jump(0x1000, root);
        }
        assert_eq!(spaces.counts().begun, 200);
        assert_eq!(spaces.all.len(), MOST);
        for root in (1..=200).rev().take(MOST) {
            spaces.enter(&hart(Mode::U, root));
            assert_eq!(spaces.current_mut().find_jump(0x1000), Some(root));
        }
        spaces.enter(&hart(Mode::U, 1));
        assert_eq!(spaces.current_mut().find_jump(0x1000), None);
    }

    #[test]
    fn fences_of_a_programs_pages_leave_the_kernels_jumps() {
        const KERNEL: u64 = 0xffff_ffff_8000_1000;
        let mut spaces = Spaces::new(1).unwrap();
        spaces.enter(&hart(Mode::S, 1));
        spaces.current_mut().remember_jump(KERNEL, 1);
        let fence = |va| AddressFence {
            va: Some(GuestVirt(va)),
            asid: None,
        };
        spaces.fence(fence(0x1000));
        assert_eq!(spaces.current_mut().find_jump(KERNEL), Some(1));
        spaces.fence(fence(KERNEL + 8));
        assert_eq!(spaces.current_mut().find_jump(KERNEL), None);
    }

    #[test]
    fn a_kernels_address_spaces_share_one() {
        let mut spaces = Spaces::new(1).unwrap();
        spaces.enter(&hart(Mode::S, 1));
        spaces.current_mut().remember_jump(0x1000, 1);
        spaces.enter(&hart(Mode::U, 2));
        spaces.enter(&hart(Mode::S, 2));
        assert_eq!(spaces.current_mut().find_jump(0x1000), Some(1));
        assert_eq!(spaces.root(), hart(Mode::S, 2).csrs.satp);
        let all = AddressFence::default();
        spaces.fence(all);
        assert_eq!(spaces.current_mut().find_jump(0x1000), None);
    }
}
