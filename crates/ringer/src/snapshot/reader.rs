//! Reading a saved machine. Everything is checked before anything is used; files that were seen
//! to be right before, and have not changed since, are not read again for that.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::layer::{Layer, Table};
use super::manifest::{Description, Manifest, Part};
use super::pages::{self, PAGE};
use super::stamps::Stamps;
use super::{MANIFEST, MOST_LAYERS, SnapshotError, is_part_name};
use crate::loader;

/// The largest part that is read into memory as a whole; devices' states are far smaller.
const PART_LIMIT: u64 = 64 << 20;

/// An open saved machine whose files are as they were written. It stays usable when the
/// directory is removed.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    manifest: Manifest,
    parts: BTreeMap<String, (File, Part)>,
    layers: Vec<Layer>,
}

/// How much is read to see that a saved machine is not damaged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trust {
    /// Files that were seen to be right, and have not changed since, are taken as they are.
    Stamps,
    /// All is read.
    Nothing,
}

impl Reader {
    /// Opens a saved machine.
    pub fn open(dir: &Path) -> Result<Self, SnapshotError> {
        Self::open_trusting(dir, Trust::Stamps)
    }
    /// Opens a saved machine and checks its files, all of them or those that need it.
    pub fn open_trusting(dir: &Path, trust: Trust) -> Result<Self, SnapshotError> {
        let mut reader = Self {
            dir: dir.to_path_buf(),
            manifest: manifest(dir)?,
            parts: BTreeMap::new(),
            layers: Vec::new(),
        };
        reader.check_files(trust)?;
        Ok(reader)
    }
    /// An error about this saved machine's content.
    pub fn damaged(&self, reason: impl std::fmt::Display) -> SnapshotError {
        SnapshotError::Damaged {
            path: self.dir.clone(),
            reason: reason.to_string(),
        }
    }
    fn check_files(&mut self, trust: Trust) -> Result<(), SnapshotError> {
        let known = match trust {
            Trust::Stamps => Stamps::read(&self.dir),
            Trust::Nothing => Stamps::default(),
        };
        let mut seen = Stamps::default();
        let mut news = false;
        for (name, part) in &self.manifest.parts {
            let file = self.open_file(name, part.bytes)?;
            if !known.vouch_for(name, &file, part.crc32) {
                news = true;
                let crc32 = checksum(&file, part.bytes)
                    .map_err(|error| self.damaged(format_args!("{name}: {error}")))?;
                if crc32 != part.crc32 {
                    return Err(self.damaged(format_args!("{name} is not as it was written")));
                }
            }
            seen.add(name, &file, part.crc32);
            self.parts.insert(name.clone(), (file, *part));
        }
        if self.manifest.layers.len() > MOST_LAYERS {
            return Err(self.damaged("the manifest has too many layers of memory"));
        }
        let memory = self.manifest.machine.memory;
        for files in self.manifest.layers.clone() {
            let data = self.open_file(&files.data, memory)?;
            let table = self.part(&files.table)?;
            let of_table = crc32fast::hash(&table);
            let table = Table::parse(&table, memory / PAGE as u64)
                .map_err(|reason| self.damaged(format_args!("{}: {reason}", files.table)))?;
            let layer = Layer {
                data: Arc::new(data),
                table: Arc::new(table),
            };
            // The checksums of a layer's pages are in its table, so the table's stands for them.
            if !known.vouch_for(&files.data, &layer.data, of_table) {
                news = true;
                layer
                    .verify()
                    .map_err(|reason| self.damaged(format_args!("{}: {reason}", files.data)))?;
            }
            seen.add(&files.data, &layer.data, of_table);
            self.layers.push(layer);
        }
        if news {
            // Without it the next restore takes longer; a directory may be read-only.
            let _ = seen.write(&self.dir);
        }
        Ok(())
    }
    fn open_file(&self, name: &str, bytes: u64) -> Result<File, SnapshotError> {
        if !is_part_name(name) {
            return Err(self.damaged("the manifest names a file outside the directory"));
        }
        let path = self.dir.join(name);
        let open = || {
            // To open a pipe would wait for somebody at its other end.
            if !path.metadata()?.is_file() {
                return Err(io::Error::other("it is no file"));
            }
            let file = File::open(&path)?;
            let len = file.metadata()?.len();
            Ok((file, len))
        };
        let (file, is) = open()
            .map_err(|error| self.damaged(format_args!("{name}: {}", loader::explain(&error))))?;
        if is != bytes {
            return Err(self.damaged(format_args!(
                "{name} has {is} bytes, and {bytes} were written"
            )));
        }
        Ok(file)
    }
    fn file(&self, name: &str) -> Result<(&File, Part), SnapshotError> {
        match self.parts.get(name) {
            Some((file, part)) => Ok((file, *part)),
            None => Err(self.damaged(format_args!("the part {name} is missing"))),
        }
    }
    /// Where it is, or was.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
    /// The machine that was saved.
    pub fn machine(&self) -> &Description {
        &self.manifest.machine
    }
    /// All that is known of it.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }
    /// The memory, from the bottom up; format 1 has none.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }
    /// A part as it is on disk, if there is one.
    pub fn part_file(&self, name: &str) -> Option<(&File, Part)> {
        self.file(name).ok()
    }
    /// Reads a part.
    pub fn part(&self, name: &str) -> Result<Vec<u8>, SnapshotError> {
        self.part_of(name, PART_LIMIT)
    }
    /// Reads a part of at most `limit` bytes if there is one.
    pub fn optional_part(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, SnapshotError> {
        let exists = self.parts.contains_key(name);
        exists.then(|| self.part_of(name, limit)).transpose()
    }
    fn part_of(&self, name: &str, limit: u64) -> Result<Vec<u8>, SnapshotError> {
        let (file, part) = self.file(name)?;
        if part.bytes > limit {
            return Err(self.damaged(format_args!("{name} is too large")));
        }
        let mut bytes = vec![0; part.bytes as usize];
        file.read_exact_at(&mut bytes, 0)
            .map_err(|error| self.damaged(format_args!("{name}: {error}")))?;
        if crc32fast::hash(&bytes) != part.crc32 {
            return Err(self.damaged(format_args!("{name} is not as it was written")));
        }
        Ok(bytes)
    }
    /// Reads a part made of pages; `take` says whether a page's number is possible.
    pub fn pages(
        &self,
        name: &str,
        take: impl FnMut(u64, &[u8]) -> Result<(), String>,
    ) -> Result<(), SnapshotError> {
        let (file, part) = self.file(name)?;
        let whole = Whole {
            file,
            at: 0,
            bytes: part.bytes,
        };
        pages::read(BufReader::with_capacity(1 << 20, whole), take)
            .map_err(|reason| self.damaged(format_args!("{name}: {reason}")))
    }
}

/// What a saved machine says of itself; nothing else of it is looked at.
pub fn manifest(dir: &Path) -> Result<Manifest, SnapshotError> {
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
    Manifest::from_text(&text).map_err(|reason| SnapshotError::Damaged {
        path: dir.to_path_buf(),
        reason,
    })
}

/// A file from its start on, whatever others read from it meanwhile.
struct Whole<'a> {
    file: &'a File,
    at: u64,
    bytes: u64,
}

impl Read for Whole<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.bytes.saturating_sub(self.at);
        let len = left.min(into.len() as u64) as usize;
        let count = self
            .file
            .read_at(into.get_mut(..len).unwrap_or_default(), self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

fn checksum(file: &File, bytes: u64) -> io::Result<u32> {
    let mut hasher = crc32fast::Hasher::new();
    let mut whole = Whole { file, at: 0, bytes };
    let mut chunk = vec![0; 256 << 10];
    loop {
        match whole.read(&mut chunk)? {
            0 => return Ok(hasher.finalize()),
            count => hasher.update(chunk.get(..count).unwrap_or_default()),
        }
    }
}
