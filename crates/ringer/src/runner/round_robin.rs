//! All harts in turn on one thread, in virtual time: the same input gives the same run.

use ringer_machine::clock::{Clock, VirtualClock};

use super::seat::Turn;
use super::{Vm, sit};
use crate::run::Event;

/// Instructions that a hart executes in its turn.
const QUANTUM: u64 = 2_000;

/// Runs the machine until it ends.
pub fn run(vm: &Vm, clock: &VirtualClock) {
    // Instructions that make up no whole tick yet.
    let mut rest = 0;
    while vm.gate.pass() {
        let mut seats: Vec<_> = vm.seats.iter().map(sit).collect();
        while !vm.gate.is_closed() {
            // Harts run side by side: a round takes as long as its longest turn.
            let mut longest = 0;
            let mut timer = None;
            for seat in &mut seats {
                match seat.turn(vm, QUANTUM) {
                    Turn::Ran(count) | Turn::Spins(count) => longest = longest.max(count),
                    Turn::Idle(next) => timer = timer.into_iter().chain(next).min(),
                }
                if vm.gate.is_closed() {
                    break;
                }
            }
            rest += longest;
            clock.advance(rest / vm.instructions_per_tick);
            rest %= vm.instructions_per_tick;
            vm.machine.board.poll();
            if longest == 0 && !vm.gate.is_closed() {
                skip_idle_time(vm, clock, timer);
            }
        }
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
    /// Whether any hart has a request to look at.
    fn is_asked(&self) -> bool {
        let mut lines = self.machine.board.all_lines().iter();
        lines.any(|line| line.has_requests())
    }
}
