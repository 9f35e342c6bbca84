//! From virtual to physical addresses (Privileged 4.3–4.5, Svnapot, Svpbmt, Svadu): the one
//! page-table walk.

use ringer_isa::pte::Pte;

use crate::address::{GuestPhys, GuestVirt, PAGE_SHIFT, PAGE_SIZE};
use crate::bus::Bus;
use crate::cause::{Cause, Exception};
use crate::csr::{menvcfg, mstatus, satp};
use crate::extensions::Paging;
use crate::hart::Hart;
use crate::mode::{Mode, Privilege};

/// What an access wants to do. AMOs and `sc` count as stores.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    /// Execute.
    Fetch,
    /// Read.
    Load,
    /// Write.
    Store,
}

impl Access {
    const fn page_fault(self) -> Cause {
        match self {
            Self::Fetch => Cause::FetchPage,
            Self::Load => Cause::LoadPage,
            Self::Store => Cause::StorePage,
        }
    }
    /// The cause when the bus or the PMP refuses.
    pub const fn access_fault(self) -> Cause {
        match self {
            Self::Fetch => Cause::FetchAccess,
            Self::Load => Cause::LoadAccess,
            Self::Store => Cause::StoreAccess,
        }
    }
    /// The bits that a leaf must have set, or gets (Privileged 4.3.1).
    const fn marks(self) -> u64 {
        match self {
            Self::Fetch | Self::Load => Pte::A,
            Self::Store => Pte::A | Pte::D,
        }
    }
    /// The cause when the address is misaligned.
    pub const fn misaligned(self) -> Cause {
        match self {
            Self::Fetch => Cause::FetchMisaligned,
            Self::Load => Cause::LoadMisaligned,
            Self::Store => Cause::StoreMisaligned,
        }
    }
}

/// Where an address leads, and how far around it the same holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translation {
    /// The physical address.
    pub phys: GuestPhys,
    /// Bytes in the leaf that mapped it (4 KiB, 64 KiB, 2 MiB …); `u64::MAX` where addresses are
    /// not translated.
    pub leaf_size: u64,
    /// The mapping is in all address spaces (4.3.1): the leaf or a pointer to it is global.
    pub global: bool,
}

/// What [`Hart::survey`] finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Survey {
    /// Where the address leads.
    pub translation: Translation,
    /// By accesses, in their order.
    permitted: [bool; 3],
    /// Of the leaf; all ones if there is none.
    flags: u64,
}

impl Survey {
    /// Whether the leaf permits the access.
    pub fn permits(&self, access: Access) -> bool {
        self.permitted[access as usize]
    }
    /// Whether A, and D for a store, are set already.
    pub fn is_marked(&self, access: Access) -> bool {
        self.flags & access.marks() == access.marks()
    }
}

/// Where a walk ended.
struct End {
    translation: Translation,
    /// The leaf, and where it is; `None` where addresses are not translated.
    leaf: Option<(GuestPhys, Pte)>,
}

impl End {
    fn permits(&self, hart: &Hart, access: Access, context: &AccessContext) -> bool {
        self.leaf
            .is_none_or(|(_, leaf)| hart.leaf_permits(leaf, access, context))
    }

    fn survey(&self, hart: &Hart, context: &AccessContext) -> Survey {
        Survey {
            translation: self.translation,
            permitted: [Access::Fetch, Access::Load, Access::Store]
                .map(|access| self.permits(hart, access, context)),
            flags: self.leaf.map_or(u64::MAX, |(_, entry)| entry.0),
        }
    }
}

/// Whether an entry is valid, as far as leaves and pointers have it in common.
fn is_valid(entry: Pte) -> bool {
    entry.valid() && (entry.readable() || !entry.writable()) && entry.reserved() == 0
}

/// One step of a walk, for those who want to watch it (the monitor prompt, traces).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WalkStep {
    /// The level, counted down to 0.
    pub level: u32,
    /// Where the entry was read.
    pub entry_at: GuestPhys,
    /// The entry.
    pub entry: Pte,
}

/// The conditions of an access beside its address: what a cached translation depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AccessContext {
    /// The effective mode: `MPRV` taken into account.
    pub mode: Mode,
    /// The page-table root that applies; 0 where addresses are not translated.
    pub satp: u64,
    /// Supervisor may touch user pages.
    pub sum: bool,
    /// Loads may read executable pages.
    pub mxr: bool,
}

impl Hart {
    /// The conditions under which instructions are fetched now.
    pub fn fetch_context(&self) -> AccessContext {
        self.context_in(self.mode)
    }

    /// The conditions under which loads and stores happen now (`MPRV`, Privileged 3.1.6.3).
    pub fn data_context(&self) -> AccessContext {
        let status = self.csrs.mstatus;
        let mode = if status & mstatus::MPRV != 0 {
            let privilege = Privilege::from_bits((status & mstatus::MPP) >> mstatus::MPP_SHIFT);
            Mode {
                privilege: privilege.unwrap_or(Privilege::User),
                virtualised: false,
            }
        } else {
            self.mode
        };
        self.context_in(mode)
    }

    fn context_in(&self, mode: Mode) -> AccessContext {
        let translated = mode.privilege != Privilege::Machine
            && self.csrs.satp >> satp::MODE_SHIFT != satp::MODE_BARE;
        AccessContext {
            mode,
            satp: if translated { self.csrs.satp } else { 0 },
            sum: translated && self.csrs.mstatus & mstatus::SUM != 0,
            mxr: translated && self.csrs.mstatus & mstatus::MXR != 0,
        }
    }

    /// Translates `va` for one access. Sets A and D in the guest's tables where `menvcfg.ADUE`
    /// says so. Does not ask the PMP about the result: that depends on the access's size.
    pub fn translate<B: Bus + ?Sized>(
        &self,
        bus: &B,
        va: GuestVirt,
        access: Access,
        context: &AccessContext,
    ) -> Result<Translation, Exception> {
        self.walk(bus, va, access, context, true, |_| {})
    }

    /// As [`Hart::translate`], but changes nothing in memory, and shows each step to `watch`.
    /// For debuggers and the monitor prompt.
    pub fn inspect<B: Bus + ?Sized>(
        &self,
        bus: &B,
        va: GuestVirt,
        access: Access,
        context: &AccessContext,
        watch: impl FnMut(WalkStep),
    ) -> Result<Translation, Exception> {
        self.walk(bus, va, access, context, false, watch)
    }

    /// What one walk finds out for all kinds of access, without a change to memory: for those who
    /// keep what they find. Shows each step to `watch`. `None` if all of them fault.
    pub fn survey<B: Bus + ?Sized>(
        &self,
        bus: &B,
        va: GuestVirt,
        context: &AccessContext,
        watch: impl FnMut(WalkStep),
    ) -> Option<Survey> {
        let end = self.find_leaf(bus, va, Access::Load, context, watch).ok()?;
        Some(end.survey(self, context))
    }

    /// What [`Hart::survey`] would find if a walk for `va` ended at this entry of a table of last
    /// level. `None` also if it may not be read there. Whether it is global is not known.
    pub fn survey_entry(
        &self,
        va: GuestVirt,
        entry_at: GuestPhys,
        entry: Pte,
        context: &AccessContext,
    ) -> Option<Survey> {
        let readable = || self.may_walk(entry_at);
        if !is_valid(entry) || !entry.is_leaf() || !readable() {
            return None;
        }
        let end = End {
            translation: self.leads_to(entry, 0, va, entry.global())?,
            leaf: Some((entry_at, entry)),
        };
        Some(end.survey(self, context))
    }

    fn walk<B: Bus + ?Sized>(
        &self,
        bus: &B,
        va: GuestVirt,
        access: Access,
        context: &AccessContext,
        update: bool,
        mut watch: impl FnMut(WalkStep),
    ) -> Result<Translation, Exception> {
        let page_fault = || Exception::new(access.page_fault(), va.0);
        let access_fault = || Exception::new(access.access_fault(), va.0);
        loop {
            let end = self.find_leaf(bus, va, access, context, &mut watch)?;
            if !end.permits(self, access, context) {
                return Err(page_fault());
            }
            let Some((entry_at, Pte(bits))) = end.leaf else {
                return Ok(end.translation);
            };
            let wanted = access.marks();
            if bits & wanted != wanted {
                if self.csrs.menvcfg & menvcfg::ADUE == 0 {
                    return Err(page_fault());
                }
                if update {
                    if !self
                        .csrs
                        .pmp
                        .allows(entry_at, 8, Access::Store, Privilege::Supervisor)
                    {
                        return Err(access_fault());
                    }
                    let swapped = bus
                        .ram()
                        .compare_exchange::<u64>(entry_at, bits, bits | wanted)
                        .ok_or_else(access_fault)?;
                    if swapped.is_err() {
                        // Another hart changed the entry meanwhile: look at it again.
                        continue;
                    }
                }
            }
            return Ok(end.translation);
        }
    }

    /// The walk down to the leaf, whoever may use that. `access` names the exception.
    #[inline]
    fn find_leaf<B: Bus + ?Sized>(
        &self,
        bus: &B,
        va: GuestVirt,
        access: Access,
        context: &AccessContext,
        mut watch: impl FnMut(WalkStep),
    ) -> Result<End, Exception> {
        let Some(paging) = Paging::of_mode(context.satp >> satp::MODE_SHIFT) else {
            return Ok(End {
                translation: Translation {
                    phys: GuestPhys(va.0),
                    leaf_size: u64::MAX,
                    global: false,
                },
                leaf: None,
            });
        };
        let levels = paging.levels();
        let page_fault = || Exception::new(access.page_fault(), va.0);
        let access_fault = || Exception::new(access.access_fault(), va.0);

        if !paging.is_canonical(va) {
            return Err(page_fault());
        }

        let mut table = (context.satp & satp::PPN) << PAGE_SHIFT;
        let mut level = levels;
        let mut global = false;
        loop {
            level -= 1;
            let shift = PAGE_SHIFT + 9 * level;
            let entry_at = GuestPhys(table + ((va.0 >> shift & 0x1ff) << 3));
            if !self.may_walk(entry_at) {
                return Err(access_fault());
            }
            let bits = bus.ram().load::<u64>(entry_at).ok_or_else(access_fault)?;
            let entry = Pte(bits);
            watch(WalkStep {
                level,
                entry_at,
                entry,
            });

            if !is_valid(entry) {
                return Err(page_fault());
            }
            global |= entry.global();
            if entry.is_leaf() {
                let translation = self.leads_to(entry, level, va, global);
                return Ok(End {
                    translation: translation.ok_or_else(page_fault)?,
                    leaf: Some((entry_at, entry)),
                });
            }
            // A, D, U, N and PBMT are reserved in pointers (4.4.1).
            let clear = entry.napot() || entry.pbmt() != 0;
            if clear || entry.user() || entry.accessed() || entry.dirty() || level == 0 {
                return Err(page_fault());
            }
            table = entry.ppn() << PAGE_SHIFT;
        }
    }

    /// Whether a walk may read an entry there: its accesses are a supervisor's, to memory
    /// (Privileged 3.7.1).
    fn may_walk(&self, entry_at: GuestPhys) -> bool {
        let pmp = &self.csrs.pmp;
        pmp.allows(entry_at, 8, Access::Load, Privilege::Supervisor)
    }

    /// Where a leaf at `level` leads, if it is well-formed.
    #[inline]
    fn leads_to(&self, leaf: Pte, level: u32, va: GuestVirt, global: bool) -> Option<Translation> {
        let pbmt_enabled = self.csrs.menvcfg & menvcfg::PBMTE != 0;
        if leaf.pbmt() != 0 && (!pbmt_enabled || leaf.pbmt() == 3) {
            return None;
        }
        let leaf_bits = if leaf.napot() {
            // Svnapot defines one size: 64 KiB.
            if level != 0 || leaf.ppn() & 0xf != 0x8 {
                return None;
            }
            PAGE_SHIFT + 4
        } else {
            PAGE_SHIFT + 9 * level
        };
        let base = leaf.ppn() << PAGE_SHIFT;
        let leaf_size = 1u64 << leaf_bits;
        if !leaf.napot() && base & (leaf_size - 1) != 0 {
            return None; // misaligned superpage
        }
        Some(Translation {
            phys: GuestPhys(base & !(leaf_size - 1) | va.0 & (leaf_size - 1)),
            leaf_size,
            global,
        })
    }

    fn leaf_permits(&self, leaf: Pte, access: Access, context: &AccessContext) -> bool {
        let by_mode = match context.mode.privilege {
            Privilege::User => leaf.user(),
            _ if leaf.user() => context.sum && access != Access::Fetch,
            _ => true,
        };
        by_mode
            && match access {
                Access::Fetch => leaf.executable(),
                Access::Load => leaf.readable() || (context.mxr && leaf.executable()),
                Access::Store => leaf.writable(),
            }
    }
}

const _: () = assert!(PAGE_SIZE == 1 << PAGE_SHIFT);
