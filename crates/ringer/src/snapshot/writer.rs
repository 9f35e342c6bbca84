//! Writing a saved machine.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::manifest::{Description, Manifest, Part};
use super::pages::PageWriter;
use super::{MANIFEST, SnapshotError, is_part_name};

/// A saved machine in the making. Dropped before [`Writer::finish`], it leaves nothing behind.
pub struct Writer {
    target: PathBuf,
    partial: PathBuf,
    parts: BTreeMap<String, Part>,
}

/// Counts and checksums what passes.
struct Measured<W> {
    inner: W,
    bytes: u64,
    hasher: crc32fast::Hasher,
}

impl<W: Write> Write for Measured<W> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(from)?;
        self.bytes += count as u64;
        self.hasher.update(from.get(..count).unwrap_or(from));
        Ok(count)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn unwritable(path: &Path, error: &dyn std::fmt::Display) -> SnapshotError {
    SnapshotError::Unwritable {
        path: path.to_path_buf(),
        reason: error.to_string(),
    }
}

impl Writer {
    /// Starts to save to the directory `target`, which may be an older saved machine.
    pub fn new(target: &Path) -> Result<Self, SnapshotError> {
        if fs::symlink_metadata(target).is_ok() && !is_replaceable(target) {
            return Err(SnapshotError::Occupied(target.to_path_buf()));
        }
        let partial = beside(target, "partial")?;
        fs::create_dir_all(&partial).map_err(|error| unwritable(target, &error))?;
        Ok(Self {
            target: target.to_path_buf(),
            partial,
            parts: BTreeMap::new(),
        })
    }
    /// Writes a part.
    pub fn part(&mut self, name: &str, content: &[u8]) -> Result<(), SnapshotError> {
        self.file(name, |sink| sink.write_all(content))
    }
    /// Writes a part that is made of pages: `fill` is called with the function that takes them.
    pub fn pages(
        &mut self,
        name: &str,
        fill: impl FnOnce(&mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()>,
    ) -> Result<(), SnapshotError> {
        self.file(name, |sink| {
            let mut pages = PageWriter::new(sink);
            fill(&mut |number, content| pages.page(number, content))?;
            pages.finish()
        })
    }
    fn file(
        &mut self,
        name: &str,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), SnapshotError> {
        let path = self.partial.join(name);
        if !is_part_name(name) || self.parts.contains_key(name) {
            return Err(unwritable(&path, &"it is no name for a part"));
        }
        let write = || -> io::Result<Part> {
            let mut sink = Measured {
                inner: BufWriter::new(File::create(&path)?),
                bytes: 0,
                hasher: crc32fast::Hasher::new(),
            };
            fill(&mut sink)?;
            let file = sink.inner.into_inner().map_err(|e| e.into_error())?;
            file.sync_all()?;
            Ok(Part {
                bytes: sink.bytes,
                crc32: sink.hasher.finalize(),
            })
        };
        let part = write().map_err(|error| unwritable(&path, &error))?;
        self.parts.insert(name.to_string(), part);
        Ok(())
    }
    /// Writes the manifest and gives the directory its name.
    pub fn finish(mut self, machine: Description) -> Result<(), SnapshotError> {
        let path = self.partial.join(MANIFEST);
        let parts = std::mem::take(&mut self.parts);
        let text = Manifest::new(machine, parts)
            .to_text()
            .map_err(|error| unwritable(&path, &error))?;
        let write = || -> io::Result<()> {
            let mut file = File::create(&path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            File::open(&self.partial)?.sync_all()
        };
        write().map_err(|error| unwritable(&path, &error))?;
        let replaced = beside(&self.target, "replaced")?;
        let rename = || -> io::Result<()> {
            let existed = self.target.exists();
            if existed {
                fs::rename(&self.target, &replaced)?;
            }
            fs::rename(&self.partial, &self.target)?;
            if existed {
                fs::remove_dir_all(&replaced)?;
            }
            Ok(())
        };
        rename().map_err(|error| unwritable(&self.target, &error))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // After `finish` it is not there any more.
        let _ = fs::remove_dir_all(&self.partial);
    }
}

/// An empty directory, or an older saved machine.
fn is_replaceable(target: &Path) -> bool {
    if target.is_symlink() {
        return false;
    }
    match fs::read_dir(target) {
        Ok(mut entries) => target.join(MANIFEST).is_file() || entries.next().is_none(),
        Err(_) => false,
    }
}

/// A name in the same directory, so that renaming is one step.
fn beside(target: &Path, what: &str) -> Result<PathBuf, SnapshotError> {
    let Some(name) = target.file_name() else {
        return Err(unwritable(target, &"it is no name for a directory"));
    };
    let name = format!(".{}.{what}-{}", name.to_string_lossy(), std::process::id());
    Ok(target.with_file_name(name))
}
