//! The bytes on their way to the guest: sent but not acknowledged, then not sent yet.

use std::io::IoSliceMut;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

/// A ring of bytes. Its storage is taken when the first byte comes.
#[derive(Default)]
pub struct Ring {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
    room: usize,
}

impl Ring {
    /// A ring for up to `room` bytes.
    pub fn new(room: usize) -> Self {
        Self {
            room,
            ..Self::default()
        }
    }
    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.len
    }
    /// Whether nothing more fits.
    pub fn is_full(&self) -> bool {
        self.len >= self.room
    }
    /// Reads as much as fits from a socket; 0 is the end.
    pub fn read_from(&mut self, socket: &OwnedFd) -> Result<usize, Errno> {
        if self.bytes.is_empty() {
            // Zeroed pages cost nothing before they are touched.
            self.bytes = vec![0; self.room];
        }
        let end = self.start + self.len;
        let capacity = self.bytes.len();
        let (first, second) = if end < capacity {
            let (before, free) = self.bytes.split_at_mut(end);
            (free, before.get_mut(..self.start).unwrap_or_default())
        } else {
            let free = end - capacity..self.start;
            (self.bytes.get_mut(free).unwrap_or_default(), &mut [][..])
        };
        let mut slices = [IoSliceMut::new(first), IoSliceMut::new(second)];
        let count = rustix::io::readv(socket, &mut slices)?;
        self.len = (self.len + count).min(capacity);
        Ok(count)
    }
    /// `len` bytes from `offset` on, or what there is, in two pieces.
    pub fn get(&self, offset: usize, len: usize) -> (&[u8], &[u8]) {
        let offset = offset.min(self.len);
        let len = len.min(self.len - offset);
        let capacity = self.bytes.len();
        let from = self.start + offset;
        let (first, second) = if from >= capacity {
            (from - capacity..from - capacity + len, 0..0)
        } else if from + len <= capacity {
            (from..from + len, 0..0)
        } else {
            (from..capacity, 0..from + len - capacity)
        };
        let piece = |range| self.bytes.get(range).unwrap_or_default();
        (piece(first), piece(second))
    }
    /// Forgets the first `count` bytes.
    pub fn forget(&mut self, count: usize) {
        let count = count.min(self.len);
        self.len -= count;
        self.start += count;
        if self.start >= self.bytes.len() {
            self.start -= self.bytes.len();
        }
        if self.len == 0 {
            // Short exchanges stay in the same few pages.
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_queue(steps in prop::collection::vec((0..90_usize, 0..90_usize), 1..100)) {
            let (mut writer, reader) = UnixStream::pair().unwrap();
            let reader = OwnedFd::from(reader);
            let mut ring = Ring::new(64);
            let mut model = VecDeque::new();
            let mut next = 0_u8;
            for (add, remove) in steps {
                let add = add.min(64 - model.len());
                if add > 0 {
                    let bytes: Vec<u8> = (0..add).map(|n| next.wrapping_add(n as u8)).collect();
                    next = next.wrapping_add(add as u8);
                    writer.write_all(&bytes).unwrap();
                    prop_assert_eq!(ring.read_from(&reader).unwrap(), add);
                    model.extend(bytes);
                }
                prop_assert_eq!(ring.is_full(), model.len() == 64);
                let (first, second) = ring.get(remove / 2, remove);
                let want: Vec<u8> = model.iter().copied().skip(remove / 2).take(remove).collect();
                prop_assert_eq!([first, second].concat(), want);
                ring.forget(remove);
                model.drain(..remove.min(model.len()));
                prop_assert_eq!(ring.len(), model.len());
            }
        }
    }
}
