//! What a base was when an overlay was made on it. An overlay holds the clusters that differ, so
//! on a base that changed since, it is a mixture of two disks that never existed.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::disk::DiskError;

const VERSION: u32 = 1;

/// A base's size and time of change, in a header extension of the overlay. Other programs leave
/// the extension alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BaseIdentity {
    /// Bytes in its file.
    pub size: u64,
    /// When it was written last: seconds and nanoseconds.
    pub modified: (i64, u32),
    /// Writing the overlay into the base was begun, and not completed so far.
    pub commit_begun: bool,
}

impl BaseIdentity {
    /// Of an open file.
    pub fn of(file: &File, path: &Path) -> Result<Self, DiskError> {
        let metadata = file.metadata();
        let metadata = metadata.map_err(|error| DiskError::unusable(path, error))?;
        Ok(Self::of_metadata(&metadata))
    }
    /// Of what the file system says of a file.
    pub fn of_metadata(metadata: &Metadata) -> Self {
        let nanos = u32::try_from(metadata.mtime_nsec()).unwrap_or_default();
        Self {
            size: metadata.len(),
            modified: (metadata.mtime(), nanos),
            commit_begun: false,
        }
    }
    /// As the extension's data.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let fields: [(usize, &[u8]); 5] = [
            (0, &VERSION.to_be_bytes()),
            (4, &u32::from(self.commit_begun).to_be_bytes()),
            (8, &self.size.to_be_bytes()),
            (16, &self.modified.0.to_be_bytes()),
            (24, &self.modified.1.to_be_bytes()),
        ];
        for (at, field) in fields {
            bytes[at..at + field.len()].copy_from_slice(field);
        }
        bytes
    }
    /// Reads the extension's data.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let damaged = || "what it says of its base is damaged".to_string();
        let bytes: &[u8; 32] = bytes.try_into().map_err(|_| damaged())?;
        let [v0, v1, v2, v3, c0, c1, c2, c3, rest @ ..] = *bytes;
        let [s0, s1, s2, s3, s4, s5, s6, s7, rest @ ..] = rest;
        let [t0, t1, t2, t3, t4, t5, t6, t7, n0, n1, n2, n3, _, _, _, _] = rest;
        let commit_begun = match u32::from_be_bytes([c0, c1, c2, c3]) {
            0 => false,
            1 => true,
            _ => return Err(damaged()),
        };
        if u32::from_be_bytes([v0, v1, v2, v3]) != VERSION {
            return Err(damaged());
        }
        Ok(Self {
            size: u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
            modified: (
                i64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
                u32::from_be_bytes([n0, n1, n2, n3]),
            ),
            commit_begun,
        })
    }
}
