//! The entropy device (virtio 1.2, 5.4).

use alloc::boxed::Box;
use alloc::vec::Vec;

use ringer_hart::persist::{PersistError, decode, encode};

use crate::backend::{BackendError, EntropyBackend};

use super::device::{DeviceType, Io, VirtioDevice};
use super::queue::QueueError;

/// Bytes given for one request at most; the driver asks again if it wants more.
const MAX_BYTES: usize = 1024;

/// A source of random bytes.
pub struct Rng {
    backend: Box<dyn EntropyBackend>,
}

impl Rng {
    /// A source that draws from `backend`.
    pub fn new(backend: Box<dyn EntropyBackend>) -> Self {
        Self { backend }
    }
}

impl VirtioDevice for Rng {
    fn device_type(&self) -> DeviceType {
        DeviceType::Rng
    }
    fn features(&self) -> u64 {
        0
    }
    fn queue_sizes(&self) -> &'static [u16] {
        &[8]
    }
    fn read_config(&self, _offset: u64, into: &mut [u8]) {
        into.fill(0);
    }
    fn notify(&mut self, index: usize, io: &mut Io<'_>) -> Result<(), QueueError> {
        io.serve(index, |ram, chain| {
            let mut bytes = [0; MAX_BYTES];
            let len = chain.writable_len().min(MAX_BYTES as u64) as usize;
            let into = bytes.get_mut(..len).unwrap_or_default();
            // A host without entropy gives none; the driver sees a request with no bytes in it.
            Ok(match self.backend.fill(into) {
                Ok(()) => chain.writer(ram).write(into) as u32,
                Err(BackendError) => 0,
            })
        })
    }
    fn reset(&mut self) {}
    fn save(&self) -> Vec<u8> {
        encode(&())
    }
    fn restore(&mut self, bytes: &[u8], _features: u64) -> Result<(), PersistError> {
        decode::<()>("an entropy device", bytes)
    }
}
