//! A guest as a bundle describes it. The contents borrow from the bundle, or on the writing side
//! from the files that were read.

use alloc::vec::Vec;
use core::fmt;

use crate::program::Program;

/// The share of CPU of a guest that asks for none in particular.
pub const DEFAULT_SHARE: u32 = 100;

/// Disks are read and written in units of this many bytes.
pub const SECTOR: u64 = 512;

/// One guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Guest<'a> {
    /// By which the operator knows it: letters, digits, `.`, `_` and `-`.
    pub name: &'a str,
    /// The name of its console at the operator's prompt; usually that of the guest.
    pub console: &'a str,
    /// Bytes of RAM.
    pub memory: u64,
    /// Number of harts.
    pub harts: usize,
    /// Weight of its claim to CPU time: with twice the share it gets twice as much.
    pub share: u32,
    /// The kernel's command line.
    pub command_line: &'a str,
    /// What starts in M-mode.
    pub firmware: Option<Program<'a>>,
    /// What starts in S-mode, or is handed over by the firmware.
    pub kernel: Option<Program<'a>>,
    /// The initial RAM disk.
    pub initrd: Option<&'a [u8]>,
    /// Disks, in the order in which the guest sees them.
    pub disks: Vec<Disk<'a>>,
    /// Network cards, in the order in which the guest sees them.
    pub ports: Vec<NetworkPort>,
}

impl<'a> Guest<'a> {
    /// A guest with one hart, the usual share of CPU, and nothing else yet.
    pub fn new(name: &'a str, memory: u64) -> Self {
        Self {
            name,
            console: name,
            memory,
            harts: 1,
            share: DEFAULT_SHARE,
            command_line: "",
            firmware: None,
            kernel: None,
            initrd: None,
            disks: Vec::new(),
            ports: Vec::new(),
        }
    }

    /// The address of network card `number`: its own, or one that follows from the guest's name.
    pub fn mac(&self, number: usize) -> Option<Mac> {
        let port = self.ports.get(number)?;
        Some(port.mac.unwrap_or_else(|| {
            let [a, b, c, d] = crc32fast::hash(self.name.as_bytes()).to_be_bytes();
            // 2: locally administered, and not a group's.
            Mac([2, a, b, c, d, number as u8])
        }))
    }
}

/// Where a guest's disk is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disk<'a> {
    /// In memory. What the guest writes is lost when the monitor ends.
    Ram {
        /// What is on it at first; whole sectors.
        content: &'a [u8],
        /// Whether the guest may write.
        writable: bool,
    },
    /// A range of a real disk of the host.
    Host {
        /// Which of the host's disks, in the order of their addresses.
        disk: u32,
        /// The first byte of the range.
        offset: u64,
        /// How many bytes.
        size: u64,
        /// Whether the guest may write.
        writable: bool,
    },
}

impl Disk<'_> {
    /// How many bytes it has.
    pub fn size(&self) -> u64 {
        match self {
            Self::Ram { content, .. } => content.len() as u64,
            Self::Host { size, .. } => *size,
        }
    }
    /// Whether the guest may write.
    pub fn writable(&self) -> bool {
        match *self {
            Self::Ram { writable, .. } | Self::Host { writable, .. } => writable,
        }
    }
}

/// A guest's network card: a port of one of the monitor's switches.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct NetworkPort {
    /// Which switch; guests on the same one reach each other.
    pub switch: u32,
    /// Its address; without one see [`Guest::mac`].
    pub mac: Option<Mac>,
    /// Whether that switch is connected to the host's network card.
    pub bridged: bool,
}

/// The hardware address of a network card.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Whether a card can have it: it is not zero, and not that of a group.
    pub fn is_usable(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
