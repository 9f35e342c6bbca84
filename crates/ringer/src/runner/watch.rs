//! A hart under a debugger's eyes: it runs on the interpreter and stops at breakpoints, at
//! watchpoints and after single steps. A hart that nobody watches runs on its engine.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ringer_hart::hart::Effects;
use ringer_hart::interpret::{Slice, Watcher};
use ringer_hart::memory::CACHE_BLOCK;
use ringer_hart::translate::Access;
use ringer_hart::{Exit, Hart, HartId, Interpreter};
use ringer_isa::table::Format;
use ringer_isa::{Insn, Op};
use ringer_machine::board::Board;

/// Which accesses a watchpoint is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WatchKind {
    /// Loads.
    Read,
    /// Stores and atomic operations.
    Write,
    /// Both.
    Access,
}

/// A range of virtual addresses whose accesses stop a hart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Watchpoint {
    /// The first address.
    pub start: u64,
    /// How many bytes.
    pub len: u64,
    /// Which accesses.
    pub kind: WatchKind,
}

impl Watchpoint {
    fn is_hit(&self, access: Access, va: u64, bytes: u64) -> bool {
        let kind = match access {
            Access::Load => self.kind != WatchKind::Write,
            Access::Store => self.kind != WatchKind::Read,
            Access::Fetch => false,
        };
        // Either begins inside the other.
        kind && (va.wrapping_sub(self.start) < self.len || self.start.wrapping_sub(va) < bytes)
    }
}

/// Where harts stop.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Points {
    /// Addresses of instructions, in order.
    breakpoints: Vec<u64>,
    watchpoints: Vec<Watchpoint>,
}

impl Points {
    /// Before instructions at these addresses, and those that access these ranges.
    pub fn new(breakpoints: impl IntoIterator<Item = u64>, watchpoints: Vec<Watchpoint>) -> Self {
        let mut breakpoints: Vec<_> = breakpoints.into_iter().collect();
        breakpoints.sort_unstable();
        Self {
            breakpoints,
            watchpoints,
        }
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.breakpoints.is_empty() && self.watchpoints.is_empty()
    }
    /// Whether harts stop at this address.
    pub fn breaks_at(&self, pc: u64) -> bool {
        self.breakpoints.binary_search(&pc).is_ok()
    }
    /// The watchpoint that an instruction will hit if it does not trap.
    pub fn touched_by(&self, insn: &Insn, hart: &Hart) -> Option<Hit> {
        let format = insn.op.format();
        let register = |number: u8| hart.x.get(usize::from(number)).copied().unwrap_or(0);
        let base = register(insn.rs1);
        let address = base.wrapping_add(insn.imm as u64);
        // All of these have it in the same place; of loads, one bit more says how they extend.
        let size = insn.op.row().bits >> 12;
        let (bytes, atomic_bytes) = (1 << (size & 3), 1 << (size & 7));
        match format {
            Format::Load | Format::FloatLoad => self.watching(Access::Load, address, bytes),
            Format::Store | Format::FloatStore => self.watching(Access::Store, address, bytes),
            Format::LoadReserved => self.watching(Access::Load, base, atomic_bytes),
            Format::Atomic if matches!(insn.op, Op::ScW | Op::ScD) => {
                self.watching(Access::Store, base, atomic_bytes)
            }
            Format::Atomic | Format::AtomicPair => self
                .watching(Access::Load, base, atomic_bytes)
                .or_else(|| self.watching(Access::Store, base, atomic_bytes)),
            _ if insn.op == Op::CboZero => {
                self.watching(Access::Store, base & !(CACHE_BLOCK - 1), CACHE_BLOCK)
            }
            _ => None,
        }
    }
    /// The watchpoint that an access hits.
    fn watching(&self, access: Access, va: u64, bytes: u64) -> Option<Hit> {
        let mut points = self.watchpoints.iter();
        points
            .find(|point| point.is_hit(access, va, bytes))
            .map(|point| Hit {
                // What is reported lies in the range that was asked for.
                address: va.max(point.start),
                kind: point.kind,
            })
    }
}

/// An access that a watchpoint is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hit {
    /// An address in the watched range.
    pub address: u64,
    /// The watchpoint's kind.
    pub kind: WatchKind,
}

/// Why a hart stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// It is before an instruction with a breakpoint.
    Breakpoint,
    /// It is before an access that somebody watches. That is how gdb wants it of this architecture:
    /// it executes the instruction by a step and looks what it has done.
    Watchpoint(Hit),
    /// It has executed one instruction.
    Step,
}

/// A hart has stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stop {
    /// Which.
    pub hart: HartId,
    /// Why.
    pub reason: Reason,
}

/// Where harts that stop say so, and a debugger hears it.
#[derive(Default)]
pub struct Stops {
    queue: Mutex<VecDeque<Stop>>,
    rung: Condvar,
}

impl Stops {
    fn queue(&self) -> MutexGuard<'_, VecDeque<Stop>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub(super) fn tell(&self, stop: Stop) {
        self.queue().push_back(stop);
        self.rung.notify_all();
    }
    /// The next one, if it comes in time.
    pub fn wait(&self, patience: Duration) -> Option<Stop> {
        let wait = self
            .rung
            .wait_timeout_while(self.queue(), patience, |queue| queue.is_empty());
        let (mut queue, _) = wait.unwrap_or_else(PoisonError::into_inner);
        queue.pop_front()
    }
    /// Forgets what nobody has heard.
    pub fn clear(&self) {
        self.queue().clear();
    }
}

/// What a debugger and the rest of the monitor know of each other.
#[derive(Default)]
pub struct Debugged {
    state: Mutex<(bool, Option<u8>)>,
}

impl Debugged {
    fn state(&self) -> MutexGuard<'_, (bool, Option<u8>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// A debugger has come.
    pub fn begin(&self) {
        self.state().0 = true;
    }
    /// It has gone.
    pub fn leave(&self) {
        self.state().0 = false;
    }
    /// The machine has ended with this exit status; true if there is a debugger to hear it.
    pub fn end(&self, status: u8) -> bool {
        let mut state = self.state();
        state.1 = Some(status);
        state.0
    }
    /// The exit status, if the machine has ended.
    pub fn ended(&self) -> Option<u8> {
        self.state().1
    }
}

/// What a debugger lets a hart do while the machine runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Order {
    /// Run.
    #[default]
    Run,
    /// Execute one instruction.
    Step,
    /// Stand still.
    Stay,
}

/// A turn that was stopped on the way.
#[derive(Clone, Copy, Debug)]
struct Unfinished {
    slice: Slice,
    /// What the hart had retired when the turn began.
    before: u64,
}

/// How a watched run ended.
pub enum Watched {
    /// As an engine's run does; and what the hart had retired when the turn began.
    Left(Exit, u64),
    /// On the way.
    Stopped(Reason),
}

/// What one hart's watchers want, and what they need.
#[derive(Default)]
pub struct Watch {
    /// Where it stops.
    pub points: Arc<Points>,
    /// What it may do.
    pub order: Order,
    /// Made when it is first needed.
    interpreter: Option<Box<Interpreter>>,
    /// What the interpreter remembers is right: nobody else has run or changed the hart since.
    current: bool,
    unfinished: Option<Unfinished>,
}

impl Watch {
    /// Whether the hart must run here and not on its engine.
    pub fn is_needed(&self) -> bool {
        self.order == Order::Step || self.unfinished.is_some() || !self.points.is_empty()
    }
    /// How many instructions are left of a turn that was stopped on the way.
    pub fn left(&self) -> Option<u64> {
        self.unfinished.map(|turn| turn.slice.left())
    }
    /// The hart or its memory were changed by somebody else.
    pub fn forget(&mut self) {
        self.current = false;
    }
    /// The turn that was stopped will not be finished: the hart starts again.
    pub fn drop_turn(&mut self) {
        self.unfinished = None;
        self.forget();
    }
    /// A turn of `budget` instructions, or the rest of the one that was stopped.
    pub fn run(&mut self, hart: &mut Hart, board: &Board, budget: u64) -> Watched {
        let interpreter = self.interpreter.get_or_insert_default();
        if !std::mem::replace(&mut self.current, true) {
            interpreter.forget();
        }
        let mut turn = self.unfinished.take().unwrap_or(Unfinished {
            slice: Slice::new(budget),
            before: hart.counts.retired,
        });
        let eyes = Eyes {
            points: &self.points,
            step: self.order == Order::Step,
            executed: Cell::new(false),
            reason: Cell::new(Reason::Breakpoint),
        };
        match interpreter.run_watched(hart, board, &mut turn.slice, &eyes) {
            Some(exit) => Watched::Left(exit, turn.before),
            None => {
                self.unfinished = Some(turn);
                Watched::Stopped(eyes.reason.get())
            }
        }
    }
    /// The engine goes on with the hart: what it has cached may be wrong by now.
    pub fn hand_over(&mut self, hart: &mut Hart) {
        if std::mem::take(&mut self.current) {
            hart.effects |= Effects::all();
        }
    }
}

/// Looks on while a hart runs.
struct Eyes<'a> {
    points: &'a Points,
    step: bool,
    /// An instruction was executed in this run.
    executed: Cell<bool>,
    reason: Cell<Reason>,
}

impl Watcher for Eyes<'_> {
    fn before(&self, hart: &Hart, insn: Option<&Insn>) -> bool {
        // A step gets off what it begins at.
        if self.step && !self.executed.get() {
            return false;
        }
        if self.points.breaks_at(hart.pc) {
            self.reason.set(Reason::Breakpoint);
            return true;
        }
        if !self.points.watchpoints.is_empty()
            && let Some(insn) = insn
            && let Some(hit) = self.points.touched_by(insn, hart)
        {
            self.reason.set(Reason::Watchpoint(hit));
            return true;
        }
        false
    }
    fn after(&self, _hart: &Hart) -> bool {
        self.executed.set(true);
        self.reason.set(Reason::Step);
        self.step
    }
    fn interrupted(&self, _hart: &Hart) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watchpoints_see_every_overlap_and_only_their_kind() {
        let point = Watchpoint {
            start: 0x1004,
            len: 4,
            kind: WatchKind::Write,
        };
        let points = Points::new([], vec![point]);
        let hit = |access, va, bytes| points.watching(access, va, bytes).is_some();
        for (va, bytes) in [
            (0x1004, 1),
            (0x1007, 1),
            (0x1000, 8),
            (0x1006, 8),
            (0x1003, 2),
        ] {
            assert!(hit(Access::Store, va, bytes), "{va:#x}");
            assert!(!hit(Access::Load, va, bytes), "{va:#x}");
        }
        for (va, bytes) in [(0x1003, 1), (0x1008, 1), (0x0ffc, 8), (u64::MAX - 7, 8)] {
            assert!(!hit(Access::Store, va, bytes), "{va:#x}");
        }
    }

    #[test]
    fn harts_stop_where_they_were_told_to() {
        let points = Points::new([8, 4, 6], Vec::new());
        assert!(points.breaks_at(8) && points.breaks_at(4) && !points.breaks_at(5));
        assert!(Points::default().is_empty() && !points.is_empty());
    }
}
