//! The network device (virtio 1.2, 5.1), without offloads.

mod filter;

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use minicbor::{Decode, Encode};
use ringer_hart::Ram;
use ringer_hart::persist::{PersistError, decode, encode};

use crate::backend::NetBackend;

use super::chain::Chain;
use super::device::{BUDGET, DeviceType, Io, VirtioDevice, read_config_bytes};
use super::queue::{Queue, QueueError};
use filter::{Filter, FilterState};

pub use filter::MacAddress;

const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
const CONTROL: usize = 2;
/// The header before each frame; `num_buffers` is always there in version 1.
const HEADER: usize = 12;
/// The largest frame: 64 KiB of IP and the Ethernet header.
const MAX_FRAME: usize = 65535 + 14;
/// The smallest: the Ethernet header.
const MIN_FRAME: usize = 14;

/// Feature bits of a network device.
pub mod feature {
    /// `mac` is valid.
    pub const MAC: u64 = 1 << 5;
    /// A frame may be spread over several receive buffers.
    pub const MRG_RXBUF: u64 = 1 << 15;
    /// `status` is valid.
    pub const STATUS: u64 = 1 << 16;
    /// There is a control queue.
    pub const CTRL_VQ: u64 = 1 << 17;
    /// It controls what is received.
    pub const CTRL_RX: u64 = 1 << 18;
    /// In more detail.
    pub const CTRL_RX_EXTRA: u64 = 1 << 20;
    /// It sets the address.
    pub const CTRL_MAC_ADDR: u64 = 1 << 23;
}

/// The host's hand on a network device: its cable.
#[derive(Clone, Debug)]
pub struct NetControl(Arc<AtomicBool>);

impl NetControl {
    /// Plugs the cable in or out; the guest is told at the next poll.
    pub fn set_link(&self, up: bool) {
        self.0.store(up, Ordering::Release);
    }
    fn up(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A network card.
pub struct Net {
    backend: Box<dyn NetBackend>,
    control: NetControl,
    /// The state of the cable of which the driver was told.
    told: bool,
    factory_mac: MacAddress,
    filter: Filter,
    /// Room for one frame; between calls, holds the one that waits for buffers.
    frame: Vec<u8>,
    waiting: usize,
    /// Receive buffers gathered for one frame, kept for its storage.
    gathered: Vec<Chain>,
}

#[derive(Encode, Decode)]
struct State {
    #[n(0)]
    told: bool,
    #[n(1)]
    filter: FilterState,
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    waiting: Vec<u8>,
}

/// What became of the frame at hand.
enum Delivery {
    /// It is with the driver, or dropped.
    Done,
    /// There are not enough buffers.
    NoRoom,
}

impl Net {
    /// A card with the address `mac` on `backend`, its cable plugged in.
    pub fn new(backend: Box<dyn NetBackend>, mac: MacAddress) -> Self {
        Self {
            backend,
            control: NetControl(Arc::new(AtomicBool::new(true))),
            told: true,
            factory_mac: mac,
            filter: Filter::new(mac),
            frame: vec![0; MAX_FRAME],
            waiting: 0,
            gathered: Vec::new(),
        }
    }
    /// The host's hand on it.
    pub fn control(&self) -> NetControl {
        self.control.clone()
    }

    fn receive(&mut self, io: &mut Io<'_>) -> Result<(), QueueError> {
        let merge = io.has(feature::MRG_RXBUF);
        let Some((ram, queue)) = io.queue(RECEIVE) else {
            return Ok(());
        };
        let mut more = true;
        for _ in 0..BUDGET {
            // Without a buffer nothing is taken from the network: it is the backend's to drop.
            if queue.waiting(ram)? == 0 {
                more = queue.rearm(ram, 0)?;
                if more {
                    continue;
                }
                break;
            }
            if self.waiting == 0 {
                let Some(len) = self.backend.receive(&mut self.frame) else {
                    more = false;
                    break;
                };
                let frame = self.frame.get(..len).unwrap_or_default();
                if len < MIN_FRAME || !self.control.up() || !self.filter.accepts(frame) {
                    continue;
                }
                self.waiting = len.min(MAX_FRAME);
            }
            match self.deliver(ram, queue, merge)? {
                Delivery::Done => self.waiting = 0,
                Delivery::NoRoom => {
                    let seen = queue.waiting(ram)?;
                    more = queue.rearm(ram, seen)?;
                    if !more {
                        break;
                    }
                }
            }
        }
        if more {
            io.again(RECEIVE);
        }
        io.signal(RECEIVE)
    }

    /// Puts the waiting frame into receive buffers.
    fn deliver(
        &mut self,
        ram: &Ram,
        queue: &mut Queue,
        merge: bool,
    ) -> Result<Delivery, QueueError> {
        let frame = self.frame.get(..self.waiting).unwrap_or_default();
        let need = (HEADER + frame.len()) as u64;
        let mut room = 0;
        let mut result = Ok(Delivery::Done);
        while room < need {
            match queue.pop(ram)? {
                Some(chain) => {
                    let len = chain.writable_len();
                    let first = self.gathered.is_empty();
                    self.gathered.push(chain);
                    if first && len < HEADER as u64 {
                        // No buffer may be too small for the header (5.1.6.3.1).
                        result = Err(QueueError::Request);
                        break;
                    }
                    room += len;
                    // Without merging, a frame that does not fit into one buffer is dropped.
                    if !merge && room < need {
                        break;
                    }
                }
                // A frame that a full queue cannot hold will never fit.
                None if self.gathered.len() >= usize::from(queue.layout().size) => break,
                None => {
                    result = Ok(Delivery::NoRoom);
                    break;
                }
            }
        }
        if room < need || result.is_err() {
            while let Some(chain) = self.gathered.pop() {
                queue.undo_pop(chain);
            }
            return result;
        }
        let mut header = [0; HEADER];
        // The buffer count comes last; with merging off it is 1 too (5.1.6.4.1).
        let [.., b0, b1] = &mut header;
        [*b0, *b1] = (self.gathered.len() as u16).to_le_bytes();
        let mut rest = frame;
        let mut prefix: &[u8] = &header;
        for chain in self.gathered.drain(..) {
            let mut writer = chain.writer(ram);
            writer.write(prefix);
            prefix = &[];
            let count = writer.write(rest);
            rest = rest.get(count..).unwrap_or_default();
            let written = writer.written() as u32;
            queue.complete(ram, chain, written)?;
        }
        // 5.1.6.4.1: the buffers of one frame appear together.
        queue.publish(ram)?;
        Ok(Delivery::Done)
    }

    fn transmit(&mut self, io: &mut Io<'_>) -> Result<(), QueueError> {
        // The receiving side's frame may be waiting in the buffer: sending needs its own.
        let mut frame = Vec::new();
        let up = self.control.up();
        io.serve(TRANSMIT, |ram, chain| {
            let mut reader = chain.reader(ram);
            if reader.skip(HEADER as u64) < HEADER as u64 {
                return Err(QueueError::Request);
            }
            let len = reader.remaining();
            if up && (MIN_FRAME as u64..=MAX_FRAME as u64).contains(&len) {
                frame.resize(len as usize, 0);
                reader.read(&mut frame);
                self.backend.send(&frame);
            }
            Ok(0)
        })
    }
}

impl VirtioDevice for Net {
    fn device_type(&self) -> DeviceType {
        DeviceType::Net
    }
    fn features(&self) -> u64 {
        feature::MAC
            | feature::MRG_RXBUF
            | feature::STATUS
            | feature::CTRL_VQ
            | feature::CTRL_RX
            | feature::CTRL_RX_EXTRA
            | feature::CTRL_MAC_ADDR
    }
    fn queue_sizes(&self) -> &'static [u16] {
        &[256, 256, 64]
    }
    fn read_config(&self, offset: u64, into: &mut [u8]) {
        let [m0, m1, m2, m3, m4, m5] = self.filter.mac();
        let status = u8::from(self.control.up());
        read_config_bytes(&[m0, m1, m2, m3, m4, m5, status, 0], offset, into);
    }
    fn notify(&mut self, index: usize, io: &mut Io<'_>) -> Result<(), QueueError> {
        match index {
            RECEIVE => self.receive(io),
            TRANSMIT => self.transmit(io),
            _ if io.has(feature::CTRL_VQ) => {
                let features = io.features;
                io.serve(CONTROL, |ram, chain| {
                    if chain.writable_len() == 0 {
                        return Err(QueueError::Request);
                    }
                    let done = self.filter.command(&mut chain.reader(ram), features);
                    let answer = [u8::from(done.is_none())];
                    Ok(chain.writer(ram).write(&answer) as u32)
                })
            }
            _ => Ok(()),
        }
    }
    fn poll(&mut self, io: &mut Io<'_>) -> Result<(), QueueError> {
        let up = self.control.up();
        if up != self.told && io.has(feature::STATUS) {
            self.told = up;
            io.config_changed();
        }
        self.receive(io)
    }
    fn reset(&mut self) {
        self.filter = Filter::new(self.factory_mac);
        self.waiting = 0;
        self.gathered.clear();
        self.told = self.control.up();
    }
    fn save(&self) -> Vec<u8> {
        encode(&State {
            told: self.told,
            filter: self.filter.save(),
            waiting: self.frame.get(..self.waiting).unwrap_or_default().to_vec(),
        })
    }
    fn restore(&mut self, bytes: &[u8], _features: u64) -> Result<(), PersistError> {
        const PART: &str = "a network device";
        let state: State = decode(PART, bytes)?;
        let Some(room) = self.frame.get_mut(..state.waiting.len()) else {
            return Err(PersistError::Damaged {
                part: PART,
                reason: "the waiting frame is too long".to_string(),
            });
        };
        self.filter = Filter::restored(&state.filter)?;
        room.copy_from_slice(&state.waiting);
        self.waiting = state.waiting.len();
        self.gathered.clear();
        self.told = state.told;
        Ok(())
    }
}
