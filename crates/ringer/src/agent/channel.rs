//! The host's end of a port: bytes on their way in both directions, a bounded number of them.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use ringer_machine::backend::PortBackend;

/// Bytes that wait in one direction; then whoever sends them waits.
const ROOM: usize = 256 << 10;

/// One channel, shared between the device and the threads that use it.
#[derive(Clone, Default)]
pub struct Channel(Arc<Inside>);

#[derive(Default)]
struct Inside {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    to_guest: VecDeque<u8>,
    /// The host has no more to send.
    ended: bool,
    from_guest: VecDeque<u8>,
    /// The host takes what is there, and then no more.
    closed: bool,
}

impl Channel {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn wait_while(&self, condition: impl FnMut(&mut State) -> bool) -> MutexGuard<'_, State> {
        let changed = self.0.changed.wait_while(self.state(), condition);
        changed.unwrap_or_else(PoisonError::into_inner)
    }
    /// Sends bytes; waits while there is no room. False if nobody will read them.
    pub fn send(&self, bytes: &[u8]) -> bool {
        let mut state = self.wait_while(|state| state.to_guest.len() >= ROOM && !state.closed);
        state.to_guest.extend(bytes);
        !state.closed
    }
    /// Nothing more is sent.
    pub fn end(&self) {
        self.state().ended = true;
    }
    /// Takes some of what the guest wrote; waits for it. Zero once the channel is closed and all
    /// was taken.
    pub fn receive(&self, into: &mut [u8]) -> usize {
        let mut state = self.wait_while(|state| state.from_guest.is_empty() && !state.closed);
        take(&mut state.from_guest, into)
    }
    /// Nobody waits here any more.
    pub fn close(&self) {
        self.state().closed = true;
        self.0.changed.notify_all();
    }
}

fn take(queue: &mut VecDeque<u8>, into: &mut [u8]) -> usize {
    let len = queue.len().min(into.len());
    for (to, from) in into.iter_mut().zip(queue.drain(..len)) {
        *to = from;
    }
    len
}

impl PortBackend for Channel {
    fn write(&mut self, bytes: &[u8]) {
        self.state().from_guest.extend(bytes);
        self.0.changed.notify_all();
    }
    fn has_room(&self) -> bool {
        self.state().from_guest.len() < ROOM
    }
    fn read(&mut self, into: &mut [u8]) -> usize {
        let len = take(&mut self.state().to_guest, into);
        self.0.changed.notify_all();
        len
    }
    fn is_at_end(&self) -> bool {
        let state = self.state();
        state.ended && state.to_guest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_and_the_end_comes_behind_them() {
        let channel = Channel::default();
        let mut device = channel.clone();
        assert!(channel.send(b"to the guest"));
        channel.end();
        let mut some = [0; 7];
        assert_eq!((device.read(&mut some), device.is_at_end()), (7, false));
        assert_eq!(device.read(&mut some), 5);
        assert!(device.is_at_end());
        device.write(b"to the host");
        channel.close();
        assert_eq!(channel.receive(&mut some), 7);
        assert_eq!(channel.receive(&mut some), 4);
        assert_eq!(channel.receive(&mut some), 0);
    }

    #[test]
    fn a_sender_waits_for_room() {
        let channel = Channel::default();
        let mut device = channel.clone();
        assert!(channel.send(&vec![1; ROOM]));
        let sender = channel.clone();
        let thread = std::thread::spawn(move || sender.send(&[2]));
        let mut all = vec![0; ROOM];
        assert_eq!(device.read(&mut all), ROOM);
        assert!(thread.join().unwrap());
        assert_eq!((device.read(&mut all), all[0]), (1, 2));
        device.write(&vec![0; ROOM]);
        assert!(!device.has_room());
    }
}
