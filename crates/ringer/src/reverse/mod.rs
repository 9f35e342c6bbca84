//! Going back in a deterministic run: checkpoints are kept on the way; from one of them the machine
//! goes forward again, to the moment that is wanted.

mod checkpoint;
mod pages;

use std::sync::{Arc, MutexGuard};

use ringer_hart::{Bus as _, HartId};
use ringer_machine::clock::VirtualClock;

use crate::machine::MachineClock;
use crate::runner::{Hit, Order, Points, Reason, Schedule, Seat, Sought, Vm, sit};
use checkpoint::{Checkpoint, instructions};
use pages::{Mirror, Older, join};

/// Instructions between two checkpoints, at first; when there are many it doubles.
const INTERVAL: u64 = 20_000_000;
/// The most checkpoints.
const MOST: usize = 48;
/// The most pages of older states that are kept: half a GiB.
const MOST_PAGES: usize = 128 << 10;

/// A moment in a deterministic run: so many rounds, turns of the next round, and instructions of
/// the next turn. Instructions that trap count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Moment {
    round: u64,
    turn: usize,
    done: u64,
}

/// What is remembered of a run.
pub struct History {
    /// From the oldest to the newest, each with the pages that were different then.
    checkpoints: Vec<(Checkpoint, Older)>,
    mirror: Mirror,
    interval: u64,
}

impl Default for History {
    fn default() -> Self {
        Self {
            checkpoints: Vec::new(),
            mirror: Mirror::new(),
            interval: INTERVAL,
        }
    }
}

impl History {
    /// Begins anew: the machine has changed in a way that running it again would not bring back.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// At the start of a round: makes a checkpoint if it is time for one.
    pub fn pass(
        &mut self,
        vm: &Vm,
        clock: &VirtualClock,
        schedule: &Schedule,
        seats: &[MutexGuard<'_, Seat>],
    ) {
        let due = match self.checkpoints.last() {
            None => true,
            Some((last, _)) => {
                instructions(seats).wrapping_sub(last.instructions) >= self.interval
                    && schedule.round > last.schedule.round
            }
        };
        if due && self.add(vm, clock, schedule, seats) {
            self.thin_out();
        }
    }

    /// Makes a checkpoint; false if it cannot be made.
    fn add(
        &mut self,
        vm: &Vm,
        clock: &VirtualClock,
        schedule: &Schedule,
        seats: &[MutexGuard<'_, Seat>],
    ) -> bool {
        let last = self.checkpoints.last().map(|(last, _)| last);
        let Some(checkpoint) = Checkpoint::of(vm, clock, schedule, seats, last) else {
            return false;
        };
        let older = self.mirror.advance(vm.machine.board.ram());
        if let Some((_, pages)) = self.checkpoints.last_mut() {
            *pages = older;
        }
        self.checkpoints.push((checkpoint, Older::new()));
        true
    }

    /// Forgets every second checkpoint if there are too many.
    fn thin_out(&mut self) {
        let pages: usize = self.checkpoints.iter().map(|(_, older)| older.len()).sum();
        if self.checkpoints.len() <= MOST && (pages <= MOST_PAGES || self.checkpoints.len() < 4) {
            return;
        }
        self.interval *= 2;
        let last = self.checkpoints.len() - 1;
        let all = std::mem::take(&mut self.checkpoints);
        for (number, (checkpoint, older)) in all.into_iter().enumerate() {
            match self.checkpoints.last_mut() {
                Some((_, before)) if number % 2 == 1 && number != last => {
                    *before = join(std::mem::take(before), older);
                }
                _ => self.checkpoints.push((checkpoint, older)),
            }
        }
    }

    /// The machine as of a checkpoint; later ones are forgotten, and will be made again.
    fn restore(
        &mut self,
        number: usize,
        vm: &Vm,
        clock: &VirtualClock,
        schedule: &mut Schedule,
        seats: &mut [MutexGuard<'_, Seat>],
    ) -> Result<(), String> {
        let later = self.checkpoints.split_off(number + 1);
        let Some((checkpoint, older)) = self.checkpoints.last_mut() else {
            return Err("there is no checkpoint".to_string());
        };
        let older = std::iter::once(std::mem::take(older));
        let older = older.chain(later.into_iter().map(|(_, older)| older));
        self.mirror.go_back(vm.machine.board.ram(), older);
        checkpoint
            .restore(vm, clock, schedule, seats)
            .map_err(|error| error.to_string())
    }

    /// The last checkpoint before a moment.
    fn before(&self, moment: Moment) -> Option<usize> {
        let earlier = |(checkpoint, _): &(Checkpoint, Older)| {
            Moment {
                round: checkpoint.schedule.round,
                turn: 0,
                done: 0,
            } < moment
        };
        self.checkpoints.iter().rposition(earlier)
    }
}

/// What is looked for on the way back.
pub enum Backwards {
    /// The last instruction of this hart.
    Step(HartId),
    /// The last stop at one of these.
    Continue(Arc<Points>),
}

/// What was found.
pub enum Found {
    /// A hart stopped for this reason.
    Stop(HartId, Reason),
    /// Nothing, up to the beginning of what is remembered.
    Beginning,
}

/// Something on the way.
#[derive(Clone, Copy, Debug)]
struct Sighting {
    at: Moment,
    hart: HartId,
    hit: Option<Hit>,
}

/// A machine that stands still, and is taken through time.
struct Traveller<'a> {
    vm: &'a Vm,
    clock: &'a VirtualClock,
    schedule: MutexGuard<'a, Schedule>,
    seats: Vec<MutexGuard<'a, Seat>>,
}

/// Takes a deterministic machine, which stands still, back to what is looked for.
pub fn go_back(vm: &Vm, backwards: &Backwards) -> Result<Found, String> {
    let MachineClock::Virtual(clock) = &vm.machine.clock else {
        return Err("only a deterministic machine goes back".to_string());
    };
    let mut history = vm.history();
    let Some(history) = &mut *history else {
        return Err("nothing is remembered of this run".to_string());
    };
    let mut traveller = Traveller {
        vm,
        clock,
        schedule: vm.schedule(),
        seats: vm.seats.iter().map(sit).collect(),
    };
    let found = traveller.search(history, backwards);
    // What harts have said on the way is of the past.
    vm.stops.clear();
    found
}

impl Traveller<'_> {
    fn now(&self) -> Moment {
        let turn = self.schedule.turns();
        let done = self.seats.get(turn).map_or(0, |seat| seat.watch.done());
        Moment {
            round: self.schedule.round,
            turn,
            done,
        }
    }

    /// The machine is again what it was at a checkpoint.
    fn return_to(&mut self, history: &mut History, number: usize) -> Result<(), String> {
        history.restore(
            number,
            self.vm,
            self.clock,
            &mut self.schedule,
            &mut self.seats,
        )
    }

    fn search(&mut self, history: &mut History, what: &Backwards) -> Result<Found, String> {
        let mut until = self.now();
        // The last instruction of a hart is mostly near: then what lies before it need not be seen.
        let mut is_near = matches!(what, Backwards::Step(_));
        // From the last checkpoint to the present, then from the one before to that, and so on.
        while let Some(number) = history.before(until) {
            self.return_to(history, number)?;
            let mut from = self.now();
            let mut number = number;
            if std::mem::take(&mut is_near) && from.round + 2 < until.round {
                from = Moment {
                    round: until.round - 1,
                    turn: 0,
                    done: 0,
                };
                self.go_to(from, Order::Behind)?;
                if history.add(self.vm, self.clock, &self.schedule, &self.seats) {
                    number += 1;
                }
            }
            if let Some(seen) = self.watch_until(until, what)? {
                // Once more, and no further.
                self.return_to(history, number)?;
                return self.arrive(seen, what);
            }
            until = from;
            if history.before(until).is_none() {
                self.return_to(history, 0)?;
                break;
            }
        }
        Ok(Found::Beginning)
    }

    /// Goes to what was seen.
    fn arrive(&mut self, seen: Sighting, what: &Backwards) -> Result<Found, String> {
        let mut at = seen.at;
        // A breakpoint may be where an interrupt leads to that is taken just then. A step is as a
        // step forward leaves it, behind an instruction.
        let arrive = match (what, seen.hit) {
            (Backwards::Continue(_), None) => Order::Before,
            _ => Order::Behind,
        };
        let reason = match seen.hit {
            // Who goes back meets the access from behind.
            Some(hit) => {
                at.done += 1;
                Reason::Watchpoint(hit)
            }
            None => Reason::Breakpoint,
        };
        self.go_to(at, arrive)?;
        Ok(Found::Stop(seen.hart, reason))
    }

    /// Runs to a moment ahead, on the engines.
    fn go_to(&mut self, until: Moment, arrive: fn(u64) -> Order) -> Result<(), String> {
        for seat in &mut self.seats {
            seat.watch.points = Arc::default();
            seat.watch.order = Order::Run;
        }
        self.go_on(until, arrive, |_, _| {})
    }

    /// Runs to a moment ahead; returns the last that was seen of what is looked for.
    fn watch_until(&mut self, until: Moment, what: &Backwards) -> Result<Option<Sighting>, String> {
        for (number, seat) in self.seats.iter_mut().enumerate() {
            seat.watch.points = Arc::default();
            seat.watch.order = Order::Run;
            seat.watch.seek(match what {
                Backwards::Step(hart) => (*hart == number).then_some(Sought::Anything),
                Backwards::Continue(points) => Some(Sought::Points(Arc::clone(points))),
            });
        }
        let mut last = None;
        let gone = self.go_on(until, Order::Behind, |seats, (round, turn)| {
            if let Some(seat) = seats.get(turn)
                && let Some((done, hit)) = seat.watch.seen()
            {
                last = Some(Sighting {
                    at: Moment { round, turn, done },
                    hart: turn,
                    hit,
                });
            }
        });
        for seat in &mut self.seats {
            seat.watch.seek(None);
        }
        gone.map(|()| last)
    }

    /// Runs to a moment ahead; `behind` is called behind every turn, with its round and number.
    fn go_on(
        &mut self,
        until: Moment,
        arrive: fn(u64) -> Order,
        mut behind: impl FnMut(&[MutexGuard<'_, Seat>], (u64, usize)),
    ) -> Result<(), String> {
        loop {
            let place = (self.schedule.round, self.schedule.turns());
            if place > (until.round, until.turn) {
                return Err("the machine did not go the same way again".to_string());
            }
            if place == (until.round, until.turn) {
                if arrive(until.done) != Order::Behind(0)
                    && let Some(seat) = self.seats.get_mut(until.turn)
                {
                    seat.watch.order = arrive(until.done);
                    seat.turn(self.vm, crate::runner::QUANTUM);
                    seat.watch.order = Order::Run;
                    behind(&self.seats, place);
                }
                return match self.now() == until {
                    true => Ok(()),
                    false => Err("the machine did not go the same way again".to_string()),
                };
            }
            self.schedule.go_on(self.vm, self.clock, &mut self.seats);
            behind(&self.seats, place);
        }
    }
}
