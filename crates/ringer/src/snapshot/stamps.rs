//! Which files of a saved machine were seen to be right, and when: a note beside them, so that
//! not all of them must be read at every restore. A file that was changed, copied or exchanged
//! since has another time or inode, and is read.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// The note's name in the directory.
pub const STAMPS: &str = "verified";
/// Two changes to a file that are so close may have the same time.
const CLOCK_TICK: i128 = 10_000_000;

/// What a file looked like, and the checksum that it had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    inode: u64,
    bytes: u64,
    /// In nanoseconds.
    modified: i128,
    crc32: u32,
}

impl Stamp {
    fn of(metadata: &Metadata, crc32: u32) -> Self {
        Self {
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: modified(metadata),
            crc32,
        }
    }
    fn parse(line: &str) -> Option<(String, Self)> {
        let mut words = line.split(' ');
        let name = words.next()?.to_string();
        let stamp = Self {
            inode: words.next()?.parse().ok()?,
            bytes: words.next()?.parse().ok()?,
            modified: words.next()?.parse().ok()?,
            crc32: words.next()?.parse().ok()?,
        };
        Some((name, stamp))
    }
}

fn modified(metadata: &Metadata) -> i128 {
    i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec())
}

/// The note: what is known of files by name.
#[derive(Default, Debug)]
pub struct Stamps {
    known: BTreeMap<String, Stamp>,
    /// When the note was written.
    written: i128,
}

impl Stamps {
    /// Reads the note in `dir`. It may be missing or malformed: then nothing is known.
    pub fn read(dir: &Path) -> Self {
        let path = dir.join(STAMPS);
        let (Ok(text), Ok(metadata)) = (crate::loader::read_text(&path), fs::metadata(&path))
        else {
            return Self::default();
        };
        Self {
            known: text.lines().filter_map(Stamp::parse).collect(),
            written: modified(&metadata),
        }
    }
    /// Whether the file was seen to have this checksum and was not changed since.
    pub fn vouch_for(&self, name: &str, file: &File, crc32: u32) -> bool {
        let Ok(metadata) = file.metadata() else {
            return false;
        };
        let settled = modified(&metadata) + CLOCK_TICK <= self.written;
        settled && self.known.get(name) == Some(&Stamp::of(&metadata, crc32))
    }
    /// Notes that the file has this checksum.
    pub fn add(&mut self, name: &str, file: &File, crc32: u32) {
        if let Ok(metadata) = file.metadata() {
            let stamp = Stamp::of(&metadata, crc32);
            self.known.insert(name.to_string(), stamp);
        }
    }
    /// Writes the note into `dir`, later than all changes to the files.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        std::thread::sleep(Duration::from_nanos(2 * CLOCK_TICK as u64));
        let mut text = String::new();
        for (name, stamp) in &self.known {
            let Stamp {
                inode,
                bytes,
                modified,
                crc32,
            } = stamp;
            text += &format!("{name} {inode} {bytes} {modified} {crc32}\n");
        }
        // By renaming: somebody else may be reading it, or writing the same.
        let partial = dir.join(format!(".{STAMPS}-{}", std::process::id()));
        let written = fs::write(&partial, text);
        let named = written.and_then(|()| fs::rename(&partial, dir.join(STAMPS)));
        if named.is_err() {
            // On a full disk it is there, and empty.
            let _ = fs::remove_file(&partial);
        }
        named
    }
}
