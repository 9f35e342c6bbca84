//! All harts in turn on one thread, in virtual time: the same input gives the same run.

use std::sync::{MutexGuard, PoisonError};

use ringer_machine::clock::{Clock, VirtualClock};

use super::seat::{Seat, Turn};
use super::{Vm, sit};
use crate::run::Event;

/// Instructions that a hart executes in its turn.
const QUANTUM: u64 = 2_000;

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
            schedule.go_on(vm, clock, &mut seats);
        }
    }
}

impl Schedule {
    /// The harts start again.
    pub fn restart(&mut self) {
        *self = Self {
            round: self.round + 1,
            ..Self::default()
        };
    }

    /// One turn, or the end of a round.
    fn go_on(&mut self, vm: &Vm, clock: &VirtualClock, seats: &mut [MutexGuard<'_, Seat>]) {
        let Some(seat) = seats.get_mut(self.next) else {
            return self.end_round(vm, clock);
        };
        match seat.turn(vm, QUANTUM) {
            Turn::Ran(count) | Turn::Spins(count) => self.longest = self.longest.max(count),
            Turn::Idle(next) => self.timer = self.timer.into_iter().chain(next).min(),
            // The rest of the turn comes when the machine runs again.
            Turn::Held => return,
        }
        self.next += 1;
    }

    fn end_round(&mut self, vm: &Vm, clock: &VirtualClock) {
        // Harts run side by side: a round takes as long as its longest turn.
        self.rest += self.longest;
        clock.advance(self.rest / vm.instructions_per_tick);
        self.rest %= vm.instructions_per_tick;
        vm.machine.board.poll();
        if self.longest == 0 {
            skip_idle_time(vm, clock, self.timer);
        }
        self.round += 1;
        self.next = 0;
        self.longest = 0;
        self.timer = None;
    }
}

/// No hart has anything to do: nothing happens before the next timer.
fn skip_idle_time(vm: &Vm, clock: &VirtualClock, timer: Option<u64>) {
    match timer {
        Some(ticks) => clock.set_ticks(ticks.max(clock.ticks())),
        None if vm.interactive => {
            if let Some(parker) = vm.machine.parkers.first() {
                let lines = vm.machine.board.all_lines();
                parker.park(None, || {
                    vm.gate.is_closed() || lines.iter().any(|line| line.has_requests())
                });
            }
        }
        // A wire may have risen in the poll just now.
        None if vm.is_asked() => {}
        None => vm.tell(Event::Stuck),
    }
}

impl Vm {
    /// Where the machine is in its schedule, if it is deterministic.
    pub fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Whether any hart has a request to look at.
    fn is_asked(&self) -> bool {
        let mut lines = self.machine.board.all_lines().iter();
        lines.any(|line| line.has_requests())
    }
}
