//! Page-table entries of Sv39, Sv48 and Sv57 (Privileged 12.3 to 12.6, Svnapot, Svpbmt).

use core::fmt;

/// A page-table entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Pte(pub u64);

impl Pte {
    /// Valid.
    pub const V: u64 = 1 << 0;
    /// Readable.
    pub const R: u64 = 1 << 1;
    /// Writable.
    pub const W: u64 = 1 << 2;
    /// Executable.
    pub const X: u64 = 1 << 3;
    /// For user mode.
    pub const U: u64 = 1 << 4;
    /// Mapped in all address spaces.
    pub const G: u64 = 1 << 5;
    /// Accessed.
    pub const A: u64 = 1 << 6;
    /// Dirty.
    pub const D: u64 = 1 << 7;
    /// For software.
    pub const RSW: u64 = 3 << Self::RSW_SHIFT;
    /// Where RSW begins.
    pub const RSW_SHIFT: u32 = 8;
    /// The physical page number.
    pub const PPN: u64 = ((1 << 44) - 1) << Self::PPN_SHIFT;
    /// Where the physical page number begins.
    pub const PPN_SHIFT: u32 = 10;
    /// Must be zero.
    pub const RESERVED: u64 = 0x7f << 54;
    /// Memory type (Svpbmt).
    pub const PBMT: u64 = 3 << Self::PBMT_SHIFT;
    /// Where the memory type begins.
    pub const PBMT_SHIFT: u32 = 61;
    /// Part of a naturally aligned power-of-two range (Svnapot).
    pub const N: u64 = 1 << 63;

    /// [`Pte::pbmt`]: as the physical memory says.
    pub const PBMT_PMA: u64 = 0;
    /// [`Pte::pbmt`]: non-cacheable, idempotent, weakly ordered.
    pub const PBMT_NC: u64 = 1;
    /// [`Pte::pbmt`]: non-cacheable, non-idempotent, strongly ordered.
    pub const PBMT_IO: u64 = 2;

    /// An entry for the page or table with this number; `flags` are other bits.
    pub const fn new(ppn: u64, flags: u64) -> Self {
        Self(ppn << Self::PPN_SHIFT & Self::PPN | flags & !Self::PPN)
    }

    const fn has(self, bits: u64) -> bool {
        self.0 & bits != 0
    }

    /// V.
    pub const fn valid(self) -> bool {
        self.has(Self::V)
    }
    /// R.
    pub const fn readable(self) -> bool {
        self.has(Self::R)
    }
    /// W.
    pub const fn writable(self) -> bool {
        self.has(Self::W)
    }
    /// X.
    pub const fn executable(self) -> bool {
        self.has(Self::X)
    }
    /// U.
    pub const fn user(self) -> bool {
        self.has(Self::U)
    }
    /// G.
    pub const fn global(self) -> bool {
        self.has(Self::G)
    }
    /// A.
    pub const fn accessed(self) -> bool {
        self.has(Self::A)
    }
    /// D.
    pub const fn dirty(self) -> bool {
        self.has(Self::D)
    }
    /// The two bits for software.
    pub const fn rsw(self) -> u64 {
        (self.0 & Self::RSW) >> Self::RSW_SHIFT
    }
    /// N.
    pub const fn napot(self) -> bool {
        self.has(Self::N)
    }
    /// The memory type; 3 is reserved.
    pub const fn pbmt(self) -> u64 {
        (self.0 & Self::PBMT) >> Self::PBMT_SHIFT
    }
    /// The reserved bits, in place; not zero makes an entry invalid.
    pub const fn reserved(self) -> u64 {
        self.0 & Self::RESERVED
    }
    /// The physical page number, as it is: with N the low bits encode the size.
    pub const fn ppn(self) -> u64 {
        (self.0 & Self::PPN) >> Self::PPN_SHIFT
    }
    /// Whether it maps memory, rather than points to the next table.
    pub const fn is_leaf(self) -> bool {
        self.has(Self::R | Self::W | Self::X)
    }
}

impl fmt::Debug for Pte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pte(ppn {:#x} ", self.ppn())?;
        for (bit, letter) in b"DAGUXWRV".iter().enumerate() {
            let set = self.0 >> (7 - bit) & 1 != 0;
            write!(f, "{}", if set { char::from(*letter) } else { '-' })?;
        }
        let rest = self.0 & !(Self::PPN | 0xff);
        if rest != 0 {
            write!(f, " {rest:#x}")?;
        }
        write!(f, ")")
    }
}

#[cfg(test)]
mod tests {
    extern crate alloc;
    use super::Pte;
    use alloc::format;

    #[test]
    fn every_bit_belongs_to_one_field() {
        let low = Pte::V | Pte::R | Pte::W | Pte::X | Pte::U | Pte::G | Pte::A | Pte::D;
        let fields = [low, Pte::RSW, Pte::PPN, Pte::RESERVED, Pte::PBMT, Pte::N];
        assert_eq!(fields.iter().fold(0, |all, f| all ^ f), u64::MAX);
        assert_eq!(fields.iter().map(|f| f.count_ones()).sum::<u32>(), 64);
    }

    #[test]
    fn accessors_read_their_fields() {
        let pte = Pte::new(0x123_4567_89ab, Pte::V | Pte::X | Pte::D | 2 << 61 | 1 << 8);
        assert_eq!(pte.ppn(), 0x123_4567_89ab);
        assert!(pte.valid() && pte.executable() && pte.dirty() && pte.is_leaf());
        assert!(!pte.readable() && !pte.writable() && !pte.user() && !pte.global());
        assert!(!pte.accessed() && !pte.napot());
        assert_eq!(
            (pte.pbmt(), pte.rsw(), pte.reserved()),
            (Pte::PBMT_IO, 1, 0)
        );
        assert!(!Pte(Pte::V).is_leaf());
        assert_eq!(format!("{:?}", Pte::new(5, 0xcf)), "Pte(ppn 0x5 DA--XWRV)");
    }
}
