//! A raw image in a file or on a block device.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;

use ringer_machine::backend::{BackendError, BackendResult, BlockBackend};
use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::Errno;

use super::{DiskError, SECTOR};
use crate::loader::explain;

static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

/// Image formats that are not raw, by their first bytes.
const FORMATS: [(&[u8], &str); 4] = [
    (b"QFI\xfb", "qcow2"),
    (b"KDMV", "VMDK"),
    (b"vhdxfile", "VHDX"),
    (b"conectix", "VHD"),
];

/// A raw disk image. It is locked: one writer, or many readers.
#[derive(Debug)]
pub struct FileDisk {
    file: File,
    len: u64,
    read_only: bool,
}

impl FileDisk {
    /// Opens and locks an image.
    pub fn open(path: &Path, read_only: bool) -> Result<Self, DiskError> {
        let unusable = |reason: String| DiskError::Unusable {
            path: path.to_path_buf(),
            reason,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(!read_only)
            .open(path)
            .map_err(|error| {
                let mut reason = explain(&error);
                if error.kind() == std::io::ErrorKind::PermissionDenied && !read_only {
                    reason.push_str("; if it may only be read, add ,ro or ,overlay");
                }
                unusable(reason)
            })?;
        let kind = file
            .metadata()
            .map_err(|error| unusable(error.to_string()))?
            .file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(unusable(
                "it is neither a file nor a block device".to_string(),
            ));
        }
        let operation = if read_only {
            FlockOperation::NonBlockingLockShared
        } else {
            FlockOperation::NonBlockingLockExclusive
        };
        // On a file system without locks the operator knows what is shared there.
        if rustix::fs::flock(&file, operation) == Err(Errno::WOULDBLOCK) {
            return Err(DiskError::Busy(path.to_path_buf()));
        }
        let len = file
            .seek(SeekFrom::End(0))
            .map_err(|error| unusable(error.to_string()))?;
        if len < SECTOR {
            return Err(unusable(format!(
                "it has {len} bytes, less than one sector; make it larger with `truncate -s 1G`"
            )));
        }
        let mut head = [0; 8];
        if file.read_exact_at(&mut head, 0).is_ok()
            && let Some((_, format)) = FORMATS.iter().find(|(magic, _)| head.starts_with(magic))
        {
            return Err(DiskError::Format {
                path: path.to_path_buf(),
                format,
            });
        }
        Ok(Self {
            file,
            len,
            read_only,
        })
    }
    /// The size in bytes.
    pub fn size(&self) -> u64 {
        self.len
    }
    fn check(&self, offset: u64, len: u64) -> BackendResult {
        match offset.checked_add(len) {
            Some(end) if end <= self.len => Ok(()),
            _ => Err(BackendError),
        }
    }
    fn check_write(&self, offset: u64, len: u64) -> BackendResult {
        if self.read_only {
            return Err(BackendError);
        }
        self.check(offset, len)
    }
    /// Reads without a device's exclusive access; the overlay does so.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> BackendResult {
        self.check(offset, into.len() as u64)?;
        self.file
            .read_exact_at(into, offset)
            .map_err(|_| BackendError)
    }
    fn fallocate(&self, mode: FallocateFlags, offset: u64, len: u64) -> Result<(), Errno> {
        loop {
            match rustix::fs::fallocate(&self.file, mode, offset, len) {
                Err(Errno::INTR) => {}
                result => return result,
            }
        }
    }
}

impl BlockBackend for FileDisk {
    fn len(&self) -> u64 {
        self.len
    }
    fn read_only(&self) -> bool {
        self.read_only
    }
    fn read(&mut self, offset: u64, into: &mut [u8]) -> BackendResult {
        self.read_at(offset, into)
    }
    fn write(&mut self, offset: u64, from: &[u8]) -> BackendResult {
        self.check_write(offset, from.len() as u64)?;
        self.file
            .write_all_at(from, offset)
            .map_err(|_| BackendError)
    }
    fn flush(&mut self) -> BackendResult {
        if self.read_only {
            return Ok(());
        }
        self.file.sync_data().map_err(|_| BackendError)
    }
    fn discard(&mut self, offset: u64, len: u64) -> BackendResult {
        self.check_write(offset, len)?;
        if len == 0 {
            return Ok(());
        }
        // A file system that cannot give space back does not make the guest's request fail.
        let _ = self.fallocate(
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            offset,
            len,
        );
        Ok(())
    }
    fn write_zeroes(&mut self, offset: u64, len: u64, may_unmap: bool) -> BackendResult {
        self.check_write(offset, len)?;
        if len == 0 {
            return Ok(());
        }
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let zero = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
        if may_unmap && self.fallocate(punch, offset, len).is_ok() {
            return Ok(());
        }
        if self.fallocate(zero, offset, len).is_ok() {
            return Ok(());
        }
        let mut done = 0;
        while done < len {
            let part = (len - done).min(ZEROES.len() as u64);
            self.file
                .write_all_at(
                    ZEROES.get(..part as usize).ok_or(BackendError)?,
                    offset + done,
                )
                .map_err(|_| BackendError)?;
            done += part;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn image(len: usize) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&vec![0xab; len]).unwrap();
        file
    }

    #[test]
    fn reads_writes_and_zeroes_within_bounds() {
        let file = image(1 << 20);
        let mut disk = FileDisk::open(file.path(), false).unwrap();
        assert_eq!(disk.len(), 1 << 20);
        disk.write(1000, b"hello").unwrap();
        let mut back = [0; 7];
        disk.read(999, &mut back).unwrap();
        assert_eq!(&back, b"\xabhello\xab");
        for may_unmap in [false, true] {
            disk.write(0, &[1; 8192]).unwrap();
            disk.write_zeroes(100, 5000, may_unmap).unwrap();
            let mut back = vec![9; 8192];
            disk.read(0, &mut back).unwrap();
            assert!(back[..100].iter().all(|&b| b == 1));
            assert!(back[100..5100].iter().all(|&b| b == 0));
            assert!(back[5100..].iter().all(|&b| b == 1));
        }
        disk.discard(4096, 4096).unwrap();
        disk.flush().unwrap();
        assert!(disk.read((1 << 20) - 3, &mut back).is_err());
        assert!(disk.write(u64::MAX, b"x").is_err());
        assert!(disk.write_zeroes(1 << 20, 1, true).is_err());
    }

    #[test]
    fn one_writer_or_many_readers() {
        let file = image(4096);
        let writer = FileDisk::open(file.path(), false).unwrap();
        assert!(matches!(
            FileDisk::open(file.path(), true),
            Err(DiskError::Busy(_))
        ));
        drop(writer);
        let _a = FileDisk::open(file.path(), true).unwrap();
        let mut b = FileDisk::open(file.path(), true).unwrap();
        assert!(b.write(0, b"x").is_err());
        assert!(matches!(
            FileDisk::open(file.path(), false),
            Err(DiskError::Busy(_))
        ));
    }

    #[test]
    fn what_is_no_raw_disk_is_refused() {
        let mut file = image(4096);
        assert!(FileDisk::open(Path::new("/"), true).is_err());
        assert!(FileDisk::open(Path::new("/dev/zero"), true).is_err());
        assert!(FileDisk::open(Path::new("/no/such/disk"), true).is_err());
        assert!(FileDisk::open(image(100).path(), true).is_err());
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(b"QFI\xfb\0\0\0\x03").unwrap();
        let error = FileDisk::open(file.path(), false).unwrap_err().to_string();
        assert!(error.contains("qcow2"), "{error}");
    }
}
