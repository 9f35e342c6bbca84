//! Where the threads that run harts stop while the machine is paused.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ringer_hart::Lines;
use ringer_hart::bus::request;

#[derive(Default)]
struct State {
    /// Closed by whoever wants the machine to stand still.
    closed: bool,
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
    closed: AtomicBool,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Whether threads should come to the gate.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
    /// Waits while the gate is closed. False: the machine has ended, go home.
    pub fn pass(&self) -> bool {
        let mut state = self.state();
        state.outside += 1;
        self.changed.notify_all();
        while state.closed && !state.ended {
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
    /// Asks all threads to come to the gate, without waiting for them.
    pub fn close(&self, lines: &[Lines]) {
        self.state().closed = true;
        self.closed.store(true, Ordering::Release);
        for line in lines {
            line.request(request::YIELD);
        }
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
    /// Lets the threads run.
    pub fn open(&self) {
        self.state().closed = false;
        self.closed.store(false, Ordering::Release);
        self.changed.notify_all();
    }
    /// Sends the threads home.
    pub fn end(&self) {
        let mut state = self.state();
        state.closed = true;
        state.ended = true;
        self.closed.store(true, Ordering::Release);
        self.changed.notify_all();
    }
}
