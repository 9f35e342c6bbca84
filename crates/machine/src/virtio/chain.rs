//! A descriptor chain as the device sees it: pieces of guest RAM to read, then pieces to write.
//! Every piece was checked to lie in RAM when the chain was taken from its queue.

use alloc::vec::Vec;

use ringer_hart::{GuestPhys, Ram};

use super::queue::QueueError;

/// One contiguous piece of guest RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Where it starts.
    pub addr: GuestPhys,
    /// Its length in bytes, never zero.
    pub len: u32,
}

/// One request: what the driver put into the queue under one head.
#[derive(Debug)]
pub struct Chain {
    head: u16,
    /// The readable segments, then the writable ones.
    segments: Vec<Segment>,
    readable: usize,
    readable_len: u64,
    writable_len: u64,
}

/// The longest chain the specification allows (2.7.4.2: "no longer than 2^32 bytes in total").
const MAX_BYTES: u64 = 1 << 32;

impl Chain {
    /// An empty chain under `head`; `segments` is storage to use again.
    pub(super) fn new(head: u16, mut segments: Vec<Segment>) -> Self {
        segments.clear();
        Self {
            head,
            segments,
            readable: 0,
            readable_len: 0,
            writable_len: 0,
        }
    }
    /// Adds a segment at the end.
    pub(super) fn add(
        &mut self,
        ram: &Ram,
        segment: Segment,
        writable: bool,
    ) -> Result<(), QueueError> {
        let len = u64::from(segment.len);
        if len == 0 {
            return Err(QueueError::ZeroLength);
        }
        ram.offset(segment.addr, len).ok_or(QueueError::OutOfRam)?;
        if self.readable_len + self.writable_len + len > MAX_BYTES {
            return Err(QueueError::TooLong);
        }
        if writable {
            self.writable_len += len;
        } else if self.writable_len > 0 {
            return Err(QueueError::ReadableAfterWritable);
        } else {
            self.readable += 1;
            self.readable_len += len;
        }
        self.segments.push(segment);
        Ok(())
    }
    /// The index of its first descriptor, by which the driver knows it.
    pub fn head(&self) -> u16 {
        self.head
    }
    /// How many segments it has.
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }
    /// Bytes that the device may read.
    pub fn readable_len(&self) -> u64 {
        self.readable_len
    }
    /// Bytes that the device may write.
    pub fn writable_len(&self) -> u64 {
        self.writable_len
    }
    /// The segments that the device may write.
    pub fn writable_segments(&self) -> &[Segment] {
        self.segments.get(self.readable..).unwrap_or_default()
    }
    /// Reads what the driver sends, from the start.
    pub fn reader<'a>(&'a self, ram: &'a Ram) -> Reader<'a> {
        Reader(Cursor {
            ram,
            segments: self.segments.get(..self.readable).unwrap_or_default(),
            skipped: 0,
            left: self.readable_len,
        })
    }
    /// Writes what the driver wants, from the start.
    pub fn writer<'a>(&'a self, ram: &'a Ram) -> Writer<'a> {
        Writer {
            cursor: Cursor {
                ram,
                segments: self.writable_segments(),
                skipped: 0,
                left: self.writable_len,
            },
            written: 0,
        }
    }
    /// The storage, to be used again.
    pub(super) fn into_segments(self) -> Vec<Segment> {
        self.segments
    }
}

/// A place in a list of segments.
#[derive(Clone)]
struct Cursor<'a> {
    ram: &'a Ram,
    segments: &'a [Segment],
    /// Bytes of the first segment already passed.
    skipped: u64,
    left: u64,
}

impl Cursor<'_> {
    /// Passes over the next contiguous piece, of at most `max` bytes.
    fn next(&mut self, max: u64) -> Option<(GuestPhys, u64)> {
        let most = max.min(self.left);
        if most == 0 {
            return None;
        }
        let (first, rest) = self.segments.split_first()?;
        let here = u64::from(first.len).saturating_sub(self.skipped);
        let addr = first.addr.offset(self.skipped);
        let len = here.min(most);
        if len == here {
            self.segments = rest;
            self.skipped = 0;
        } else {
            self.skipped += len;
        }
        self.left -= len;
        Some((addr, len))
    }
    fn skip(&mut self, bytes: u64) -> u64 {
        let mut done = 0;
        while let Some((_, len)) = self.next(bytes - done) {
            done += len;
        }
        done
    }
}

/// Reads the device-readable part of a chain in order.
#[derive(Clone)]
pub struct Reader<'a>(Cursor<'a>);

impl Reader<'_> {
    /// Bytes not read yet.
    pub fn remaining(&self) -> u64 {
        self.0.left
    }
    /// Reads as much as there is and fits.
    pub fn read(&mut self, into: &mut [u8]) -> usize {
        let mut done = 0;
        while let Some(rest) = into.get_mut(done..)
            && let Some((addr, len)) = self.0.next(rest.len() as u64)
            && let Some(part) = rest.get_mut(..len as usize)
            && self.0.ram.read(addr, part).is_some()
        {
            done += len as usize;
        }
        done
    }
    /// Reads exactly `N` bytes; `None` if there are fewer.
    pub fn read_array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut array = [0; N];
        (self.remaining() >= N as u64 && self.read(&mut array) == N).then_some(array)
    }
    /// The same place, but with an end after at most `bytes`.
    pub fn limited(mut self, bytes: u64) -> Self {
        self.0.left = self.0.left.min(bytes);
        self
    }
    /// Passes over `bytes`, or what there is; returns how many.
    pub fn skip(&mut self, bytes: u64) -> u64 {
        self.0.skip(bytes)
    }
    /// Hands everything that remains to `sink`, a bounce buffer's worth at a time.
    pub fn drain<E>(
        &mut self,
        bounce: &mut [u8],
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            let len = self.read(bounce);
            match bounce.get(..len) {
                Some(part) if len > 0 => sink(part)?,
                _ => return Ok(()),
            }
        }
    }
}

/// Writes the device-writable part of a chain in order.
#[derive(Clone)]
pub struct Writer<'a> {
    cursor: Cursor<'a>,
    written: u64,
}

impl Writer<'_> {
    /// Bytes that still fit.
    pub fn remaining(&self) -> u64 {
        self.cursor.left
    }
    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.written
    }
    /// Writes as much as fits; returns how much.
    pub fn write(&mut self, from: &[u8]) -> usize {
        let mut done = 0;
        while let Some(rest) = from.get(done..)
            && let Some((addr, len)) = self.cursor.next(rest.len() as u64)
            && let Some(part) = rest.get(..len as usize)
            && self.cursor.ram.write(addr, part).is_some()
        {
            done += len as usize;
        }
        self.written += done as u64;
        done
    }
    /// Splits off the last `bytes` (or all, if there are fewer): what comes before, and them.
    pub fn split_end(self, bytes: u64) -> (Self, Self) {
        let front = self.cursor.left.saturating_sub(bytes);
        let mut end = self.clone();
        end.cursor.skip(front);
        end.written = 0;
        let mut start = self;
        start.cursor.left = front;
        (start, end)
    }
    /// Lets `source` fill everything that remains, a bounce buffer's worth at a time.
    pub fn fill_from<E>(
        &mut self,
        bounce: &mut [u8],
        mut source: impl FnMut(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            let len = (bounce.len() as u64).min(self.remaining()) as usize;
            match bounce.get_mut(..len) {
                Some(part) if len > 0 => {
                    source(part)?;
                    if self.write(part) < len {
                        return Ok(());
                    }
                }
                _ => return Ok(()),
            }
        }
    }
}
