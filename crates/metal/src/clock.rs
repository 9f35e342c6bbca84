//! A guest's clock: the real machine's, in ticks of the guests' time base, with an offset if the
//! guest has written `mtime`.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ringer_machine::clock::{Clock, NANOS_PER_TICK, TICKS_PER_SECOND, VirtualClock};

use crate::hardware::platform::Platform;
use crate::hardware::timer::Time;

/// The clock of one guest.
pub struct GuestClock {
    time: Time,
    /// Ticks of the real timer in a second.
    timebase: u64,
    /// What is added to the real time.
    offset: AtomicU64,
    /// Nanoseconds since 1970 when the real timer stood at 0.
    epoch: u64,
}

/// Nanoseconds since 1970 when the real timer stood at 0. A machine that does not know the date
/// starts at the one of deterministic machines.
pub fn epoch(platform: &Platform) -> u64 {
    let Some(wall_clock) = platform.wall_clock else {
        return VirtualClock::EPOCH_NANOS;
    };
    let ticks = in_guest_ticks(platform.time.now(), platform.timebase);
    let passed = ticks.saturating_mul(NANOS_PER_TICK);
    wall_clock.nanos().wrapping_sub(passed)
}

/// Real ticks, of which `timebase` make a second, in those of the guests.
fn in_guest_ticks(ticks: u64, timebase: u64) -> u64 {
    if timebase == TICKS_PER_SECOND {
        return ticks;
    }
    (u128::from(ticks) * u128::from(TICKS_PER_SECOND) / u128::from(timebase)) as u64
}

impl GuestClock {
    /// A clock that shows the real time.
    pub fn new(time: Time, timebase: u64, epoch: u64) -> Self {
        Self {
            time,
            timebase,
            offset: AtomicU64::new(0),
            epoch,
        }
    }
    fn real_ticks(&self) -> u64 {
        in_guest_ticks(self.time.now(), self.timebase)
    }
    /// Whether the real hart's own `time` is this clock's, so that guests may read that.
    pub fn is_real(&self) -> bool {
        self.offset.load(Relaxed) == 0 && self.timebase == TICKS_PER_SECOND
    }
    /// Shows the real time again: after a reset time goes on.
    pub fn reset(&self) {
        self.offset.store(0, Relaxed);
    }
    /// When it will be `ticks` here, by the real timer.
    pub fn real_time_of(&self, ticks: u64) -> u64 {
        // The offset is a signed number: the guest may have set its clock back.
        let offset = self.offset.load(Relaxed) as i64;
        let real = ticks.saturating_sub_signed(offset);
        if self.timebase == TICKS_PER_SECOND {
            return real;
        }
        let scaled = u128::from(real) * u128::from(self.timebase) / u128::from(TICKS_PER_SECOND);
        u64::try_from(scaled + 1).unwrap_or(u64::MAX)
    }
}

impl Clock for GuestClock {
    fn ticks(&self) -> u64 {
        self.real_ticks().wrapping_add(self.offset.load(Relaxed))
    }
    fn set_ticks(&self, ticks: u64) {
        let offset = ticks.wrapping_sub(self.real_ticks());
        self.offset.store(offset, Relaxed);
    }
    fn wall_nanos(&self) -> u64 {
        let nanos = self.real_ticks().saturating_mul(NANOS_PER_TICK);
        self.epoch.wrapping_add(nanos)
    }
}
