//! Writing a saved machine.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FlockOperation, RenameFlags};

use super::layer::{LayerWriter, Table};
use super::manifest::{Description, LayerFiles, Manifest, Part};
use super::pages::PageWriter;
use super::reader::Reader;
use super::stamps::Stamps;
use super::{MANIFEST, SnapshotError, is_part_name};

/// A saved machine in the making. Dropped before [`Writer::finish`], it leaves nothing behind.
pub struct Writer {
    target: PathBuf,
    partial: PathBuf,
    /// Locked while it is being written, so that what a killed process left can be told apart.
    _lock: File,
    parts: BTreeMap<String, Part>,
    layers: Vec<LayerFiles>,
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
        sweep(target);
        let partial = beside(target, "partial")?;
        let create = || {
            fs::create_dir_all(&partial)?;
            let lock = File::open(&partial)?;
            // On a file system without locks nobody sweeps either.
            let _ = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive);
            Ok(lock)
        };
        let lock = create().map_err(|error: io::Error| unwritable(target, &error))?;
        Ok(Self {
            target: target.to_path_buf(),
            partial,
            _lock: lock,
            parts: BTreeMap::new(),
            layers: Vec::new(),
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
    /// Has the same part as `from`, if that has it: the same file, or a copy where that cannot be.
    pub fn same_part(&mut self, name: &str, from: &Reader) -> Result<(), SnapshotError> {
        let Some((file, part)) = from.part_file(name) else {
            return Ok(());
        };
        if !self.parts.contains_key(name) && link(file, &self.partial.join(name)).is_ok() {
            self.parts.insert(name.to_string(), part);
            return Ok(());
        }
        let content = from.optional_part(name, part.bytes)?.unwrap_or_default();
        self.part(name, &content)
    }
    /// Has the same layers of memory as `from`, as the same files. False if that cannot be, and
    /// nothing was done: on another file system, or when they were removed.
    pub fn same_layers(&mut self, from: &Reader) -> Result<bool, SnapshotError> {
        let old = &from.manifest().layers;
        for (number, (files, layer)) in old.iter().zip(from.layers()).enumerate() {
            let name = data_name(number);
            let table = table_name(number);
            if link(&layer.data, &self.partial.join(&name)).is_err() {
                for name in (0..number).map(data_name) {
                    let _ = fs::remove_file(self.partial.join(name));
                }
                for files in self.layers.drain(..) {
                    self.parts.remove(&files.table);
                    let _ = fs::remove_file(self.partial.join(files.table));
                }
                return Ok(false);
            }
            let content = from.part(&files.table)?;
            self.part(&table, &content)?;
            self.layers.push(LayerFiles { data: name, table });
        }
        Ok(true)
    }
    /// Adds a layer of memory on top of those there are, for a machine with so many pages.
    pub fn layer(
        &mut self,
        total: u64,
        fill: impl FnOnce(&mut LayerWriter) -> io::Result<()>,
    ) -> Result<(), SnapshotError> {
        let number = self.layers.len();
        let (data, table) = (data_name(number), table_name(number));
        let path = self.partial.join(&data);
        let write = || -> io::Result<Table> {
            let mut layer = LayerWriter::new(File::create_new(&path)?, total)?;
            fill(&mut layer)?;
            layer.finish()
        };
        let content = write().map_err(|error| unwritable(&path, &error))?;
        self.part(&table, &content.to_bytes())?;
        self.layers.push(LayerFiles { data, table });
        Ok(())
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
        let layers = std::mem::take(&mut self.layers);
        let manifest = Manifest::new(machine, parts, layers);
        let text = manifest
            .to_text()
            .map_err(|error| unwritable(&path, &error))?;
        let write = || -> io::Result<()> {
            let mut file = File::create(&path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            self.stamp(&manifest)?;
            File::open(&self.partial)?.sync_all()
        };
        write().map_err(|error| unwritable(&path, &error))?;
        self.publish()
            .map_err(|error| unwritable(&self.target, &error))
    }
    /// What was just written, or taken over, need not be read again.
    fn stamp(&self, manifest: &Manifest) -> io::Result<()> {
        let mut stamps = Stamps::default();
        for (name, part) in &manifest.parts {
            stamps.add(name, &File::open(self.partial.join(name))?, part.crc32);
        }
        for files in &manifest.layers {
            if let Some(table) = manifest.parts.get(&files.table) {
                let data = File::open(self.partial.join(&files.data))?;
                stamps.add(&files.data, &data, table.crc32);
            }
        }
        stamps.write(&self.partial)
    }
    /// In one step, so that there is always either the old machine or the new one.
    fn publish(&self) -> io::Result<()> {
        let exchanged =
            rustix::fs::renameat_with(CWD, &self.partial, CWD, &self.target, RenameFlags::EXCHANGE);
        if exchanged.is_ok() {
            fs::remove_dir_all(&self.partial)?;
        } else if self.target.exists() {
            // A file system that cannot exchange; what a killed process leaves here under
            // another name is the old machine, whole.
            let replaced = beside(&self.target, "replaced").map_err(io::Error::other)?;
            fs::rename(&self.target, &replaced)?;
            fs::rename(&self.partial, &self.target)?;
            fs::remove_dir_all(&replaced)?;
        } else {
            fs::rename(&self.partial, &self.target)?;
        }
        match self.target.parent() {
            Some(parent) if parent.as_os_str().is_empty() => File::open(".")?.sync_all(),
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // After `finish` it is not there any more.
        let _ = fs::remove_dir_all(&self.partial);
    }
}

fn data_name(layer: usize) -> String {
    format!("memory.{layer}")
}

fn table_name(layer: usize) -> String {
    format!("memory.{layer}.table")
}

/// Gives an open file another name. Not by its old one, which may be another file's by now.
fn link(file: &File, to: &Path) -> io::Result<()> {
    let open = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(CWD, open, CWD, to, AtFlags::SYMLINK_FOLLOW)?;
    let (was, is) = (file.metadata()?, fs::symlink_metadata(to)?);
    if (was.dev(), was.ino()) == (is.dev(), is.ino()) {
        return Ok(());
    }
    fs::remove_file(to)?;
    Err(io::Error::other("it is another file"))
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

/// Removes a saved machine. Those that go on from it do not need it any more.
pub fn remove(dir: &Path) -> Result<(), SnapshotError> {
    let failed = |error: io::Error| SnapshotError::Unremovable {
        path: dir.to_path_buf(),
        reason: error.to_string(),
    };
    let attempt = || {
        if !dir.join(MANIFEST).is_file() {
            return Err(io::Error::other("it is no saved machine"));
        }
        for entry in fs::read_dir(dir)? {
            if !entry?.file_type()?.is_file() {
                return Err(io::Error::other("there is something else in it"));
            }
        }
        // First its name: what is removed in part must not be taken for damaged.
        let removed = beside(dir, "partial").map_err(io::Error::other)?;
        fs::rename(dir, &removed)?;
        fs::remove_dir_all(&removed)
    };
    attempt().map_err(failed)
}

/// A name in the same directory, so that renaming is one step.
fn beside(target: &Path, what: &str) -> Result<PathBuf, SnapshotError> {
    let Some(name) = target.file_name() else {
        return Err(unwritable(target, &"it is no name for a directory"));
    };
    let name = format!(".{}.{what}-{}", name.to_string_lossy(), std::process::id());
    Ok(target.with_file_name(name))
}

/// Removes what processes that were killed while saving to `target` have left.
fn sweep(target: &Path) {
    let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
        return;
    };
    let prefix = format!(".{}.partial-", name.to_string_lossy());
    let parent = if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    };
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(&prefix) {
            continue;
        }
        let path = entry.path();
        let is_left = File::open(&path).is_ok_and(|dir| {
            rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok()
        });
        if is_left {
            let _ = fs::remove_dir_all(path);
        }
    }
}
