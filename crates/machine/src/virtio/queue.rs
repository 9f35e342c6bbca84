//! The split virtqueue (virtio 1.2, 2.7), device side. The rings lie in guest RAM and are the
//! guest's to spoil at any moment: every index, address and length is checked when it is used.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::sync::atomic::{Ordering, fence};

use minicbor::{Decode, Encode};
use ringer_hart::persist::PersistError;
use ringer_hart::{GuestPhys, Ram};

use super::chain::{Chain, Segment};
use super::feature;

/// What is wrong with a queue. The device then stops and asks to be reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QueueError {
    /// The size is no power of two, or larger than the device allows.
    #[error("bad queue size")]
    Size,
    /// A ring is misaligned or not all in RAM.
    #[error("a ring is misaligned or outside RAM")]
    Placement,
    /// More requests are said to be available than the ring can hold.
    #[error("the available index jumped by more than the queue size")]
    AvailableJump,
    /// A descriptor's number is beyond its table.
    #[error("a descriptor number is beyond the table")]
    Index,
    /// A chain has more descriptors than the queue, as every looping one does.
    #[error("a chain loops or has too many descriptors")]
    Loop,
    /// A chain has more than 2^32 bytes.
    #[error("a chain is longer than 2^32 bytes")]
    TooLong,
    /// A descriptor has length zero.
    #[error("a descriptor has length zero")]
    ZeroLength,
    /// A buffer or an indirect table is not all in RAM.
    #[error("a buffer is outside RAM")]
    OutOfRam,
    /// A readable descriptor follows a writable one.
    #[error("a readable descriptor follows a writable one")]
    ReadableAfterWritable,
    /// An indirect table inside another, with a bad length, with a successor, or not agreed on.
    #[error("a bad indirect descriptor")]
    Indirect,
    /// The request lacks a part that it cannot do without.
    #[error("a request lacks its header or the place for its status")]
    Request,
}

const DESC_NEXT: u16 = 1;
const DESC_WRITE: u16 = 2;
const DESC_INDIRECT: u16 = 4;
const DESC_BYTES: u64 = 16;
const AVAIL_NO_INTERRUPT: u16 = 1;

/// Whether the index `event` was passed on the way from `old` to `new`: the specification's
/// `vring_need_event` (2.7.10).
pub fn passed_event(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

/// A place in a descriptor table.
struct Table {
    at: GuestPhys,
    len: u64,
}

/// One descriptor as it was at the moment it was read.
struct Descriptor {
    segment: Segment,
    flags: u16,
    next: u16,
}

impl Table {
    fn read(&self, ram: &Ram, index: u16) -> Result<Descriptor, QueueError> {
        let index = u64::from(index);
        if index >= self.len {
            return Err(QueueError::Index);
        }
        let mut bytes = [0; DESC_BYTES as usize];
        ram.read(self.at.offset(index * DESC_BYTES), &mut bytes)
            .ok_or(QueueError::OutOfRam)?;
        // Four fields, which make one little-endian number.
        let fields = u128::from_le_bytes(bytes);
        Ok(Descriptor {
            segment: Segment {
                addr: GuestPhys(fields as u64),
                len: (fields >> 64) as u32,
            },
            flags: (fields >> 96) as u16,
            next: (fields >> 112) as u16,
        })
    }
}

/// Where the driver put a queue, and how large it made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Layout {
    /// Entries in each ring.
    #[n(0)]
    pub size: u16,
    /// The descriptor table.
    #[n(1)]
    pub desc: u64,
    /// The driver area: the available ring.
    #[n(2)]
    pub driver: u64,
    /// The device area: the used ring.
    #[n(3)]
    pub device: u64,
}

/// The saved state of a queue.
#[derive(Clone, Debug, Encode, Decode)]
pub struct QueueState {
    /// The layout.
    #[n(0)]
    pub layout: Layout,
    /// Whether the queue is in use.
    #[n(1)]
    pub ready: bool,
    /// The next available entry to take.
    #[n(2)]
    pub next_avail: u16,
    /// The next used entry to write.
    #[n(3)]
    pub next_used: u16,
    /// The used index when an interrupt was last considered.
    #[n(4)]
    pub considered: u16,
}

/// A split virtqueue.
#[derive(Debug)]
pub struct Queue {
    max_size: u16,
    layout: Layout,
    ready: bool,
    features: u64,
    next_avail: u16,
    next_used: u16,
    considered: u16,
    spare: Vec<Segment>,
    completed: u64,
}

impl Queue {
    /// A queue that may have up to `max_size` entries, a power of two.
    pub fn new(max_size: u16) -> Self {
        Self {
            max_size,
            layout: Layout {
                size: max_size,
                desc: 0,
                driver: 0,
                device: 0,
            },
            ready: false,
            features: 0,
            next_avail: 0,
            next_used: 0,
            considered: 0,
            spare: Vec::new(),
            completed: 0,
        }
    }
    /// The largest size it may be given.
    pub fn max_size(&self) -> u16 {
        self.max_size
    }
    /// Whether the driver has put it to use.
    pub fn ready(&self) -> bool {
        self.ready
    }
    /// Size and place.
    pub fn layout(&self) -> Layout {
        self.layout
    }
    /// Changes size and place; a queue in use stays as it is (4.2.2.2 forbids the driver to try).
    pub fn configure(&mut self, change: impl FnOnce(&mut Layout)) {
        if !self.ready {
            change(&mut self.layout);
        }
    }
    /// Tells the queue which features were agreed on.
    pub fn set_features(&mut self, features: u64) {
        self.features = features;
    }
    /// Back to the state at power-on.
    pub fn reset(&mut self) {
        *self = Self::new(self.max_size);
    }
    /// Puts the queue to use from its beginning.
    pub fn enable(&mut self, ram: &Ram) -> Result<(), QueueError> {
        if self.ready {
            return Ok(());
        }
        self.check(&self.layout, ram)?;
        (self.next_avail, self.next_used, self.considered) = (0, 0, 0);
        self.ready = true;
        Ok(())
    }
    /// Takes the queue out of use.
    pub fn disable(&mut self) {
        self.ready = false;
    }

    fn check(&self, layout: &Layout, ram: &Ram) -> Result<(), QueueError> {
        if !layout.size.is_power_of_two() || layout.size > self.max_size {
            return Err(QueueError::Size);
        }
        let size = u64::from(layout.size);
        // Each ring with its event index, which is there whether or not it is agreed on.
        for (at, align, bytes) in [
            (layout.desc, 16, size * DESC_BYTES),
            (layout.driver, 2, 6 + 2 * size),
            (layout.device, 4, 6 + 8 * size),
        ] {
            if at % align != 0 || ram.offset(GuestPhys(at), bytes).is_none() {
                return Err(QueueError::Placement);
            }
        }
        Ok(())
    }

    fn event_idx(&self) -> bool {
        self.features & feature::EVENT_IDX != 0
    }
    fn avail(&self, offset: u64) -> GuestPhys {
        GuestPhys(self.layout.driver).offset(offset)
    }
    fn used(&self, offset: u64) -> GuestPhys {
        GuestPhys(self.layout.device).offset(offset)
    }
    fn slot(&self, index: u16) -> u64 {
        u64::from(index & self.layout.size.wrapping_sub(1))
    }

    /// How many requests wait to be taken.
    pub fn waiting(&self, ram: &Ram) -> Result<u16, QueueError> {
        if !self.ready {
            return Ok(0);
        }
        let index: u16 = ram.load(self.avail(2)).ok_or(QueueError::Placement)?;
        // The driver wrote the ring and the descriptors before this index (2.7.13.3.1).
        fence(Ordering::Acquire);
        let waiting = index.wrapping_sub(self.next_avail);
        if waiting > self.layout.size {
            return Err(QueueError::AvailableJump);
        }
        Ok(waiting)
    }

    /// Takes the next request, if there is one.
    pub fn pop(&mut self, ram: &Ram) -> Result<Option<Chain>, QueueError> {
        if self.waiting(ram)? == 0 {
            return Ok(None);
        }
        let entry = self.avail(4 + 2 * self.slot(self.next_avail));
        let head: u16 = ram.load(entry).ok_or(QueueError::Placement)?;
        let mut chain = Chain::new(head, core::mem::take(&mut self.spare));
        self.walk(ram, head, &mut chain)?;
        self.next_avail = self.next_avail.wrapping_add(1);
        Ok(Some(chain))
    }

    /// Takes the next request. If there is none, the driver is asked to notify of the next one,
    /// and the ring looked at once more, for the driver may not have seen the wish in time.
    pub fn pop_or_rearm(&mut self, ram: &Ram) -> Result<Option<Chain>, QueueError> {
        match self.pop(ram)? {
            None if self.rearm(ram, 0)? => self.pop(ram),
            chain => Ok(chain),
        }
    }

    fn walk(&self, ram: &Ram, head: u16, chain: &mut Chain) -> Result<(), QueueError> {
        let mut table = Table {
            at: GuestPhys(self.layout.desc),
            len: u64::from(self.layout.size),
        };
        let mut limit = self.layout.size;
        let mut indirect = false;
        let mut index = head;
        loop {
            let descriptor = table.read(ram, index)?;
            let more = descriptor.flags & DESC_NEXT != 0;
            if descriptor.flags & DESC_INDIRECT != 0 {
                let Segment { addr, len } = descriptor.segment;
                let len = u64::from(len);
                let agreed = self.features & feature::INDIRECT_DESC != 0;
                if indirect || more || !agreed || len == 0 || len % DESC_BYTES != 0 {
                    return Err(QueueError::Indirect);
                }
                ram.offset(addr, len).ok_or(QueueError::OutOfRam)?;
                table = Table {
                    at: addr,
                    len: len / DESC_BYTES,
                };
                // A chain may be as long as the queue; Linux does not look at the size it gave
                // the queue, only at the device's limits, so those bound it here.
                limit = self.max_size;
                indirect = true;
                index = 0;
                continue;
            }
            // Each turn adds a segment, so a looping chain ends here.
            if chain.segment_count() >= usize::from(limit) {
                return Err(QueueError::Loop);
            }
            chain.add(ram, descriptor.segment, descriptor.flags & DESC_WRITE != 0)?;
            if !more {
                return Ok(());
            }
            index = descriptor.next;
        }
    }

    /// Puts back the request taken last, to be taken again.
    pub fn undo_pop(&mut self, chain: Chain) {
        self.next_avail = self.next_avail.wrapping_sub(1);
        self.spare = chain.into_segments();
    }

    /// Writes a request that is done into the used ring; the driver does not see it before
    /// [`Queue::publish`].
    pub fn complete(&mut self, ram: &Ram, chain: Chain, written: u32) -> Result<(), QueueError> {
        let at = self.used(4 + 8 * self.slot(self.next_used));
        let store = |at, value: u32| ram.store(at, value).ok_or(QueueError::Placement);
        store(at, u32::from(chain.head()))?;
        store(at.offset(4), written)?;
        self.next_used = self.next_used.wrapping_add(1);
        self.completed += 1;
        self.spare = chain.into_segments();
        Ok(())
    }

    /// How many requests were done since the queue was last reset.
    pub fn completed(&self) -> u64 {
        self.completed
    }

    /// Shows the driver all requests done so far.
    pub fn publish(&mut self, ram: &Ram) -> Result<(), QueueError> {
        // The buffers and the ring must be seen before the index that covers them.
        fence(Ordering::Release);
        ram.store(self.used(2), self.next_used)
            .ok_or(QueueError::Placement)
    }

    /// Asks the driver to notify when more than `seen` requests wait. Returns whether that is
    /// so already, for the driver may not have seen the wish in time.
    pub fn rearm(&mut self, ram: &Ram, seen: u16) -> Result<bool, QueueError> {
        if self.event_idx() {
            let at = self.used(4 + 8 * u64::from(self.layout.size));
            ram.store(at, self.next_avail.wrapping_add(seen))
                .ok_or(QueueError::Placement)?;
            // Either the driver sees the event index, or we see its request.
            fence(Ordering::SeqCst);
        }
        Ok(self.waiting(ram)? > seen)
    }

    /// Whether the driver wants an interrupt for what was published since this was last asked.
    pub fn take_interrupt(&mut self, ram: &Ram) -> Result<bool, QueueError> {
        let (old, new) = (self.considered, self.next_used);
        self.considered = new;
        if old == new {
            return Ok(false);
        }
        // The used index must be seen before the driver's wish is read, or both sides sleep.
        fence(Ordering::SeqCst);
        let read = |at| ram.load(at).ok_or(QueueError::Placement);
        if self.event_idx() {
            let event = read(self.avail(4 + 2 * u64::from(self.layout.size)))?;
            Ok(passed_event(event, new, old))
        } else {
            Ok(read(self.avail(0))? & AVAIL_NO_INTERRUPT == 0)
        }
    }

    /// The state to save.
    pub fn save(&self) -> QueueState {
        QueueState {
            layout: self.layout,
            ready: self.ready,
            next_avail: self.next_avail,
            next_used: self.next_used,
            considered: self.considered,
        }
    }
    /// A queue like this one with the saved state.
    pub fn restored(&self, state: &QueueState, ram: &Ram) -> Result<Self, PersistError> {
        if state.ready {
            self.check(&state.layout, ram)
                .map_err(|e| PersistError::Mismatch {
                    part: "a virtqueue",
                    reason: e.to_string(),
                })?;
        }
        Ok(Self {
            layout: state.layout,
            ready: state.ready,
            next_avail: state.next_avail,
            next_used: state.next_used,
            considered: state.considered,
            ..Self::new(self.max_size)
        })
    }
}
