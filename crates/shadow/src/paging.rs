//! How the real hart translates, and what shadow entries look like to it.

use bitflags::bitflags;
use ringer_hart::translate::Access;
use ringer_hart::{GuestVirt, PAGE_SHIFT};
use ringer_isa::pte::Pte;

use crate::pool::HostPhys;

bitflags! {
    /// What may be done with a mapped page.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Rights: u8 {
        /// Loads.
        const READ = 1 << 0;
        /// Stores.
        const WRITE = 1 << 1;
        /// Fetches.
        const EXECUTE = 1 << 2;
    }
}

impl Rights {
    /// The right that an access needs.
    pub const fn needed_for(access: Access) -> Self {
        match access {
            Access::Fetch => Self::EXECUTE,
            Access::Load => Self::READ,
            Access::Store => Self::WRITE,
        }
    }

    /// Those of a leaf.
    pub(crate) fn of(leaf: Pte) -> Self {
        let mut rights = Self::empty();
        rights.set(Self::READ, leaf.readable());
        rights.set(Self::WRITE, leaf.writable());
        rights.set(Self::EXECUTE, leaf.executable());
        rights
    }
}

/// log2 of the bytes that an entry at `level` maps.
pub(crate) const fn shift(level: u32) -> u32 {
    PAGE_SHIFT + 9 * level
}

/// The bytes that an entry at `level` maps.
pub(crate) const fn size(level: u32) -> u64 {
    1 << shift(level)
}

/// Which entry of a table at `level` is for `va`.
pub(crate) const fn index(va: GuestVirt, level: u32) -> usize {
    (va.0 >> shift(level) & 0x1ff) as usize
}

/// A leaf for the guest, which runs in U-mode. The hardware never has A or D to set.
pub(crate) fn leaf(host: HostPhys, rights: Rights) -> Pte {
    let mut flags = Pte::V | Pte::U | Pte::A;
    for (right, bits) in [
        (Rights::READ, Pte::R),
        (Rights::WRITE, Pte::W | Pte::D),
        (Rights::EXECUTE, Pte::X),
    ] {
        if rights.contains(right) {
            flags |= bits;
        }
    }
    Pte::new(host.0 >> PAGE_SHIFT, flags)
}

/// Where a leaf leads.
pub(crate) fn leaf_phys(leaf: Pte) -> HostPhys {
    HostPhys(leaf.ppn() << PAGE_SHIFT)
}
