//! The power button: an input device (virtio 1.2, 5.8) with one key. Kernels that have a driver
//! for it tell their system of the key, and that shuts down as it does on a real machine.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use minicbor::{Decode, Encode};
use ringer_hart::persist::{PersistError, decode, encode};

use super::device::{DeviceType, Io, VirtioDevice, read_config_bytes};
use super::queue::QueueError;

/// The queue by which events go to the driver. By the other one lamps would be switched.
const EVENTS: usize = 0;
const NAME: &[u8] = b"Ringer power button";
/// Bytes of the configuration before what was selected.
const CONFIG_HEADER: usize = 8;

/// What a driver selects in the configuration (5.8.4).
mod select {
    pub const NAME: u8 = 1;
    pub const IDENTITY: u8 = 3;
    pub const EVENT_BITS: u8 = 0x11;
}
/// Types of events, and keys, as Linux numbers them.
const SYNCHRONISE: u16 = 0;
const KEY: u16 = 1;
const POWER: u16 = 116;

/// The events of a press: type, code and value.
const PRESS: [(u16, u16, u32); 4] = [
    (KEY, POWER, 1),
    (SYNCHRONISE, 0, 0),
    (KEY, POWER, 0),
    (SYNCHRONISE, 0, 0),
];

#[derive(Debug, Default)]
struct Shared {
    pressed: AtomicBool,
    connected: AtomicBool,
}

/// The host's hand on a button.
#[derive(Clone, Debug, Default)]
pub struct ButtonControl(Arc<Shared>);

impl ButtonControl {
    /// Presses the button and lets it go; the guest hears of it at the next poll.
    pub fn press(&self) {
        self.0.pressed.store(true, Ordering::Release);
    }
    /// Whether a driver in the guest takes its events.
    pub fn is_connected(&self) -> bool {
        self.0.connected.load(Ordering::Acquire)
    }
}

/// A power button.
#[derive(Default)]
pub struct Button {
    control: ButtonControl,
    /// What the driver wants to read in the configuration, and of what kind.
    select: u8,
    kind: u8,
    /// How many events of a press are still to be sent.
    unsent: u8,
}

#[derive(Encode, Decode)]
struct State {
    #[n(0)]
    select: u8,
    #[n(1)]
    kind: u8,
    #[n(2)]
    unsent: u8,
    #[n(3)]
    connected: bool,
}

impl Button {
    /// A button that nobody presses.
    pub fn new() -> Self {
        Self::default()
    }
    /// The host's hand on it.
    pub fn control(&self) -> ButtonControl {
        self.control.clone()
    }

    /// What the driver has selected.
    fn selected(&self) -> Vec<u8> {
        match (self.select, u16::from(self.kind)) {
            (select::NAME, _) => NAME.to_vec(),
            // On a virtual bus, and the rest without meaning.
            (select::IDENTITY, _) => [6_u16, 0, 0, 0].map(u16::to_le_bytes).concat(),
            (select::EVENT_BITS, KEY) => {
                let mut bits = alloc::vec![0; usize::from(POWER / 8) + 1];
                if let Some(last) = bits.last_mut() {
                    *last = 1 << (POWER % 8);
                }
                bits
            }
            _ => Vec::new(),
        }
    }

    /// Sends what is unsent, as far as the driver gives buffers.
    fn send(&mut self, io: &mut Io<'_>) -> Result<(), QueueError> {
        let Some((ram, queue)) = io.queue(EVENTS) else {
            return Ok(());
        };
        let events = PRESS.iter().rev().take(self.unsent.into()).rev();
        for (kind, code, value) in events {
            let Some(chain) = queue.pop_or_rearm(ram)? else {
                break;
            };
            let mut writer = chain.writer(ram);
            writer.write(&kind.to_le_bytes());
            writer.write(&code.to_le_bytes());
            writer.write(&value.to_le_bytes());
            let written = writer.written() as u32;
            queue.complete(ram, chain, written)?;
            queue.publish(ram)?;
            self.unsent -= 1;
        }
        io.signal(EVENTS)
    }
}

impl VirtioDevice for Button {
    fn device_type(&self) -> DeviceType {
        DeviceType::Input
    }
    fn features(&self) -> u64 {
        0
    }
    fn queue_sizes(&self) -> &'static [u16] {
        &[64, 64]
    }
    fn read_config(&self, offset: u64, into: &mut [u8]) {
        let selected = self.selected();
        let mut config = Vec::with_capacity(CONFIG_HEADER + selected.len());
        config.extend([self.select, self.kind, selected.len() as u8]);
        config.resize(CONFIG_HEADER, 0);
        config.extend(selected);
        read_config_bytes(&config, offset, into);
    }
    fn write_config(&mut self, offset: u64, from: &[u8]) {
        for (at, &byte) in (offset..).zip(from) {
            match at {
                0 => self.select = byte,
                1 => self.kind = byte,
                _ => {}
            }
        }
    }
    fn notify(&mut self, index: usize, io: &mut Io<'_>) -> Result<(), QueueError> {
        if index != EVENTS {
            return io.serve(index, |_, _| Ok(0));
        }
        self.control.0.connected.store(true, Ordering::Release);
        self.send(io)
    }
    fn poll(&mut self, io: &mut Io<'_>) -> Result<(), QueueError> {
        if self.control.0.pressed.swap(false, Ordering::AcqRel) && self.unsent == 0 {
            self.unsent = PRESS.len() as u8;
        }
        self.send(io)
    }
    fn reset(&mut self) {
        (self.select, self.kind, self.unsent) = (0, 0, 0);
        self.control.0.connected.store(false, Ordering::Release);
    }
    fn save(&self) -> Vec<u8> {
        encode(&State {
            select: self.select,
            kind: self.kind,
            unsent: self.unsent,
            connected: self.control.is_connected(),
        })
    }
    fn restore(&mut self, bytes: &[u8], _features: u64) -> Result<(), PersistError> {
        const PART: &str = "a power button";
        let state: State = decode(PART, bytes)?;
        if usize::from(state.unsent) > PRESS.len() {
            return Err(PersistError::Damaged {
                part: PART,
                reason: "it has more to say than a press".into(),
            });
        }
        (self.select, self.kind, self.unsent) = (state.select, state.kind, state.unsent);
        let connected = &self.control.0.connected;
        connected.store(state.connected, Ordering::Release);
        Ok(())
    }
}
