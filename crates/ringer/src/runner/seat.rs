//! A hart with the engine that runs it: one turn at a time.

use std::sync::PoisonError;

use ringer_hart::translate::Access;
use ringer_hart::{Bus, Exit, GuestPhys, GuestVirt, Hart};
use ringer_machine::activity::Activity;
use ringer_machine::board::Board;

use super::watch::{Call, Order, Reason, Stop, Watch, Watched};
use super::{Engine, Vm};
use crate::run::Event;
use crate::semihosting::{GuestMemory, Reply};

/// A hart and its engine.
pub struct Seat {
    /// The hart.
    pub hart: Hart,
    /// The engine.
    pub engine: Engine,
    /// What it is doing.
    pub activity: Activity,
    /// Who looks on, and stops it.
    pub watch: Watch,
}

/// What a turn came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// About so many instructions were executed.
    Ran(u64),
    /// As `Ran`, and now the hart spins until another has done something.
    Spins(u64),
    /// Nothing to do before an interrupt or a request; a timer rises at this time.
    Idle(Option<u64>),
    /// A debugger has stopped it, on the way or before it began.
    Held,
}

impl Seat {
    /// A hart that stands still, and the engine that will run it.
    pub fn new(hart: Hart, engine: Engine) -> Self {
        Self {
            hart,
            engine,
            activity: Activity::Stopped,
            watch: Watch::default(),
        }
    }

    /// Whether there is something to run; ends a wait or a stop that is over.
    pub fn wake(&mut self, vm: &Vm) -> bool {
        let board = &*vm.machine.board;
        self.activity.wake(&mut self.hart, board, vm.sbi.as_ref())
    }

    /// Runs the hart for up to `budget` instructions and answers what it asks.
    pub fn turn(&mut self, vm: &Vm, budget: u64) -> Turn {
        let board = &*vm.machine.board;
        if self.watch.order == Order::Stay {
            return Turn::Held;
        }
        let runs = self.wake(vm);
        self.watch.tell_activity(&self.hart, self.activity);
        if !runs {
            self.look_around(vm); // its last words may have been left half heard
            return Turn::Idle(self.activity.alarm(&self.hart, board));
        }
        let (exit, before) = match self.run(vm, budget) {
            Watched::Left(exit, before) => (exit, before),
            Watched::Stopped(reason) => {
                self.stop(vm, reason);
                return Turn::Held;
            }
        };
        match exit {
            Exit::Budget | Exit::Yield | Exit::Pause => {}
            Exit::Wait => self.activity = Activity::Waiting,
            Exit::Sbi => self.answer_sbi(vm),
            Exit::Semihosting => self.answer_semihosting(vm),
        }
        self.watch.tell_activity(&self.hart, self.activity);
        self.look_around(vm);
        let retired = self.hart.counts.retired.wrapping_sub(before);
        if self.watch.order == Order::Step && !matches!(exit, Exit::Budget | Exit::Yield) {
            self.stop(vm, Reason::Step);
        }
        if exit == Exit::Budget {
            // Instructions that trap do not retire, but take their time.
            return Turn::Ran(budget);
        }
        let ran = retired.clamp(1, budget);
        if exit == Exit::Pause {
            Turn::Spins(ran)
        } else {
            Turn::Ran(ran)
        }
    }

    /// Runs the hart on its engine, or under the eyes of who watches it.
    fn run(&mut self, vm: &Vm, budget: u64) -> Watched {
        let board = &*vm.machine.board;
        let Self {
            hart,
            engine,
            watch,
            ..
        } = self;
        let id = hart.id;
        let before = hart.counts.retired;
        let mut run = || {
            if watch.is_needed() {
                return watch.run(hart, board, budget);
            }
            watch.hand_over(hart);
            Watched::Left(engine.run(hart, board, budget), before)
        };
        match &vm.sbi {
            Some(sbi) => sbi.while_running(id, run),
            None => run(),
        }
    }

    fn stop(&self, vm: &Vm, reason: Reason) {
        vm.gate.hold();
        vm.call_in();
        let hart = self.hart.id;
        vm.stops.tell(Stop { hart, reason });
    }

    fn answer_sbi(&mut self, vm: &Vm) {
        let Some(sbi) = &vm.sbi else {
            return;
        };
        let call = Call::of(&self.hart);
        self.activity = sbi.call(&mut self.hart, &vm.machine.board).into();
        self.watch.tell_call(&self.hart, call);
    }

    fn answer_semihosting(&mut self, vm: &Vm) {
        let board = &*vm.machine.board;
        let (number, argument) = (self.hart.x[10], self.hart.x[11]);
        let memory = HartMemory {
            hart: &self.hart,
            board,
        };
        let clock = vm.machine.clock.shared();
        let reply = vm
            .semihosting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .answer(number, argument, &memory, &*clock);
        match reply {
            Reply::Value(value) => {
                self.hart.x[10] = value;
                self.hart.return_from_call();
            }
            Reply::Exit(code) => vm.end_of_program(code),
        }
    }

    /// Passes on what the guest has asked of its machine.
    fn look_around(&self, vm: &Vm) {
        if let Some(htif) = &vm.htif
            && let Some(code) = htif.poll(vm.machine.board.ram())
        {
            vm.end_of_program(code);
        }
        if let Some(shutdown) = vm.machine.board.take_shutdown() {
            vm.tell(Event::Shutdown(shutdown));
        }
    }
}

impl Vm {
    /// Stops the machine and tells the conductor why.
    pub(crate) fn tell(&self, event: Event) {
        self.gate.close();
        self.call_in();
        // The conductor is gone only when the process is about to end.
        let _ = self.events.send(event);
    }
    fn end_of_program(&self, code: u64) {
        self.tell(Event::Exit(code));
    }
}

/// Memory as a hart's program sees it, without side effects on its page tables.
pub struct HartMemory<'a> {
    /// The hart.
    pub hart: &'a Hart,
    /// Its machine.
    pub board: &'a Board,
}

impl HartMemory<'_> {
    /// The RAM behind `len` bytes at `address`, if they are in one page.
    fn find(&self, address: u64, access: Access) -> Option<GuestPhys> {
        let context = self.hart.data_context();
        self.hart
            .inspect(self.board, GuestVirt(address), access, &context, |_| {})
            .ok()
            .map(|translation| translation.phys)
    }
    /// Calls `each` for every piece of the range that lies in one page.
    fn pieces(
        &self,
        address: u64,
        len: usize,
        access: Access,
        mut each: impl FnMut(GuestPhys, std::ops::Range<usize>) -> Option<()>,
    ) -> Option<()> {
        let mut done = 0;
        while done < len {
            let at = address.wrapping_add(done as u64);
            let in_page = ringer_hart::PAGE_SIZE - at % ringer_hart::PAGE_SIZE;
            let part = (len - done).min(in_page as usize);
            each(self.find(at, access)?, done..done + part)?;
            done += part;
        }
        Some(())
    }
}

impl GuestMemory for HartMemory<'_> {
    fn read(&self, address: u64, into: &mut [u8]) -> bool {
        let ram = self.board.ram();
        self.pieces(address, into.len(), Access::Load, |phys, range| {
            ram.read(phys, into.get_mut(range)?)
        })
        .is_some()
    }
    fn write(&self, address: u64, from: &[u8]) -> bool {
        let ram = self.board.ram();
        self.pieces(address, from.len(), Access::Store, |phys, range| {
            ram.write(phys, from.get(range)?)
        })
        .is_some()
    }
}
