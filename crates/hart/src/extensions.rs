//! What a hart implements, by the names that device trees use. Advertised to guests as it is:
//! nothing may stand here that does not work.

use alloc::string::String;

use crate::address::{GuestVirt, PAGE_SHIFT};
use crate::csr::satp;

/// The base instruction set.
pub const BASE: &str = "rv64i";

/// The extensions, in the canonical order of an ISA string.
///
/// Svadu stands alone, without Svade: the hart sets A and D bits from reset on. With both named,
/// a kernel would first have to ask for that.
pub const EXTENSIONS: &[&str] = &[
    "i",
    "m",
    "a",
    "f",
    "d",
    "c",
    "zicbom",
    "zicbop",
    "zicboz",
    "zicntr",
    "zicond",
    "zicsr",
    "zifencei",
    "zihintntl",
    "zihintpause",
    "zihpm",
    "zimop",
    "zabha",
    "zawrs",
    "zfa",
    "zfh",
    "zfhmin",
    "zca",
    "zcb",
    "zcd",
    "zcmop",
    "zba",
    "zbb",
    "zbc",
    "zbkb",
    "zbkc",
    "zbkx",
    "zbs",
    "sstc",
    "svadu",
    "svinval",
    "svnapot",
    "svpbmt",
    "svvptc",
];

/// The largest scheme of page tables that `satp` takes; it takes all smaller ones too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
#[repr(u8)]
pub enum Paging {
    /// Three levels.
    Sv39 = 3,
    /// Four levels.
    Sv48 = 4,
    /// Five levels.
    #[default]
    Sv57 = 5,
}

impl Paging {
    /// By its number of levels.
    pub const fn from_levels(levels: u8) -> Option<Self> {
        match levels {
            3 => Some(Self::Sv39),
            4 => Some(Self::Sv48),
            5 => Some(Self::Sv57),
            _ => None,
        }
    }
    /// By the mode in `satp`; `None` for one that does not translate.
    pub const fn of_mode(mode: u64) -> Option<Self> {
        match mode {
            satp::MODE_SV39 => Some(Self::Sv39),
            satp::MODE_SV48 => Some(Self::Sv48),
            satp::MODE_SV57 => Some(Self::Sv57),
            _ => None,
        }
    }
    /// How many levels the tables have.
    pub const fn levels(self) -> u32 {
        self as u32
    }
    /// Whether the upper bits of an address all equal the highest that is translated; the tables
    /// are walked for no other (Privileged 12.3.1 and following).
    pub const fn is_canonical(self, va: GuestVirt) -> bool {
        let unused = 64 - (PAGE_SHIFT + 9 * self.levels());
        (va.0 << unused) as i64 >> unused == va.0 as i64
    }
    /// As device trees name it (`mmu-type`).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sv39 => "riscv,sv39",
            Self::Sv48 => "riscv,sv48",
            Self::Sv57 => "riscv,sv57",
        }
    }
    /// Whether `satp` takes this mode.
    pub const fn takes(self, mode: u64) -> bool {
        match Self::of_mode(mode) {
            Some(scheme) => scheme.levels() <= self.levels(),
            None => mode == satp::MODE_BARE,
        }
    }
}

/// What a guest is told that its harts have. Less than all of it where a real hart executes the
/// guest's code and has less itself: what is not told works too, but slowly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Profile {
    /// A bit for each of [`EXTENSIONS`].
    told: u64,
    /// The page tables. Here the harts themselves take no more than what is told.
    pub paging: Paging,
}

const _: () = assert!(EXTENSIONS.len() < 64);

impl Profile {
    /// Everything.
    pub const FULL: Self = Self {
        told: (1 << EXTENSIONS.len()) - 1,
        paging: Paging::Sv57,
    };
    /// Leaves out the extensions that `keep` does not want.
    pub fn filter(mut self, keep: impl Fn(&str) -> bool) -> Self {
        for (bit, extension) in EXTENSIONS.iter().enumerate() {
            if !keep(extension) {
                self.told &= !(1 << bit);
            }
        }
        self
    }
    /// The extensions.
    pub fn extensions(self) -> impl Iterator<Item = &'static str> {
        let all = EXTENSIONS.iter().copied().enumerate();
        all.filter_map(move |(bit, name)| (self.told >> bit & 1 != 0).then_some(name))
    }
    /// The deprecated one-string form: single letters joined, the rest behind underscores.
    pub fn isa_string(self) -> String {
        let mut string = String::from("rv64");
        for extension in self.extensions() {
            if extension.len() > 1 {
                string.push('_');
            }
            string.push_str(extension);
        }
        string
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_string_form_is_canonical() {
        let string = Profile::FULL.isa_string();
        assert!(string.starts_with("rv64imafdc_zicbom_"), "{string}");
        assert!(string.ends_with("_svvptc"), "{string}");
        let less = Profile::FULL.filter(|name| name.len() == 1);
        assert_eq!(less.isa_string(), "rv64imafdc");
    }

    #[test]
    fn smaller_page_tables_are_always_there() {
        let takes = |paging: Paging| [0, 1, 8, 9, 10, 11].map(|mode| paging.takes(mode));
        assert_eq!(
            takes(Paging::Sv39),
            [true, false, true, false, false, false]
        );
        assert_eq!(takes(Paging::Sv48), [true, false, true, true, false, false]);
        assert_eq!(takes(Paging::Sv57), [true, false, true, true, true, false]);
    }
}
