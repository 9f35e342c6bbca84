//! All harts in turn on one thread, in virtual time: the same input gives the same run.

use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;

use ringer_machine::clock::{Clock, NANOS_PER_TICK, VirtualClock};

use super::seat::{Seat, Turn};
use super::watch::{Reason, Stop};
use super::{Vm, sit};
use crate::reverse::History;
use crate::run::Event;

/// Instructions that a hart executes in its turn.
pub const QUANTUM: u64 = 2_000;

/// Where a deterministic machine is in its schedule. It stays there while the machine stands
/// still, so that stopping it anywhere changes nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Schedule {
    /// How many rounds are over.
    pub round: u64,
    /// The hart whose turn it is; when all had theirs, the round ends.
    next: usize,
    /// The longest turn of this round.
    longest: u64,
    /// The first timer of those who had nothing to do in this round.
    timer: Option<u64>,
    /// Instructions that make up no whole tick yet.
    rest: u64,
}

/// Runs the machine until it ends.
pub fn run(vm: &Vm, clock: &VirtualClock) {
    while vm.gate.pass() {
        let mut seats: Vec<_> = vm.seats.iter().map(sit).collect();
        let mut schedule = vm.schedule();
        while !vm.gate.is_closed() {
            if schedule.next == 0
                && let Some(history) = &mut *vm.history()
            {
                history.pass(vm, clock, &schedule, &seats);
            }
            schedule.go_on(vm, clock, &mut seats);
        }
    }
}

impl Schedule {
    /// How many turns of this round are over.
    pub fn turns(&self) -> usize {
        self.next
    }
    /// The harts start again.
    pub fn restart(&mut self) {
        *self = Self {
            round: self.round + 1,
            ..Self::default()
        };
    }

    /// One turn, or the end of a round.
    pub(crate) fn go_on(
        &mut self,
        vm: &Vm,
        clock: &VirtualClock,
        seats: &mut [MutexGuard<'_, Seat>],
    ) {
        if vm.inputs.ends_before(self.round, self.next) {
            return vm.end_replay();
        }
        let Some(seat) = seats.get_mut(self.next) else {
            return self.end_round(vm, clock, seats);
        };
        match seat.turn(vm, QUANTUM) {
            Turn::Ran(count) | Turn::Spins(count) => self.longest = self.longest.max(count),
            Turn::Idle(next) => self.timer = self.timer.into_iter().chain(next).min(),
            // The rest of the turn comes when the machine runs again.
            Turn::Held => return,
        }
        self.next += 1;
    }

    fn end_round(&mut self, vm: &Vm, clock: &VirtualClock, seats: &[MutexGuard<'_, Seat>]) {
        // Harts run side by side: a round takes as long as its longest turn.
        self.rest += self.longest;
        clock.advance(self.rest / vm.instructions_per_tick);
        self.rest %= vm.instructions_per_tick;
        vm.inputs.take(vm, self.round, seats);
        vm.machine.board.poll();
        if self.longest == 0 {
            skip_idle_time(vm, clock, self.round, self.timer);
        }
        self.round += 1;
        self.next = 0;
        self.longest = 0;
        self.timer = None;
    }
}

/// No hart has anything to do: nothing happens before the next timer.
fn skip_idle_time(vm: &Vm, clock: &VirtualClock, round: u64, timer: Option<u64>) {
    if let Some(ticks) = vm.inputs.woken(round) {
        return clock.set_ticks(ticks);
    }
    let was_here = vm.inputs.knows_more(round);
    match timer {
        Some(ticks) if vm.paced && !was_here => wait(vm, clock, round, ticks),
        Some(ticks) => clock.set_ticks(ticks.max(clock.ticks())),
        None if was_here => {}
        None if vm.interactive => {
            if let Some(parker) = vm.machine.parkers.first() {
                parker.park(None, || vm.is_needed());
            }
        }
        // A wire may have risen in the poll just now.
        None if vm.is_asked() => {}
        None => vm.tell(Event::Stuck),
    }
}

/// Waits as long as the guest does, unless something comes in meanwhile.
fn wait(vm: &Vm, clock: &VirtualClock, round: u64, ticks: u64) {
    let (began, before) = (Instant::now(), clock.ticks());
    if let Some(parker) = vm.machine.parkers.first() {
        parker.park(Some(vm.machine.instant_of(ticks)), || vm.is_needed());
    }
    let passed = began.elapsed().as_nanos() as u64 / NANOS_PER_TICK;
    let now = before.saturating_add(passed);
    if now < ticks {
        vm.inputs.wake(round, now);
        clock.set_ticks(now);
    } else {
        clock.set_ticks(ticks.max(before));
    }
}

impl Vm {
    /// What is remembered of a deterministic run, if anything is.
    pub fn history(&self) -> MutexGuard<'_, Option<History>> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// A replay has come to its end. A debugger may want to go back from there.
    fn end_replay(&self) {
        if self.debugged.is_on() {
            self.gate.hold();
            self.stops.tell(Stop {
                hart: 0,
                reason: Reason::End,
            });
        } else {
            self.tell(Event::Replayed);
        }
    }
    /// Where the machine is in its schedule, if it is deterministic.
    pub fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Whether there is a reason not to sleep on.
    fn is_needed(&self) -> bool {
        self.gate.is_closed() || self.inputs.wait(self) || self.is_asked()
    }
    /// Whether any hart has a request to look at.
    fn is_asked(&self) -> bool {
        let mut lines = self.machine.board.all_lines().iter();
        lines.any(|line| line.has_requests())
    }
}
