//! The real machine's wall clock, a goldfish RTC: what time it is when the monitor starts.

use super::devices::Registers;

/// Nanoseconds since 1970, the low half; reading it latches the high half.
const TIME_LOW: usize = 0;
const TIME_HIGH: usize = 4;

/// The clock.
#[derive(Clone, Copy, Debug)]
pub struct WallClock(Registers);

impl WallClock {
    /// The clock with these registers.
    pub fn new(registers: Registers) -> Self {
        Self(registers)
    }
    /// Nanoseconds since 1970.
    pub fn nanos(&self) -> u64 {
        let low = self.0.read32(TIME_LOW);
        u64::from(self.0.read32(TIME_HIGH)) << 32 | u64::from(low)
    }
}
