//! Spinlocks that keep interrupts off while held. Not guards, since a process's lock is taken by one
//! thread and released by another across a context switch.

use crate::cpu;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A spinlock.
pub struct Lock {
    held: AtomicBool,
    hart: AtomicUsize,
}

impl Lock {
    /// A lock nobody holds.
    pub const fn new() -> Lock {
        Lock {
            held: AtomicBool::new(false),
            hart: AtomicUsize::new(usize::MAX),
        }
    }

    /// Takes the lock, spinning until it is free.
    pub fn acquire(&self) {
        cpu::push_off();
        assert!(!self.held_here(), "a lock taken twice");
        while self.held.swap(true, Ordering::Acquire) {}
        self.hart.store(cpu::id(), Ordering::Relaxed);
    }

    /// Gives the lock back.
    pub fn release(&self) {
        assert!(self.held_here(), "a lock given back that is not held");
        self.hart.store(usize::MAX, Ordering::Relaxed);
        self.held.store(false, Ordering::Release);
        cpu::pop_off();
    }

    /// Whether this hart holds the lock.
    pub fn held_here(&self) -> bool {
        self.held.load(Ordering::Relaxed) && self.hart.load(Ordering::Relaxed) == cpu::id()
    }
}

impl Default for Lock {
    fn default() -> Lock {
        Lock::new()
    }
}
