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
///
/// A backend that says so in [`offloads`](Self::offloads) spares both sides work. It takes frames
/// whose TCP and UDP checksums are not filled in, and TCP segments of up to 64 KiB; and it may give
/// such frames, with what is left to do, if the driver has agreed.
pub trait NetBackend: Send {
    /// Sends a frame; a frame that cannot be sent is dropped.
    fn send(&mut self, frame: &[u8]);
    /// Takes the next frame that came in, if there is one and it fits; returns its length.
    /// Never waits. A frame larger than `into` is dropped.
    fn receive(&mut self, into: &mut [u8]) -> Option<usize>;
    /// Whether unfinished frames can come and go.
    fn offloads(&self) -> bool {
        false
    }
    /// The driver takes this from now on.
    fn agreed(&mut self, _offloads: Offloads) {}
    /// As `receive`, but what comes may be unfinished as far as was agreed.
    fn receive_unfinished(&mut self, into: &mut [u8]) -> Option<Incoming> {
        let unfinished = None;
        self.receive(into).map(|len| Incoming { len, unfinished })
    }
    /// Whether there is room for a frame to send. If not, the device leaves it with the driver
    /// until it is polled again.
    fn ready(&mut self) -> bool {
        true
    }
    /// Whether what is sent may bring an answer at once, which the device then takes.
    fn answers_at_once(&self) -> bool {
        false
    }
    /// Whether a thread of its own polls the device. Then nothing is carried while the driver
    /// waits: the thread is woken by [`wake`](Self::wake), and polls.
    fn has_thread(&self) -> bool {
        false
    }
    /// There is something for its thread to do.
    fn wake(&mut self) {}
    /// The guest starts again: what it had under way means nothing any more.
    fn reset(&mut self) {}
}

/// Work on frames that the driver is ready to do itself.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Offloads {
    /// It takes the backend's word for checksums, and sends frames without.
    pub checksums: bool,
    /// It takes large TCP segments.
    pub segments: bool,
}

/// A frame that came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Incoming {
    /// Its length.
    pub len: usize,
    /// What is left to do.
    pub unfinished: Option<Unfinished>,
}

/// What is left to do on a TCP frame: the checksum, of which the part over the pseudo header is
/// there; and perhaps to cut it into segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
pub struct Unfinished {
    /// Where the bytes start that the checksum covers.
    #[n(0)]
    pub checksum_start: u16,
    /// Where the checksum is, from there.
    #[n(1)]
    pub checksum_offset: u16,
    /// Bytes of data in each segment, if it is to be cut.
    #[n(2)]
    pub segment: Option<u16>,
    /// Bytes of headers before the data.
    #[n(3)]
    pub headers: u16,
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
