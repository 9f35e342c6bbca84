//! Opening an image's file: what it may be, and who else may use it.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;

use super::format::{self, ImageFormat, MAGIC_BYTES};
use super::{DiskError, SECTOR};
use crate::loader::explain;

/// An opened file or block device. It is locked: one writer, or many readers.
#[derive(Debug)]
pub struct ImageFile {
    /// Where it is.
    pub path: PathBuf,
    /// Open as it was asked for.
    pub file: File,
    /// Its size in bytes.
    pub len: u64,
    /// Which file it is, whatever its path.
    pub id: FileId,
}

/// Tells files apart, by device and inode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileId(u64, u64);

impl FileId {
    fn of(metadata: &Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }
    /// Of the file at `path`.
    pub fn of_path(path: &Path) -> Result<Self, DiskError> {
        let metadata = path.metadata();
        let metadata = metadata.map_err(|error| DiskError::unusable(path, error))?;
        Ok(Self::of(&metadata))
    }
}

impl ImageFile {
    /// Opens and locks an image.
    pub fn open(path: &Path, read_only: bool) -> Result<Self, DiskError> {
        let image = Self::open_unlocked(path, read_only)?;
        let operation = if read_only {
            FlockOperation::NonBlockingLockShared
        } else {
            FlockOperation::NonBlockingLockExclusive
        };
        // On a file system without locks the operator knows what is shared there.
        if rustix::fs::flock(&image.file, operation) == Err(Errno::WOULDBLOCK) {
            return Err(DiskError::Busy(path.to_path_buf()));
        }
        if image.len < SECTOR {
            return Err(DiskError::unusable(
                path,
                format_args!(
                    "it has {} bytes, less than one sector; make it larger with `truncate -s 1G`",
                    image.len
                ),
            ));
        }
        Ok(image)
    }

    /// Opens an image to look at what it says of itself, even while a machine uses it.
    pub fn look(path: &Path) -> Result<Self, DiskError> {
        Self::open_unlocked(path, true)
    }

    fn open_unlocked(path: &Path, read_only: bool) -> Result<Self, DiskError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(!read_only)
            // A FIFO has no writer to wait for.
            .custom_flags(OFlags::NONBLOCK.bits() as i32)
            .open(path)
            .map_err(|error| {
                let mut reason = explain(&error);
                if error.kind() == ErrorKind::PermissionDenied && !read_only {
                    reason.push_str("; if it may only be read, add ,ro or ,overlay");
                }
                DiskError::unusable(path, reason)
            })?;
        let metadata = file
            .metadata()
            .map_err(|error| DiskError::unusable(path, error))?;
        let kind = metadata.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            let reason = "it is neither a file nor a block device";
            return Err(DiskError::unusable(path, reason));
        }
        let len = file
            .seek(SeekFrom::End(0))
            .map_err(|error| DiskError::unusable(path, error))?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            len,
            id: FileId::of(&metadata),
        })
    }

    /// The same open file, with the same lock.
    pub fn try_clone(&self) -> Result<Self, DiskError> {
        let file = self.file.try_clone();
        Ok(Self {
            path: self.path.clone(),
            file: file.map_err(|error| DiskError::unusable(&self.path, error))?,
            len: self.len,
            id: self.id,
        })
    }

    /// What kind of image it is, by its first bytes.
    pub fn probe(&self) -> Result<ImageFormat, DiskError> {
        let mut head = [0; MAGIC_BYTES];
        let count = self
            .file
            .read_at(&mut head, 0)
            .map_err(|error| DiskError::unusable(&self.path, error))?;
        let head = head.get(..count).unwrap_or_default();
        format::probe(head).map_err(|format| DiskError::Format {
            path: self.path.clone(),
            format,
        })
    }
}
