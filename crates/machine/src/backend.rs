//! What stands behind the devices, given by the host: disks, networks, consoles, entropy, folders.
//! The same device serves a file on Linux and a RAM disk on bare metal.

pub mod memory_disk;
pub mod network;
pub mod overlay_disk;
pub mod seeded_entropy;

pub use memory_disk::{ImageDisk, MemoryDisk};
pub use network::{Switch, SwitchPort};
pub use overlay_disk::OverlayDisk;
pub use seeded_entropy::SeededEntropy;

use alloc::vec::Vec;

use ringer_hart::persist::PersistError;

/// A backend could not do what was asked; the guest sees an I/O error.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the host could not do the transfer")]
pub struct BackendError;

/// Result of a backend's work.
pub type BackendResult<T = ()> = Result<T, BackendError>;

/// The disk behind a block device. Offsets and lengths are in bytes and stay within `len()`,
/// which the device has checked.
pub trait BlockBackend: Send {
    /// The size in bytes.
    fn len(&self) -> u64;
    /// Whether there is no room at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Whether writes are refused.
    fn read_only(&self) -> bool;
    /// Fills `into` from `offset`.
    fn read(&mut self, offset: u64, into: &mut [u8]) -> BackendResult;
    /// Writes `from` at `offset`.
    fn write(&mut self, offset: u64, from: &[u8]) -> BackendResult;
    /// Makes all earlier writes durable.
    fn flush(&mut self) -> BackendResult;
    /// The range is not needed any more; what it then reads as is free.
    fn discard(&mut self, offset: u64, len: u64) -> BackendResult;
    /// The range reads as zeroes from now on; `may_unmap` allows giving the space back.
    fn write_zeroes(&mut self, offset: u64, len: u64, may_unmap: bool) -> BackendResult;
}

/// The network behind a network device: whole Ethernet frames.
pub trait NetBackend: Send {
    /// Sends a frame; a frame that cannot be sent is dropped.
    fn send(&mut self, frame: &[u8]);
    /// Takes the next frame that came in, if there is one and it fits; returns its length.
    /// Never waits. A frame larger than `into` is dropped.
    fn receive(&mut self, into: &mut [u8]) -> Option<usize>;
}

/// The terminal behind a serial port or console.
pub trait ConsoleBackend: Send {
    /// Shows `bytes`. What cannot be shown is dropped rather than waited for.
    fn write(&mut self, bytes: &[u8]);
    /// Takes typed bytes, as many as there are and fit; never waits.
    fn read(&mut self, into: &mut [u8]) -> usize;
}

/// The host's end of a channel of bytes.
pub trait PortBackend: Send {
    /// Takes what the guest wrote, all of it.
    fn write(&mut self, bytes: &[u8]);
    /// Whether there is room for what the guest writes; without, it is held up.
    fn has_room(&self) -> bool;
    /// Gives bytes for the guest, as many as there are and fit; never waits.
    fn read(&mut self, into: &mut [u8]) -> usize;
    /// Whether all was read and nothing will follow.
    fn is_at_end(&self) -> bool;
}

/// Random bytes.
pub trait EntropyBackend: Send {
    /// Fills `into`.
    fn fill(&mut self, into: &mut [u8]) -> BackendResult;
}

/// The host memory behind guest RAM, for a balloon.
pub trait MemoryBackend: Send {
    /// The guest does not need this range now: the host may take its memory. It reads as zero
    /// (or as it was) when touched again. Offsets are from the start of RAM. Whoever calls this
    /// tells the `Ram` of the change.
    fn release(&mut self, offset: u64, len: u64);
}

/// The folder behind a shared-folder device: a server of 9P messages, which knows the files that
/// the guest has a handle (a *fid*) of.
pub trait ShareBackend: Send {
    /// Answers one message into `reply` and returns the answer's length. Anything can stand in
    /// `request`; `reply` is as long as the guest has room.
    fn answer(&mut self, request: &[u8], reply: &mut [u8]) -> usize;
    /// Forgets all that the guest has a handle of.
    fn reset(&mut self);
    /// What the guest has a handle of, as bytes.
    fn save(&self) -> Vec<u8>;
    /// Takes on what was saved, perhaps of another folder. What is not there any more fails when
    /// the guest uses it; only bytes that were never saved are an error.
    fn restore(&mut self, bytes: &[u8]) -> Result<(), PersistError>;
}
