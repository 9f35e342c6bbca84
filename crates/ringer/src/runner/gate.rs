//! Where the threads that run harts stop while the machine is paused.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Default)]
struct State {
    /// Closed by the conductor, who wants the machine to stand still.
    closed: bool,
    /// Held by a debugger, who wants the same: the gate opens when neither does.
    held: bool,
    ended: bool,
    /// Threads that stand before the gate, or have gone home.
    outside: usize,
}

/// A gate that all running threads pass again and again.
#[derive(Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
    /// What `state` says, for a quick look in the run loops.
    shut: AtomicBool,
}

impl State {
    fn shut(&self) -> bool {
        self.closed || self.held || self.ended
    }
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Whether threads should come to the gate.
    pub fn is_closed(&self) -> bool {
        self.shut.load(Ordering::Acquire)
    }
    /// Waits while the gate is closed. False: the machine has ended, go home.
    pub fn pass(&self) -> bool {
        let mut state = self.state();
        state.outside += 1;
        self.changed.notify_all();
        while state.shut() && !state.ended {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if !state.ended {
            state.outside -= 1;
        }
        !state.ended
    }
    /// Asks all threads to come to the gate, without waiting for them. Those that are busy or
    /// asleep are called by [`Vm::call_in`](super::Vm::call_in).
    pub fn close(&self) {
        self.change(|state| state.closed = true);
    }
    /// As [`Gate::close`], for a debugger.
    pub fn hold(&self) {
        self.change(|state| state.held = true);
    }
    /// The debugger lets the threads run, unless somebody else does not.
    pub fn release(&self) {
        self.change(|state| state.held = false);
    }
    /// Whether a debugger holds the machine.
    pub fn is_held(&self) -> bool {
        self.state().held
    }
    /// Whether the conductor wants the machine to stand still.
    pub fn is_paused(&self) -> bool {
        self.state().closed
    }
    /// Changes who wants what.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        self.shut.store(state.shut(), Ordering::Release);
        self.changed.notify_all();
    }
    /// Waits until all `threads` stand at the gate; false if they do not come in time.
    pub fn wait_for(&self, threads: usize, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.state();
        while state.outside < threads {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }
    /// Lets the threads run, unless a debugger holds them.
    pub fn open(&self) {
        self.change(|state| state.closed = false);
    }
    /// Sends the threads home.
    pub fn end(&self) {
        self.change(|state| state.ended = true);
    }
}
