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

/// A disk in memory that is only read.
#[derive(Debug)]
pub struct ImageDisk<S>(S);

impl<S: AsRef<[u8]> + Send> ImageDisk<S> {
    /// A disk that holds `bytes`.
    pub fn new(bytes: S) -> Self {
        Self(bytes)
    }
}

impl<S: AsRef<[u8]> + Send> BlockBackend for ImageDisk<S> {
    fn len(&self) -> u64 {
        self.0.as_ref().len() as u64
    }
    fn read_only(&self) -> bool {
        true
    }
    fn read(&mut self, offset: u64, into: &mut [u8]) -> BackendResult {
        let start = usize::try_from(offset).map_err(|_| BackendError)?;
        let rest = self.0.as_ref().get(start..).ok_or(BackendError)?;
        into.copy_from_slice(rest.get(..into.len()).ok_or(BackendError)?);
        Ok(())
    }
    fn write(&mut self, _offset: u64, _from: &[u8]) -> BackendResult {
        Err(BackendError)
    }
    fn flush(&mut self) -> BackendResult {
        Ok(())
    }
    fn discard(&mut self, _offset: u64, _len: u64) -> BackendResult {
        Err(BackendError)
    }
    fn write_zeroes(&mut self, _offset: u64, _len: u64, _may_unmap: bool) -> BackendResult {
        Err(BackendError)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn keeps_what_is_written_and_refuses_what_is_beyond() {
        let mut disk = MemoryDisk::new(vec![1; 1024], false);
        disk.write(1000, &[7; 24]).unwrap();
        disk.write_zeroes(0, 10, true).unwrap();
        let mut into = [0; 24];
        disk.read(1000, &mut into).unwrap();
        assert_eq!(into, [7; 24]);
        assert_eq!(disk.bytes()[..11], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        for offset in [1001, 1025, u64::MAX] {
            assert_eq!(disk.read(offset, &mut into), Err(BackendError));
            assert_eq!(disk.write(offset, &into), Err(BackendError));
            assert_eq!(disk.write_zeroes(offset, 24, false), Err(BackendError));
            assert_eq!(disk.discard(offset, u64::MAX), Err(BackendError));
        }
    }

    #[test]
    fn an_image_is_only_read() {
        let mut disk = ImageDisk::new([1, 2, 3, 4]);
        assert_eq!((disk.len(), disk.read_only()), (4, true));
        let mut into = [0; 2];
        disk.read(2, &mut into).unwrap();
        assert_eq!(into, [3, 4]);
        for offset in [3, 5, u64::MAX] {
            assert_eq!(disk.read(offset, &mut into), Err(BackendError));
        }
        assert_eq!(disk.write(0, &[9]), Err(BackendError));
        assert_eq!(disk.write_zeroes(0, 1, true), Err(BackendError));
        assert_eq!(disk.discard(0, 1), Err(BackendError));
    }

    #[test]
    fn read_only_stays() {
        let mut bytes = [5; 512];
        let mut disk = MemoryDisk::new(&mut bytes[..], true);
        assert_eq!(disk.write(0, &[1]), Err(BackendError));
        assert_eq!(disk.write_zeroes(0, 1, false), Err(BackendError));
        assert_eq!(disk.bytes(), [5; 512]);
    }
}
