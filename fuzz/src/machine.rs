//! A small machine with every device, for the targets that need one.

use std::sync::Arc;

use ringer::memory::HostMemory;
use ringer_hart::{Lines, Ram};
use ringer_machine::backend::{
    BackendResult, BlockBackend, ConsoleBackend, EntropyBackend, MemoryBackend, NetBackend,
};
use ringer_machine::board::{Board, BoardBuilder};
use ringer_machine::clock::VirtualClock;
use ringer_machine::memory_map::RAM_BASE;
use ringer_machine::virtio::{Balloon, Blk, Console, Net, Rng, VirtioDevice, VirtioMmio};

/// How much RAM it has.
pub const RAM_LEN: u64 = 64 << 10;

/// Stands behind all devices: takes what they give, and gives what they ask for.
struct Host;

impl ConsoleBackend for Host {
    fn write(&mut self, _: &[u8]) {}
    fn read(&mut self, into: &mut [u8]) -> usize {
        into.fill(b'x');
        into.len().min(3)
    }
}
impl BlockBackend for Host {
    fn len(&self) -> u64 {
        1 << 20
    }
    fn read_only(&self) -> bool {
        false
    }
    fn read(&mut self, _: u64, into: &mut [u8]) -> BackendResult {
        into.fill(0x5a);
        Ok(())
    }
    fn write(&mut self, _: u64, _: &[u8]) -> BackendResult {
        Ok(())
    }
    fn flush(&mut self) -> BackendResult {
        Ok(())
    }
    fn discard(&mut self, _: u64, _: u64) -> BackendResult {
        Ok(())
    }
    fn write_zeroes(&mut self, _: u64, _: u64, _: bool) -> BackendResult {
        Ok(())
    }
}
impl EntropyBackend for Host {
    fn fill(&mut self, into: &mut [u8]) -> BackendResult {
        into.fill(0xa5);
        Ok(())
    }
}
impl MemoryBackend for Host {
    fn release(&mut self, offset: u64, len: u64) {
        assert!(offset.checked_add(len).is_some_and(|end| end <= RAM_LEN));
    }
}

/// A network that has one frame to give.
struct OneFrame(bool);

impl NetBackend for OneFrame {
    fn send(&mut self, _: &[u8]) {}
    fn receive(&mut self, into: &mut [u8]) -> Option<usize> {
        if std::mem::replace(&mut self.0, true) {
            return None;
        }
        into.iter_mut().take(60).for_each(|byte| *byte = 0xff);
        Some(60.min(into.len()))
    }
}

/// Builds the machine; the memory belongs to it.
pub fn board() -> (Arc<HostMemory>, Arc<Ram>, Board) {
    let memory = HostMemory::new(RAM_LEN).expect("memory");
    let ram = Arc::new(memory.ram(RAM_BASE));
    let lines: Arc<[Lines]> = (0..2).map(|_| Lines::new()).collect();
    let clock = Arc::new(VirtualClock::default());
    let mut builder = BoardBuilder::new(ram.clone(), lines, clock, Box::new(Host));
    let devices: [(&str, Box<dyn VirtioDevice>); 5] = [
        ("disk0", Box::new(Blk::new(Box::new(Host), "fuzz"))),
        (
            "net0",
            Box::new(Net::new(Box::new(OneFrame(false)), [2, 0, 0, 0, 0, 1])),
        ),
        ("console0", Box::new(Console::new(Box::new(Host)))),
        ("rng0", Box::new(Rng::new(Box::new(Host)))),
        ("balloon0", Box::new(Balloon::new(Box::new(Host)))),
    ];
    for (name, device) in devices {
        builder = builder.virtio(Box::new(move |ram, irq| {
            Arc::new(VirtioMmio::new(name, device, ram, irq))
        }));
    }
    (memory, ram, builder.build().expect("board"))
}
