//! The machine's clock on a host: runs with the host's monotonic time, and can be stopped.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ringer_machine::clock::{Clock, NANOS_PER_TICK, VirtualClock};

/// Host time as guest time. While paused it stands still.
#[derive(Debug)]
pub struct HostClock {
    origin: Instant,
    /// Guest ticks minus host ticks since `origin`.
    offset: AtomicI64,
    paused: AtomicBool,
    /// The time while paused.
    frozen: AtomicU64,
}

impl Default for HostClock {
    fn default() -> Self {
        Self::new()
    }
}

impl HostClock {
    /// A running clock that shows zero.
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
            offset: AtomicI64::new(0),
            paused: AtomicBool::new(false),
            frozen: AtomicU64::new(0),
        }
    }
    fn host_ticks(&self) -> i64 {
        // 2^63 ticks of 100 ns are 29,000 years.
        // Not by `as_nanos`: dividing 128 bits takes longer than asking for the time.
        let elapsed = self.origin.elapsed();
        let whole = elapsed.as_secs() * (1_000_000_000 / NANOS_PER_TICK);
        (whole + u64::from(elapsed.subsec_nanos()) / NANOS_PER_TICK) as i64
    }
}

impl Clock for HostClock {
    fn ticks(&self) -> u64 {
        if self.paused.load(Ordering::Acquire) {
            self.frozen.load(Ordering::Acquire)
        } else {
            self.host_ticks()
                .wrapping_add(self.offset.load(Ordering::Acquire)) as u64
        }
    }
    fn set_ticks(&self, ticks: u64) {
        self.frozen.store(ticks, Ordering::Release);
        let offset = (ticks as i64).wrapping_sub(self.host_ticks());
        self.offset.store(offset, Ordering::Release);
    }
    fn wall_nanos(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos() as u64)
    }
}

/// A clock that a machine's runner can stop: while the machine is paused, guest time stands.
pub trait Pausable: Clock {
    /// Stops the clock.
    fn pause(&self);
    /// Lets it run on from where it was stopped.
    fn resume(&self);
}

impl Pausable for HostClock {
    fn pause(&self) {
        if !self.paused.load(Ordering::Acquire) {
            self.frozen.store(self.ticks(), Ordering::Release);
            self.paused.store(true, Ordering::Release);
        }
    }
    fn resume(&self) {
        if self.paused.load(Ordering::Acquire) {
            self.set_ticks(self.frozen.load(Ordering::Acquire));
            self.paused.store(false, Ordering::Release);
        }
    }
}

/// Virtual time only moves when instructions run, so it stands still by itself.
impl Pausable for VirtualClock {
    fn pause(&self) {}
    fn resume(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn time_stands_still_while_paused() {
        let clock = HostClock::new();
        clock.set_ticks(1_000_000_000);
        clock.pause();
        let then = clock.ticks();
        assert!((1_000_000_000..1_010_000_000).contains(&then));
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(clock.ticks(), then);
        clock.set_ticks(5);
        assert_eq!(clock.ticks(), 5);
        clock.resume();
        std::thread::sleep(Duration::from_millis(20));
        assert!(clock.ticks() >= 200_000);
    }
}
