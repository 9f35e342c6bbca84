//! The shared folder: 9P messages over a queue. Virtio 1.2 only reserves its number; what it looks
//! like is said by Linux's `virtio_9p.h`. What the messages mean is the backend's business.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use ringer_hart::Ram;
use ringer_hart::persist::{PersistError, decode, encode};

use crate::backend::ShareBackend;

use super::chain::Chain;
use super::device::{DeviceType, Io, VirtioDevice, read_config_bytes};
use super::queue::QueueError;

const QUEUE_SIZE: u16 = 128;
/// The longest message. Linux's driver goes up to 500 KiB.
pub const MAX_MESSAGE: usize = 512 << 10;
/// The longest mount tag, in bytes. Linux shows it in a file of one page.
pub const MAX_TAG: usize = 255;

/// Feature bits of a shared folder.
pub mod feature {
    /// The configuration holds the mount tag.
    pub const MOUNT_TAG: u64 = 1 << 0;
}

/// A shared folder that the guest mounts by its tag.
pub struct Share {
    backend: Box<dyn ShareBackend>,
    tag: String,
    request: Vec<u8>,
    reply: Vec<u8>,
}

#[derive(Encode, Decode)]
struct State {
    #[n(0)]
    tag: String,
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    backend: Vec<u8>,
}

impl Share {
    /// The folder behind `backend`; of its `tag`, the guest sees the first [`MAX_TAG`] bytes.
    pub fn new(backend: Box<dyn ShareBackend>, tag: &str) -> Self {
        Self {
            backend,
            tag: tag.into(),
            request: vec![0; MAX_MESSAGE],
            reply: vec![0; MAX_MESSAGE],
        }
    }

    /// One message and its answer. A message longer than any can be is cut, which its own size
    /// field then shows.
    fn handle(&mut self, ram: &Ram, chain: &Chain) -> u32 {
        let len = chain.reader(ram).read(&mut self.request);
        let room = chain.writable_len().min(MAX_MESSAGE as u64) as usize;
        let request = self.request.get(..len).unwrap_or_default();
        let reply = self.reply.get_mut(..room).unwrap_or_default();
        let len = self.backend.answer(request, reply);
        chain.writer(ram).write(reply.get(..len).unwrap_or(reply)) as u32
    }
}

impl VirtioDevice for Share {
    fn device_type(&self) -> DeviceType {
        DeviceType::Share
    }
    fn features(&self) -> u64 {
        feature::MOUNT_TAG
    }
    fn queue_sizes(&self) -> &'static [u16] {
        &[QUEUE_SIZE]
    }
    fn read_config(&self, offset: u64, into: &mut [u8]) {
        let tag = self.tag.as_bytes();
        let tag = tag.get(..MAX_TAG).unwrap_or(tag);
        let mut config = Vec::with_capacity(2 + tag.len());
        config.extend((tag.len() as u16).to_le_bytes());
        config.extend(tag);
        read_config_bytes(&config, offset, into);
    }
    fn notify(&mut self, index: usize, io: &mut Io<'_>) -> Result<(), QueueError> {
        io.serve(index, |ram, chain| Ok(self.handle(ram, chain)))
    }
    fn reset(&mut self) {
        self.backend.reset();
    }
    fn save(&self) -> Vec<u8> {
        encode(&State {
            tag: self.tag.clone(),
            backend: self.backend.save(),
        })
    }
    fn restore(&mut self, bytes: &[u8], _features: u64) -> Result<(), PersistError> {
        const PART: &str = "a shared folder";
        let state: State = decode(PART, bytes)?;
        if state.tag != self.tag {
            return Err(PersistError::Mismatch {
                part: PART,
                reason: format!("its tag was '{}' and is '{}' now", state.tag, self.tag),
            });
        }
        self.backend.restore(&state.backend)
    }
}
