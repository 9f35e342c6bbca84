//! Page tables for the tests: an identity map of the board by superpages, and single pages on top.

use bare::csr;
use core::arch::asm;
use core::ptr::{addr_of, addr_of_mut};

/// PTE bits.
pub mod pte {
    #![allow(missing_docs)]
    pub const V: usize = 1 << 0;
    pub const R: usize = 1 << 1;
    pub const W: usize = 1 << 2;
    pub const X: usize = 1 << 3;
    pub const U: usize = 1 << 4;
    pub const G: usize = 1 << 5;
    pub const A: usize = 1 << 6;
    pub const D: usize = 1 << 7;
    pub const PBMT_NC: usize = 1 << 61;
    pub const PBMT_RESERVED: usize = 3 << 61;
    pub const N: usize = 1 << 63;
    pub const RWX: usize = R | W | X;
    pub const READY: usize = V | A | D;
}

/// A translation scheme.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// Three levels.
    Sv39,
    /// Four levels.
    Sv48,
    /// Five levels.
    Sv57,
}

impl Scheme {
    /// The number of levels.
    pub fn levels(self) -> usize {
        match self {
            Scheme::Sv39 => 3,
            Scheme::Sv48 => 4,
            Scheme::Sv57 => 5,
        }
    }

    /// satp.MODE.
    pub fn mode(self) -> usize {
        self.levels() + 5
    }
}

/// One page of table or data.
#[repr(C, align(4096))]
#[derive(Clone, Copy)]
pub struct Page([usize; 512]);

impl Page {
    /// Zeros.
    pub const EMPTY: Page = Page([0; 512]);
}

const POOL_PAGES: usize = 48;
static mut POOL: [Page; POOL_PAGES] = [Page([0; 512]); POOL_PAGES];
static mut USED: usize = 0;

/// Takes a zeroed page.
pub fn page() -> usize {
    // SAFETY: hart 0 alone allocates.
    unsafe {
        let used = addr_of!(USED).read();
        assert!(used < POOL_PAGES, "page pool is empty");
        addr_of_mut!(USED).write(used + 1);
        let page = addr_of_mut!(POOL[used]);
        page.write(Page([0; 512]));
        page as usize
    }
}

/// Gives all pages back.
pub fn free_all() {
    // SAFETY: hart 0 alone allocates, with translation off.
    unsafe { addr_of_mut!(USED).write(0) };
}

/// A page table of a scheme.
pub struct Table {
    scheme: Scheme,
    root: usize,
}

impl Table {
    /// A table that maps the first 4 GiB to themselves by 1 GiB pages, for S-mode.
    pub fn identity(scheme: Scheme) -> Table {
        let table = Table {
            scheme,
            root: page(),
        };
        for gib in 0..4 {
            table.set(gib << 30, leaf(gib << 30, pte::RWX | pte::READY), 2);
        }
        table
    }

    /// satp for this table.
    pub fn satp(&self, asid: usize) -> usize {
        self.scheme.mode() << 60 | asid << 44 | self.root >> 12
    }

    /// Uses the table (MODE, root) and fences.
    pub fn activate(&self) {
        csr::write!(satp, self.satp(0));
        fence();
    }

    /// The place of the entry for `address` at `level`, with pointer entries made on the way.
    fn entry(&self, address: usize, level: usize) -> *mut usize {
        let mut table = self.root;
        let mut at = self.scheme.levels() - 1;
        loop {
            let index = address >> (12 + 9 * at) & 511;
            let entry = (table + 8 * index) as *mut usize;
            if at == level {
                return entry;
            }
            // SAFETY: tables come from `page`, and only hart 0 and the walker touch them.
            unsafe {
                if entry.read_volatile() & pte::V == 0 {
                    entry.write_volatile(leaf(page(), pte::V));
                }
                table = entry.read_volatile() << 10 >> 20 << 12;
            }
            at -= 1;
        }
    }

    /// Reads the entry for `address` at `level`.
    pub fn get(&self, address: usize, level: usize) -> usize {
        // SAFETY: as in `entry`.
        unsafe { self.entry(address, level).read_volatile() }
    }

    /// Writes the entry for `address` at `level`, and fences.
    pub fn set(&self, address: usize, entry: usize, level: usize) {
        // SAFETY: as in `entry`.
        unsafe { self.entry(address, level).write_volatile(entry) };
        fence();
    }
}

/// A PTE.
pub fn leaf(physical: usize, flags: usize) -> usize {
    physical >> 12 << 10 | flags
}

/// `sfence.vma` for everything.
pub fn fence() {
    // SAFETY: a fence.
    unsafe { asm!("sfence.vma") };
}

/// Opens all memory to S- and U-mode by PMP entry 0, as firmware does.
pub fn open_pmp() {
    csr::write!(pmpaddr0, usize::MAX >> 10);
    csr::write!(pmpcfg0, 0x1f);
}

/// Reads and writes `address` with the privilege of S-mode while in M-mode (MPRV).
pub struct AsSupervisor {
    /// Further mstatus bits to set: SUM, MXR.
    pub status: usize,
    /// MPP under MPRV: 1 for S, 0 for U.
    pub mode: usize,
}

const MPRV: usize = 1 << 17;
const MPP: usize = 3 << 11;
/// mstatus.SUM.
pub const SUM: usize = 1 << 18;
/// mstatus.MXR.
pub const MXR: usize = 1 << 19;

impl AsSupervisor {
    /// S-mode's view, without SUM and MXR.
    pub const S: AsSupervisor = AsSupervisor { status: 0, mode: 1 };
    /// U-mode's view.
    pub const U: AsSupervisor = AsSupervisor { status: 0, mode: 0 };

    /// S-mode's view with more mstatus bits.
    pub const fn with(status: usize) -> AsSupervisor {
        AsSupervisor { status, mode: 1 }
    }

    /// One `ld`. MPRV is only set for this instruction; a trap clears it too.
    pub fn load(&self, address: usize) -> usize {
        let value;
        csr::clear!(mstatus, MPP | SUM | MXR);
        csr::set!(mstatus, self.status | self.mode << 11);
        // SAFETY: a probe; a fault is captured, and MPRV is clear afterwards.
        unsafe {
            asm!(
                "csrs mstatus, {m}", "ld {v}, 0({a})", "csrc mstatus, {m}",
                m = in(reg) MPRV, v = out(reg) value, a = in(reg) address
            )
        };
        csr::clear!(mstatus, SUM | MXR);
        value
    }

    /// One `sd`.
    pub fn store(&self, address: usize, value: usize) {
        csr::clear!(mstatus, MPP | SUM | MXR);
        csr::set!(mstatus, self.status | self.mode << 11);
        // SAFETY: a probe; a fault is captured, and MPRV is clear afterwards.
        unsafe {
            asm!(
                "csrs mstatus, {m}", "sd {v}, 0({a})", "csrc mstatus, {m}",
                m = in(reg) MPRV, v = in(reg) value, a = in(reg) address
            )
        };
        csr::clear!(mstatus, SUM | MXR);
    }
}
