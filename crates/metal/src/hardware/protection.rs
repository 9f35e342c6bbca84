//! Physical memory protection of the real hart: whatever page tables say, a guest reaches its
//! own memory only, and page-table walks its tables only. The monitor, in M-mode, is not bound.

use super::csr;

const READ: u64 = 1;
const ALL: u64 = 7;
/// From the address of the entry before up to this one's.
const TOP_OF_RANGE: u64 = 1 << 3;

/// Memory of one guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Estate {
    /// Its RAM.
    pub ram: (u64, u64),
    /// Its shadow page tables: first byte and length.
    pub tables: (u64, u64),
}

/// Locked until reset, for M-mode, too; a naturally aligned power of two.
const CLOSED: u64 = 1 << 7 | 3 << 3;

/// Whether this hart has any protection: it was not set to anything before.
pub fn is_there() -> bool {
    csr::try_write!("pmpaddr0", u64::MAX >> 10) != 0
}

/// Keeps everybody out of `len` bytes at `base`, as far as the hart has enough entries. The
/// length is a power of two, and the base a multiple of it.
pub fn close(base: u64, len: u64) {
    // Ones below the address stand for the length (Privileged, table 19).
    csr::write!("pmpaddr4", base >> 2 | (len / 8 - 1));
    csr::write!("pmpcfg0", CLOSED << 32);
}

/// Confines what runs in U-mode to `estate`.
pub fn confine(estate: &Estate) {
    // [off] RAM [off] tables; the next one is locked, and so stays what it is.
    let (ram, tables) = (estate.ram, estate.tables);
    csr::write!("pmpcfg0", 0);
    csr::write!("pmpaddr0", ram.0 >> 2);
    csr::write!("pmpaddr1", (ram.0 + ram.1) >> 2);
    csr::write!("pmpaddr2", tables.0 >> 2);
    csr::write!("pmpaddr3", (tables.0 + tables.1) >> 2);
    csr::write!(
        "pmpcfg0",
        (TOP_OF_RANGE | ALL) << 8 | (TOP_OF_RANGE | READ) << 24
    );
    csr::fence_translations();
}
