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

/// Confines what runs in U-mode to `estate`.
pub fn confine(estate: &Estate) {
    // Five entries: [off] RAM [off] tables, the rest unused.
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
