//! The cable between the guest's network card and the stack: frames that wait, both ways, in
//! bounded queues; and the bell that wakes the stack's thread.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringer_machine::backend::{Incoming, NetBackend, Offloads, Unfinished};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

/// Bytes that wait in one direction before the sender is asked to wait. Large enough for a few of
/// the largest frames, small enough to stay in the CPU's cache.
const ROOM: usize = 256 << 10;
/// What each frame takes besides its bytes, so that empty ones are not free.
const OVERHEAD: usize = 256;
/// Bytes that wait in one direction at most; what comes then is lost.
const MOST: usize = 2 * ROOM;

/// A frame, and what is left to do on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
    /// What the guest has agreed to do itself.
    pub unfinished: Option<Unfinished>,
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Frame>,
    bytes: usize,
}

impl Queue {
    fn put(&mut self, frame: Frame) {
        if self.bytes < MOST {
            self.bytes += frame.bytes.len() + OVERHEAD;
            self.frames.push_back(frame);
        }
    }
    fn take(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front()?;
        self.bytes = self.bytes.saturating_sub(frame.bytes.len() + OVERHEAD);
        Some(frame)
    }
}

struct Inside {
    from_guest: Mutex<Queue>,
    to_guest: Mutex<Queue>,
    offloads: Mutex<Offloads>,
    /// The guest has started again since this was last asked.
    restarted: AtomicBool,
    /// The stack's thread sleeps, or is about to.
    asleep: AtomicBool,
    bell: OwnedFd,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A cable's two ends: the card's and the stack's.
pub fn cable() -> Result<(CardEnd, StackEnd), Errno> {
    let inside = Arc::new(Inside {
        from_guest: Mutex::default(),
        to_guest: Mutex::default(),
        offloads: Mutex::default(),
        restarted: AtomicBool::new(false),
        asleep: AtomicBool::new(false),
        bell: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
    });
    Ok((CardEnd(inside.clone()), StackEnd(inside)))
}

/// The end that is in the network card.
pub struct CardEnd(Arc<Inside>);

impl NetBackend for CardEnd {
    fn send(&mut self, frame: &[u8]) {
        lock(&self.0.from_guest).put(Frame {
            bytes: frame.to_vec(),
            unfinished: None,
        });
        // Others than the stack's thread may poll the card, too.
        self.wake();
    }
    fn receive(&mut self, into: &mut [u8]) -> Option<usize> {
        self.receive_unfinished(into).map(|incoming| incoming.len)
    }
    fn receive_unfinished(&mut self, into: &mut [u8]) -> Option<Incoming> {
        loop {
            // The lock is not held while bytes are copied.
            let frame = lock(&self.0.to_guest).take()?;
            self.wake();
            if let Some(room) = into.get_mut(..frame.bytes.len()) {
                room.copy_from_slice(&frame.bytes);
                return Some(Incoming {
                    len: frame.bytes.len(),
                    unfinished: frame.unfinished,
                });
            }
        }
    }
    fn offloads(&self) -> bool {
        true
    }
    fn agreed(&mut self, offloads: Offloads) {
        *lock(&self.0.offloads) = offloads;
    }
    fn ready(&mut self) -> bool {
        lock(&self.0.from_guest).bytes < ROOM
    }
    fn has_thread(&self) -> bool {
        true
    }
    fn wake(&mut self) {
        // What the driver has written must be seen by the thread that is not woken.
        fence(Ordering::SeqCst);
        if self.0.asleep.load(Ordering::SeqCst) && self.0.asleep.swap(false, Ordering::SeqCst) {
            // It fails only if the bell rings already.
            let _ = rustix::io::write(&self.0.bell, &1_u64.to_ne_bytes());
        }
    }
    fn reset(&mut self) {
        *lock(&self.0.from_guest) = Queue::default();
        *lock(&self.0.to_guest) = Queue::default();
        *lock(&self.0.offloads) = Offloads::default();
        self.0.restarted.store(true, Ordering::SeqCst);
    }
}

/// The end that the stack holds.
pub struct StackEnd(Arc<Inside>);

impl StackEnd {
    /// The next frame that the guest has sent.
    pub fn take(&self) -> Option<Frame> {
        lock(&self.0.from_guest).take()
    }
    /// Whether the guest has sent something.
    pub fn is_waiting(&self) -> bool {
        !lock(&self.0.from_guest).frames.is_empty()
    }
    /// A frame for the guest; lost if far too many wait.
    pub fn put(&self, frame: Frame) {
        lock(&self.0.to_guest).put(frame);
    }
    /// Whether frames that can wait should be put now.
    pub fn has_room(&self) -> bool {
        lock(&self.0.to_guest).bytes < ROOM
    }
    /// Whether the guest has taken all that was put.
    pub fn is_drained(&self) -> bool {
        lock(&self.0.to_guest).frames.is_empty()
    }
    /// What the guest's driver does itself.
    pub fn offloads(&self) -> Offloads {
        *lock(&self.0.offloads)
    }
    /// Whether the guest has started again since this was last asked.
    pub fn take_restart(&self) -> bool {
        self.0.restarted.swap(false, Ordering::SeqCst)
    }
    /// Says that the thread is about to sleep: from now on, the bell rings. Whoever says so must
    /// look at everything once more.
    pub fn about_to_sleep(&self, asleep: bool) {
        self.0.asleep.store(asleep, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }
    /// Stops the bell.
    pub fn silence(&self) {
        let _ = rustix::io::read(&self.0.bell, &mut [0; 8]);
    }
}

impl AsFd for StackEnd {
    /// The bell.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.bell.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_direction_grows_without_bound() {
        let (mut card, stack) = cable().unwrap();
        for len in [0, 1500] {
            for _ in 0..20_000 {
                card.send(&vec![7; len]);
                stack.put(Frame {
                    bytes: vec![7; len],
                    unfinished: None,
                });
            }
            assert!(!card.ready() && !stack.has_room());
            let mut sent = 0;
            while let Some(frame) = stack.take() {
                sent += frame.bytes.len();
            }
            let mut got = 0;
            while let Some(len) = card.receive(&mut [0; 2000]) {
                got += len;
            }
            assert_eq!(sent, got);
            assert!(sent <= MOST + 1500);
            assert!(card.ready() && stack.has_room());
        }
    }

    #[test]
    fn a_frame_that_does_not_fit_is_dropped() {
        let (mut card, stack) = cable().unwrap();
        for len in [100, 50] {
            stack.put(Frame {
                bytes: vec![1; len],
                unfinished: None,
            });
        }
        assert_eq!(card.receive(&mut [0; 60]), Some(50));
        assert_eq!(card.receive(&mut [0; 60]), None);
    }
}
