//! The machine's clock: `mtime`, counted in ticks of 100 ns as on QEMU's `virt`.

use core::sync::atomic::{AtomicU64, Ordering};

/// Ticks of `mtime` in a second (`timebase-frequency` in the device tree).
pub const TICKS_PER_SECOND: u64 = 10_000_000;
/// Nanoseconds in a tick.
pub const NANOS_PER_TICK: u64 = 1_000_000_000 / TICKS_PER_SECOND;

/// A source of time. The host gives its own; deterministic runs use [`VirtualClock`].
pub trait Clock: Send + Sync {
    /// Ticks since the machine was first started.
    fn ticks(&self) -> u64;
    /// Makes `ticks` the present time: `mtime` was written, or a saved machine resumes.
    fn set_ticks(&self, ticks: u64);
    /// Nanoseconds since 1970, for the real-time clock.
    fn wall_nanos(&self) -> u64;
}

/// A clock that moves only when told: time by instruction counts.
#[derive(Debug, Default)]
pub struct VirtualClock {
    ticks: AtomicU64,
}

impl VirtualClock {
    /// 2024-01-01T00:00:00Z, the wall-clock time at which every deterministic machine starts.
    pub const EPOCH_NANOS: u64 = 1_704_067_200_000_000_000;

    /// Lets `ticks` go by.
    pub fn advance(&self, ticks: u64) {
        self.ticks.fetch_add(ticks, Ordering::AcqRel);
    }
}

impl Clock for VirtualClock {
    fn ticks(&self) -> u64 {
        self.ticks.load(Ordering::Acquire)
    }
    fn set_ticks(&self, ticks: u64) {
        self.ticks.store(ticks, Ordering::Release);
    }
    fn wall_nanos(&self) -> u64 {
        Self::EPOCH_NANOS.wrapping_add(self.ticks().wrapping_mul(NANOS_PER_TICK))
    }
}
