//! Running a machine's harts: one thread each, or all in turn on one thread.

mod engine;
mod gate;
mod parallel;
mod parker;
mod round_robin;
mod seat;
mod watch;

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;
use std::thread;
use std::time::{Duration, Instant};

use ringer_hart::bus::request;
use ringer_hart::{Bus, Hart};
use ringer_machine::sbi::Sbi;

use crate::args::EngineKind;
use crate::htif::Htif;
use crate::machine::{Machine, MachineClock};
use crate::replay::Inputs;
use crate::reverse::History;
use crate::run::Event;
use crate::semihosting::Semihosting;
use crate::stats::Stats;
use crate::translator::{SharedCode, Unavailable};

pub use engine::{Engine, Engines};
pub use gate::Gate;
pub use parker::Parker;
pub use ringer_machine::activity::Activity;
pub use round_robin::{QUANTUM, Schedule};
pub use seat::{HartMemory, Seat};
pub use watch::{Debugged, Hit, Order, Points, Reason, Sought, Stop, Stops, WatchKind, Watchpoint};

/// How long a thread may take to come to the gate: a device may wait for a slow disk or
/// terminal meanwhile.
const PATIENCE: Duration = Duration::from_secs(30);

/// A machine with its harts: what their threads share.
pub struct Vm {
    /// Everything around the harts.
    pub machine: Machine,
    /// The harts, each locked by the thread that runs it.
    pub seats: Vec<Mutex<Seat>>,
    /// Where the engines of the seats come from.
    pub engines: Mutex<Engines>,
    /// The monitor's SBI, for kernels started without firmware.
    pub sbi: Option<Sbi>,
    /// Test programs' way to the host.
    pub htif: Option<Htif>,
    /// Answers semihosting calls.
    pub semihosting: Mutex<Semihosting>,
    /// Where the threads stop.
    pub gate: Gate,
    /// Of a deterministic machine: where it is in its schedule.
    pub schedule: Mutex<Schedule>,
    /// Harts that a debugger has stopped.
    pub stops: Stops,
    /// Whether there is a debugger, and what it is to hear.
    pub debugged: Debugged,
    /// Tells the conductor what happens.
    pub events: Sender<Event>,
    /// Of a deterministic machine: how many instructions take one tick of 100 ns.
    pub instructions_per_tick: u64,
    /// Input may come from outside while the guest waits.
    pub interactive: bool,
    /// What a deterministic machine hears from outside.
    pub inputs: Inputs,
    /// What is remembered of a deterministic run, to go back in it.
    pub history: Mutex<Option<History>>,
    /// A deterministic machine waits as long as its guest does.
    pub paced: bool,
    /// When it was started.
    pub started: Instant,
}

/// Locks a seat; a thread that panicked does not take the machine's monitor with it.
pub fn sit(seat: &Mutex<Seat>) -> MutexGuard<'_, Seat> {
    seat.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The threads that run a machine.
pub struct Threads {
    vm: Arc<Vm>,
    paused: bool,
}

impl Threads {
    /// Starts to run `vm`.
    pub fn start(vm: Arc<Vm>) -> Self {
        match &vm.machine.clock {
            MachineClock::Virtual(clock) => {
                let (vm, clock) = (Arc::clone(&vm), Arc::clone(clock));
                thread::spawn(move || round_robin::run(&vm, &clock));
            }
            MachineClock::Host(_) => {
                for hart in 0..vm.seats.len() {
                    let vm = Arc::clone(&vm);
                    thread::spawn(move || parallel::run(&vm, hart));
                }
            }
        }
        Self { vm, paused: false }
    }
    /// Whether the operator has paused the machine.
    pub fn is_paused(&self) -> bool {
        self.paused
    }
    /// Stops all harts between two instructions, and time. False if a hart does not stop.
    pub fn pause(&mut self) -> bool {
        self.vm.gate.close();
        let stopped = self.vm.wait_until_still();
        self.paused = true;
        stopped
    }
    /// Lets them run, unless a debugger holds them.
    pub fn resume(&mut self) {
        self.paused = false;
        let stays_shut = self.vm.gate.is_held();
        self.vm.go_on(stays_shut, Gate::open);
    }
    /// Does `work` while all harts stand still; then it is as before. `None` if they do not.
    pub fn while_still<T>(&mut self, work: impl FnOnce(&Vm) -> T) -> Option<T> {
        let was_paused = self.paused;
        let result = self.pause().then(|| work(&self.vm));
        if !was_paused {
            self.resume();
        }
        result
    }
}

impl Vm {
    /// Has threads that are busy or asleep look at the gate.
    pub fn call_in(&self) {
        match &self.machine.clock {
            // Its thread looks after every turn. A request would end the turn, and with it the
            // sameness of runs.
            MachineClock::Virtual(_) => self.machine.parkers.iter().for_each(Wake::wake_by_ref),
            MachineClock::Host(_) => {
                for line in self.machine.board.all_lines().iter() {
                    line.request(request::YIELD);
                }
            }
        }
    }
    /// Waits until all threads have come to the closed gate, and stops devices and time; false if
    /// something does not stop.
    fn wait_until_still(&self) -> bool {
        self.call_in();
        let threads = match &self.machine.clock {
            MachineClock::Virtual(_) => 1,
            MachineClock::Host(_) => self.seats.len(),
        };
        let still = self.gate.wait_for(threads, PATIENCE) && self.calm_devices();
        self.machine.clock.pausable().pause();
        still
    }
    /// Other threads bring devices what comes from outside; that waits, too.
    fn calm_devices(&self) -> bool {
        let board = &self.machine.board;
        board.keep_still(true);
        let deadline = Instant::now() + PATIENCE;
        while board.is_polling() && Instant::now() < deadline {
            thread::sleep(Duration::from_micros(100));
        }
        !board.is_polling()
    }
    /// Opens the gate for one of those who keep it shut; devices and time go on unless it stays
    /// shut for the other.
    fn go_on(&self, stays_shut: bool, open: impl FnOnce(&Gate)) {
        if stays_shut {
            return open(&self.gate);
        }
        self.machine.board.keep_still(false);
        self.machine.clock.pausable().resume();
        open(&self.gate);
        // In a deterministic machine harts' turns decide when devices are asked.
        if let MachineClock::Host(_) = self.machine.clock {
            self.machine.board.poll();
        }
    }
    /// A debugger stops all harts between two instructions, devices and time.
    pub fn hold(&self) -> bool {
        self.gate.hold();
        self.wait_until_still()
    }
    /// The debugger lets them run, unless the operator has paused the machine.
    pub fn release(&self) {
        self.go_on(self.gate.is_paused(), Gate::release);
    }
    /// Puts harts at their start.
    pub fn seat_harts(&self, harts: Vec<Hart>) {
        for (seat, hart) in self.seats.iter().zip(harts) {
            let mut seat = sit(seat);
            let counts = std::mem::take(&mut seat.hart.counts);
            seat.hart = hart;
            seat.hart.counts = counts;
            seat.activity = Activity::Running;
            seat.watch.drop_turn();
        }
        self.schedule().restart();
        if let Some(history) = &mut *self.history() {
            history.forget();
        }
    }
    /// Which engine executes the instructions.
    pub fn engine(&self) -> EngineKind {
        self.lock_engines().kind()
    }
    /// The code that translators have made.
    pub fn code(&self) -> Option<SharedCode> {
        self.lock_engines().code().cloned()
    }
    /// Gives all harts new engines of this kind, which remember nothing. All harts must stand
    /// still; what they are is not the engines' business, so they go on from where they are.
    pub fn renew_engines(&self, kind: EngineKind) -> Result<(), Unavailable> {
        let mut common = self.lock_engines();
        let (new, engines) = Engines::new(kind, self.seats.len())?;
        for (seat, engine) in self.seats.iter().zip(engines) {
            sit(seat).engine = engine;
        }
        *common = new;
        // The old ones' code is gone: no page holds any, and stores need no noting.
        if let Some(pages) = self.machine.board.ram().code_pages() {
            pages.forget_all();
        }
        Ok(())
    }
    fn lock_engines(&self) -> MutexGuard<'_, Engines> {
        self.engines.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// What it has done. All harts must stand still.
    pub fn stats(&self) -> Stats {
        let engines = self.lock_engines();
        let seats: Vec<_> = self.seats.iter().map(sit).collect();
        Stats {
            elapsed: self.started.elapsed(),
            harts: seats.iter().map(|seat| seat.hart.counts.clone()).collect(),
            engine: engines.stats(seats.iter().map(|seat| &seat.engine)),
            devices: self.machine.board.access_counts(),
            io: (self.machine.io.iter())
                .map(|(device, counts)| counts.transfers(device))
                .collect(),
            resident: crate::memory::resident(),
            faults: self.machine.board.faults(),
            dropped_output: self.machine.console.dropped(),
        }
    }
}
