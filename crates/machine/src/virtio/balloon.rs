//! The memory balloon (virtio 1.2, 5.5): the guest hands pages back to the host, on request
//! (inflate) or whenever it has free ones (reporting).

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use minicbor::{Decode, Encode};
use ringer_hart::persist::{PersistError, decode, encode};
use ringer_hart::{GuestPhys, PAGE_SHIFT, PAGE_SIZE, Ram};

use crate::backend::MemoryBackend;

use super::chain::Chain;
use super::device::{DeviceType, Io, VirtioDevice, read_config_bytes};
use super::queue::QueueError;

const INFLATE: usize = 0;
const DEFLATE: usize = 1;
/// Pages taken from one request; Linux sends 256. More are ignored, which costs the host some
/// memory and the guest nothing.
const MAX_PAGES: u64 = 16 << 10;
/// The offset of `actual` in the configuration.
const ACTUAL: u64 = 4;

/// Feature bits of a balloon.
pub mod feature {
    /// The driver reports free pages.
    pub const REPORTING: u64 = 1 << 5;
}

#[derive(Debug, Default)]
struct Shared {
    target: AtomicU32,
    actual: AtomicU32,
    released: AtomicU64,
}

/// The host's hand on a balloon.
#[derive(Clone, Debug, Default)]
pub struct BalloonControl(Arc<Shared>);

impl BalloonControl {
    /// Asks the guest to give up `pages` pages of 4 KiB; it is told at the next poll.
    pub fn set_target(&self, pages: u32) {
        self.0.target.store(pages, Ordering::Release);
    }
    /// The pages asked for.
    pub fn target(&self) -> u32 {
        self.0.target.load(Ordering::Acquire)
    }
    /// The pages that the guest says it has given up.
    pub fn actual(&self) -> u32 {
        self.0.actual.load(Ordering::Acquire)
    }
    /// Bytes released to the host so far, by inflating and by reporting.
    pub fn released_bytes(&self) -> u64 {
        self.0.released.load(Ordering::Relaxed)
    }
}

/// A memory balloon.
pub struct Balloon {
    memory: Memory,
    control: BalloonControl,
    /// The target of which the driver was told.
    told: u32,
}

/// Releases ranges of RAM, and nothing else.
struct Memory {
    backend: Box<dyn MemoryBackend>,
    control: BalloonControl,
}

impl Memory {
    /// Releases the whole pages within a range, as far as it is RAM.
    fn release(&mut self, ram: &Ram, at: GuestPhys, len: u64) {
        let Some(offset) = ram.offset(at, len) else {
            return;
        };
        let start = offset.next_multiple_of(PAGE_SIZE);
        let end = (offset + len) & !(PAGE_SIZE - 1);
        if start < end {
            self.backend.release(start, end - start);
            ram.note_change(start, end - start);
            let released = &self.control.0.released;
            released.fetch_add(end - start, Ordering::Relaxed);
        }
    }
    /// Releases the pages whose numbers the driver lists, neighbours together.
    fn inflate(&mut self, ram: &Ram, chain: &Chain) {
        let mut run: Option<(u64, u64)> = None;
        let mut list = chain.reader(ram);
        for _ in 0..MAX_PAGES {
            let Some(number) = list.read_array() else {
                break;
            };
            let page = u64::from(u32::from_le_bytes(number));
            run = Some(match run {
                Some((first, count)) if page == first + count => (first, count + 1),
                Some((first, count)) if page + 1 == first => (page, count + 1),
                other => {
                    self.release_run(ram, other);
                    (page, 1)
                }
            });
        }
        self.release_run(ram, run);
    }
    fn release_run(&mut self, ram: &Ram, run: Option<(u64, u64)>) {
        let Some((first, count)) = run else { return };
        let (at, len) = (GuestPhys(first << PAGE_SHIFT), count << PAGE_SHIFT);
        if ram.offset(at, len).is_some() {
            return self.release(ram, at, len);
        }
        // Some of it is not RAM: page by page, so that the rest is not lost.
        for page in first..first + count {
            self.release(ram, GuestPhys(page << PAGE_SHIFT), PAGE_SIZE);
        }
    }
}

#[derive(Encode, Decode)]
struct State {
    #[n(0)]
    target: u32,
    #[n(1)]
    told: u32,
    #[n(2)]
    actual: u32,
}

impl Balloon {
    /// A balloon, empty, over the memory behind `backend`.
    pub fn new(backend: Box<dyn MemoryBackend>) -> Self {
        let control = BalloonControl::default();
        Self {
            memory: Memory {
                backend,
                control: control.clone(),
            },
            control,
            told: 0,
        }
    }
    /// The host's hand on it.
    pub fn control(&self) -> BalloonControl {
        self.control.clone()
    }
}

impl VirtioDevice for Balloon {
    fn device_type(&self) -> DeviceType {
        DeviceType::Balloon
    }
    fn features(&self) -> u64 {
        feature::REPORTING
    }
    /// Reporting has number 4 by 5.5.2, but Linux versions differ in whether the queues that a
    /// device does not offer (statistics, hints) keep their numbers: we take it at 2, 3 and 4.
    fn queue_sizes(&self) -> &'static [u16] {
        &[128, 128, 128, 128, 128]
    }
    fn read_config(&self, offset: u64, into: &mut [u8]) {
        let [t0, t1, t2, t3] = self.control.target().to_le_bytes();
        let [a0, a1, a2, a3] = self.control.actual().to_le_bytes();
        read_config_bytes(&[t0, t1, t2, t3, a0, a1, a2, a3], offset, into);
    }
    fn write_config(&mut self, offset: u64, from: &[u8]) {
        if let (ACTUAL, &[a0, a1, a2, a3]) = (offset, from) {
            let actual = u32::from_le_bytes([a0, a1, a2, a3]);
            self.control.0.actual.store(actual, Ordering::Release);
        }
    }
    fn notify(&mut self, index: usize, io: &mut Io<'_>) -> Result<(), QueueError> {
        let reporting = io.has(feature::REPORTING);
        io.serve(index, |ram, chain| {
            match index {
                INFLATE => self.memory.inflate(ram, chain),
                // The pages come back when they are touched.
                DEFLATE => {}
                _ if reporting => {
                    for segment in chain.writable_segments() {
                        self.memory.release(ram, segment.addr, segment.len.into());
                    }
                }
                _ => {}
            }
            Ok(0)
        })
    }
    fn poll(&mut self, io: &mut Io<'_>) -> Result<(), QueueError> {
        let target = self.control.target();
        if target != self.told {
            self.told = target;
            io.config_changed();
        }
        Ok(())
    }
    fn reset(&mut self) {
        self.told = self.control.target();
        self.control.0.actual.store(0, Ordering::Release);
    }
    fn save(&self) -> Vec<u8> {
        encode(&State {
            target: self.control.target(),
            told: self.told,
            actual: self.control.actual(),
        })
    }
    fn restore(&mut self, bytes: &[u8], _features: u64) -> Result<(), PersistError> {
        let state: State = decode("a balloon", bytes)?;
        self.control.set_target(state.target);
        self.control.0.actual.store(state.actual, Ordering::Release);
        self.told = state.told;
        Ok(())
    }
}
