//! What a virtio device is, whatever the transport: its features, configuration and requests.

use alloc::vec::Vec;

use ringer_hart::Ram;
use ringer_hart::persist::PersistError;

use super::chain::Chain;
use super::queue::{Queue, QueueError};

/// The number that tells a driver what a device is (virtio 1.2, 5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum DeviceType {
    /// Network card.
    Net = 1,
    /// Block device.
    Blk = 2,
    /// Console.
    Console = 3,
    /// Entropy source.
    Rng = 4,
    /// Memory balloon.
    Balloon = 5,
    /// Shared folder (9P).
    Share = 9,
    /// Keyboard, mouse, button.
    Input = 18,
}

/// A virtio device without its transport. All calls are made under the transport's lock.
pub trait VirtioDevice: Send {
    /// What it is.
    fn device_type(&self) -> DeviceType;
    /// The features of this type that it offers; the ring's own are added by the endpoint.
    fn features(&self) -> u64;
    /// The largest size of each queue, powers of two; at most 32 queues.
    fn queue_sizes(&self) -> &'static [u16];
    /// Reads configuration; bytes beyond its end are zero.
    fn read_config(&self, offset: u64, into: &mut [u8]);
    /// Writes configuration; what cannot be written is ignored.
    fn write_config(&mut self, _offset: u64, _from: &[u8]) {}
    /// The driver and the device have agreed on `features`.
    fn negotiated(&mut self, _features: u64) {}
    /// There may be requests in queue `index`.
    fn notify(&mut self, index: usize, io: &mut Io<'_>) -> Result<(), QueueError>;
    /// The backend or the host may have news. Called only while the driver is at work.
    fn poll(&mut self, _io: &mut Io<'_>) -> Result<(), QueueError> {
        Ok(())
    }
    /// Whether the driver is to reset the device for a reason that does not keep it from working.
    fn needs_reset(&self) -> bool {
        false
    }
    /// Back to the state at power-on; what the host has set stays.
    fn reset(&mut self);
    /// The device's own state, encoded.
    fn save(&self) -> Vec<u8>;
    /// Takes on a saved state, reached under `features`. On an error nothing has changed.
    fn restore(&mut self, bytes: &[u8], features: u64) -> Result<(), PersistError>;
}

/// Reads from a configuration space that is `config`.
pub(super) fn read_config_bytes(config: &[u8], offset: u64, into: &mut [u8]) {
    into.fill(0);
    let there = usize::try_from(offset)
        .ok()
        .and_then(|offset| config.get(offset..))
        .unwrap_or_default();
    for (to, from) in into.iter_mut().zip(there) {
        *to = *from;
    }
}

/// What came of a device's work and is to be told to the driver.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Events {
    /// Queues (by bit) with used buffers of which the driver wants to hear.
    pub queues: u32,
    /// The configuration changed, or the device needs a reset.
    pub config: bool,
}

/// A device's access to its queues and to RAM while it works.
pub struct Io<'a> {
    /// The guest's RAM.
    pub ram: &'a Ram,
    /// What was agreed on.
    pub features: u64,
    pub(super) queues: &'a mut [Queue],
    pub(super) events: Events,
    /// Queues (by bit) with work left over.
    pub(super) again: u32,
}

/// Requests served in one go. Other harts can add requests as fast as they are served; without
/// a bound, the hart that notified would never come back.
pub const BUDGET: usize = 1024;
/// Bytes of buffers after which no more requests are begun in one go.
const BUDGET_BYTES: u64 = 64 << 20;

impl<'a> Io<'a> {
    /// Whether `feature` (a mask of one bit) was agreed on.
    pub fn has(&self, feature: u64) -> bool {
        self.features & feature != 0
    }
    /// The queue `index` with the RAM it lies in, if the driver has put it to use.
    pub fn queue(&mut self, index: usize) -> Option<(&'a Ram, &mut Queue)> {
        let queue = self.queues.get_mut(index).filter(|queue| queue.ready())?;
        Some((self.ram, queue))
    }
    /// How many requests all queues have completed.
    pub(super) fn completed(&self) -> u64 {
        self.queues.iter().map(Queue::completed).sum()
    }
    /// The configuration has changed.
    pub fn config_changed(&mut self) {
        self.events.config = true;
    }
    /// Work is left in queue `index`; it is taken up at the next opportunity.
    pub fn again(&mut self, index: usize) {
        self.again |= bit(index);
    }
    /// Interrupts the driver for queue `index`, if it wants that.
    pub fn signal(&mut self, index: usize) -> Result<(), QueueError> {
        if let Some((ram, queue)) = self.queue(index)
            && queue.take_interrupt(ram)?
        {
            self.events.queues |= bit(index);
        }
        Ok(())
    }
    /// Takes the requests of queue `index` one after the other, lets `handle` do each and say
    /// how many bytes it wrote, and gives them back to the driver.
    pub fn serve(
        &mut self,
        index: usize,
        mut handle: impl FnMut(&Ram, &Chain) -> Result<u32, QueueError>,
    ) -> Result<(), QueueError> {
        self.serve_weighed(index, |ram, chain| Ok((handle(ram, chain)?, 0)))
    }
    /// The same for requests that can be more work than their buffers show: `handle` also says
    /// how many bytes it moved beyond those.
    pub fn serve_weighed(
        &mut self,
        index: usize,
        mut handle: impl FnMut(&Ram, &Chain) -> Result<(u32, u64), QueueError>,
    ) -> Result<(), QueueError> {
        let Some((ram, queue)) = self.queue(index) else {
            return Ok(());
        };
        let mut done = false;
        let mut bytes = 0;
        for _ in 0..BUDGET {
            if bytes > BUDGET_BYTES {
                break;
            }
            let Some(chain) = queue.pop_or_rearm(ram)? else {
                done = true;
                break;
            };
            let (written, more) = handle(ram, &chain)?;
            bytes += chain.readable_len() + chain.writable_len() + more;
            queue.complete(ram, chain, written)?;
            queue.publish(ram)?;
        }
        if !done {
            self.again(index);
        }
        self.signal(index)
    }
}

fn bit(index: usize) -> u32 {
    u32::try_from(index)
        .ok()
        .and_then(|index| 1_u32.checked_shl(index))
        .unwrap_or(0)
}
