//! Bundles: one file that holds guests for the bare-metal monitor. `ringer bundle` writes it,
//! the monitor finds it as its initial RAM disk and reads it in place.
//!
//! | where | what |
//! |---|---|
//! | 0 | the header, 32 bytes, little-endian: magic number, version, CRC-32 of the manifest, length of the whole bundle, length of the manifest |
//! | 32 | the manifest, CBOR with numbered fields: the guests, and length and CRC-32 of each blob |
//! | then | the blobs, in the manifest's order, each at the next multiple of 4 KiB; zeros between |
//!
//! Programs are kept as they lie in memory, so that the monitor unpacks and parses nothing.
//! Blobs with the same content are kept once. The same [`Guest`] goes in and comes out; what it
//! may hold is checked on both sides by [`Guest::check`].
#![no_std]

extern crate alloc;

mod check;
mod format;
mod guest;
mod manifest;
mod program;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use check::{
    GuestError, MAX_COMMAND_LINE, MAX_DEVICES, MAX_GUESTS, MAX_HOST_DISKS, MAX_NAME, MAX_SHARE,
    MAX_SWITCHES, MIN_MEMORY,
};
pub use format::VERSION;
pub use guest::{DEFAULT_SHARE, Disk, Guest, Mac, NetworkPort, SECTOR};
pub use program::{MAX_SEGMENTS, Placement, Program, ProgramError, Segment};
pub use read::{Bundle, BundleError};
pub use write::Builder;
