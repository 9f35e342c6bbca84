//! Byte channels with names between host and guest: a console device (virtio 1.2, 5.3) with
//! several ports, none of which is a console. Linux shows them as `/dev/vport…`.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use ringer_hart::persist::{PersistError, decode, encode};

use crate::backend::PortBackend;

use super::device::{BUDGET, DeviceType, Io, VirtioDevice, read_config_bytes};
use super::queue::QueueError;

/// How many ports there are.
pub const PORTS: usize = 4;
/// Their queues, with those of the control messages.
const QUEUES: [u16; 2 * (PORTS + 1)] = [64; 2 * (PORTS + 1)];
/// Where the driver takes control messages, and where it gives them.
const CONTROL_IN: usize = 2;
const CONTROL_OUT: usize = 3;
/// Bytes moved at a time.
const BOUNCE: usize = 4096;
/// Bytes taken of one request; Linux sends at most 32 KiB at once. The rest is dropped.
const MAX_TAKEN: u64 = 1 << 20;

/// Several ports are there, and control messages about them.
pub const MULTIPORT: u64 = 1 << 1;

/// Control messages (5.3.6.2).
mod event {
    pub const DEVICE_READY: u16 = 0;
    pub const PORT_ADD: u16 = 1;
    pub const PORT_READY: u16 = 3;
    pub const PORT_OPEN: u16 = 6;
    pub const PORT_NAME: u16 = 7;
}

/// What the driver is still to be told of a port, in this order.
mod tell {
    pub const ADD: u8 = 1;
    pub const NAME: u8 = 2;
    pub const OPEN: u8 = 4;
    pub const CLOSED: u8 = 8;
    pub const ALL: u8 = ADD | NAME | OPEN | CLOSED;
}

/// One port and what stands behind it.
pub struct Port {
    /// By which the guest finds it.
    pub name: &'static str,
    /// The host's end.
    pub backend: Box<dyn PortBackend>,
}

/// The device.
pub struct Ports {
    ports: [Port; PORTS],
    states: [PortState; PORTS],
}

#[derive(Clone, Copy, Default, Encode, Decode)]
struct PortState {
    /// What the driver is still to be told.
    #[n(0)]
    tell: u8,
    /// The driver knows the port and that it is open on the host's side.
    #[n(1)]
    open: bool,
    /// A program in the guest has it open. Before, the driver throws away what comes.
    #[n(2)]
    in_use: bool,
}

#[derive(Encode, Decode)]
struct State {
    #[n(0)]
    ports: Vec<PortState>,
}

/// The queue to the driver; the one from it follows.
fn queue_of(port: usize) -> usize {
    if port == 0 { 0 } else { 2 + 2 * port }
}

/// The port of a queue other than the control messages', and whether it leads to the driver.
fn port_of(queue: usize) -> (usize, bool) {
    (queue.saturating_sub(2) / 2, queue.is_multiple_of(2))
}

impl Ports {
    /// A device with these ports.
    pub fn new(ports: [Port; PORTS]) -> Self {
        Self {
            ports,
            states: [PortState::default(); PORTS],
        }
    }

    /// Sends the driver what it is to be told, as far as it gives buffers.
    fn tell(&mut self, io: &mut Io<'_>) -> Result<(), QueueError> {
        if self.states.iter().all(|state| state.tell == 0) {
            return Ok(());
        }
        let Some((ram, queue)) = io.queue(CONTROL_IN) else {
            return Ok(());
        };
        let ports = self.ports.iter().zip(&mut self.states).enumerate();
        'all: for (number, (port, state)) in ports {
            while state.tell != 0 {
                let Some(chain) = queue.pop_or_rearm(ram)? else {
                    break 'all;
                };
                let next = state.tell & state.tell.wrapping_neg();
                let (event, value, name) = match next {
                    tell::ADD => (event::PORT_ADD, 1, ""),
                    tell::NAME => (event::PORT_NAME, 1, port.name),
                    tell::OPEN => (event::PORT_OPEN, 1, ""),
                    _ => (event::PORT_OPEN, 0_u16, ""),
                };
                state.tell &= !next;
                let mut writer = chain.writer(ram);
                writer.write(&(number as u32).to_le_bytes());
                writer.write(&event.to_le_bytes());
                writer.write(&value.to_le_bytes());
                writer.write(name.as_bytes());
                let written = writer.written() as u32;
                queue.complete(ram, chain, written)?;
                queue.publish(ram)?;
            }
        }
        io.signal(CONTROL_IN)
    }

    /// Takes the driver's control messages.
    fn hear(&mut self, io: &mut Io<'_>) -> Result<(), QueueError> {
        io.serve(CONTROL_OUT, |ram, chain| {
            let mut reader = chain.reader(ram);
            let message: Option<[u8; 8]> = reader.read_array();
            let Some([i0, i1, i2, i3, e0, e1, v0, v1]) = message else {
                return Ok(0);
            };
            let port = u32::from_le_bytes([i0, i1, i2, i3]) as usize;
            let value = u16::from_le_bytes([v0, v1]);
            match u16::from_le_bytes([e0, e1]) {
                event::DEVICE_READY if value == 1 => {
                    for state in &mut self.states {
                        *state = PortState {
                            tell: tell::ADD,
                            ..PortState::default()
                        };
                    }
                }
                event::PORT_READY if value == 1 => {
                    if let Some(state) = self.states.get_mut(port) {
                        state.tell |= tell::NAME | tell::OPEN;
                        state.open = true;
                    }
                }
                event::PORT_OPEN => {
                    if let Some(state) = self.states.get_mut(port) {
                        state.in_use = value != 0;
                    }
                }
                _ => {}
            }
            Ok(0)
        })?;
        // A program that has just opened a port is waiting for what is there for it.
        (0..PORTS).try_for_each(|port| self.bring(port, io))
    }

    /// Brings the guest what the host has for it.
    fn bring(&mut self, number: usize, io: &mut Io<'_>) -> Result<(), QueueError> {
        let multiport = io.has(MULTIPORT);
        let (Some(port), Some(state)) = (self.ports.get_mut(number), self.states.get_mut(number))
        else {
            return Ok(());
        };
        if multiport && !(state.open && state.in_use) {
            return self.tell(io);
        }
        let index = queue_of(number);
        let Some((ram, queue)) = io.queue(index) else {
            return Ok(());
        };
        let mut more = true;
        for _ in 0..BUDGET {
            let Some(chain) = queue.pop_or_rearm(ram)? else {
                more = false;
                break;
            };
            let mut bytes = [0; BOUNCE];
            let room = chain.writable_len().min(BOUNCE as u64) as usize;
            let count = match bytes.get_mut(..room).unwrap_or_default() {
                [] => 0,
                into => port.backend.read(into),
            };
            if count == 0 && room > 0 {
                queue.undo_pop(chain);
                more = false;
                break;
            }
            let written = chain
                .writer(ram)
                .write(bytes.get(..count).unwrap_or_default());
            queue.complete(ram, chain, written as u32)?;
            queue.publish(ram)?;
        }
        if more {
            io.again(index);
        } else if multiport && port.backend.is_at_end() {
            // Behind all data: the guest reads that, and then the end.
            state.open = false;
            state.tell |= tell::CLOSED;
        }
        io.signal(index)?;
        self.tell(io)
    }

    /// Takes what the guest has written, as far as the host has room.
    fn take(&mut self, number: usize, io: &mut Io<'_>) -> Result<(), QueueError> {
        let Some(port) = self.ports.get_mut(number) else {
            return Ok(());
        };
        let index = queue_of(number) + 1;
        let Some((ram, queue)) = io.queue(index) else {
            return Ok(());
        };
        let mut more = true;
        for _ in 0..BUDGET {
            if !port.backend.has_room() {
                // It stays in the queue, and the writer waits; the next poll looks again.
                break;
            }
            let Some(chain) = queue.pop_or_rearm(ram)? else {
                more = false;
                break;
            };
            let mut bounce = [0; BOUNCE];
            let mut reader = chain.reader(ram).limited(MAX_TAKEN);
            reader.drain(&mut bounce, |part| {
                port.backend.write(part);
                Ok::<_, QueueError>(())
            })?;
            queue.complete(ram, chain, 0)?;
            queue.publish(ram)?;
        }
        if more {
            io.again(index);
        }
        io.signal(index)
    }
}

impl VirtioDevice for Ports {
    fn device_type(&self) -> DeviceType {
        DeviceType::Console
    }
    fn features(&self) -> u64 {
        MULTIPORT
    }
    fn queue_sizes(&self) -> &'static [u16] {
        &QUEUES
    }
    fn read_config(&self, offset: u64, into: &mut [u8]) {
        // No size, and how many ports there are.
        let ports = PORTS as u8;
        read_config_bytes(&[0, 0, 0, 0, ports, 0, 0, 0, 0, 0, 0, 0], offset, into);
    }
    fn notify(&mut self, index: usize, io: &mut Io<'_>) -> Result<(), QueueError> {
        match index {
            CONTROL_IN => self.tell(io),
            CONTROL_OUT => self.hear(io),
            _ => match port_of(index) {
                (port, true) => self.bring(port, io),
                (port, false) => self.take(port, io),
            },
        }
    }
    fn poll(&mut self, io: &mut Io<'_>) -> Result<(), QueueError> {
        (0..PORTS).try_for_each(|port| self.bring(port, io))
    }
    fn reset(&mut self) {
        self.states = [PortState::default(); PORTS];
    }
    fn save(&self) -> Vec<u8> {
        encode(&State {
            ports: self.states.to_vec(),
        })
    }
    fn restore(&mut self, bytes: &[u8], _features: u64) -> Result<(), PersistError> {
        const PART: &str = "a device with ports";
        let state: State = decode(PART, bytes)?;
        let mismatch = |reason: &str| PersistError::Mismatch {
            part: PART,
            reason: reason.to_string(),
        };
        let states: [PortState; PORTS] =
            (state.ports.try_into()).map_err(|_| mismatch("it has another number of ports"))?;
        if states.iter().any(|state| state.tell & !tell::ALL != 0) {
            return Err(mismatch("it has other control messages"));
        }
        self.states = states;
        Ok(())
    }
}
