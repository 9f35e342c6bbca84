//! A hart under a debugger's eyes: it runs on the interpreter and stops at breakpoints, at
//! watchpoints and after single steps. A hart that nobody watches runs on its engine.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ringer_hart::csr::{mcause, mstatus};
use ringer_hart::hart::Effects;
use ringer_hart::interpret::{Slice, Watcher};
use ringer_hart::memory::CACHE_BLOCK;
use ringer_hart::translate::Access;
use ringer_hart::{Exit, Hart, HartId, Interpreter, Privilege};
use ringer_isa::table::Format;
use ringer_isa::{Insn, Op};
use ringer_machine::activity::Activity;
use ringer_machine::board::Board;

use crate::trace::{Recorder, What};

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
    /// It has executed one instruction, or as many as it was to.
    Step,
    /// The replay ends here.
    End,
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
    /// Whether there is one.
    pub fn is_on(&self) -> bool {
        self.state().0
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
    /// Execute so many instructions of a turn, in all, and stop behind the last.
    Behind(u64),
    /// As before, and stop before the next, when interrupts were looked for.
    Before(u64),
    /// Stand still.
    Stay,
}

/// What a search through the past looks for.
#[derive(Clone, Debug)]
pub enum Sought {
    /// Any instruction.
    Anything,
    /// Instructions at which a hart would stop.
    Points(Arc<Points>),
}

impl Sought {
    /// Whether it is this instruction; and the access that makes it one.
    fn is(&self, hart: &Hart, insn: Option<&Insn>) -> Option<Option<Hit>> {
        match self {
            Self::Anything => Some(None),
            Self::Points(points) => match insn.and_then(|insn| points.touched_by(insn, hart)) {
                None => points.breaks_at(hart.pc).then_some(None),
                hit => Some(hit),
            },
        }
    }
}

/// An instruction that was sought: how many of the turn are before it, and the access, if that is
/// what it is about.
type Seen = (u64, Option<Hit>);

/// A turn that was stopped on the way.
#[derive(Clone, Copy, Debug)]
struct Unfinished {
    slice: Slice,
    budget: u64,
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
    sought: Option<Sought>,
    seen: Cell<Option<Seen>>,
    /// Who writes down what happens.
    tracer: Option<Arc<Recorder>>,
    /// What the trace was told that the hart does.
    told: Option<Activity>,
}

impl Watch {
    /// Whether the hart must run here and not on its engine.
    pub fn is_needed(&self) -> bool {
        self.order != Order::Run
            || self.sought.is_some()
            || self.unfinished.is_some()
            || !self.points.is_empty()
            || self
                .tracer
                .as_ref()
                .is_some_and(|tracer| tracer.needs_eyes())
    }
    /// Has what happens written down.
    pub fn trace(&mut self, tracer: Arc<Recorder>) {
        self.tracer = Some(tracer);
    }
    /// The trace hears what the hart does, if that is news.
    pub fn tell_activity(&mut self, hart: &Hart, activity: Activity) {
        if let Some(tracer) = &self.tracer
            && self.told.replace(activity) != Some(activity)
        {
            let what = match activity {
                Activity::Running => What::Runs,
                Activity::Waiting => What::Waits,
                Activity::Stopped => What::Stops,
            };
            tracer.tell(hart, what);
        }
    }
    /// The trace hears of a call that the monitor has answered.
    pub fn tell_call(&self, hart: &Hart, call: Call) {
        if let Some(tracer) = &self.tracer {
            let [extension, function, a0, a1] = call.0;
            let error = hart.x[10];
            tracer.tell(
                hart,
                What::Sbi {
                    extension,
                    function,
                    a0,
                    a1,
                    error,
                },
            );
        }
    }
    /// Whether a turn was stopped on the way.
    pub fn is_in_turn(&self) -> bool {
        self.unfinished.is_some()
    }
    /// How many instructions were executed of a turn that was stopped on the way.
    pub fn done(&self) -> u64 {
        self.unfinished
            .map_or(0, |turn| turn.budget - turn.slice.left())
    }
    /// Looks for something from here on, or no more.
    pub fn seek(&mut self, sought: Option<Sought>) {
        self.sought = sought;
        self.seen.take();
    }
    /// The last that was seen of it since this was asked before.
    pub fn seen(&self) -> Option<Seen> {
        self.seen.take()
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
            budget,
            before: hart.counts.retired,
        });
        let eyes = Eyes {
            points: &self.points,
            order: self.order,
            done: Cell::new(turn.budget - turn.slice.left()),
            sought: self.sought.as_ref(),
            seen: &self.seen,
            tracer: self.tracer.as_deref(),
            traps: Cell::new(traps(hart)),
            satp: Cell::new(hart.csrs.satp),
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

/// What a hart that calls the SBI asks: extension, function and two arguments.
pub struct Call([u64; 4]);

impl Call {
    /// The call that `hart` stands at.
    pub fn of(hart: &Hart) -> Self {
        Self([hart.x[17], hart.x[16], hart.x[10], hart.x[11]])
    }
}

/// How often the hart has trapped.
fn traps(hart: &Hart) -> u64 {
    let counts = hart.counts.exceptions.iter();
    counts.fold(0, |sum, count| sum.wrapping_add(*count))
}

/// Looks on while a hart runs.
struct Eyes<'a> {
    points: &'a Points,
    order: Order,
    /// How many instructions of the turn were executed.
    done: Cell<u64>,
    sought: Option<&'a Sought>,
    seen: &'a Cell<Option<Seen>>,
    tracer: Option<&'a Recorder>,
    /// As of the last instruction, for the trace to see what is new.
    traps: Cell<u64>,
    satp: Cell<u64>,
    /// An instruction was executed in this run.
    executed: Cell<bool>,
    reason: Cell<Reason>,
}

impl Eyes<'_> {
    /// Writes down what an instruction has done beyond the registers.
    fn write_down(&self, tracer: &Recorder, hart: &Hart) {
        let traps = traps(hart);
        if self.traps.replace(traps) != traps {
            let [cause, epc, tval, from, to] = handled(hart);
            tracer.tell(
                hart,
                What::Trap {
                    cause,
                    epc,
                    tval,
                    from,
                    to,
                },
            );
        }
        let satp = hart.csrs.satp;
        if self.satp.replace(satp) != satp {
            tracer.tell(hart, What::Satp { value: satp });
        }
        if hart.effects.contains(Effects::FENCE_VMA) {
            let va = hart.fence.va.map_or(u64::MAX, |va| va.0);
            let asid = hart.fence.asid.map_or(u64::MAX, u64::from);
            tracer.tell(hart, What::Fence { va, asid });
        }
    }
}

/// Cause, address and value of the trap that a hart is at the handler of, and the modes before
/// and now.
fn handled(hart: &Hart) -> [u64; 5] {
    let csrs = &hart.csrs;
    let to = hart.mode.privilege;
    let [cause, epc, tval, from] = match to {
        Privilege::Machine => [
            csrs.mcause,
            csrs.mepc,
            csrs.mtval,
            (csrs.mstatus & mstatus::MPP) >> mstatus::MPP_SHIFT,
        ],
        _ => [
            csrs.scause,
            csrs.sepc,
            csrs.stval,
            u64::from(csrs.mstatus & mstatus::SPP != 0),
        ],
    };
    [cause & !mcause::INTERRUPT, epc, tval, from, to as u64]
}

impl Watcher for Eyes<'_> {
    fn before(&self, hart: &Hart, insn: Option<&Insn>) -> bool {
        if self.order == Order::Before(self.done.get()) {
            self.reason.set(Reason::Step);
            return true;
        }
        if let Some(sought) = self.sought
            && let Some(hit) = sought.is(hart, insn)
        {
            self.seen.set(Some((self.done.get(), hit)));
        }
        // A step gets off what it begins at.
        if self.order == Order::Step && !self.executed.get() {
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
    fn after(&self, hart: &Hart) -> bool {
        self.executed.set(true);
        self.done.set(self.done.get() + 1);
        if let Some(tracer) = self.tracer
            && !hart.effects.is_empty()
        {
            self.write_down(tracer, hart);
        }
        self.reason.set(Reason::Step);
        self.order == Order::Step || self.order == Order::Behind(self.done.get())
    }
    fn interrupted(&self, hart: &Hart) {
        if let Some(tracer) = self.tracer {
            let [cause, epc, _, from, to] = handled(hart);
            tracer.tell(
                hart,
                What::Interrupt {
                    cause,
                    epc,
                    from,
                    to,
                },
            );
        }
    }
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
