//! A disk in memory: a RAM disk on bare metal, a scratch disk in tests.

use super::{BackendError, BackendResult, BlockBackend};

/// A disk in memory that it owns (`Vec<u8>`) or was lent (`&'static mut [u8]`).
#[derive(Debug)]
pub struct MemoryDisk<S> {
    bytes: S,
    read_only: bool,
}

impl<S: AsRef<[u8]> + AsMut<[u8]> + Send> MemoryDisk<S> {
    /// A disk that holds `bytes`.
    pub fn new(bytes: S, read_only: bool) -> Self {
        Self { bytes, read_only }
    }
    /// What is on it.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }
    fn range(&mut self, offset: u64, len: u64) -> BackendResult<&mut [u8]> {
        let start = usize::try_from(offset).map_err(|_| BackendError)?;
        let len = usize::try_from(len).map_err(|_| BackendError)?;
        let rest = self.bytes.as_mut().get_mut(start..).ok_or(BackendError)?;
        rest.get_mut(..len).ok_or(BackendError)
    }
}

impl<S: AsRef<[u8]> + AsMut<[u8]> + Send> BlockBackend for MemoryDisk<S> {
    fn len(&self) -> u64 {
        self.bytes.as_ref().len() as u64
    }
    fn read_only(&self) -> bool {
        self.read_only
    }
    fn read(&mut self, offset: u64, into: &mut [u8]) -> BackendResult {
        let from = self.range(offset, into.len() as u64)?;
        into.copy_from_slice(from);
        Ok(())
    }
    fn write(&mut self, offset: u64, from: &[u8]) -> BackendResult {
        if self.read_only {
            return Err(BackendError);
        }
        let to = self.range(offset, from.len() as u64)?;
        to.copy_from_slice(from);
        Ok(())
    }
    fn flush(&mut self) -> BackendResult {
        Ok(())
    }
    fn discard(&mut self, offset: u64, len: u64) -> BackendResult {
        self.range(offset, len).map(|_| ())
    }
    fn write_zeroes(&mut self, offset: u64, len: u64, _may_unmap: bool) -> BackendResult {
        if self.read_only {
            return Err(BackendError);
        }
        self.range(offset, len)?.fill(0);
        Ok(())
    }
}
