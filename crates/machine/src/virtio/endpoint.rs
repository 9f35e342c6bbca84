//! What a driver and a device have agreed on: status, features, queues (virtio 1.2, 2 and 3).
//! The same for every transport.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use ringer_hart::Ram;
use ringer_hart::persist::PersistError;

use super::device::{DeviceType, Events, Io, VirtioDevice};
use super::feature;
use super::queue::{Layout, Queue, QueueError, QueueState};

/// Bits of the device status field (virtio 1.2, 2.1).
pub mod status {
    /// The guest has seen the device.
    pub const ACKNOWLEDGE: u8 = 1;
    /// The guest has a driver for it.
    pub const DRIVER: u8 = 2;
    /// The driver is at work.
    pub const DRIVER_OK: u8 = 4;
    /// The features are agreed on.
    pub const FEATURES_OK: u8 = 8;
    /// The device cannot go on without a reset.
    pub const NEEDS_RESET: u8 = 0x40;
    /// The guest has given up on the device.
    pub const FAILED: u8 = 0x80;
}

/// What happened since power-on, for statistics; no part of the saved state.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Times the driver said that there is work.
    pub notifications: u64,
    /// Requests done.
    pub requests: u64,
    /// Times the driver was to be told of requests done.
    pub interrupts: u64,
    /// Times the driver was to be told of a new configuration or a fault.
    pub config_changes: u64,
    /// Times a malformed queue stopped the device.
    pub faults: u64,
}

/// The saved state of an endpoint.
#[derive(Clone, Debug, Encode, Decode)]
pub struct EndpointState {
    #[n(0)]
    device_type: u32,
    #[n(1)]
    status: u8,
    #[n(2)]
    features: u64,
    #[n(3)]
    generation: u32,
    #[n(4)]
    again: u32,
    #[n(5)]
    queues: Vec<QueueState>,
    #[n(6)]
    #[cbor(with = "minicbor::bytes")]
    device: Vec<u8>,
}

/// A device with the state of its conversation with the driver.
pub struct Endpoint {
    device: Box<dyn VirtioDevice>,
    ram: Arc<Ram>,
    queues: Vec<Queue>,
    status: u8,
    features: u64,
    generation: u32,
    /// Queues (by bit) with work left over from the last time.
    again: u32,
    events: Events,
    fault: Option<QueueError>,
    counters: Counters,
}

impl Endpoint {
    /// `device`, not yet found by a driver.
    pub fn new(device: Box<dyn VirtioDevice>, ram: Arc<Ram>) -> Self {
        let queues = device.queue_sizes().iter().copied().map(Queue::new);
        Self {
            queues: queues.take(32).collect(),
            device,
            ram,
            status: 0,
            features: 0,
            generation: 0,
            again: 0,
            events: Events::default(),
            fault: None,
            counters: Counters::default(),
        }
    }
    /// What happened since power-on.
    pub fn counters(&self) -> Counters {
        self.counters
    }
    /// What the device is.
    pub fn device_type(&self) -> DeviceType {
        self.device.device_type()
    }
    /// All features on offer.
    pub fn offered(&self) -> u64 {
        let ring = feature::VERSION_1 | feature::INDIRECT_DESC | feature::EVENT_IDX;
        self.device.features() | ring
    }
    /// The features that the driver has chosen so far.
    pub fn features(&self) -> u64 {
        self.features
    }
    /// The driver chooses features; too late once they are agreed on.
    pub fn set_features(&mut self, features: u64) {
        if self.status & status::FEATURES_OK == 0 {
            self.features = features;
        }
    }
    /// The device status field.
    pub fn status(&self) -> u8 {
        let wish = match self.device.needs_reset() {
            true => status::NEEDS_RESET,
            false => 0,
        };
        self.status | wish
    }
    /// Why the device needs a reset, for those who look for the guest's mistake.
    pub fn fault(&self) -> Option<QueueError> {
        self.fault
    }
    /// Counts changes of the configuration.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The driver writes the status field: zero resets, other bits are added.
    pub fn set_status(&mut self, value: u8) {
        if value == 0 {
            return self.reset();
        }
        let mut new = value & !self.status;
        self.status |= new & (status::ACKNOWLEDGE | status::DRIVER | status::FAILED);
        if new & status::FEATURES_OK != 0 {
            // A driver that leaves out VERSION_1 may be refused (6.2) but need not be: xv6 does
            // so, and is otherwise a modern driver, to which nothing here makes a difference.
            if self.features & !self.offered() == 0 {
                self.status |= status::FEATURES_OK;
                self.apply_features();
                self.device.negotiated(self.features);
            }
        }
        if self.status & status::FEATURES_OK == 0 {
            // The device refuses to work with features it does not know (3.1.1, step 6).
            new &= !status::DRIVER_OK;
        }
        if new & status::DRIVER_OK != 0 {
            self.status |= status::DRIVER_OK;
            // Requests may have been queued, and their notifications ignored, before now.
            self.again = u32::MAX;
            self.work(false);
        }
    }
    fn apply_features(&mut self) {
        for queue in &mut self.queues {
            queue.set_features(self.features);
        }
    }
    /// Back to the state at power-on.
    pub fn reset(&mut self) {
        self.queues.iter_mut().for_each(Queue::reset);
        self.device.reset();
        (self.status, self.features) = (0, 0);
        (self.generation, self.again) = (0, 0);
        self.events = Events::default();
        self.fault = None;
    }

    /// Queue `index`, if there is one.
    pub fn queue(&self, index: u32) -> Option<&Queue> {
        self.queues.get(usize::try_from(index).ok()?)
    }
    fn queue_mut(&mut self, index: u32) -> Option<&mut Queue> {
        self.queues.get_mut(usize::try_from(index).ok()?)
    }
    /// Changes size or place of queue `index`.
    pub fn configure_queue(&mut self, index: u32, change: impl FnOnce(&mut Layout)) {
        if let Some(queue) = self.queue_mut(index) {
            queue.configure(change);
        }
    }
    /// Puts queue `index` to use, or takes it out of use.
    pub fn set_queue_ready(&mut self, index: u32, ready: bool) {
        let ram = self.ram.clone();
        let Some(queue) = self.queue_mut(index) else {
            return;
        };
        if !ready {
            queue.disable();
        } else if let Err(error) = queue.enable(&ram) {
            self.stop(error);
        }
    }

    fn at_work(&self) -> bool {
        self.status & (status::DRIVER_OK | status::NEEDS_RESET | status::FAILED)
            == status::DRIVER_OK
    }
    fn stop(&mut self, error: QueueError) {
        self.fault = Some(error);
        self.counters.faults += 1;
        self.again = 0;
        self.status |= status::NEEDS_RESET;
        // 2.1.2: the driver hears of it by a configuration change, once it is at work.
        if self.status & status::DRIVER_OK != 0 {
            self.events.config = true;
        }
    }

    /// The driver says that there is work in queue `index`.
    pub fn notify(&mut self, index: u32) {
        if let Some(bit) = 1_u32.checked_shl(index)
            && self.at_work()
        {
            self.counters.notifications += 1;
            self.again |= bit;
            self.work(false);
        }
    }
    /// Takes up work left over, and what the backend has to say.
    pub fn poll(&mut self) {
        self.work(true);
    }
    /// Takes up work left over.
    pub fn resume(&mut self) {
        if self.again != 0 {
            self.work(false);
        }
    }
    fn work(&mut self, poll: bool) {
        if !self.at_work() {
            return;
        }
        let todo = core::mem::take(&mut self.again);
        let mut io = Io {
            ram: &self.ram,
            features: self.features,
            queues: &mut self.queues,
            events: self.events,
            again: 0,
        };
        let before = io.completed();
        let mut result = Ok(());
        for index in 0..io.queues.len() {
            if result.is_ok() && todo.checked_shr(index as u32).unwrap_or(0) & 1 != 0 {
                result = self.device.notify(index, &mut io);
            }
        }
        if result.is_ok() && poll {
            result = self.device.poll(&mut io);
        }
        self.counters.requests += io.completed().wrapping_sub(before);
        (self.events, self.again) = (io.events, io.again);
        if self.events.config {
            self.generation = self.generation.wrapping_add(1);
        }
        if let Err(error) = result {
            self.stop(error);
        }
    }
    /// What is to be told to the driver since this was last asked.
    pub fn take_events(&mut self) -> Events {
        let events = core::mem::take(&mut self.events);
        self.counters.interrupts += u64::from(events.queues != 0);
        self.counters.config_changes += u64::from(events.config);
        events
    }

    /// Reads the device's configuration.
    pub fn read_config(&self, offset: u64, into: &mut [u8]) {
        self.device.read_config(offset, into);
    }
    /// Writes the device's configuration.
    pub fn write_config(&mut self, offset: u64, from: &[u8]) {
        self.device.write_config(offset, from);
    }

    /// The state to save. Events must have been taken.
    pub fn save(&self) -> EndpointState {
        EndpointState {
            device_type: self.device_type() as u32,
            status: self.status,
            features: self.features,
            generation: self.generation,
            again: self.again,
            queues: self.queues.iter().map(Queue::save).collect(),
            device: self.device.save(),
        }
    }
    /// Takes on a saved state. On an error nothing has changed.
    pub fn restore(&mut self, state: &EndpointState) -> Result<(), PersistError> {
        let mismatch = |reason: &str| PersistError::Mismatch {
            part: "a virtio device",
            reason: reason.to_string(),
        };
        if state.device_type != self.device_type() as u32 {
            return Err(mismatch("it is of another type"));
        }
        if state.queues.len() != self.queues.len() {
            return Err(mismatch("it has another number of queues"));
        }
        let agreed = state.status & status::FEATURES_OK != 0;
        if agreed && state.features & !self.offered() != 0 {
            return Err(mismatch("it had other features"));
        }
        if !agreed && state.status & status::DRIVER_OK != 0 {
            return Err(mismatch("it was at work before features were agreed on"));
        }
        let mut queues = Vec::new();
        for (queue, saved) in self.queues.iter().zip(&state.queues) {
            queues.push(queue.restored(saved, &self.ram)?);
        }
        let agreed_features = if agreed { state.features } else { 0 };
        self.device.restore(&state.device, agreed_features)?;
        self.queues = queues;
        self.status = state.status;
        self.features = state.features;
        self.generation = state.generation;
        self.again = state.again;
        self.events = Events::default();
        self.fault = None;
        if agreed {
            self.apply_features();
        }
        Ok(())
    }
}
