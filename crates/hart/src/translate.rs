//! From virtual to physical addresses (Privileged 4.3–4.5, Svnapot, Svpbmt, Svadu): the one
//! page-table walk.

use ringer_isa::pte::Pte;

use crate::address::{GuestPhys, GuestVirt, PAGE_SHIFT, PAGE_SIZE};
use crate::bus::Bus;
use crate::cause::{Cause, Exception};
use crate::csr::{menvcfg, mstatus, satp};
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

    fn walk<B: Bus + ?Sized>(
        &self,
        bus: &B,
        va: GuestVirt,
        access: Access,
        context: &AccessContext,
        update: bool,
        mut watch: impl FnMut(WalkStep),
    ) -> Result<Translation, Exception> {
        let levels = match context.satp >> satp::MODE_SHIFT {
            satp::MODE_SV39 => 3,
            satp::MODE_SV48 => 4,
            satp::MODE_SV57 => 5,
            _ => {
                return Ok(Translation {
                    phys: GuestPhys(va.0),
                    leaf_size: u64::MAX,
                    global: false,
                });
            }
        };
        let page_fault = || Exception::new(access.page_fault(), va.0);
        let access_fault = || Exception::new(access.access_fault(), va.0);

        let unused_bits = 64 - (PAGE_SHIFT + 9 * levels);
        if (va.0 << unused_bits) as i64 >> unused_bits != va.0 as i64 {
            return Err(page_fault());
        }

        let mut table = (context.satp & satp::PPN) << PAGE_SHIFT;
        let mut level = levels;
        let mut global = false;
        loop {
            level -= 1;
            let shift = PAGE_SHIFT + 9 * level;
            let entry_at = GuestPhys(table + ((va.0 >> shift & 0x1ff) << 3));
            // The walk's own accesses are a supervisor's, to memory (Privileged 3.7.1).
            if !self
                .csrs
                .pmp
                .allows(entry_at, 8, Access::Load, Privilege::Supervisor)
            {
                return Err(access_fault());
            }
            let bits = bus.ram().load::<u64>(entry_at).ok_or_else(access_fault)?;
            let entry = Pte(bits);
            watch(WalkStep {
                level,
                entry_at,
                entry,
            });

            if !entry.valid() || (entry.writable() && !entry.readable()) || entry.reserved() != 0 {
                return Err(page_fault());
            }
            if !entry.is_leaf() {
                // A, D, U, N and PBMT are reserved in pointers (4.4.1).
                let clear = entry.napot() || entry.pbmt() != 0;
                if clear || entry.user() || entry.accessed() || entry.dirty() || level == 0 {
                    return Err(page_fault());
                }
                table = entry.ppn() << PAGE_SHIFT;
                global |= entry.global();
                continue;
            }

            if !self.leaf_permits(entry, access, context) {
                return Err(page_fault());
            }
            let pbmt_enabled = self.csrs.menvcfg & menvcfg::PBMTE != 0;
            if entry.pbmt() != 0 && (!pbmt_enabled || entry.pbmt() == 3) {
                return Err(page_fault());
            }
            let leaf_bits = if entry.napot() {
                // Svnapot defines one size: 64 KiB.
                if level != 0 || entry.ppn() & 0xf != 0x8 {
                    return Err(page_fault());
                }
                PAGE_SHIFT + 4
            } else {
                shift
            };
            let base = entry.ppn() << PAGE_SHIFT;
            let leaf_size = 1u64 << leaf_bits;
            if !entry.napot() && base & (leaf_size - 1) != 0 {
                return Err(page_fault()); // misaligned superpage
            }

            let wanted = Pte::A | if access == Access::Store { Pte::D } else { 0 };
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
                        level += 1;
                        continue;
                    }
                }
            }
            let phys = base & !(leaf_size - 1) | va.0 & (leaf_size - 1);
            return Ok(Translation {
                phys: GuestPhys(phys),
                leaf_size,
                global: global || entry.global(),
            });
        }
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
