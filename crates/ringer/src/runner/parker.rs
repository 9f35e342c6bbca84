//! How a hart's thread sleeps while the hart waits for an interrupt, and is woken.

use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::Wake;
use std::time::Instant;

/// A place to sleep. Its waker is in the hart's lines, so that any request ends the sleep.
#[derive(Default, Debug)]
pub struct Parker {
    asleep: AtomicBool,
    door: Mutex<()>,
    bell: Condvar,
}

impl Parker {
    /// Sleeps until woken, or until `deadline`. `is_awake` is asked once more after others can
    /// see that this thread sleeps, so that no wake-up is lost.
    pub fn park(&self, deadline: Option<Instant>, is_awake: impl Fn() -> bool) {
        let mut door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        self.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        while self.asleep.load(Ordering::SeqCst) && !is_awake() {
            door = match deadline {
                None => self.bell.wait(door).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    self.bell
                        .wait_timeout(door, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) {
            let _door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
            self.asleep.store(false, Ordering::SeqCst);
            self.bell.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringer_hart::Lines;
    use std::time::Duration;

    #[test]
    fn a_request_ends_the_sleep_and_none_is_lost() {
        let parker = Arc::new(Parker::default());
        let lines = Arc::new(Lines::with_waker(parker.clone().into()));
        let raiser = Arc::clone(&lines);
        let thread = std::thread::spawn(move || {
            for _ in 0..20_000 {
                raiser.request(1);
                while raiser.has_requests() {
                    std::hint::spin_loop();
                }
            }
        });
        for _ in 0..20_000 {
            // Without a deadline: a lost wake-up would hang here.
            parker.park(None, || lines.has_requests());
            while lines.take_requests() == 0 {}
        }
        thread.join().unwrap();
        let start = Instant::now();
        parker.park(Some(start + Duration::from_millis(20)), || false);
        assert!(start.elapsed() >= Duration::from_millis(20));
    }
}
