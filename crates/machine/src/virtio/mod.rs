//! Virtio 1.2 devices: queues, the mmio transport, and the devices behind it.
//!
//! A device ([`VirtioDevice`]) knows its configuration and its requests; an [`Endpoint`] knows
//! what the driver and the device have agreed on; a transport shows that to the guest.

pub mod balloon;
pub mod blk;
pub mod button;
pub mod chain;
pub mod console;
pub mod device;
pub mod endpoint;
pub mod net;
pub mod ports;
pub mod queue;
pub mod rng;
pub mod share;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod transport;

pub use balloon::{Balloon, BalloonControl};
pub use blk::Blk;
pub use button::{Button, ButtonControl};
pub use chain::{Chain, Reader, Writer};
pub use console::{Console, ConsoleControl};
pub use device::{DeviceType, Io, VirtioDevice};
pub use endpoint::{Counters, Endpoint};
pub use net::{Net, NetControl, Renewal};
pub use ports::{Port, Ports};
pub use queue::{Queue, QueueError};
pub use rng::Rng;
pub use share::Share;
pub use transport::{EmptySlot, VirtioMmio, in_slot};

/// Feature bits that belong to no one device (virtio 1.2, 6).
pub mod feature {
    /// Chains may sit in indirect descriptor tables.
    pub const INDIRECT_DESC: u64 = 1 << 28;
    /// Both sides say by index when they next want to be told.
    pub const EVENT_IDX: u64 = 1 << 29;
    /// Not a legacy device or driver.
    pub const VERSION_1: u64 = 1 << 32;
}
