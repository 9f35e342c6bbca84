//! Counting what disks and network cards transfer, between a device and what stands behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ringer_machine::backend::{BackendResult, BlockBackend, Incoming, NetBackend, Offloads};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What one device has transferred.
#[derive(Debug, Default)]
pub struct IoCounts {
    reads: AtomicU64,
    read_bytes: AtomicU64,
    writes: AtomicU64,
    written_bytes: AtomicU64,
}

/// The counts of a device at some time.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Transfers {
    /// The device.
    pub device: String,
    /// Reads from a disk, frames received from a network.
    pub reads: u64,
    /// Their bytes.
    pub read_bytes: u64,
    /// Writes to a disk, frames sent to a network.
    pub writes: u64,
    /// Their bytes.
    pub written_bytes: u64,
}

impl IoCounts {
    fn note_read(&self, bytes: usize) {
        self.reads.fetch_add(1, Relaxed);
        self.read_bytes.fetch_add(bytes as u64, Relaxed);
    }
    fn note_write(&self, bytes: usize) {
        self.writes.fetch_add(1, Relaxed);
        self.written_bytes.fetch_add(bytes as u64, Relaxed);
    }
    /// As they are now.
    pub fn transfers(&self, device: &str) -> Transfers {
        Transfers {
            device: device.to_string(),
            reads: self.reads.load(Relaxed),
            read_bytes: self.read_bytes.load(Relaxed),
            writes: self.writes.load(Relaxed),
            written_bytes: self.written_bytes.load(Relaxed),
        }
    }
}

/// A backend that counts.
pub struct Counted<B: ?Sized> {
    counts: Arc<IoCounts>,
    backend: Box<B>,
}

impl<B: ?Sized> Counted<B> {
    /// Counts what goes through `backend`.
    pub fn new(backend: Box<B>) -> (Self, Arc<IoCounts>) {
        let counts = Arc::<IoCounts>::default();
        let counted = Self {
            counts: Arc::clone(&counts),
            backend,
        };
        (counted, counts)
    }
}

impl BlockBackend for Counted<dyn BlockBackend> {
    fn len(&self) -> u64 {
        self.backend.len()
    }
    fn read_only(&self) -> bool {
        self.backend.read_only()
    }
    fn read(&mut self, offset: u64, into: &mut [u8]) -> BackendResult {
        self.counts.note_read(into.len());
        self.backend.read(offset, into)
    }
    fn write(&mut self, offset: u64, from: &[u8]) -> BackendResult {
        self.counts.note_write(from.len());
        self.backend.write(offset, from)
    }
    fn flush(&mut self) -> BackendResult {
        self.backend.flush()
    }
    fn discard(&mut self, offset: u64, len: u64) -> BackendResult {
        self.backend.discard(offset, len)
    }
    fn write_zeroes(&mut self, offset: u64, len: u64, may_unmap: bool) -> BackendResult {
        self.backend.write_zeroes(offset, len, may_unmap)
    }
}

impl NetBackend for Counted<dyn NetBackend> {
    fn send(&mut self, frame: &[u8]) {
        self.counts.note_write(frame.len());
        self.backend.send(frame);
    }
    fn receive(&mut self, into: &mut [u8]) -> Option<usize> {
        let len = self.backend.receive(into)?;
        self.counts.note_read(len);
        Some(len)
    }
    fn offloads(&self) -> bool {
        self.backend.offloads()
    }
    fn agreed(&mut self, offloads: Offloads) {
        self.backend.agreed(offloads);
    }
    fn receive_unfinished(&mut self, into: &mut [u8]) -> Option<Incoming> {
        let incoming = self.backend.receive_unfinished(into)?;
        self.counts.note_read(incoming.len);
        Some(incoming)
    }
    fn ready(&mut self) -> bool {
        self.backend.ready()
    }
    fn answers_at_once(&self) -> bool {
        self.backend.answers_at_once()
    }
    fn has_thread(&self) -> bool {
        self.backend.has_thread()
    }
    fn wake(&mut self) {
        self.backend.wake();
    }
    fn reset(&mut self) {
        self.backend.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringer_machine::backend::MemoryDisk;

    #[test]
    fn transfers_are_counted() {
        let disk: Box<dyn BlockBackend> = Box::new(MemoryDisk::new(vec![0; 4096], false));
        let (mut disk, counts) = Counted::new(disk);
        disk.write(512, &[7; 1024]).unwrap();
        let mut sector = [0; 512];
        disk.read(512, &mut sector).unwrap();
        assert_eq!(sector, [7; 512]);
        let transfers = counts.transfers("disk0");
        assert_eq!((transfers.reads, transfers.read_bytes), (1, 512));
        assert_eq!((transfers.writes, transfers.written_bytes), (1, 1024));
    }
}
