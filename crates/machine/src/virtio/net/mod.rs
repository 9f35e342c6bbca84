//! The network device (virtio 1.2, 5.1). Offloads are there as far as the backend has them:
//! checksums, and large TCP segments over IPv4.

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

use crate::backend::{Incoming, NetBackend, Offloads, Unfinished};
use crate::lock::Lock;

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
    /// The device takes frames without checksums.
    pub const CSUM: u64 = 1 << 0;
    /// The driver takes frames without checksums.
    pub const GUEST_CSUM: u64 = 1 << 1;
    /// `mac` is valid.
    pub const MAC: u64 = 1 << 5;
    /// The driver takes large TCP segments over IPv4.
    pub const GUEST_TSO4: u64 = 1 << 7;
    /// The device takes large TCP segments over IPv4.
    pub const HOST_TSO4: u64 = 1 << 11;
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

/// In the header: the checksum is to be filled in.
const NEEDS_CHECKSUM: u8 = 1;
/// In the header: to be cut into TCP segments over IPv4.
const SEGMENT_TCP4: u8 = 1;

/// The host's hand on a network device: its cable, and its address.
#[derive(Clone)]
pub struct NetControl(Arc<Control>);

struct Control {
    up: AtomicBool,
    renewal: Lock<Option<Renewal>>,
}

/// Another address for a card whose driver may know the old one already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Renewal {
    /// The new address.
    pub mac: MacAddress,
    /// Nothing is carried while the driver uses the old one: somebody else on the network has it.
    pub cut_off: bool,
}

impl NetControl {
    fn new() -> Self {
        Self(Arc::new(Control {
            up: AtomicBool::new(true),
            renewal: Lock::new(None),
        }))
    }
    /// Plugs the cable in or out; the guest is told at the next poll.
    pub fn set_link(&self, up: bool) {
        self.0.up.store(up, Ordering::Release);
    }
    /// Gives the card another address at the next poll. No driver looks at it again before it
    /// resets the device, so the device's status says that it needs to be reset; until then it
    /// works on as it is, unless it is cut off.
    pub fn renew(&self, renewal: Renewal) {
        *self.0.renewal.lock() = Some(renewal);
    }
    fn take_renewal(&self) -> Option<Renewal> {
        self.0.renewal.lock().take()
    }
    fn up(&self) -> bool {
        self.0.up.load(Ordering::Acquire)
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
    /// The driver has yet to take a new address, which is the factory's.
    renewing: Option<Renewing>,
    /// Room for one frame; between calls, holds the one that waits for buffers.
    frame: Vec<u8>,
    waiting: usize,
    /// What is left to do on that one.
    unfinished: Option<Unfinished>,
    /// The frame that is being sent, kept for its storage.
    outgoing: Vec<u8>,
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
    /// Older versions knew no unfinished frames.
    #[n(3)]
    unfinished: Option<Unfinished>,
    /// Older versions did not keep it.
    #[n(4)]
    factory_mac: Option<MacAddress>,
    #[n(5)]
    renewing: Option<Renewing>,
}

/// What is known of a driver that has yet to take a new address.
#[derive(Clone, Copy, Debug, Encode, Decode)]
struct Renewing {
    /// What it uses still.
    #[n(0)]
    old: MacAddress,
    #[n(1)]
    cut_off: bool,
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
            control: NetControl::new(),
            told: true,
            factory_mac: mac,
            filter: Filter::new(mac),
            renewing: None,
            frame: vec![0; MAX_FRAME],
            waiting: 0,
            unfinished: None,
            outgoing: Vec::new(),
            gathered: Vec::new(),
        }
    }
    /// The host's hand on it.
    pub fn control(&self) -> NetControl {
        self.control.clone()
    }

    /// Whether frames pass.
    fn up(&self) -> bool {
        self.control.up() && !self.renewing.is_some_and(|renewing| renewing.cut_off)
    }
    /// Takes on the address that the host wants the card to have. True if it is another one.
    fn renew(&mut self) -> bool {
        let Some(renewal) = self.control.take_renewal() else {
            return false;
        };
        if renewal.mac == self.factory_mac {
            return false;
        }
        self.factory_mac = renewal.mac;
        self.renewing = Some(Renewing {
            old: self.filter.mac(),
            cut_off: renewal.cut_off,
        });
        true
    }

    fn receive(&mut self, io: &mut Io<'_>) -> Result<(), QueueError> {
        let up = self.up();
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
                let came = self.backend.receive_unfinished(&mut self.frame);
                let Some(Incoming { len, unfinished }) = came else {
                    more = false;
                    break;
                };
                let frame = self.frame.get(..len).unwrap_or_default();
                if len < MIN_FRAME || !up || !self.filter.accepts(frame) {
                    continue;
                }
                self.waiting = len.min(MAX_FRAME);
                self.unfinished = unfinished;
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
        // With merging off the count is 1 too (5.1.6.4.1).
        let header = header(self.unfinished, self.gathered.len() as u16);
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
        let up = self.up();
        let Some((ram, queue)) = io.queue(TRANSMIT) else {
            return Ok(());
        };
        let mut more = true;
        for _ in 0..BUDGET {
            if !self.backend.ready() {
                break;
            }
            let Some(chain) = queue.pop_or_rearm(ram)? else {
                more = false;
                break;
            };
            let mut reader = chain.reader(ram);
            if reader.skip(HEADER as u64) < HEADER as u64 {
                return Err(QueueError::Request);
            }
            let len = reader.remaining();
            // The header has no news for the backend: it takes all that the features allow.
            if up && (MIN_FRAME as u64..=MAX_FRAME as u64).contains(&len) {
                self.outgoing.resize(MAX_FRAME, 0);
                let frame = self.outgoing.get_mut(..len as usize).unwrap_or_default();
                reader.read(frame);
                self.backend.send(frame);
            }
            queue.complete(ram, chain, 0)?;
            queue.publish(ram)?;
        }
        if more {
            io.again(TRANSMIT);
        }
        io.signal(TRANSMIT)
    }
    /// Tells the backend what the driver takes.
    fn agree(&mut self, features: u64) {
        let has = |feature| features & feature != 0;
        self.backend.agreed(Offloads {
            checksums: has(feature::GUEST_CSUM) && has(feature::CSUM),
            segments: has(feature::GUEST_CSUM) && has(feature::GUEST_TSO4),
        });
    }
}

/// The header before a frame for the driver (5.1.6).
fn header(unfinished: Option<Unfinished>, buffers: u16) -> [u8; HEADER] {
    let [n0, n1] = buffers.to_le_bytes();
    let Some(left) = unfinished else {
        return [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n0, n1];
    };
    let kind = if left.segment.is_some() {
        SEGMENT_TCP4
    } else {
        0
    };
    let [h0, h1] = left.headers.to_le_bytes();
    let [g0, g1] = left.segment.unwrap_or(0).to_le_bytes();
    let [s0, s1] = left.checksum_start.to_le_bytes();
    let [o0, o1] = left.checksum_offset.to_le_bytes();
    [NEEDS_CHECKSUM, kind, h0, h1, g0, g1, s0, s1, o0, o1, n0, n1]
}

impl VirtioDevice for Net {
    fn device_type(&self) -> DeviceType {
        DeviceType::Net
    }
    fn features(&self) -> u64 {
        let offloads = if self.backend.offloads() {
            feature::CSUM | feature::GUEST_CSUM | feature::GUEST_TSO4 | feature::HOST_TSO4
        } else {
            0
        };
        offloads
            | feature::MAC
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
        let status = u8::from(self.up());
        read_config_bytes(&[m0, m1, m2, m3, m4, m5, status, 0], offset, into);
    }
    fn notify(&mut self, index: usize, io: &mut Io<'_>) -> Result<(), QueueError> {
        match index {
            RECEIVE | TRANSMIT if self.backend.has_thread() => {
                self.backend.wake();
                Ok(())
            }
            RECEIVE => self.receive(io),
            TRANSMIT => {
                self.transmit(io)?;
                if self.backend.answers_at_once() {
                    self.receive(io)?;
                }
                Ok(())
            }
            _ if io.has(feature::CTRL_VQ) => {
                let features = io.features;
                io.serve(CONTROL, |ram, chain| {
                    if chain.writable_len() == 0 {
                        return Err(QueueError::Request);
                    }
                    let done = self.filter.command(&mut chain.reader(ram), features);
                    let answer = [u8::from(done.is_none())];
                    Ok(chain.writer(ram).write(&answer) as u32)
                })?;
                // A guest can also choose an address itself; any but the old one is as good.
                let old = self.renewing.map(|renewing| renewing.old);
                if old.is_some_and(|old| old != self.filter.mac()) {
                    self.renewing = None;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
    fn poll(&mut self, io: &mut Io<'_>) -> Result<(), QueueError> {
        if self.renew() {
            io.config_changed();
        }
        let up = self.up();
        if up != self.told && io.has(feature::STATUS) {
            self.told = up;
            io.config_changed();
        }
        if self.backend.has_thread() {
            self.transmit(io)?;
        }
        self.receive(io)
    }
    fn negotiated(&mut self, features: u64) {
        self.agree(features);
    }
    fn needs_reset(&self) -> bool {
        self.renewing.is_some()
    }
    fn reset(&mut self) {
        self.renew();
        self.renewing = None;
        self.filter = Filter::new(self.factory_mac);
        self.waiting = 0;
        self.unfinished = None;
        self.backend.reset();
        self.gathered.clear();
        self.told = self.up();
    }
    fn save(&self) -> Vec<u8> {
        encode(&State {
            told: self.told,
            filter: self.filter.save(),
            waiting: self.frame.get(..self.waiting).unwrap_or_default().to_vec(),
            unfinished: self.unfinished.filter(|_| self.waiting > 0),
            factory_mac: Some(self.factory_mac),
            renewing: self.renewing,
        })
    }
    fn restore(&mut self, bytes: &[u8], features: u64) -> Result<(), PersistError> {
        const PART: &str = "a network device";
        let state: State = decode(PART, bytes)?;
        let Some(room) = self.frame.get_mut(..state.waiting.len()) else {
            return Err(PersistError::Damaged {
                part: PART,
                reason: "the waiting frame is too long".to_string(),
            });
        };
        self.filter = Filter::restored(&state.filter)?;
        self.factory_mac = state.factory_mac.unwrap_or(self.filter.mac());
        self.renewing = state.renewing;
        room.copy_from_slice(&state.waiting);
        self.waiting = state.waiting.len();
        self.unfinished = state.unfinished;
        self.agree(features);
        self.gathered.clear();
        self.told = state.told;
        Ok(())
    }
}
