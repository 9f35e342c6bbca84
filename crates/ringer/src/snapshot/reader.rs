//! Reading a saved machine. Everything is checked before anything is used.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::manifest::{Description, Manifest};
use super::pages;
use super::{MANIFEST, SnapshotError, is_part_name};
use crate::loader;

/// The largest part that is read into memory as a whole; devices' states are far smaller.
const PART_LIMIT: u64 = 64 << 20;

/// An open saved machine whose files are as they were written.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    manifest: Manifest,
}

impl Reader {
    /// Opens a saved machine and checks all its files.
    pub fn open(dir: &Path) -> Result<Self, SnapshotError> {
        let unreadable = |reason: String| SnapshotError::Unreadable {
            path: dir.to_path_buf(),
            reason,
        };
        if !dir.exists() {
            return Err(unreadable("there is no such directory".to_string()));
        }
        let path = dir.join(MANIFEST);
        if !path.is_file() {
            return Err(unreadable(format!(
                "it is no saved machine: there is no {MANIFEST} in it"
            )));
        }
        let text = loader::read_text(&path).map_err(|error| unreadable(error.to_string()))?;
        let manifest = Manifest::from_text(&text).map_err(|reason| SnapshotError::Damaged {
            path: dir.to_path_buf(),
            reason,
        })?;
        let reader = Self {
            dir: dir.to_path_buf(),
            manifest,
        };
        reader.check_files()?;
        Ok(reader)
    }
    /// An error about this saved machine's content.
    pub fn damaged(&self, reason: impl std::fmt::Display) -> SnapshotError {
        SnapshotError::Damaged {
            path: self.dir.clone(),
            reason: reason.to_string(),
        }
    }
    fn check_files(&self) -> Result<(), SnapshotError> {
        for (name, part) in &self.manifest.parts {
            if !is_part_name(name) {
                return Err(self.damaged("the manifest names a file outside the directory"));
            }
            let mut file = self.file(name)?;
            let mut hasher = crc32fast::Hasher::new();
            let mut bytes = 0u64;
            let mut chunk = vec![0; 64 << 10];
            loop {
                let count = file
                    .read(&mut chunk)
                    .map_err(|error| self.damaged(format_args!("{name}: {error}")))?;
                bytes += count as u64;
                if count == 0 || bytes > part.bytes {
                    break;
                }
                hasher.update(chunk.get(..count).unwrap_or_default());
            }
            if bytes != part.bytes || hasher.finalize() != part.crc32 {
                return Err(self.damaged(format_args!("{name} is not as it was written")));
            }
        }
        Ok(())
    }
    fn file(&self, name: &str) -> Result<File, SnapshotError> {
        if !self.manifest.parts.contains_key(name) {
            return Err(self.damaged(format_args!("the part {name} is missing")));
        }
        File::open(self.dir.join(name))
            .map_err(|error| self.damaged(format_args!("{name}: {}", loader::explain(&error))))
    }
    /// The machine that was saved.
    pub fn machine(&self) -> &Description {
        &self.manifest.machine
    }
    /// Reads a part.
    pub fn part(&self, name: &str) -> Result<Vec<u8>, SnapshotError> {
        self.part_of(name, PART_LIMIT)
    }
    /// Reads a part of at most `limit` bytes if there is one.
    pub fn optional_part(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, SnapshotError> {
        let exists = self.manifest.parts.contains_key(name);
        exists.then(|| self.part_of(name, limit)).transpose()
    }
    fn part_of(&self, name: &str, limit: u64) -> Result<Vec<u8>, SnapshotError> {
        let mut bytes = Vec::new();
        self.file(name)?
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| self.damaged(format_args!("{name}: {error}")))?;
        if bytes.len() as u64 > limit {
            return Err(self.damaged(format_args!("{name} is too large")));
        }
        Ok(bytes)
    }
    /// Reads a part made of pages; `take` says whether a page's number is possible.
    pub fn pages(
        &self,
        name: &str,
        take: impl FnMut(u64, &[u8]) -> Result<(), String>,
    ) -> Result<(), SnapshotError> {
        let file = BufReader::with_capacity(1 << 20, self.file(name)?);
        pages::read(file, take).map_err(|reason| self.damaged(format_args!("{name}: {reason}")))
    }
}
