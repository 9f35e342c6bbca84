//! The goldfish real-time clock: wall time in nanoseconds, and an alarm.

use alloc::sync::Arc;
use alloc::vec::Vec;

use ringer_hart::persist::{Persist, PersistError, decode, encode};
use ringer_hart::{BusFault, Width};

use crate::clock::Clock;
use crate::device::{Device, IrqLine};
use crate::lock::Lock;

mod register {
    pub const TIME_LOW: u64 = 0x00;
    pub const TIME_HIGH: u64 = 0x04;
    pub const ALARM_LOW: u64 = 0x08;
    pub const ALARM_HIGH: u64 = 0x0c;
    pub const IRQ_ENABLED: u64 = 0x10;
    pub const CLEAR_ALARM: u64 = 0x14;
    pub const ALARM_STATUS: u64 = 0x18;
    pub const CLEAR_INTERRUPT: u64 = 0x1c;
}

#[derive(Clone, Copy, Default, minicbor::Encode, minicbor::Decode)]
struct State {
    /// What the guest's idea of the time is ahead of the host's, modulo 2^64 nanoseconds.
    #[n(0)]
    ahead: u64,
    /// The upper half of the time at the last read of the lower half.
    #[n(1)]
    time_high: u32,
    #[n(2)]
    alarm: u64,
    #[n(3)]
    alarm_armed: bool,
    #[n(4)]
    irq_enabled: bool,
    #[n(5)]
    irq_pending: bool,
}

impl State {
    /// Sets off the alarm when its time has come. True if it did.
    fn ring(&mut self, now: u64) -> bool {
        let rings = self.alarm_armed && now >= self.alarm;
        if rings {
            self.alarm_armed = false;
            self.irq_pending = true;
        }
        rings
    }
}

fn with_low_half(value: u64, low: u64) -> u64 {
    value & !0xffff_ffff | low & 0xffff_ffff
}

fn with_high_half(value: u64, high: u64) -> u64 {
    value & 0xffff_ffff | high << 32
}

/// The real-time clock.
pub struct Rtc {
    clock: Arc<dyn Clock>,
    irq: IrqLine,
    state: Lock<State>,
}

impl Rtc {
    /// A clock that shows the wall time of `clock` and interrupts by `irq`.
    pub fn new(clock: Arc<dyn Clock>, irq: IrqLine) -> Self {
        Self {
            clock,
            irq,
            state: Lock::new(State::default()),
        }
    }
    fn drive(&self, state: &State) {
        self.irq.set(state.irq_pending && state.irq_enabled);
    }
}

impl Device for Rtc {
    fn name(&self) -> &str {
        "rtc"
    }
    fn load(&self, offset: u64, width: Width) -> Result<u64, BusFault> {
        if width != Width::Word {
            return Err(BusFault);
        }
        let mut state = self.state.lock();
        let now = self.clock.wall_nanos().wrapping_add(state.ahead);
        if state.ring(now) {
            self.drive(&state);
        }
        Ok(match offset {
            register::TIME_LOW => {
                state.time_high = (now >> 32) as u32;
                now & 0xffff_ffff
            }
            register::TIME_HIGH => u64::from(state.time_high),
            register::ALARM_LOW => state.alarm & 0xffff_ffff,
            register::ALARM_HIGH => state.alarm >> 32,
            register::IRQ_ENABLED => u64::from(state.irq_enabled),
            register::ALARM_STATUS => u64::from(state.alarm_armed),
            _ => 0,
        })
    }
    fn store(&self, offset: u64, width: Width, value: u64) -> Result<(), BusFault> {
        if width != Width::Word {
            return Err(BusFault);
        }
        let mut state = self.state.lock();
        let now = self.clock.wall_nanos().wrapping_add(state.ahead);
        let mut set_time = |new: u64| state.ahead = state.ahead.wrapping_add(new.wrapping_sub(now));
        match offset {
            register::TIME_LOW => set_time(with_low_half(now, value)),
            register::TIME_HIGH => set_time(with_high_half(now, value)),
            register::ALARM_LOW => {
                state.alarm = with_low_half(state.alarm, value);
                state.alarm_armed = true;
            }
            register::ALARM_HIGH => state.alarm = with_high_half(state.alarm, value),
            register::IRQ_ENABLED => state.irq_enabled = value & 1 != 0,
            register::CLEAR_ALARM => state.alarm_armed = false,
            register::CLEAR_INTERRUPT => state.irq_pending = false,
            _ => {}
        }
        let now = self.clock.wall_nanos().wrapping_add(state.ahead);
        state.ring(now);
        self.drive(&state);
        Ok(())
    }
    fn reset(&self) {
        let mut state = self.state.lock();
        *state = State::default();
        self.drive(&state);
    }
    fn poll(&self) {
        let mut state = self.state.lock();
        if state.alarm_armed {
            let now = self.clock.wall_nanos().wrapping_add(state.ahead);
            if state.ring(now) {
                self.drive(&state);
            }
        }
    }
}

impl Persist for Rtc {
    fn save(&self) -> Vec<u8> {
        encode(&*self.state.lock())
    }
    fn restore(&self, bytes: &[u8]) -> Result<(), PersistError> {
        let saved = decode("rtc", bytes)?;
        let mut state = self.state.lock();
        *state = saved;
        self.drive(&state);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::VirtualClock;
    use crate::conformance::{self, Wires};

    fn rtc() -> (Rtc, Arc<VirtualClock>, Arc<Wires>) {
        let clock = Arc::new(VirtualClock::default());
        let wires = Arc::new(Wires::default());
        let rtc = Rtc::new(clock.clone(), IrqLine::new(wires.clone(), 11));
        (rtc, clock, wires)
    }
    fn read(rtc: &Rtc, offset: u64) -> u64 {
        rtc.load(offset, Width::Word).unwrap()
    }
    fn write(rtc: &Rtc, offset: u64, value: u64) {
        rtc.store(offset, Width::Word, value).unwrap();
    }
    fn time(rtc: &Rtc) -> u64 {
        let low = read(rtc, register::TIME_LOW);
        low | read(rtc, register::TIME_HIGH) << 32
    }

    #[test]
    fn shows_wall_time_and_latches_the_upper_half() {
        let (rtc, clock, _) = rtc();
        assert_eq!(time(&rtc), VirtualClock::EPOCH_NANOS);
        read(&rtc, register::TIME_LOW);
        clock.advance(1 << 40);
        assert_eq!(
            read(&rtc, register::TIME_HIGH),
            VirtualClock::EPOCH_NANOS >> 32
        );
    }

    #[test]
    fn the_guest_sets_the_time() {
        let (rtc, clock, _) = rtc();
        write(&rtc, register::TIME_HIGH, 1);
        write(&rtc, register::TIME_LOW, 5);
        clock.advance(3);
        assert_eq!(time(&rtc), (1 << 32) + 305);
    }

    #[test]
    fn the_alarm_interrupts_once_until_cleared() {
        let (rtc, clock, wires) = rtc();
        let alarm = VirtualClock::EPOCH_NANOS + 1000;
        write(&rtc, register::IRQ_ENABLED, 1);
        write(&rtc, register::ALARM_HIGH, alarm >> 32);
        write(&rtc, register::ALARM_LOW, alarm & 0xffff_ffff);
        assert_eq!(read(&rtc, register::ALARM_STATUS), 1);
        clock.advance(9);
        rtc.poll();
        assert!(!wires.level(11));
        clock.advance(1);
        rtc.poll();
        assert!(wires.level(11));
        assert_eq!(read(&rtc, register::ALARM_STATUS), 0);
        write(&rtc, register::CLEAR_INTERRUPT, 1);
        assert!(!wires.level(11));
        clock.advance(1);
        rtc.poll();
        assert!(!wires.level(11));
    }

    #[test]
    fn a_cleared_alarm_does_not_ring_and_a_masked_one_waits() {
        let (rtc, clock, wires) = rtc();
        write(&rtc, register::ALARM_HIGH, u64::from(u32::MAX));
        write(&rtc, register::ALARM_LOW, 0);
        write(&rtc, register::CLEAR_ALARM, 1);
        write(&rtc, register::ALARM_HIGH, 0);
        clock.advance(10);
        rtc.poll();
        write(&rtc, register::IRQ_ENABLED, 1);
        assert!(!wires.level(11));
        write(&rtc, register::IRQ_ENABLED, 0);
        write(&rtc, register::ALARM_LOW, 0);
        assert!(!wires.level(11));
        write(&rtc, register::IRQ_ENABLED, 1);
        assert!(wires.level(11));
    }

    #[test]
    fn conforms() {
        conformance::check(|| Arc::new(rtc().0), crate::memory_map::RTC.len);
    }
}
