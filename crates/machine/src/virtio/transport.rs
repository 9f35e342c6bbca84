//! Virtio over mmio, version 2 (virtio 1.2, 4.2): the registers by which a guest reaches a device.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use ringer_hart::persist::{Persist, PersistError, decode, encode};
use ringer_hart::{BusFault, Ram, Width};

use crate::board::MakeDevice;
use crate::device::{Device, IrqLine};
use crate::lock::Lock;

use super::device::VirtioDevice;
use super::endpoint::{Counters, Endpoint, EndpointState};
use super::queue::QueueError;

/// Register offsets (virtio 1.2, 4.2.2).
pub mod register {
    /// "virt".
    pub const MAGIC: u64 = 0x00;
    /// 2.
    pub const VERSION: u64 = 0x04;
    /// What the device is; 0 is an empty slot.
    pub const DEVICE_ID: u64 = 0x08;
    /// Who made it.
    pub const VENDOR_ID: u64 = 0x0c;
    /// 32 of the features on offer.
    pub const DEVICE_FEATURES: u64 = 0x10;
    /// Which 32.
    pub const DEVICE_FEATURES_SEL: u64 = 0x14;
    /// 32 of the features chosen.
    pub const DRIVER_FEATURES: u64 = 0x20;
    /// Which 32.
    pub const DRIVER_FEATURES_SEL: u64 = 0x24;
    /// Which queue the following registers mean.
    pub const QUEUE_SEL: u64 = 0x30;
    /// The largest size; 0 where there is no queue.
    pub const QUEUE_SIZE_MAX: u64 = 0x34;
    /// The size.
    pub const QUEUE_SIZE: u64 = 0x38;
    /// Whether the queue is in use.
    pub const QUEUE_READY: u64 = 0x44;
    /// There is work in the queue of this number.
    pub const QUEUE_NOTIFY: u64 = 0x50;
    /// Why there is an interrupt.
    pub const INTERRUPT_STATUS: u64 = 0x60;
    /// These reasons are taken care of.
    pub const INTERRUPT_ACK: u64 = 0x64;
    /// The device status field.
    pub const STATUS: u64 = 0x70;
    /// The descriptor table's address, low half; the high half follows.
    pub const QUEUE_DESC: u64 = 0x80;
    /// The available ring's address.
    pub const QUEUE_DRIVER: u64 = 0x90;
    /// The used ring's address.
    pub const QUEUE_DEVICE: u64 = 0xa0;
    /// The length of a shared memory region, low half; the base follows.
    pub const SHM_LEN: u64 = 0xb0;
    /// Counts changes of the configuration.
    pub const CONFIG_GENERATION: u64 = 0xfc;
    /// The device's configuration starts here.
    pub const CONFIG: u64 = 0x100;
}
use register as reg;

const MAGIC: u32 = u32::from_le_bytes(*b"virt");
const VERSION: u32 = 2;
/// QEMU's number: small kernels, xv6 among them, look for no other.
const VENDOR: u32 = u32::from_le_bytes(*b"QEMU");
/// A buffer was used.
const INTERRUPT_USED: u32 = 1;
/// The configuration changed.
const INTERRUPT_CONFIG: u32 = 2;

#[derive(Encode, Decode)]
struct State {
    #[n(0)]
    device_features_sel: u32,
    #[n(1)]
    driver_features_sel: u32,
    #[n(2)]
    queue_sel: u32,
    #[n(3)]
    interrupt: u32,
    #[n(4)]
    endpoint: EndpointState,
}

struct Slot {
    endpoint: Endpoint,
    device_features_sel: u32,
    driver_features_sel: u32,
    queue_sel: u32,
    interrupt: u32,
    /// The level now on the wire.
    level: bool,
}

/// A device for [`BoardBuilder::virtio`](crate::board::BoardBuilder::virtio), called `name`.
pub fn in_slot(name: String, device: Box<dyn VirtioDevice>) -> MakeDevice {
    Box::new(move |ram, irq| Arc::new(VirtioMmio::new(&name, device, ram, irq)))
}

/// A virtio device in an mmio slot.
pub struct VirtioMmio {
    name: String,
    irq: IrqLine,
    slot: Lock<Slot>,
}

impl VirtioMmio {
    /// Puts `device`, called `name`, into a slot with the interrupt wire `irq`.
    pub fn new(name: &str, device: Box<dyn VirtioDevice>, ram: Arc<Ram>, irq: IrqLine) -> Self {
        Self {
            name: name.to_string(),
            irq,
            slot: Lock::new(Slot {
                endpoint: Endpoint::new(device, ram),
                device_features_sel: 0,
                driver_features_sel: 0,
                queue_sel: 0,
                interrupt: 0,
                level: false,
            }),
        }
    }
    /// What was wrong with a queue, if the device stopped over it.
    pub fn fault(&self) -> Option<QueueError> {
        self.slot.lock().endpoint.fault()
    }
    /// What happened since power-on.
    pub fn counters(&self) -> Counters {
        self.slot.lock().endpoint.counters()
    }
    /// Brings interrupt status and wire up to date. Under the lock, so that the wire ends at
    /// the level that the registers ended at.
    fn settle(&self, slot: &mut Slot) {
        let events = slot.endpoint.take_events();
        if events.queues != 0 {
            slot.interrupt |= INTERRUPT_USED;
        }
        if events.config {
            slot.interrupt |= INTERRUPT_CONFIG;
        }
        let level = slot.interrupt != 0;
        if level != slot.level {
            slot.level = level;
            self.irq.set(level);
        }
    }
}

impl Slot {
    fn read(&self, offset: u64) -> u32 {
        let queue = self.endpoint.queue(self.queue_sel);
        match offset {
            reg::MAGIC => MAGIC,
            reg::VERSION => VERSION,
            reg::DEVICE_ID => self.endpoint.device_type() as u32,
            reg::VENDOR_ID => VENDOR,
            reg::DEVICE_FEATURES => half(self.endpoint.offered(), self.device_features_sel),
            reg::QUEUE_SIZE_MAX => queue.map_or(0, |queue| u32::from(queue.max_size())),
            reg::QUEUE_READY => queue.map_or(0, |queue| u32::from(queue.ready())),
            reg::INTERRUPT_STATUS => self.interrupt,
            reg::STATUS => u32::from(self.endpoint.status()),
            // A region that does not exist has length -1 (4.2.2); we have none.
            0xb0..=0xbc => u32::MAX,
            reg::CONFIG_GENERATION => self.endpoint.generation(),
            _ => 0,
        }
    }
    fn write(&mut self, offset: u64, value: u32) {
        let endpoint = &mut self.endpoint;
        match offset {
            reg::DEVICE_FEATURES_SEL => self.device_features_sel = value,
            reg::DRIVER_FEATURES_SEL => self.driver_features_sel = value,
            reg::DRIVER_FEATURES => {
                if let 0 | 1 = self.driver_features_sel {
                    let high = self.driver_features_sel == 1;
                    endpoint.set_features(replace_half(endpoint.features(), high, value));
                }
            }
            reg::QUEUE_SEL => self.queue_sel = value,
            reg::QUEUE_SIZE => endpoint.configure_queue(self.queue_sel, |layout| {
                // Zero is refused when the queue is put to use, as is all else that is not right.
                layout.size = u16::try_from(value).unwrap_or(0);
            }),
            reg::QUEUE_READY => endpoint.set_queue_ready(self.queue_sel, value & 1 != 0),
            reg::QUEUE_NOTIFY => endpoint.notify(value),
            reg::INTERRUPT_ACK => {
                self.interrupt &= !value;
                endpoint.resume();
            }
            // Only zero resets; a value whose low byte happens to be zero does not.
            reg::STATUS => match u8::try_from(value) {
                Ok(0) => {
                    endpoint.reset();
                    self.forget();
                }
                Ok(status) => endpoint.set_status(status),
                Err(_) => {}
            },
            _ => {
                let high = offset & 4 != 0;
                let queue = self.queue_sel;
                match offset & !4 {
                    reg::QUEUE_DESC => endpoint.configure_queue(queue, |layout| {
                        layout.desc = replace_half(layout.desc, high, value);
                    }),
                    reg::QUEUE_DRIVER => endpoint.configure_queue(queue, |layout| {
                        layout.driver = replace_half(layout.driver, high, value);
                    }),
                    reg::QUEUE_DEVICE => endpoint.configure_queue(queue, |layout| {
                        layout.device = replace_half(layout.device, high, value);
                    }),
                    _ => {}
                }
            }
        }
    }
    fn forget(&mut self) {
        self.device_features_sel = 0;
        self.driver_features_sel = 0;
        self.queue_sel = 0;
        self.interrupt = 0;
    }
}

fn half(value: u64, sel: u32) -> u32 {
    match sel {
        0 => value as u32,
        1 => (value >> 32) as u32,
        _ => 0,
    }
}

fn replace_half(value: u64, high: bool, with: u32) -> u64 {
    match high {
        true => value & 0xffff_ffff | u64::from(with) << 32,
        false => value & !0xffff_ffff | u64::from(with),
    }
}

fn is_register(offset: u64, width: Width) -> bool {
    // 4.2.2.2: only 32-bit aligned accesses below the configuration space.
    width == Width::Word && offset & 3 == 0
}

impl Device for VirtioMmio {
    fn name(&self) -> &str {
        &self.name
    }
    fn load(&self, offset: u64, width: Width) -> Result<u64, BusFault> {
        let slot = self.slot.lock();
        if let Some(offset) = offset.checked_sub(reg::CONFIG) {
            let mut bytes = [0; 8];
            if let Some(bytes) = bytes.get_mut(..width.bytes() as usize) {
                slot.endpoint.read_config(offset, bytes);
            }
            return Ok(u64::from_le_bytes(bytes));
        }
        match is_register(offset, width) {
            true => Ok(u64::from(slot.read(offset))),
            false => Ok(0),
        }
    }
    fn store(&self, offset: u64, width: Width, value: u64) -> Result<(), BusFault> {
        let mut slot = self.slot.lock();
        if let Some(offset) = offset.checked_sub(reg::CONFIG) {
            if let Some(bytes) = value.to_le_bytes().get(..width.bytes() as usize) {
                slot.endpoint.write_config(offset, bytes);
            }
        } else if is_register(offset, width) {
            slot.write(offset, value as u32);
        }
        self.settle(&mut slot);
        Ok(())
    }
    fn reset(&self) {
        let mut slot = self.slot.lock();
        slot.endpoint.reset();
        slot.forget();
        self.settle(&mut slot);
    }
    fn poll(&self) {
        let mut slot = self.slot.lock();
        slot.endpoint.poll();
        self.settle(&mut slot);
    }
}

impl Persist for VirtioMmio {
    fn save(&self) -> Vec<u8> {
        let slot = self.slot.lock();
        encode(&State {
            device_features_sel: slot.device_features_sel,
            driver_features_sel: slot.driver_features_sel,
            queue_sel: slot.queue_sel,
            interrupt: slot.interrupt,
            endpoint: slot.endpoint.save(),
        })
    }
    fn restore(&self, bytes: &[u8]) -> Result<(), PersistError> {
        let state: State = decode("a virtio device", bytes)?;
        let mut slot = self.slot.lock();
        slot.endpoint.restore(&state.endpoint)?;
        slot.device_features_sel = state.device_features_sel;
        slot.driver_features_sel = state.driver_features_sel;
        slot.queue_sel = state.queue_sel;
        slot.interrupt = state.interrupt & (INTERRUPT_USED | INTERRUPT_CONFIG);
        slot.level = slot.interrupt != 0;
        self.irq.set(slot.level);
        Ok(())
    }
}

/// An mmio slot with nothing in it: a driver sees device 0 and goes on (4.2.2).
pub struct EmptySlot {
    name: String,
}

impl EmptySlot {
    /// An empty slot called `name`.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_string(),
        }
    }
}

impl Device for EmptySlot {
    fn name(&self) -> &str {
        &self.name
    }
    fn load(&self, offset: u64, width: Width) -> Result<u64, BusFault> {
        Ok(match offset {
            _ if !is_register(offset, width) => 0,
            reg::MAGIC => u64::from(MAGIC),
            reg::VERSION => u64::from(VERSION),
            reg::VENDOR_ID => u64::from(VENDOR),
            _ => 0,
        })
    }
    fn store(&self, _offset: u64, _width: Width, _value: u64) -> Result<(), BusFault> {
        Ok(())
    }
    fn reset(&self) {}
}

impl Persist for EmptySlot {
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }
    fn restore(&self, bytes: &[u8]) -> Result<(), PersistError> {
        match bytes {
            [] => Ok(()),
            _ => Err(PersistError::Mismatch {
                part: "an empty virtio slot",
                reason: "there was a device in it".to_string(),
            }),
        }
    }
}
