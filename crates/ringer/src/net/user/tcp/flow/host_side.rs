//! The host's end of a connection: its socket, and what waits for it.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::SendFlags;

/// Pieces of a backlog up to this size are put together.
const SMALL: usize = 4096;

/// Bytes from the guest that the host's socket does not take yet, as they came.
#[derive(Default)]
pub struct Backlog {
    pieces: VecDeque<Vec<u8>>,
    /// Bytes of the first piece that are gone.
    skip: usize,
    /// How many there are.
    pub len: usize,
}

impl Backlog {
    /// Adds bytes behind the others.
    pub fn put(&mut self, bytes: &[u8]) {
        // Small ones are put together, so that they take no more memory than they have bytes.
        match self.pieces.back_mut() {
            Some(last) if last.len() + bytes.len() <= SMALL => last.extend_from_slice(bytes),
            _ => self.pieces.push_back(bytes.to_vec()),
        }
        self.len += bytes.len();
    }
    /// Lets `write` write the first piece, and forgets what it has written.
    pub fn write_first(&mut self, write: impl FnOnce(&[u8]) -> usize) {
        let Some(first) = self.pieces.front() else {
            return;
        };
        let count = write(first.get(self.skip..).unwrap_or_default());
        self.len = self.len.saturating_sub(count);
        self.skip += count;
        if self.skip >= first.len() {
            self.skip = 0;
            self.pieces.pop_front();
        }
    }
}

/// The host's socket, and what is known of it.
pub struct HostSide {
    /// The socket.
    pub socket: OwnedFd,
    /// It may have bytes.
    pub readable: bool,
    /// It may take bytes.
    pub writable: bool,
    /// Its peer sends no more, after what can still be read.
    pub peer_ended: bool,
    /// Writing has failed: nothing can be passed on any more.
    pub broken: bool,
}

impl HostSide {
    /// A socket of which nothing is known yet.
    pub fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            readable: false,
            writable: false,
            peer_ended: false,
            broken: false,
        }
    }
    /// Writes what the socket takes, if it takes something.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        if !self.writable {
            return 0;
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match rustix::net::send(&self.socket, bytes, flags) {
            Ok(count) => {
                // A stream that takes less than all is full: it will tell when it is not.
                self.writable = count == bytes.len();
                count
            }
            Err(Errno::INTR) => 0,
            Err(error) => {
                self.writable = false;
                self.broken = error != Errno::AGAIN;
                0
            }
        }
    }
}
