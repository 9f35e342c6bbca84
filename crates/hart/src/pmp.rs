//! Physical memory protection (Privileged 3.7): 16 entries, granularity 4 bytes.

use crate::address::{GuestPhys, PAGE_SIZE};
use crate::mode::Privilege;
use crate::translate::Access;

/// How many entries there are.
pub const ENTRIES: usize = 16;

const R: u8 = 1 << 0;
const W: u8 = 1 << 1;
const X: u8 = 1 << 2;
const A_SHIFT: u32 = 3;
const LOCKED: u8 = 1 << 7;
/// Bits of a configuration byte that exist.
const CONFIG_MASK: u8 = LOCKED | 3 << A_SHIFT | X | W | R;
/// `pmpaddr` holds bits 55 to 2 of an address.
const ADDRESS_MASK: u64 = (1 << 54) - 1;

/// R=0 W=1 is reserved: such a write grants nothing (any choice is legal; this is the golden
/// model's).
fn legal_config(config: u8) -> u8 {
    let reserved = if config & (R | W) == W { R | W | X } else { 0 };
    config & CONFIG_MASK & !reserved
}

/// An entry's range, decoded: `first..=last`.
#[derive(Clone, Copy, Debug)]
struct Range {
    first: u64,
    last: u64,
    config: u8,
}

impl Range {
    #[inline(always)]
    fn permits(&self, access: Access, privilege: Privilege) -> bool {
        let needed = match access {
            Access::Fetch => X,
            Access::Load => R,
            Access::Store => W,
        };
        // Only locked entries bind M-mode.
        let bound = privilege != Privilege::Machine || self.config & LOCKED != 0;
        !bound || self.config & needed != 0
    }
}

/// How the entry of the highest priority that matches any byte of a span matches.
enum Matching<'a> {
    All(&'a Range),
    Part,
    Nothing,
}

/// The PMP of one hart.
#[derive(Clone, Debug, Default)]
pub struct Pmp {
    config: [u8; ENTRIES],
    address: [u64; ENTRIES],
    /// The active entries in order of priority, kept in step with the registers.
    ranges: [Option<Range>; ENTRIES],
}

/// What the PMP says of a whole page, or of a larger span.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageVerdict {
    /// Every byte of it may be accessed so.
    Allowed,
    /// No byte may.
    Denied,
    /// An entry begins or ends inside: each access must be asked for.
    Split,
}

impl Pmp {
    /// The `pmpcfg` register that holds the entries from `first`, a multiple of 8.
    pub fn config_register(&self, first: usize) -> u64 {
        let mut bytes = [0; 8];
        for (byte, config) in bytes.iter_mut().zip(self.config.iter().skip(first)) {
            *byte = *config;
        }
        u64::from_le_bytes(bytes)
    }

    /// Writes the `pmpcfg` register that holds the entries from `first`. Locked entries keep
    /// what they have.
    pub fn write_config_register(&mut self, first: usize, value: u64) {
        for (config, new) in self.config.iter_mut().skip(first).zip(value.to_le_bytes()) {
            if *config & LOCKED == 0 {
                *config = legal_config(new);
            }
        }
        self.decode();
    }

    /// The `pmpaddr` register of entry `index`.
    pub fn address_register(&self, index: usize) -> u64 {
        self.address.get(index).copied().unwrap_or(0)
    }

    /// Writes the `pmpaddr` register of entry `index`, unless it is locked or bounds a locked
    /// TOR entry from below.
    pub fn write_address_register(&mut self, index: usize, value: u64) {
        let locked = |i: usize| self.config.get(i).is_some_and(|c| c & LOCKED != 0);
        let top_of_range = |i: usize| self.config.get(i).is_some_and(|c| c >> A_SHIFT & 3 == 1);
        if locked(index) || (locked(index + 1) && top_of_range(index + 1)) {
            return;
        }
        if let Some(address) = self.address.get_mut(index) {
            *address = value & ADDRESS_MASK;
        }
        self.decode();
    }

    /// Opens all memory to all modes, as firmware does before it starts a kernel.
    pub fn open(&mut self) {
        self.write_address_register(0, ADDRESS_MASK);
        self.write_config_register(0, u64::from(3 << A_SHIFT | X | W | R));
    }

    fn decode(&mut self) {
        let mut below = 0;
        for ((range, &config), &address) in
            self.ranges.iter_mut().zip(&self.config).zip(&self.address)
        {
            let start = address << 2;
            *range = match config >> A_SHIFT & 3 {
                1 if below < start => Some(Range {
                    first: below,
                    last: start - 1,
                    config,
                }),
                2 => Some(Range {
                    first: start,
                    last: start + 3,
                    config,
                }),
                3 => {
                    // The number of trailing ones gives the size: 8 bytes for none.
                    let ones = address.trailing_ones();
                    let size_mask = (8u64 << ones).wrapping_sub(1);
                    let first = start & !size_mask;
                    Some(Range {
                        first,
                        last: first | size_mask,
                        config,
                    })
                }
                _ => None,
            };
            below = start;
        }
    }

    /// The entry that decides about the `bytes` at `start`, if there is one.
    #[inline(always)]
    fn matching(&self, start: GuestPhys, bytes: u64) -> Matching<'_> {
        let first = start.0;
        let last = first.saturating_add(bytes - 1);
        for range in self.ranges.iter().flatten() {
            if last < range.first || range.last < first {
                continue;
            }
            if first < range.first || range.last < last {
                return Matching::Part;
            }
            return Matching::All(range);
        }
        Matching::Nothing
    }

    /// Whether `privilege` may access all of the `bytes` at `addr`.
    pub fn allows(
        &self,
        addr: GuestPhys,
        bytes: u64,
        access: Access,
        privilege: Privilege,
    ) -> bool {
        match self.matching(addr, bytes) {
            Matching::All(range) => range.permits(access, privilege),
            Matching::Part => false, // whatever the permissions
            Matching::Nothing => privilege == Privilege::Machine,
        }
    }

    /// Which accesses `privilege` may do to all of the `bytes` at `start`, in the order of
    /// [`Access`]; `None` if that is [`PageVerdict::Split`].
    pub fn permissions(
        &self,
        start: GuestPhys,
        bytes: u64,
        privilege: Privilege,
    ) -> Option<[bool; 3]> {
        match self.matching(start, bytes) {
            Matching::All(range) => Some(
                [Access::Fetch, Access::Load, Access::Store]
                    .map(|access| range.permits(access, privilege)),
            ),
            Matching::Part => None,
            Matching::Nothing => Some([privilege == Privilege::Machine; 3]),
        }
    }

    /// What `privilege` may do with the whole page that holds `addr`.
    pub fn page(&self, addr: GuestPhys, access: Access, privilege: Privilege) -> PageVerdict {
        self.span(addr.page(), PAGE_SIZE, access, privilege)
    }

    /// What `privilege` may do with all of the `bytes` at `start`. Whether they are
    /// [`PageVerdict::Split`] depends on neither the access nor the privilege.
    pub fn span(
        &self,
        start: GuestPhys,
        bytes: u64,
        access: Access,
        privilege: Privilege,
    ) -> PageVerdict {
        let allowed = match self.matching(start, bytes) {
            Matching::All(range) => range.permits(access, privilege),
            Matching::Part => return PageVerdict::Split,
            Matching::Nothing => privilege == Privilege::Machine,
        };
        if allowed {
            PageVerdict::Allowed
        } else {
            PageVerdict::Denied
        }
    }

    /// The registers, for saved state: configuration bytes and addresses.
    pub fn registers(&self) -> (&[u8; ENTRIES], &[u64; ENTRIES]) {
        (&self.config, &self.address)
    }

    /// A PMP with these registers.
    pub fn from_registers(config: [u8; ENTRIES], address: [u64; ENTRIES]) -> Self {
        let mut pmp = Self {
            config: config.map(legal_config),
            address: address.map(|a| a & ADDRESS_MASK),
            ranges: [None; ENTRIES],
        };
        pmp.decode();
        pmp
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Access::{Fetch, Load, Store};
    use Privilege::{Machine, Supervisor, User};

    fn at(addr: u64) -> GuestPhys {
        GuestPhys(addr)
    }

    #[test]
    fn without_entries_only_machine_mode_has_access() {
        let pmp = Pmp::default();
        assert!(pmp.allows(at(0x8000_0000), 8, Load, Machine));
        assert!(!pmp.allows(at(0x8000_0000), 8, Load, Supervisor));
    }

    #[test]
    fn xv6_opens_everything_with_one_entry() {
        let mut pmp = Pmp::default();
        // xv6 uses TOR from 0 to the top.
        pmp.write_address_register(0, 0x3f_ffff_ffff_ffff);
        pmp.write_config_register(0, 0xf);
        assert!(pmp.allows(at(0x8000_0000), 8, Store, User));
        assert!(pmp.allows(at(0), 1, Fetch, Supervisor));
        let mut pmp = Pmp::default();
        pmp.open();
        assert!(pmp.allows(at(u64::MAX >> 8), 1, Fetch, Supervisor));
    }

    #[test]
    fn napot_sizes() {
        let mut pmp = Pmp::default();
        // 4 KiB at 0x8000_1000: nine trailing ones.
        pmp.write_address_register(0, 0x8000_1000 >> 2 | 0x1ff);
        pmp.write_config_register(0, 0x19); // NAPOT, R
        assert!(pmp.allows(at(0x8000_1000), 8, Load, User));
        assert!(pmp.allows(at(0x8000_1ff8), 8, Load, User));
        assert!(!pmp.allows(at(0x8000_2000), 1, Load, User));
        assert!(!pmp.allows(at(0x8000_0fff), 1, Load, User));
        assert!(!pmp.allows(at(0x8000_1ffc), 8, Load, User), "partial match");
        assert!(!pmp.allows(at(0x8000_1000), 8, Store, User));
        assert!(pmp.allows(at(0x8000_1000), 8, Store, Machine), "not locked");
        assert_eq!(pmp.page(at(0x8000_1234), Load, User), PageVerdict::Allowed);
        assert_eq!(pmp.page(at(0x8000_1234), Store, User), PageVerdict::Denied);
    }

    #[test]
    fn locked_entries_bind_machine_mode_and_cannot_change() {
        let mut pmp = Pmp::default();
        pmp.write_address_register(0, 0x1000 >> 2);
        pmp.write_address_register(1, 0x2000 >> 2);
        pmp.write_config_register(0, 0x8900); // entry 1: locked TOR, R
        assert!(pmp.allows(at(0x1800), 4, Load, Machine));
        assert!(!pmp.allows(at(0x1800), 4, Store, Machine));
        assert!(pmp.allows(at(0x2000), 4, Store, Machine));
        pmp.write_config_register(0, 0);
        assert_eq!(pmp.config_register(0), 0x8900);
        pmp.write_address_register(0, 0); // bounds a locked TOR entry
        assert_eq!(pmp.address_register(0), 0x400);
    }

    #[test]
    fn first_match_wins_and_pages_can_be_split() {
        let mut pmp = Pmp::default();
        pmp.write_address_register(0, 0x1004 >> 2); // NA4, no access
        pmp.write_address_register(1, u64::MAX);
        pmp.write_config_register(0, 0x1f10);
        assert!(!pmp.allows(at(0x1004), 4, Load, User));
        assert!(!pmp.allows(at(0x1000), 8, Load, User), "partial match");
        assert!(pmp.allows(at(0x1008), 8, Load, User));
        assert_eq!(pmp.page(at(0x1000), Load, User), PageVerdict::Split);
        assert_eq!(pmp.page(at(0x2000), Load, User), PageVerdict::Allowed);
        assert_eq!(pmp.span(at(0), 0x4000, Load, User), PageVerdict::Split);
        assert_eq!(
            pmp.span(at(0x2000), 0x2000, Load, User),
            PageVerdict::Allowed
        );
    }

    #[test]
    fn write_without_read_is_reserved() {
        let mut pmp = Pmp::default();
        pmp.write_config_register(0, 0x9a1e_1a02);
        assert_eq!(pmp.config_register(0), 0x9818_1800);
    }
}
