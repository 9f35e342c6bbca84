//! The console (virtio 1.2, 5.3) with one port.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use minicbor::{Decode, Encode};
use ringer_hart::persist::{PersistError, decode, encode};

use crate::backend::ConsoleBackend;

use super::device::{BUDGET, DeviceType, Io, VirtioDevice, read_config_bytes};
use super::queue::QueueError;

const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
/// Bytes moved at a time.
const BOUNCE: usize = 512;
/// Bytes shown of one request; drivers send less than a page. The rest is dropped.
const MAX_SHOWN: u64 = 1 << 20;
/// The offset of `emerg_wr` in the configuration.
const EMERGENCY_WRITE: u64 = 8;

/// Feature bits of a console.
pub mod feature {
    /// `cols` and `rows` are valid.
    pub const SIZE: u64 = 1 << 0;
    /// A byte can be written by the configuration alone.
    pub const EMERG_WRITE: u64 = 1 << 2;
}

/// The host's hand on a console: its size.
#[derive(Clone, Debug)]
pub struct ConsoleControl(Arc<AtomicU32>);

impl ConsoleControl {
    /// The window has another size now; the guest is told at the next poll.
    pub fn set_size(&self, columns: u16, rows: u16) {
        let size = u32::from(rows) << 16 | u32::from(columns);
        self.0.store(size, Ordering::Release);
    }
    fn size(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }
}

/// A console.
pub struct Console {
    backend: Box<dyn ConsoleBackend>,
    control: ConsoleControl,
    /// The size of which the driver was told.
    told: u32,
}

#[derive(Encode, Decode)]
struct State {
    #[n(0)]
    told: u32,
}

impl Console {
    /// A console of 80 columns and 24 rows on `backend`.
    pub fn new(backend: Box<dyn ConsoleBackend>) -> Self {
        let control = ConsoleControl(Arc::default());
        control.set_size(80, 24);
        Self {
            backend,
            told: control.size(),
            control,
        }
    }
    /// The host's hand on it.
    pub fn control(&self) -> ConsoleControl {
        self.control.clone()
    }

    fn receive(&mut self, io: &mut Io<'_>) -> Result<(), QueueError> {
        let Some((ram, queue)) = io.queue(RECEIVE) else {
            return Ok(());
        };
        let mut more = true;
        for _ in 0..BUDGET {
            let Some(chain) = queue.pop_or_rearm(ram)? else {
                // Input waits in the backend until the driver gives a buffer.
                more = false;
                break;
            };
            let mut bytes = [0; BOUNCE];
            let room = chain.writable_len().min(BOUNCE as u64) as usize;
            let into = bytes.get_mut(..room).unwrap_or_default();
            let count = match into {
                [] => 0,
                into => self.backend.read(into),
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
            io.again(RECEIVE);
        }
        io.signal(RECEIVE)
    }
}

impl VirtioDevice for Console {
    fn device_type(&self) -> DeviceType {
        DeviceType::Console
    }
    fn features(&self) -> u64 {
        feature::SIZE | feature::EMERG_WRITE
    }
    fn queue_sizes(&self) -> &'static [u16] {
        &[64, 64]
    }
    fn read_config(&self, offset: u64, into: &mut [u8]) {
        let [c0, c1, r0, r1] = self.control.size().to_le_bytes();
        read_config_bytes(&[c0, c1, r0, r1, 1, 0, 0, 0, 0, 0, 0, 0], offset, into);
    }
    fn write_config(&mut self, offset: u64, from: &[u8]) {
        if let (EMERGENCY_WRITE, Some(byte)) = (offset, from.first()) {
            self.backend.write(&[*byte]);
        }
    }
    fn notify(&mut self, index: usize, io: &mut Io<'_>) -> Result<(), QueueError> {
        if index == RECEIVE {
            return self.receive(io);
        }
        io.serve(TRANSMIT, |ram, chain| {
            let mut bounce = [0; BOUNCE];
            let mut reader = chain.reader(ram).limited(MAX_SHOWN);
            let shown = reader.drain(&mut bounce, |part| {
                self.backend.write(part);
                Ok::<_, QueueError>(())
            });
            shown.map(|()| 0)
        })
    }
    fn poll(&mut self, io: &mut Io<'_>) -> Result<(), QueueError> {
        let size = self.control.size();
        if size != self.told && io.has(feature::SIZE) {
            self.told = size;
            io.config_changed();
        }
        self.receive(io)
    }
    fn reset(&mut self) {
        self.told = self.control.size();
    }
    fn save(&self) -> Vec<u8> {
        encode(&State { told: self.told })
    }
    fn restore(&mut self, bytes: &[u8], _features: u64) -> Result<(), PersistError> {
        // The window it resumes in may have another size; the next poll tells the driver.
        self.told = decode::<State>("a console", bytes)?.told;
        Ok(())
    }
}
