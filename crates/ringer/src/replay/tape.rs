//! What came into a deterministic machine from outside, and when: enough to run it again.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use minicbor::{Decode, Encode};

use super::origin::Origin;

/// How every recording begins.
const MAGIC: &[u8; 8] = b"RNGTAPE1";
/// Larger files are no recordings.
const LARGEST: u64 = 1 << 30;

/// One thing on a tape. Time is told in rounds: in each every hart had its turn.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Entry {
    /// Keys reach the console at the end of a round.
    #[n(0)]
    Keys {
        /// Which round.
        #[n(0)]
        round: u64,
        /// The bytes.
        #[n(1)]
        #[cbor(with = "minicbor::bytes")]
        bytes: Vec<u8>,
    },
    /// A break and a SysRq key reach the serial port at the end of a round.
    #[n(1)]
    Break {
        /// Which round.
        #[n(0)]
        round: u64,
        /// The key.
        #[n(1)]
        key: u8,
    },
    /// All harts waited in a round, and were woken before the next timer.
    #[n(2)]
    Woken {
        /// Which round.
        #[n(0)]
        round: u64,
        /// The machine's time then.
        #[n(1)]
        ticks: u64,
    },
    /// What the machine was like at the end of a round.
    #[n(3)]
    Check {
        /// Which round.
        #[n(0)]
        round: u64,
        /// Its harts.
        #[n(1)]
        state: Fingerprint,
    },
    /// The run ended in a round, with so many turns of it over.
    #[n(4)]
    End {
        /// Which round.
        #[n(0)]
        round: u64,
        /// How many turns.
        #[n(1)]
        turns: u64,
        /// All of the machine; none if a hart was stopped in the middle of its turn.
        #[n(2)]
        state: Option<Fingerprint>,
        /// How it ended.
        #[n(3)]
        how: String,
    },
}

/// Instructions, and a checksum, by which two states are told apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Fingerprint {
    /// What all harts have retired.
    #[n(0)]
    pub instructions: u64,
    /// A checksum of the state.
    #[n(1)]
    pub sum: u32,
}

impl Entry {
    /// In which round it is.
    pub const fn round(&self) -> u64 {
        match self {
            Self::Keys { round, .. }
            | Self::Break { round, .. }
            | Self::Woken { round, .. }
            | Self::Check { round, .. }
            | Self::End { round, .. } => *round,
        }
    }
}

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TapeError {
    /// The operating system refuses.
    #[error("cannot read the recording {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is something else, or of another version.
    #[error("{} is no recording that this Ringer can replay", .0.display())]
    Strange(PathBuf),
    /// It makes no sense.
    #[error("the recording {} is damaged behind {} of its entries", path.display(), entries)]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Entries that could be read.
        entries: usize,
    },
}

/// What a machine has heard, and will hear again when it goes the same way again.
#[derive(Default)]
pub struct Tape {
    entries: Vec<Entry>,
    /// The entry that comes next.
    next: usize,
    /// Up to the end of this round all is known: nothing else comes in from outside.
    known: Option<u64>,
    /// It is another run's: nothing ever comes in but what is on it.
    is_replay: bool,
    file: Option<File>,
    failed: Option<io::Error>,
}

impl Tape {
    /// Writes what will come to a new file, too.
    pub fn record(path: &Path, origin: &Origin) -> io::Result<Self> {
        let mut file = File::create(path)?;
        file.write_all(MAGIC)?;
        file.write_all(&ringer_hart::persist::encode(origin))?;
        Ok(Self {
            file: Some(file),
            ..Self::default()
        })
    }
    /// Reads another run's.
    pub fn open(path: &Path) -> Result<(Origin, Self), TapeError> {
        let unreadable = |error| TapeError::Unreadable {
            path: path.into(),
            error,
        };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(LARGEST)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        let strange = || TapeError::Strange(path.into());
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(strange)?;
        let mut decoder = minicbor::Decoder::new(rest);
        let origin = decoder.decode().map_err(|_| strange())?;
        let mut entries: Vec<Entry> = Vec::new();
        while decoder.position() < rest.len() {
            match decoder.decode::<Entry>() {
                // A run that was killed leaves half an entry behind.
                Err(error) if error.is_end_of_input() => break,
                Ok(entry)
                    if entries
                        .last()
                        .is_none_or(|last| last.round() <= entry.round()) =>
                {
                    entries.push(entry);
                }
                _ => {
                    return Err(TapeError::Damaged {
                        path: path.into(),
                        entries: entries.len(),
                    });
                }
            }
        }
        let known = entries.last().map(Entry::round);
        let tape = Self {
            entries,
            known: Some(known.unwrap_or(0)),
            is_replay: true,
            ..Self::default()
        };
        Ok((origin, tape))
    }
    /// Whether it is another run's.
    pub fn is_replay(&self) -> bool {
        self.is_replay
    }
    /// Whether it is written to a file.
    pub fn is_recorded(&self) -> bool {
        self.file.is_some()
    }
    /// Whether the machine has been in this round before, or another run was.
    pub fn knows(&self, round: u64) -> bool {
        self.known.is_some_and(|known| round <= known)
    }
    /// What comes next, if it comes in this round.
    pub fn due(&self, round: u64) -> Option<&Entry> {
        let entry = self.entries.get(self.next);
        entry.filter(|entry| entry.round() == round)
    }
    /// It has come.
    pub fn pass(&mut self) {
        self.next += 1;
    }
    /// How the run ends, if that comes next.
    pub fn ending(&self) -> Option<&Entry> {
        let entry = self.entries.get(self.next);
        entry.filter(|entry| matches!(entry, Entry::End { .. }))
    }
    /// Something has come from outside.
    pub fn add(&mut self, entry: Entry) {
        if let Some(file) = &mut self.file
            && self.failed.is_none()
        {
            let bytes = ringer_hart::persist::encode(&entry);
            self.failed = file.write_all(&bytes).err();
        }
        self.entries.push(entry);
        self.next = self.entries.len();
    }
    /// All that came in this round is on the tape.
    pub fn note_round(&mut self, round: u64) {
        self.known = Some(round);
    }
    /// The place on the tape.
    pub fn place(&self) -> usize {
        self.next
    }
    /// Goes back to a place on it.
    pub fn rewind(&mut self, place: usize) {
        self.next = place.min(self.entries.len());
    }
    /// Why the file is not complete, if it is not.
    pub fn take_error(&mut self) -> Option<io::Error> {
        self.failed.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        let state = Fingerprint {
            instructions: 1 << 40,
            sum: u32::MAX,
        };
        vec![
            Entry::Keys {
                round: 3,
                bytes: b"ls\r".to_vec(),
            },
            Entry::Break {
                round: 3,
                key: b's',
            },
            Entry::Woken {
                round: 7,
                ticks: 99,
            },
            Entry::Check { round: 4096, state },
            Entry::End {
                round: 5000,
                turns: 1,
                state: Some(state),
                how: "by itself".to_string(),
            },
        ]
    }

    fn recorded() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tape");
        let mut tape = Tape::record(&path, &Origin::default()).unwrap();
        entries().into_iter().for_each(|entry| tape.add(entry));
        assert!(tape.take_error().is_none());
        let bytes = std::fs::read(&path).unwrap();
        (dir, path, bytes)
    }

    #[test]
    fn what_is_recorded_is_replayed() {
        let (_dir, path, _) = recorded();
        let (origin, mut tape) = Tape::open(&path).unwrap();
        assert_eq!(origin, Origin::default());
        assert!(tape.knows(5000) && !tape.knows(5001) && tape.is_replay());
        for entry in entries() {
            assert_eq!(tape.due(2), None);
            assert_eq!(tape.due(entry.round()), Some(&entry));
            tape.pass();
        }
        assert_eq!(tape.due(5000), None);
    }

    #[test]
    fn a_recording_that_breaks_off_is_replayed_as_far_as_it_goes() {
        let (_dir, path, bytes) = recorded();
        let whole = Tape::open(&path).unwrap().1.entries.len();
        let mut lengths = Vec::new();
        for len in 0..bytes.len() {
            std::fs::write(&path, &bytes[..len]).unwrap();
            if let Ok((_, tape)) = Tape::open(&path) {
                lengths.push(tape.entries.len());
            }
        }
        assert!(lengths.is_sorted() && lengths.contains(&0) && lengths.contains(&(whole - 1)));
    }

    #[test]
    fn damaged_recordings_are_refused_or_read_but_never_more() {
        let (_dir, path, bytes) = recorded();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << bit;
                std::fs::write(&path, &bad).unwrap();
                match Tape::open(&path) {
                    Ok((_, tape)) => assert!(tape.entries.len() <= entries().len()),
                    Err(error) => assert!(!error.to_string().contains('\n')),
                }
            }
        }
    }
}
