//! What a trace tells of: one event, and its few bytes in the file.

use std::io::{self, Read, Write};

use clap::ValueEnum;
use serde::Deserialize;

/// Kinds of events, as they are chosen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Exceptions, with their cause.
    Traps,
    /// Interrupts taken.
    Interrupts,
    /// Accesses to devices.
    Mmio,
    /// Changes of page tables: `satp` written, fences.
    Pagetable,
    /// Calls of the monitor's SBI.
    Sbi,
    /// What harts do: run, wait, stop.
    Sched,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Traps,
        Self::Interrupts,
        Self::Mmio,
        Self::Pagetable,
        Self::Sbi,
        Self::Sched,
    ];
    /// As it is written on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Traps => "traps",
            Self::Interrupts => "interrupts",
            Self::Mmio => "mmio",
            Self::Pagetable => "pagetable",
            Self::Sbi => "sbi",
            Self::Sched => "sched",
        }
    }
    /// Whether every instruction must be looked at to see it.
    pub const fn needs_eyes(self) -> bool {
        matches!(self, Self::Traps | Self::Interrupts | Self::Pagetable)
    }
}

/// What has happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// An exception was taken.
    Trap {
        /// Its number.
        cause: u64,
        /// Where.
        epc: u64,
        /// What it tells besides.
        tval: u64,
        /// The mode before, as the manual encodes it.
        from: u64,
        /// The mode of the handler.
        to: u64,
    },
    /// An interrupt was taken.
    Interrupt {
        /// Its number.
        cause: u64,
        /// Before which instruction.
        epc: u64,
        /// The mode before.
        from: u64,
        /// The mode of the handler.
        to: u64,
    },
    /// A device was read.
    Load {
        /// Its number in the trace's list.
        device: u64,
        /// Where in it.
        offset: u64,
        /// How many bytes.
        bytes: u64,
        /// What was read.
        value: u64,
    },
    /// A device was written.
    Store {
        /// Its number in the trace's list.
        device: u64,
        /// Where in it.
        offset: u64,
        /// How many bytes.
        bytes: u64,
        /// What was written.
        value: u64,
    },
    /// `satp` has another value.
    Satp {
        /// Which.
        value: u64,
    },
    /// Translations were fenced. All ones stand for all addresses or spaces.
    Fence {
        /// The address.
        va: u64,
        /// The address space.
        asid: u64,
    },
    /// The monitor's SBI was called and has answered.
    Sbi {
        /// The extension.
        extension: u64,
        /// The function.
        function: u64,
        /// The first argument.
        a0: u64,
        /// The second argument.
        a1: u64,
        /// `a0` afterwards, unless the call does not return.
        error: u64,
    },
    /// The hart executes instructions from here on.
    Runs,
    /// It waits for an interrupt.
    Waits,
    /// It has stopped.
    Stops,
}

impl What {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Trap { .. } => Kind::Traps,
            Self::Interrupt { .. } => Kind::Interrupts,
            Self::Load { .. } | Self::Store { .. } => Kind::Mmio,
            Self::Satp { .. } | Self::Fence { .. } => Kind::Pagetable,
            Self::Sbi { .. } => Kind::Sbi,
            Self::Runs | Self::Waits | Self::Stops => Kind::Sched,
        }
    }
    /// Its number in a file, and its words.
    fn words(&self) -> (u8, [u64; 5], usize) {
        match *self {
            Self::Trap {
                cause,
                epc,
                tval,
                from,
                to,
            } => (0, [cause, epc, tval, from, to], 5),
            Self::Interrupt {
                cause,
                epc,
                from,
                to,
            } => (1, [cause, epc, from, to, 0], 4),
            Self::Load {
                device,
                offset,
                bytes,
                value,
            } => (2, [device, offset, bytes, value, 0], 4),
            Self::Store {
                device,
                offset,
                bytes,
                value,
            } => (3, [device, offset, bytes, value, 0], 4),
            Self::Satp { value } => (4, [value, 0, 0, 0, 0], 1),
            Self::Fence { va, asid } => (5, [va, asid, 0, 0, 0], 2),
            Self::Sbi {
                extension,
                function,
                a0,
                a1,
                error,
            } => (6, [extension, function, a0, a1, error], 5),
            Self::Runs => (7, [0; 5], 0),
            Self::Waits => (8, [0; 5], 0),
            Self::Stops => (9, [0; 5], 0),
        }
    }
    /// How many words follow a number; `None` if there is no such event.
    fn count(number: u8) -> Option<usize> {
        Some(match number {
            0 | 6 => 5,
            1..=3 => 4,
            4 => 1,
            5 => 2,
            7..=9 => 0,
            _ => return None,
        })
    }
    fn from_words(number: u8, words: [u64; 5]) -> Option<Self> {
        let [a, b, c, d, e] = words;
        Some(match number {
            0 => Self::Trap {
                cause: a,
                epc: b,
                tval: c,
                from: d,
                to: e,
            },
            1 => Self::Interrupt {
                cause: a,
                epc: b,
                from: c,
                to: d,
            },
            2 => Self::Load {
                device: a,
                offset: b,
                bytes: c,
                value: d,
            },
            3 => Self::Store {
                device: a,
                offset: b,
                bytes: c,
                value: d,
            },
            4 => Self::Satp { value: a },
            5 => Self::Fence { va: a, asid: b },
            6 => Self::Sbi {
                extension: a,
                function: b,
                a0: c,
                a1: d,
                error: e,
            },
            7 => Self::Runs,
            8 => Self::Waits,
            9 => Self::Stops,
            _ => return None,
        })
    }
}

/// Something that has happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// To which hart.
    pub hart: usize,
    /// When, in ticks of the machine's clock.
    pub time: u64,
    /// How many instructions the hart had retired.
    pub instructions: u64,
    /// What.
    pub what: What,
}

/// What events are told relative to, so that their numbers are small.
#[derive(Clone, Debug)]
pub struct Before {
    time: u64,
    instructions: Vec<u64>,
}

impl Before {
    /// Before the first event of so many harts.
    pub fn new(harts: usize) -> Self {
        Self {
            time: 0,
            instructions: vec![0; harts],
        }
    }

    /// Writes an event: its number and hart, and words of seven bits to a byte.
    pub fn write(&mut self, event: &Event, out: &mut impl Write) -> io::Result<()> {
        let (number, words, count) = event.what.words();
        out.write_all(&[number, event.hart as u8])?;
        write_word(out, zigzag(event.time.wrapping_sub(self.time)))?;
        self.time = event.time;
        if let Some(before) = self.instructions.get_mut(event.hart) {
            write_word(out, zigzag(event.instructions.wrapping_sub(*before)))?;
            *before = event.instructions;
        }
        words
            .iter()
            .take(count)
            .try_for_each(|word| write_word(out, *word))
    }

    /// Reads the next one; `None` at the end of the file.
    pub fn read(&mut self, from: &mut impl Read) -> io::Result<Option<Event>> {
        let mut head = [0; 2];
        match from.read(&mut head[..1])? {
            0 => return Ok(None),
            _ => from.read_exact(&mut head[1..])?,
        }
        let [number, hart] = head.map(usize::from);
        let damaged = || io::Error::from(io::ErrorKind::InvalidData);
        let number = number as u8;
        let count = What::count(number).ok_or_else(damaged)?;
        self.time = self.time.wrapping_add(unzigzag(read_word(from)?));
        let before = self.instructions.get_mut(hart).ok_or_else(damaged)?;
        *before = before.wrapping_add(unzigzag(read_word(from)?));
        let instructions = *before;
        let mut words = [0; 5];
        for word in words.iter_mut().take(count) {
            *word = read_word(from)?;
        }
        Ok(Some(Event {
            hart,
            time: self.time,
            instructions,
            what: What::from_words(number, words).ok_or_else(damaged)?,
        }))
    }
}

/// Small numbers of either sign become small numbers.
fn zigzag(value: u64) -> u64 {
    let value = value as i64;
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> u64 {
    (value >> 1) ^ (value & 1).wrapping_neg()
}

fn write_word(out: &mut impl Write, mut word: u64) -> io::Result<()> {
    let mut bytes = [0; 10];
    let mut len = 0;
    for byte in &mut bytes {
        len += 1;
        *byte = word as u8 & 0x7f;
        word >>= 7;
        if word == 0 {
            break;
        }
        *byte |= 0x80;
    }
    out.write_all(bytes.get(..len).unwrap_or_default())
}

fn read_word(from: &mut impl Read) -> io::Result<u64> {
    let mut word = 0;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        from.read_exact(&mut byte)?;
        word |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            return Ok(word);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Vec<Event> {
        let whats = [
            What::Trap {
                cause: 8,
                epc: u64::MAX,
                tval: 0,
                from: 0,
                to: 1,
            },
            What::Interrupt {
                cause: 5,
                epc: 4,
                from: 1,
                to: 1,
            },
            What::Load {
                device: 3,
                offset: 4,
                bytes: 1,
                value: 0x61,
            },
            What::Store {
                device: 0,
                offset: 0,
                bytes: 8,
                value: 1 << 63,
            },
            What::Satp { value: 8 << 60 },
            What::Fence {
                va: u64::MAX,
                asid: 3,
            },
            What::Sbi {
                extension: 0x5449_4d45,
                function: 0,
                a0: 7,
                a1: 8,
                error: 0,
            },
            What::Runs,
            What::Waits,
            What::Stops,
        ];
        let event = |(at, what)| Event {
            hart: at % 2,
            // Also backwards: a guest may set its clock.
            time: 1000 - (at as u64) * 100,
            instructions: at as u64 * 12_345,
            what,
        };
        whats.into_iter().enumerate().map(event).collect()
    }

    #[test]
    fn events_come_back() {
        let mut bytes = Vec::new();
        let mut before = Before::new(2);
        for event in some() {
            before.write(&event, &mut bytes).unwrap();
        }
        let mut before = Before::new(2);
        let mut from = &bytes[..];
        for event in some() {
            assert_eq!(before.read(&mut from).unwrap(), Some(event));
        }
        assert_eq!(before.read(&mut from).unwrap(), None);
    }

    #[test]
    fn damaged_events_are_errors() {
        let mut bytes = Vec::new();
        Before::new(2).write(&some()[0], &mut bytes).unwrap();
        for len in 1..bytes.len() {
            assert!(Before::new(2).read(&mut &bytes[..len]).is_err(), "{len}");
        }
        for bytes in [&[10, 0, 0, 0][..], &[7, 2, 0, 0], &[4, 0, 0xff, 0xff, 0xff]] {
            assert!(Before::new(2).read(&mut { bytes }).is_err());
        }
        let endless = [&[4, 0, 0, 0][..], &[0xff; 20]].concat();
        assert!(Before::new(2).read(&mut &endless[..]).is_err());
    }
}
