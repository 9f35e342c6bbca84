//! A guest for tests and fuzzing: RAM, a slot with a device, and a driver's side of the queues.

pub mod fuzz;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use ringer_hart::{GuestPhys, Ram, Width};

use crate::device::{Device, InterruptController, IrqLine};

use super::device::VirtioDevice;
use super::endpoint::status;
use super::queue::{Layout, Queue};
use super::transport::{VirtioMmio, register as reg};

/// Where RAM starts.
pub const BASE: u64 = 0x8000_0000;
/// Bytes of RAM.
pub const RAM_BYTES: u64 = 512 << 10;
/// Where the queues end and buffers may lie.
pub const BUFFERS: u64 = BASE + 0x1_0000;
/// Room for a queue of 256 entries.
const QUEUE_STRIDE: u64 = 0x3000;

/// An interrupt controller with one input, which counts how often it rises.
#[derive(Default)]
struct Wire {
    level: AtomicBool,
    rises: AtomicU32,
}

impl InterruptController for Wire {
    fn set_level(&self, _source: u32, level: bool) {
        if !self.level.swap(level, Ordering::AcqRel) && level {
            self.rises.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// A guest machine with one virtio device.
pub struct Rig {
    device: VirtioMmio,
    wire: Arc<Wire>,
    ram: Arc<Ram>,
}

impl Rig {
    /// A machine with `device`, just switched on.
    pub fn new(device: Box<dyn VirtioDevice>) -> Self {
        let ram = Ram::zeroed(GuestPhys(BASE), RAM_BYTES);
        let ram = Arc::new(ram.expect("half a megabyte for a test"));
        let wire = Arc::new(Wire::default());
        Self {
            device: Self::slot(device, &ram, &wire),
            wire,
            ram,
        }
    }
    fn slot(device: Box<dyn VirtioDevice>, ram: &Arc<Ram>, wire: &Arc<Wire>) -> VirtioMmio {
        let irq = IrqLine::new(wire.clone(), 1);
        VirtioMmio::new("virtio0", device, ram.clone(), irq)
    }
    /// Takes the device out and puts a new one in; RAM stays.
    pub fn replace(&mut self, device: Box<dyn VirtioDevice>) {
        self.device = Self::slot(device, &self.ram, &self.wire);
    }
    /// The device in its slot.
    pub fn device(&self) -> &VirtioMmio {
        &self.device
    }
    /// The guest's RAM.
    pub fn ram(&self) -> &Ram {
        &self.ram
    }
    /// Reads a register.
    pub fn read(&self, register: u64) -> u32 {
        let value = self.device.load(register, Width::Word);
        value.unwrap_or(u64::MAX) as u32
    }
    /// Writes a register.
    pub fn write(&self, register: u64, value: u32) {
        let _ = self.device.store(register, Width::Word, value.into());
    }
    /// Whether the device interrupts.
    pub fn interrupt(&self) -> bool {
        self.wire.level.load(Ordering::Acquire)
    }
    /// How often the interrupt has risen.
    pub fn interrupts(&self) -> u32 {
        self.wire.rises.load(Ordering::Acquire)
    }
    /// Takes the reasons for the interrupt and acknowledges them.
    pub fn acknowledge(&self) -> u32 {
        let reasons = self.read(reg::INTERRUPT_STATUS);
        self.write(reg::INTERRUPT_ACK, reasons);
        reasons
    }
    /// The features on offer.
    pub fn offered(&self) -> u64 {
        self.write(reg::DEVICE_FEATURES_SEL, 1);
        let high = self.read(reg::DEVICE_FEATURES);
        self.write(reg::DEVICE_FEATURES_SEL, 0);
        u64::from(high) << 32 | u64::from(self.read(reg::DEVICE_FEATURES))
    }
    /// Resets the device and agrees on `features`; returns whether the device consents.
    pub fn negotiate(&self, features: u64) -> bool {
        self.write(reg::STATUS, 0);
        let found = status::ACKNOWLEDGE | status::DRIVER;
        self.write(reg::STATUS, found.into());
        self.write(reg::DRIVER_FEATURES_SEL, 0);
        self.write(reg::DRIVER_FEATURES, features as u32);
        self.write(reg::DRIVER_FEATURES_SEL, 1);
        self.write(reg::DRIVER_FEATURES, (features >> 32) as u32);
        self.write(reg::STATUS, (found | status::FEATURES_OK).into());
        self.read(reg::STATUS) & u32::from(status::FEATURES_OK) != 0
    }
    /// Puts queue `index` to use with `size` entries.
    pub fn start_queue(&self, index: u32, size: u16, features: u64) -> DriverQueue {
        let queue = DriverQueue::new(index, size, features);
        self.ram.fill(GuestPhys(queue.layout.desc), QUEUE_STRIDE, 0);
        self.write(reg::QUEUE_SEL, index);
        self.write(reg::QUEUE_SIZE, size.into());
        for (register, at) in [
            (reg::QUEUE_DESC, queue.layout.desc),
            (reg::QUEUE_DRIVER, queue.layout.driver),
            (reg::QUEUE_DEVICE, queue.layout.device),
        ] {
            self.write(register, at as u32);
            self.write(register + 4, (at >> 32) as u32);
        }
        self.write(reg::QUEUE_READY, 1);
        queue
    }
    /// Starts the device as a driver does: agrees on `features` and puts the first `queues`
    /// queues to use with `size` entries each. `None` if the device does not consent.
    pub fn start(&self, features: u64, queues: u32, size: u16) -> Option<Vec<DriverQueue>> {
        self.negotiate(features).then(|| {
            let queues = (0..queues).map(|index| self.start_queue(index, size, features));
            let queues = queues.collect();
            let now = self.read(reg::STATUS);
            self.write(reg::STATUS, now | u32::from(status::DRIVER_OK));
            queues
        })
    }
    /// Notifies the device of work in `queue`, if it wants to know.
    pub fn kick(&self, queue: &mut DriverQueue) {
        if queue.wants_notification(&self.ram) {
            self.write(reg::QUEUE_NOTIFY, queue.index);
        }
    }
    /// Copies bytes out of RAM.
    pub fn bytes(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = alloc::vec![0; len];
        self.ram.read(GuestPhys(at), &mut bytes);
        bytes
    }
    /// Copies bytes into RAM.
    pub fn put(&self, at: u64, bytes: &[u8]) {
        self.ram.write(GuestPhys(at), bytes);
    }
}

/// A buffer in a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Buffer {
    /// Where it is.
    pub at: u64,
    /// How long.
    pub len: u32,
    /// Whether the device may write it.
    pub writable: bool,
}

/// A buffer for the device to read.
pub fn readable(at: u64, len: u32) -> Buffer {
    let writable = false;
    Buffer { at, len, writable }
}

/// A buffer for the device to write.
pub fn writable(at: u64, len: u32) -> Buffer {
    let writable = true;
    Buffer { at, len, writable }
}

/// The driver's side of a queue.
#[derive(Debug)]
pub struct DriverQueue {
    index: u32,
    layout: Layout,
    event_idx: bool,
    next_desc: u16,
    next_avail: u16,
    /// The available index when notifying was last considered.
    considered: u16,
    last_used: u16,
}

impl DriverQueue {
    /// Queue `index` with `size` entries, at a place of its own.
    pub fn new(index: u32, size: u16, features: u64) -> Self {
        let desc = BASE + u64::from(index) * QUEUE_STRIDE;
        Self {
            index,
            layout: Layout {
                size,
                desc,
                driver: desc + 0x1000,
                device: desc + 0x2000,
            },
            event_idx: features & super::feature::EVENT_IDX != 0,
            next_desc: 0,
            next_avail: 0,
            considered: 0,
            last_used: 0,
        }
    }
    /// Where it lies.
    pub fn layout(&self) -> Layout {
        self.layout
    }
    /// The device's side of it, outside any device.
    pub fn device_side(&self, ram: &Ram, features: u64) -> Queue {
        let mut queue = Queue::new(256);
        queue.configure(|layout| *layout = self.layout);
        queue.set_features(features);
        let _ = queue.enable(ram);
        queue
    }
    /// Writes a descriptor.
    pub fn describe(ram: &Ram, table: u64, index: u16, buffer: Buffer, flags: u16, next: u16) {
        let at = GuestPhys(table + 16 * u64::from(index));
        let flags = flags | if buffer.writable { 2 } else { 0 };
        ram.store(at, buffer.at);
        ram.store(at.offset(8), buffer.len);
        ram.store(at.offset(12), flags);
        ram.store(at.offset(14), next);
    }
    fn describe_all(ram: &Ram, table: u64, mask: u16, first: u16, buffers: &[Buffer]) {
        for (n, buffer) in (0_u16..).zip(buffers) {
            let index = first.wrapping_add(n) & mask;
            let next = index.wrapping_add(1) & mask;
            let more = u16::from(usize::from(n) + 1 < buffers.len());
            Self::describe(ram, table, index, *buffer, more, next);
        }
    }
    /// Makes the chain that starts with descriptor `head` available.
    pub fn offer(&mut self, ram: &Ram, head: u16) {
        let slot = u64::from(self.next_avail % self.layout.size.max(1));
        ram.store(GuestPhys(self.layout.driver + 4 + 2 * slot), head);
        self.next_avail = self.next_avail.wrapping_add(1);
        core::sync::atomic::fence(Ordering::Release);
        ram.store(GuestPhys(self.layout.driver + 2), self.next_avail);
    }
    /// Makes a request; the caller sees to it that no more are open than there is room for.
    /// Returns its head.
    pub fn add(&mut self, ram: &Ram, buffers: &[Buffer]) -> u16 {
        let mask = self.layout.size.wrapping_sub(1);
        let head = self.next_desc & mask;
        Self::describe_all(ram, self.layout.desc, mask, head, buffers);
        self.next_desc = head.wrapping_add(buffers.len() as u16);
        self.offer(ram, head);
        head
    }
    /// Makes a request by an indirect table at `table`.
    pub fn add_indirect(&mut self, ram: &Ram, table: u64, buffers: &[Buffer]) -> u16 {
        Self::describe_all(ram, table, u16::MAX, 0, buffers);
        let head = self.next_desc & self.layout.size.wrapping_sub(1);
        let whole = readable(table, 16 * buffers.len() as u32);
        Self::describe(ram, self.layout.desc, head, whole, 4, 0);
        self.next_desc = head.wrapping_add(1);
        self.offer(ram, head);
        head
    }
    /// Whether the device wants to be notified of the requests made since this was last asked.
    pub fn wants_notification(&mut self, ram: &Ram) -> bool {
        let (old, new) = (self.considered, self.next_avail);
        self.considered = new;
        core::sync::atomic::fence(Ordering::SeqCst);
        if !self.event_idx {
            return ram.load(GuestPhys(self.layout.device)) == Some(0_u16);
        }
        let at = self.layout.device + 4 + 8 * u64::from(self.layout.size);
        let event: u16 = ram.load(GuestPhys(at)).unwrap_or(0);
        super::queue::passed_event(event, new, old)
    }
    /// Asks for an interrupt when `count` more requests than taken so far are done (by event
    /// index), or for none (count 0, by flag).
    pub fn want_interrupt_after(&self, ram: &Ram, count: u16) {
        let at = self.layout.driver + 4 + 2 * u64::from(self.layout.size);
        let event = self.last_used.wrapping_add(count).wrapping_sub(1);
        ram.store(GuestPhys(at), event);
        ram.store(GuestPhys(self.layout.driver), u16::from(count == 0));
    }
    /// Takes the next request that is done: its head, and the bytes written.
    pub fn take_used(&mut self, ram: &Ram) -> Option<(u32, u32)> {
        let done: u16 = ram.load(GuestPhys(self.layout.device + 2))?;
        if done == self.last_used {
            return None;
        }
        core::sync::atomic::fence(Ordering::Acquire);
        let slot = u64::from(self.last_used % self.layout.size.max(1));
        let at = GuestPhys(self.layout.device + 4 + 8 * slot);
        self.last_used = self.last_used.wrapping_add(1);
        Some((ram.load(at)?, ram.load(at.offset(4))?))
    }
}
