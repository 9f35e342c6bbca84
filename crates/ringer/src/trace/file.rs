//! A trace in a file: a header, then events one behind the other.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use super::event::{Before, Event};

/// How every trace begins.
const MAGIC: &[u8; 8] = b"RNGTRACE";
/// Raised when readers of before could not understand it.
const VERSION: u8 = 1;
/// The most devices and the longest name that a reader believes in.
const MOST_DEVICES: u8 = 64;

/// What a reader must know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// How many harts there are.
    pub harts: usize,
    /// Names of devices, by number.
    pub devices: Vec<String>,
}

/// Why a trace cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The operating system refuses.
    #[error("cannot read the trace {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is something else.
    #[error("{} is no trace of `ringer run --trace`", .0.display())]
    Strange(PathBuf),
    /// It was made by another Ringer.
    #[error("the trace {} has version {version}, and this Ringer reads version {VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u8,
    },
}

impl Header {
    /// Returns how many bytes were written.
    pub fn write(&self, out: &mut impl Write) -> io::Result<u64> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([VERSION, self.harts as u8, self.devices.len() as u8]);
        for name in &self.devices {
            let name = name.as_bytes();
            let len = name.len().min(255);
            bytes.push(len as u8);
            bytes.extend(name.iter().take(len));
        }
        out.write_all(&bytes)?;
        Ok(bytes.len() as u64)
    }
}

/// A trace that is being read.
pub struct TraceFile {
    /// What it says at its beginning.
    pub header: Header,
    before: Before,
    reader: BufReader<File>,
    /// It ended in the middle of an event, or in what is none.
    pub damaged: bool,
}

impl TraceFile {
    /// Opens a trace.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let unreadable = |error| TraceError::Unreadable {
            path: path.into(),
            error,
        };
        let mut reader = BufReader::new(File::open(path).map_err(unreadable)?);
        let strange = |_| TraceError::Strange(path.into());
        let mut head = [0; 11];
        reader.read_exact(&mut head).map_err(strange)?;
        let [magic @ .., version, harts, devices] = head;
        if magic != *MAGIC {
            return Err(TraceError::Strange(path.into()));
        }
        if version != VERSION {
            return Err(TraceError::Version {
                path: path.into(),
                version,
            });
        }
        if devices > MOST_DEVICES {
            return Err(TraceError::Strange(path.into()));
        }
        let mut names = Vec::new();
        for _ in 0..devices {
            let mut len = [0];
            reader.read_exact(&mut len).map_err(strange)?;
            let mut name = vec![0; len[0].into()];
            reader.read_exact(&mut name).map_err(strange)?;
            // It goes to a terminal.
            names.push(String::from_utf8_lossy(&name).replace(char::is_control, "?"));
        }
        Ok(Self {
            header: Header {
                harts: harts.into(),
                devices: names,
            },
            before: Before::new(harts.into()),
            reader,
            damaged: false,
        })
    }
    /// A device's name.
    pub fn device(&self, number: u64) -> &str {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        self.header.devices.get(number).map_or("?", String::as_str)
    }
    /// The next event. A run that was killed leaves half an event behind.
    pub fn next(&mut self) -> Option<Event> {
        if self.damaged {
            return None;
        }
        self.before.read(&mut self.reader).unwrap_or_else(|_| {
            self.damaged = true;
            None
        })
    }
}
