//! A raw image in a file or on a block device.

use std::fs::File;
use std::os::unix::fs::FileExt;

use ringer_machine::backend::{BackendError, BackendResult, BlockBackend};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::format::{self, ImageFormat, MAGIC_BYTES};
use super::image_file::ImageFile;

static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

/// A raw disk image. It is locked: one writer, or many readers.
#[derive(Debug)]
pub struct FileDisk {
    file: File,
    len: u64,
    read_only: bool,
    /// Nobody said that it is raw, so it must go on looking so.
    guessed: bool,
}

impl FileDisk {
    /// A disk in an open image. If its kind was `guessed`, no write makes it look like another.
    pub fn new(image: ImageFile, read_only: bool, guessed: bool) -> Self {
        Self {
            file: image.file,
            len: image.len,
            read_only,
            guessed,
        }
    }
    /// The same disk, made larger if it is smaller than this.
    pub fn grow_to(mut self, len: u64) -> std::io::Result<Self> {
        if self.len < len {
            self.file.set_len(len)?;
            self.len = len;
        }
        Ok(self)
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
    /// Whether the image still looks raw after a write.
    fn check_kind(&self, offset: u64, from: &[u8]) -> BackendResult {
        let Ok(offset) = usize::try_from(offset) else {
            return Ok(());
        };
        if !self.guessed || offset >= MAGIC_BYTES {
            return Ok(());
        }
        let mut head = [0; MAGIC_BYTES];
        self.file
            .read_exact_at(&mut head, 0)
            .map_err(|_| BackendError)?;
        for (to, new) in head.iter_mut().skip(offset).zip(from) {
            *to = *new;
        }
        match format::probe(&head) {
            Ok(ImageFormat::Raw) => Ok(()),
            _ => Err(BackendError),
        }
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
        self.check(offset, into.len() as u64)?;
        self.file
            .read_exact_at(into, offset)
            .map_err(|_| BackendError)
    }
    fn write(&mut self, offset: u64, from: &[u8]) -> BackendResult {
        self.check_write(offset, from.len() as u64)?;
        self.check_kind(offset, from)?;
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
    use crate::disk::DiskError;
    use std::io::Write;
    use std::path::Path;

    fn image(len: usize) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&vec![0xab; len]).unwrap();
        file
    }

    fn open(path: &Path, read_only: bool) -> Result<FileDisk, DiskError> {
        let file = ImageFile::open(path, read_only)?;
        assert_eq!(file.probe()?, ImageFormat::Raw);
        Ok(FileDisk::new(file, read_only, true))
    }

    #[test]
    fn reads_writes_and_zeroes_within_bounds() {
        let file = image(1 << 20);
        let mut disk = open(file.path(), false).unwrap();
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
        let writer = open(file.path(), false).unwrap();
        assert!(matches!(open(file.path(), true), Err(DiskError::Busy(_))));
        drop(writer);
        let _a = open(file.path(), true).unwrap();
        let mut b = open(file.path(), true).unwrap();
        assert!(b.write(0, b"x").is_err());
        assert!(matches!(open(file.path(), false), Err(DiskError::Busy(_))));
    }

    #[test]
    fn what_is_no_raw_disk_is_refused() {
        let file = image(4096);
        assert!(open(Path::new("/"), true).is_err());
        assert!(open(Path::new("/dev/zero"), true).is_err());
        assert!(open(Path::new("/no/such/disk"), true).is_err());
        assert!(open(image(100).path(), true).is_err());
        file.as_file().write_all_at(b"KDMV\0\0\0\x03", 0).unwrap();
        let error = open(file.path(), false).unwrap_err().to_string();
        assert!(error.contains("VMDK") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn a_guest_cannot_make_another_kind_of_it() {
        let file = image(4096);
        let mut disk = open(file.path(), false).unwrap();
        let mut sector = [0; 512];
        sector[..4].copy_from_slice(b"QFI\xfb");
        assert!(disk.write(0, &sector).is_err());
        // Byte by byte neither.
        disk.write(0, b"QFI").unwrap();
        assert!(disk.write(3, b"\xfb").is_err());
        disk.write(512, &sector).unwrap();
        drop(disk);
        assert_eq!(
            ImageFile::open(file.path(), true).unwrap().probe().unwrap(),
            ImageFormat::Raw
        );

        // Who says that it is raw always gets it so.
        let said = ImageFile::open(file.path(), false).unwrap();
        FileDisk::new(said, false, false).write(0, &sector).unwrap();
    }
}
