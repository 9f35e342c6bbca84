//! A program as it lies in memory: no headers, no compression, no relocations.

use alloc::vec::Vec;

use ringer_hart::{GuestPhys, Ram};
use ringer_machine::boot::{Image, Placed};
use ringer_machine::memory_map::Span;

/// More segments than any program has.
pub const MAX_SEGMENTS: usize = 256;

/// Firmware or a kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program<'a> {
    /// Where it goes and starts.
    pub placement: Placement,
    /// What it is made of; at least one.
    pub segments: Vec<Segment<'a>>,
}

/// Where a program goes and starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// Anywhere; it starts at its first byte.
    Movable {
        /// What it needs, including what it clears itself when it starts.
        size: u64,
    },
    /// Where its segments say.
    Fixed {
        /// The guest-physical address of its first instruction.
        entry: u64,
    },
}

/// One piece of a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment<'a> {
    /// A guest-physical address if the program is fixed, an offset in it if it is movable.
    pub address: u64,
    /// What is there at the start.
    pub bytes: &'a [u8],
    /// The size in memory; what `bytes` does not fill is zero.
    pub size: u64,
}

/// Why a program cannot be one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProgramError {
    /// There is nothing of it, or it has too many pieces.
    #[error("it has {0} segments, and may have 1 to {MAX_SEGMENTS}")]
    Segments(usize),
    /// A segment ends before its content does, or behind all addresses or the program's size.
    #[error("its segment {0} has an impossible size")]
    Size(usize),
    /// It starts at a place that none of its segments covers.
    #[error("it starts at {0:#x}, where none of its segments is")]
    Entry(u64),
    /// It is larger than the guest.
    #[error("it needs {size} bytes of memory, and the guest has {memory}")]
    TooLarge {
        /// What it needs.
        size: u64,
        /// What there is.
        memory: u64,
    },
}

impl<'a> Program<'a> {
    /// Bytes that may go anywhere and need `size` bytes of memory in all.
    pub fn movable(bytes: &'a [u8], size: u64) -> Self {
        let len = bytes.len() as u64;
        Self {
            placement: Placement::Movable {
                size: size.max(len),
            },
            segments: Vec::from([Segment {
                address: 0,
                bytes,
                size: len,
            }]),
        }
    }

    /// What a layout has to know of it.
    pub fn image(&self) -> Image {
        match self.placement {
            Placement::Movable { size } => Image::Movable(size),
            Placement::Fixed { entry } => {
                let start = self.segments.iter().map(|s| s.address).min().unwrap_or(0);
                let end = self.segments.iter().map(Segment::end).max().unwrap_or(0);
                Image::Fixed {
                    span: Span::new(start, end.saturating_sub(start)),
                    entry: GuestPhys(entry),
                }
            }
        }
    }

    /// Writes it to where a layout has placed it. `None` if that is not all RAM.
    pub fn put(&self, ram: &Ram, placed: Placed) -> Option<()> {
        let origin = match self.placement {
            Placement::Movable { .. } => placed.span.base.0,
            Placement::Fixed { .. } => 0,
        };
        self.segments.iter().try_for_each(|segment| {
            let at = GuestPhys(origin.checked_add(segment.address)?);
            let filled = segment.bytes.len() as u64;
            let rest = segment.size.checked_sub(filled)?;
            if filled > 0 {
                ram.write(at, segment.bytes)?;
            }
            if rest > 0 {
                ram.fill(at.offset(filled), rest, 0)?;
            }
            Some(())
        })
    }

    /// Checks that it is one that a guest with this much memory can start.
    pub fn check(&self, memory: u64) -> Result<(), ProgramError> {
        if !(1..=MAX_SEGMENTS).contains(&self.segments.len()) {
            return Err(ProgramError::Segments(self.segments.len()));
        }
        let limit = match self.placement {
            Placement::Movable { size } => size,
            Placement::Fixed { .. } => u64::MAX,
        };
        let mut needed: u64 = 0;
        for (number, segment) in self.segments.iter().enumerate() {
            let end = segment.address.checked_add(segment.size);
            let possible = segment.bytes.len() as u64 <= segment.size && segment.size > 0;
            if !possible || end.is_none_or(|end| end > limit) {
                return Err(ProgramError::Size(number));
            }
            needed = needed.saturating_add(segment.size);
        }
        match self.placement {
            Placement::Movable { size } => needed = needed.max(size),
            Placement::Fixed { entry } => {
                let inside = |s: &Segment<'_>| (s.address..s.end()).contains(&entry);
                if !self.segments.iter().any(inside) {
                    return Err(ProgramError::Entry(entry));
                }
            }
        }
        if needed > memory {
            return Err(ProgramError::TooLarge {
                size: needed,
                memory,
            });
        }
        Ok(())
    }
}

impl Segment<'_> {
    fn end(&self) -> u64 {
        self.address.saturating_add(self.size)
    }
}
