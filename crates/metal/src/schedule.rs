//! Who runs when: virtual harts of all guests share the real ones by weight.
//!
//! Each virtual hart has used some *virtual time*: ticks divided by its weight. The runnable one
//! that has used least runs next, for a slice. So none starves, however the others behave, and
//! over time each gets its share. One that slept does not save up more than a slice.

use alloc::vec::Vec;

/// A virtual hart may run for this part of a second while others wait: 5 ms.
const SLICES_IN_A_SECOND: u64 = 200;
/// Slices that one may run in a row while nobody waits.
const SLICES_ALONE: u64 = 20;
/// The weight at which virtual time goes like real time.
pub const USUAL_WEIGHT: u32 = 100;

/// What a virtual hart does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Could run.
    Ready,
    /// Runs on this CPU; `woken` if there was a call for it since it began.
    Running {
        /// The real hart.
        cpu: usize,
        /// Whether it must not sleep after this.
        woken: bool,
    },
    /// Waits for a call, or for this time.
    Waiting(Option<u64>),
}

/// A virtual hart, as the scheduler sees it.
#[derive(Clone, Debug)]
struct Entry {
    guest: usize,
    weight: u32,
    state: State,
    /// Virtual time used.
    used: u64,
    /// Ticks run.
    ran: u64,
    /// It runs, and nobody waited for a CPU when it began: its slice is a long one.
    alone: bool,
}

/// What a CPU does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Run this virtual hart, at most until `until`.
    Run {
        /// Its number.
        hart: usize,
        /// When its slice ends.
        until: u64,
    },
    /// Nothing before this time, or a call.
    Idle(Option<u64>),
}

/// Whom to interrupt so that a call is heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kick {
    /// Nobody.
    None,
    /// This CPU: it runs the one called for, or idles.
    Cpu(usize),
    /// This CPU shall end the slice of whoever runs there.
    Preempt(usize),
}

/// All virtual harts.
#[derive(Clone, Debug)]
pub struct Schedule {
    entries: Vec<Entry>,
    /// Guests that may not run, by number.
    held: Vec<bool>,
    /// CPUs that wait for work.
    idle: Vec<bool>,
    /// The least virtual time that a newcomer or sleeper starts with.
    floor: u64,
    /// Ticks that a virtual hart may run while others wait.
    slice: u64,
}

impl Schedule {
    /// Nobody to run yet, on `cpus` CPUs with a clock of `timebase` ticks in a second.
    pub fn new(cpus: usize, timebase: u64) -> Self {
        Self {
            entries: Vec::new(),
            held: Vec::new(),
            idle: alloc::vec![false; cpus],
            floor: 0,
            slice: (timebase / SLICES_IN_A_SECOND).max(1),
        }
    }
    /// Adds a virtual hart of `guest`, ready to run, and returns its number.
    pub fn add(&mut self, guest: usize, weight: u32) -> usize {
        if self.held.len() <= guest {
            self.held.resize(guest + 1, false);
        }
        self.entries.push(Entry {
            guest,
            weight: weight.max(1),
            state: State::Ready,
            used: self.floor,
            ran: 0,
            alone: false,
        });
        self.entries.len() - 1
    }
    fn may_run(&self, guest: usize) -> bool {
        !self.held.get(guest).copied().unwrap_or(true)
    }
    /// What `cpu` does from `now` on, and which CPU that idles shall look for work, too.
    pub fn next(&mut self, cpu: usize, now: u64) -> (Next, Kick) {
        let mut best: Option<(usize, u64)> = None;
        let mut rivals = 0;
        let mut alarm: Option<u64> = None;
        for index in 0..self.entries.len() {
            let Some(entry) = self.entries.get_mut(index) else {
                break;
            };
            if let State::Waiting(Some(until)) = entry.state {
                if until <= now {
                    entry.state = State::Ready;
                    entry.used = entry.used.max(self.floor);
                } else {
                    alarm = Some(alarm.map_or(until, |alarm| alarm.min(until)));
                }
            }
            let (state, used, guest) = (entry.state, entry.used, entry.guest);
            if state == State::Ready && self.may_run(guest) {
                rivals += 1;
                if best.is_none_or(|(_, least)| used < least) {
                    best = Some((index, used));
                }
            }
        }
        if let Some(idle) = self.idle.get_mut(cpu) {
            *idle = best.is_none();
        }
        let Some((hart, used)) = best else {
            return (Next::Idle(alarm), Kick::None);
        };
        self.floor = self.floor.max(used.saturating_sub(self.slice));
        let alone = rivals == 1;
        if let Some(entry) = self.entries.get_mut(hart) {
            entry.state = State::Running { cpu, woken: false };
            entry.alone = alone;
        }
        // Alone, it may go on until somebody else's time comes.
        let longest = now.saturating_add(SLICES_ALONE * self.slice);
        let until = if alone {
            alarm.map_or(longest, |alarm| alarm.min(longest))
        } else {
            now.saturating_add(self.slice)
        };
        // Several may have become ready at once: by their timers, or with their guest.
        let call = if alone {
            Kick::None
        } else {
            self.call_idle(cpu)
        };
        (Next::Run { hart, until }, call)
    }
    /// A CPU that idles is to look for work: one kick for one wake-up. `from` needs none.
    fn call_idle(&mut self, from: usize) -> Kick {
        let Some(cpu) = self.idle.iter().position(|idle| *idle) else {
            return Kick::None;
        };
        if let Some(idle) = self.idle.get_mut(cpu) {
            *idle = false;
        }
        if cpu == from {
            Kick::None
        } else {
            Kick::Cpu(cpu)
        }
    }
    /// Finds a CPU for one that is ready and has used `used`.
    fn make_room(&mut self, used: u64, from: usize) -> Kick {
        if self.idle.contains(&true) {
            return self.call_idle(from);
        }
        // Whoever has used most, unless there is one that does not expect to share its CPU:
        // that one takes turns from now on, whatever it has used.
        let running = self.entries.iter_mut().filter_map(|entry| {
            let State::Running { cpu, .. } = entry.state else {
                return None;
            };
            Some((cpu, entry))
        });
        match running.max_by_key(|(_, entry)| (entry.alone, entry.used)) {
            Some((cpu, entry)) if entry.alone || entry.used > used => {
                entry.alone = false;
                Kick::Preempt(cpu)
            }
            _ => Kick::None,
        }
    }
    /// Virtual hart `hart` ran for `ticks` and goes on to `after`: ready or waiting.
    pub fn put_back(&mut self, hart: usize, ticks: u64, after: State) {
        let Some(entry) = self.entries.get_mut(hart) else {
            return;
        };
        entry.ran += ticks;
        // However short it was and however much its weight: else it could go on for ever.
        let used = ticks.saturating_mul(USUAL_WEIGHT.into()) / u64::from(entry.weight);
        entry.used = entry.used.saturating_add(used.max(1));
        entry.state = match entry.state {
            // It was called while it made up its mind to sleep.
            State::Running { woken: true, .. } => State::Ready,
            _ => after,
        };
    }
    /// The monitor has worked for `guest` for `ticks`, to start it again: all its harts pay for that,
    /// as any of them may have asked for it and may ask again.
    pub fn charge(&mut self, guest: usize, ticks: u64) {
        for entry in self.entries.iter_mut().filter(|e| e.guest == guest) {
            entry.used = entry.used.max(self.floor)
                + ticks * u64::from(USUAL_WEIGHT) / u64::from(entry.weight);
        }
    }
    /// There is news for virtual hart `hart`: it runs again if it waits. `from` is the CPU that
    /// says so, which needs no kick itself.
    pub fn wake(&mut self, hart: usize, from: usize) -> Kick {
        let floor = self.floor;
        let Some(entry) = self.entries.get_mut(hart) else {
            return Kick::None;
        };
        match &mut entry.state {
            State::Ready => return Kick::None,
            State::Running { cpu, woken } => {
                *woken = true;
                return if *cpu == from {
                    Kick::None
                } else {
                    Kick::Cpu(*cpu)
                };
            }
            State::Waiting(_) => {
                entry.state = State::Ready;
                entry.used = entry.used.max(floor);
            }
        }
        let (used, guest) = (entry.used, entry.guest);
        if self.may_run(guest) {
            self.make_room(used, from)
        } else {
            Kick::None
        }
    }
    /// Keeps the harts of `guest` from running on. Returns the CPUs that run some of them now.
    pub fn hold(&mut self, guest: usize) -> Vec<usize> {
        if let Some(held) = self.held.get_mut(guest) {
            *held = true;
        }
        let running = self.entries.iter().filter_map(|entry| match entry.state {
            State::Running { cpu, .. } if entry.guest == guest => Some(cpu),
            _ => None,
        });
        running.collect()
    }
    /// Lets the harts of `guest` run again, all of them: they look around. `from` is the CPU
    /// that says so.
    pub fn release(&mut self, guest: usize, from: usize) -> Kick {
        if let Some(held) = self.held.get_mut(guest) {
            *held = false;
        }
        let mut used = None;
        for entry in self.entries.iter_mut().filter(|e| e.guest == guest) {
            if matches!(entry.state, State::Waiting(_)) {
                entry.state = State::Ready;
            }
            // The time that it was held is not saved up.
            entry.used = entry.used.max(self.floor);
            used = Some(entry.used);
        }
        match used {
            Some(used) => self.make_room(used, from),
            None => Kick::None,
        }
    }
    /// Whether `guest` is held.
    pub fn is_held(&self, guest: usize) -> bool {
        !self.may_run(guest)
    }
    /// Whether no hart of `guest` runs now.
    pub fn is_still(&self, guest: usize) -> bool {
        !self
            .entries
            .iter()
            .any(|entry| entry.guest == guest && matches!(entry.state, State::Running { .. }))
    }
    /// Ticks that a virtual hart has run, and what it does.
    pub fn usage(&self, hart: usize) -> Option<(u64, State)> {
        self.entries.get(hart).map(|entry| (entry.ran, entry.state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Of a clock of 10 MHz.
    const SLICE: u64 = 50_000;

    /// Runs `cpus` CPUs for `slices` rounds; all harts always want to run. Ticks for each.
    fn run(weights: &[u32], cpus: usize, slices: u64) -> Vec<u64> {
        let mut schedule = Schedule::new(cpus, 10_000_000);
        for (guest, weight) in weights.iter().enumerate() {
            schedule.add(guest, *weight);
        }
        for round in 0..slices {
            let now = round * SLICE;
            let running: Vec<_> = (0..cpus).map(|cpu| schedule.next(cpu, now).0).collect();
            for next in running {
                if let Next::Run { hart, .. } = next {
                    schedule.put_back(hart, SLICE, State::Ready);
                }
            }
        }
        (0..weights.len())
            .map(|hart| schedule.usage(hart).unwrap().0)
            .collect()
    }

    #[test]
    fn shares_follow_the_weights() {
        let ran = run(&[100, 100, 200], 1, 4000);
        assert!(ran[0].abs_diff(ran[1]) <= SLICE, "{ran:?}");
        assert!(ran[2].abs_diff(2 * ran[0]) <= 3 * SLICE, "{ran:?}");
    }

    #[test]
    fn nobody_is_on_two_cpus_and_idle_cpus_stay_idle() {
        let mut schedule = Schedule::new(3, 10_000_000);
        schedule.add(0, 100);
        let first = schedule.next(0, 0).0;
        assert!(matches!(first, Next::Run { hart: 0, .. }));
        assert_eq!(schedule.next(1, 0).0, Next::Idle(None));
    }

    #[test]
    fn a_call_is_not_lost_on_the_way_to_sleep() {
        let mut schedule = Schedule::new(2, 10_000_000);
        let hart = schedule.add(0, 100);
        schedule.next(0, 0);
        assert_eq!(schedule.wake(hart, 1), Kick::Cpu(0));
        schedule.put_back(hart, 10, State::Waiting(None));
        assert!(matches!(schedule.next(1, 10).0, Next::Run { .. }));
        schedule.put_back(hart, 10, State::Waiting(None));
        assert_eq!(schedule.next(1, 20).0, Next::Idle(None));
        assert_eq!(schedule.wake(hart, 0), Kick::Cpu(1));
        assert_eq!(schedule.wake(hart, 0), Kick::None);
    }

    #[test]
    fn timers_wake() {
        let mut schedule = Schedule::new(1, 10_000_000);
        let hart = schedule.add(0, 100);
        schedule.next(0, 0);
        schedule.put_back(hart, 10, State::Waiting(Some(500)));
        assert_eq!(schedule.next(0, 10).0, Next::Idle(Some(500)));
        assert!(matches!(schedule.next(0, 500).0, Next::Run { .. }));
    }

    #[test]
    fn a_held_guest_stays_until_released() {
        let mut schedule = Schedule::new(1, 10_000_000);
        let hart = schedule.add(0, 100);
        schedule.next(0, 0);
        assert_eq!(schedule.hold(0), [0]);
        assert!(!schedule.is_still(0));
        schedule.put_back(hart, 10, State::Ready);
        assert!(schedule.is_still(0));
        assert_eq!(schedule.next(0, 10).0, Next::Idle(None));
        assert_eq!(schedule.release(0, 1), Kick::Cpu(0));
        assert!(matches!(schedule.next(0, 10).0, Next::Run { .. }));
    }

    #[test]
    fn work_for_a_guest_is_part_of_its_share() {
        let mut schedule = Schedule::new(1, 10_000_000);
        let restless = schedule.add(0, 100);
        schedule.add(1, 100);
        let (mut now, mut own) = (0, 0);
        while now < 1000 * SLICE {
            let Next::Run { hart, .. } = schedule.next(0, now).0 else {
                panic!("somebody is ready")
            };
            if hart == restless {
                // It has itself started again at once.
                schedule.put_back(hart, 1, State::Ready);
                schedule.charge(0, SLICE);
                own += SLICE;
            } else {
                schedule.put_back(hart, SLICE, State::Ready);
            }
            now += SLICE;
        }
        assert!(own.abs_diff(500 * SLICE) < 10 * SLICE, "{own}");
    }

    #[test]
    fn a_sleeper_does_not_save_up_time() {
        let mut schedule = Schedule::new(1, 10_000_000);
        let sleeper = schedule.add(0, 100);
        let worker = schedule.add(1, 100);
        schedule.next(0, 0);
        schedule.put_back(sleeper, 1, State::Waiting(None));
        for round in 0..1000 {
            assert!(matches!(
                schedule.next(0, round).0,
                Next::Run { hart: 1, .. }
            ));
            schedule.put_back(worker, SLICE, State::Ready);
        }
        schedule.wake(sleeper, 0);
        let mut in_a_row = 0;
        while let Next::Run { hart: 0, .. } = schedule.next(0, 0).0 {
            schedule.put_back(sleeper, SLICE, State::Ready);
            in_a_row += 1;
        }
        assert!((1..=3).contains(&in_a_row), "{in_a_row}");
    }

    /// Puts `hart` to run on `cpu`, alone.
    fn run_alone(schedule: &mut Schedule, hart: usize, cpu: usize) {
        let (next, call) = schedule.next(cpu, 0);
        let until = 20 * SLICE;
        assert_eq!((next, call), (Next::Run { hart, until }, Kick::None));
    }

    #[test]
    fn idle_cpus_are_called_when_several_become_ready() {
        let mut schedule = Schedule::new(3, 10_000_000);
        for _ in 0..3 {
            let hart = schedule.add(0, 100);
            schedule.next(0, 0);
            schedule.put_back(hart, 1, State::Waiting(Some(500)));
        }
        for cpu in 0..3 {
            assert_eq!(schedule.next(cpu, 10).0, Next::Idle(Some(500)));
        }
        // One CPU's timer came first; nobody waits while another idles.
        assert_eq!(schedule.next(0, 500).1, Kick::Cpu(1));
        assert_eq!(schedule.next(1, 500).1, Kick::Cpu(2));
        assert!(matches!(schedule.next(2, 500).0, Next::Run { .. }));
    }

    #[test]
    fn one_that_runs_alone_takes_turns_with_one_that_wakes() {
        let mut schedule = Schedule::new(1, 10_000_000);
        let (busy, sleeper) = (schedule.add(0, 100), schedule.add(1, 100));
        schedule.put_back(sleeper, 3 * SLICE, State::Waiting(None));
        run_alone(&mut schedule, busy, 0);
        // It has used more than the busy one, and still must not wait for 100 ms.
        assert_eq!(schedule.wake(sleeper, 0), Kick::Preempt(0));
        assert_eq!(schedule.wake(sleeper, 0), Kick::None);
        schedule.put_back(busy, 10, State::Ready);
        let until = 10 + SLICE;
        assert_eq!(schedule.next(0, 10).0, Next::Run { hart: busy, until });
    }

    #[test]
    fn what_is_held_neither_calls_nor_saves_up_time() {
        let mut schedule = Schedule::new(1, 10_000_000);
        let (held, busy) = (schedule.add(0, 100), schedule.add(1, 100));
        schedule.hold(0);
        run_alone(&mut schedule, busy, 0);
        assert_eq!(schedule.wake(held, 0), Kick::None);
        schedule.put_back(busy, 1000 * SLICE, State::Ready);
        schedule.next(0, 0);
        assert_eq!(schedule.release(0, 0), Kick::Preempt(0));
        schedule.put_back(busy, SLICE, State::Ready);
        let mut in_a_row = 0;
        while let Next::Run { hart: 0, .. } = schedule.next(0, 0).0 {
            schedule.put_back(held, SLICE, State::Ready);
            in_a_row += 1;
        }
        assert!((1..=3).contains(&in_a_row), "{in_a_row}");
    }

    #[test]
    fn short_runs_of_a_heavy_guest_count() {
        let mut schedule = Schedule::new(1, 10_000_000);
        let (heavy, light) = (schedule.add(0, u32::MAX), schedule.add(1, 100));
        schedule.put_back(light, 200, State::Ready);
        for _ in 0..1000 {
            if schedule.next(0, 0).0
                == (Next::Run {
                    hart: light,
                    until: SLICE,
                })
            {
                return;
            }
            schedule.put_back(heavy, 1, State::Ready);
        }
        panic!("the light one never ran");
    }

    proptest! {
        #[test]
        fn no_one_starves(
            weights in prop::collection::vec(1..1000u32, 1..8),
            cpus in 1..4usize,
        ) {
            let ran = run(&weights, cpus, 20_000);
            prop_assert!(ran.iter().all(|ticks| *ticks > 0), "{:?}", ran);
        }
    }
}
