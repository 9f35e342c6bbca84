//! What a shadow has done, for the monitor's statistics.

/// Running totals.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Leaves made where there was nothing, by level: 4 KiB, 2 MiB, 1 GiB.
    pub fills: [u64; 3],
    /// Leaves made before there was a fault: where the guest fenced what it had just mapped.
    pub expected: u64,
    /// Leaves that got more rights.
    pub upgrades: u64,
    /// Leaves and tables found to be older than the guest's at a fault, and replaced.
    pub replaced: u64,
    /// Faults for what was allowed already.
    pub spurious: u64,
    /// Faults left to the definition.
    pub emulated: u64,
    /// Roots entered.
    pub enters: u64,
    /// Roots made.
    pub roots: u64,
    /// Suspect roots compared with the guest's tables.
    pub revalidations: u64,
    /// Leaves that were found to be right still.
    pub kept: u64,
    /// Leaves that were dropped because their sources had changed.
    pub dropped: u64,
    /// Fences of one address.
    pub address_fences: u64,
    /// Fences of address spaces, and of everything.
    pub space_fences: u64,
    /// Times that all was dropped because the PMP or `menvcfg` had changed.
    pub new_rules: u64,
    /// Roots that made room for others.
    pub evictions: u64,
    /// Times that the root in use was emptied because it had filled the pool.
    pub emptied: u64,
}
