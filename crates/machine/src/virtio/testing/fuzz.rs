//! Entry points for fuzzing: bytes in, no panic, no hang, no growth.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use ringer_hart::persist::{Persist, PersistError, decode, encode};
use ringer_hart::{GuestPhys, Width};

use crate::backend::{
    ConsoleBackend, MemoryBackend, MemoryDisk, SeededEntropy, ShareBackend, Switch,
};
use crate::device::Device;
use crate::virtio::device::{DeviceType, VirtioDevice};
use crate::virtio::transport::register as reg;
use crate::virtio::{Balloon, Blk, Button, Console, Counters, Net, Rng, Share, feature};

use super::{BASE, BUFFERS, Buffer, DriverQueue, RAM_BYTES, Rig};

/// Every type of device.
pub const TYPES: [DeviceType; 7] = [
    DeviceType::Net,
    DeviceType::Blk,
    DeviceType::Console,
    DeviceType::Rng,
    DeviceType::Balloon,
    DeviceType::Share,
    DeviceType::Input,
];

/// A console on which someone types without end.
struct Chatter;

impl ConsoleBackend for Chatter {
    fn write(&mut self, _bytes: &[u8]) {}
    fn read(&mut self, into: &mut [u8]) -> usize {
        into.fill(b'x');
        into.len()
    }
}

/// Checks that only whole pages inside RAM are released.
struct InsideRam;

impl MemoryBackend for InsideRam {
    fn release(&mut self, offset: u64, len: u64) {
        assert!(offset.is_multiple_of(4096) && len.is_multiple_of(4096) && len > 0);
        assert!(offset < RAM_BYTES && len <= RAM_BYTES - offset);
    }
}

/// Answers with what it was sent, and the number of the message in front.
#[derive(Default)]
pub struct Echo(u32);

impl ShareBackend for Echo {
    fn answer(&mut self, request: &[u8], reply: &mut [u8]) -> usize {
        self.0 = self.0.wrapping_add(1);
        let answer = self.0.to_le_bytes();
        let answer = answer.iter().chain(request);
        reply
            .iter_mut()
            .zip(answer)
            .map(|(to, from)| *to = *from)
            .count()
    }
    fn reset(&mut self) {
        self.0 = 0;
    }
    fn save(&self) -> Vec<u8> {
        encode(&self.0)
    }
    fn restore(&mut self, bytes: &[u8]) -> Result<(), PersistError> {
        self.0 = decode("an echo", bytes)?;
        Ok(())
    }
}

/// A device of each type on a backend in memory.
pub fn device(kind: DeviceType) -> Box<dyn VirtioDevice> {
    match kind {
        DeviceType::Net => {
            let switch = Switch::new();
            let port = switch.port();
            crate::backend::NetBackend::send(&mut switch.port(), &[0xff; 2000]);
            Box::new(Net::new(Box::new(port), [2, 0, 0, 0, 0, 1]))
        }
        DeviceType::Blk => {
            let disk = MemoryDisk::new(vec![0x5a; 64 << 10], false);
            Box::new(Blk::new(Box::new(disk), "fuzz"))
        }
        DeviceType::Console => Box::new(Console::new(Box::new(Chatter))),
        DeviceType::Rng => Box::new(Rng::new(Box::new(SeededEntropy::new(1)))),
        DeviceType::Balloon => Box::new(Balloon::new(Box::new(InsideRam))),
        DeviceType::Input => {
            let button = Button::new();
            button.control().press();
            Box::new(button)
        }
        DeviceType::Share => Box::new(Share::new(Box::new(Echo::default()), "fuzz")),
    }
}

/// Reads a script of guest actions out of bytes; after the end come zeroes.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((byte, rest)) => {
                self.0 = rest;
                *byte
            }
            None => 0,
        }
    }
    fn half(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }
    fn word(&mut self) -> u32 {
        u32::from(self.half()) | u32::from(self.half()) << 16
    }
    fn width(&mut self) -> Width {
        match self.byte() & 3 {
            0 => Width::Byte,
            1 => Width::Half,
            2 => Width::Word,
            _ => Width::Double,
        }
    }
    /// A buffer, most often a sound one.
    fn buffer(&mut self) -> Buffer {
        let (place, size) = (self.byte(), self.byte());
        let at = match place & 15 {
            0 => u64::from(self.word()) << (place >> 4),
            1 => BASE + RAM_BYTES - u64::from(self.byte()),
            // Among the rings themselves.
            2 => BASE + u64::from(self.half()),
            _ => BUFFERS + u64::from(self.half()),
        };
        let len = match size & 15 {
            0 => self.word(),
            1 => u32::from(self.byte() & 1),
            2 => u32::from(self.half()),
            3..=7 => 512,
            8 | 9 => 16,
            _ => u32::from(self.byte()),
        };
        Buffer {
            at,
            len,
            writable: size & 0x40 != 0,
        }
    }
}

/// Drives a device of type `kind` by a script of register accesses, ring entries and RAM
/// writes, sensible and not, with saved state taken out and put back in between. Returns how
/// often the device came to work, by which one sees that scripts get anywhere.
pub fn exercise_device(kind: DeviceType, bytes: &[u8]) -> Counters {
    let mut rig = Rig::new(device(kind));
    let mut counters = Counters::default();
    let mut script = Script(bytes);
    let mut queues: [DriverQueue; 5] = core::array::from_fn(|n| DriverQueue::new(n as u32, 8, 0));
    while !script.0.is_empty() {
        let action = script.byte();
        let count = queues.len();
        let Some(queue) = queues.get_mut(usize::from(action >> 4) % count) else {
            break;
        };
        match action & 15 {
            0 | 1 => {
                let offset = u64::from(script.half() % 0x1000);
                let value = u64::from(script.word()) << 32 | u64::from(script.word());
                let width = script.width();
                let _ = rig.device().store(offset, width, value & width.mask());
            }
            2 => rig.write(u64::from(script.byte()) << 2, u32::from(script.byte())),
            3 => {
                let offset = u64::from(script.half() % 0x1000);
                let _ = rig.device().load(offset, script.width());
            }
            4 => {
                let at = GuestPhys(BASE + u64::from(script.word()) % RAM_BYTES);
                rig.ram().store(GuestPhys(at.0 & !1), script.half());
            }
            5 => rig.device().poll(),
            6 => rig.write(reg::QUEUE_NOTIFY, u32::from(action >> 4)),
            7 | 8 => {
                let ring = feature::VERSION_1 | feature::INDIRECT_DESC | feature::EVENT_IDX;
                let features = match action & 15 {
                    7 => rig.offered(),
                    _ => rig.offered() & (ring | u64::from(script.word())),
                };
                let size = 1 << (script.byte() % 9);
                if let Some(started) = rig.start(features, count as u32, size) {
                    for (to, from) in queues.iter_mut().zip(started) {
                        *to = from;
                    }
                }
            }
            9 | 10 => {
                let (table, index) = match action & 15 {
                    9 => (queue.layout().desc, script.byte()),
                    _ => (BUFFERS + u64::from(script.half() & !7), script.byte()),
                };
                let (buffer, flags) = (script.buffer(), script.half());
                let next = u16::from(script.byte());
                DriverQueue::describe(rig.ram(), table, index.into(), buffer, flags & 7, next);
            }
            11 => queue.offer(rig.ram(), u16::from(script.byte())),
            12 => {
                let data = script.buffer();
                let header = Buffer {
                    at: BUFFERS,
                    len: 16,
                    writable: false,
                };
                // A block request's header, which serves the other devices as data.
                rig.put(
                    BUFFERS,
                    &[script.byte(), 0, 0, 0, 0, 0, 0, 0, script.byte()],
                );
                let status = Buffer {
                    at: BUFFERS + 32,
                    len: 1,
                    writable: true,
                };
                queue.add(rig.ram(), &[header, data, status]);
                rig.kick(queue);
            }
            13 => {
                let buffer = script.buffer();
                queue.add_indirect(rig.ram(), BUFFERS + 0x1000, &[buffer]);
                rig.kick(queue);
            }
            14 => {
                let saved = rig.device().save();
                add(&mut counters, rig.device().counters());
                rig.replace(device(kind));
                let restored = rig.device().restore(&saved);
                // A machine in any state that a guest can reach can be saved and resumed.
                assert_eq!(restored, Ok(()));
                assert_eq!(rig.device().save(), saved);
            }
            _ => {
                rig.acknowledge();
            }
        }
    }
    add(&mut counters, rig.device().counters());
    counters
}

fn add(sum: &mut Counters, more: Counters) {
    sum.notifications += more.notifications;
    sum.requests += more.requests;
    sum.interrupts += more.interrupts;
    sum.config_changes += more.config_changes;
    sum.faults += more.faults;
}

/// Restores bytes as the saved state of a device of type `kind`, and lets the device work.
pub fn exercise_restore(kind: DeviceType, bytes: &[u8]) {
    let rig = Rig::new(device(kind));
    if rig.device().restore(bytes).is_ok() {
        for queue in 0..5 {
            rig.write(reg::QUEUE_NOTIFY, queue);
        }
        rig.device().poll();
        let saved = rig.device().save();
        assert_eq!(rig.device().restore(&saved), Ok(()));
    }
}

/// Takes bytes as the rings and buffers of one queue and serves it to the end.
pub fn exercise_queue(bytes: &[u8]) {
    let Some((&[size, features, avail], memory)) = bytes.split_first_chunk() else {
        return;
    };
    let rig = Rig::new(device(DeviceType::Rng));
    let features = match features & 3 {
        0 => 0,
        1 => feature::INDIRECT_DESC,
        2 => feature::EVENT_IDX,
        _ => feature::INDIRECT_DESC | feature::EVENT_IDX,
    };
    let driver = DriverQueue::new(0, 1 << (size % 9), features);
    let layout = driver.layout();
    // Descriptors and ring share one image, so that short inputs reach both.
    rig.put(layout.desc, memory.get(..0x1000).unwrap_or(memory));
    rig.put(layout.driver, memory.get(..0x300).unwrap_or(memory));
    rig.ram()
        .store(GuestPhys(layout.driver + 2), u16::from(avail));
    let mut queue = driver.device_side(rig.ram(), features);
    let mut scratch = [0; 64];
    for _ in 0..=u16::from(avail) {
        let Ok(Some(chain)) = queue.pop(rig.ram()) else {
            break;
        };
        assert!(chain.segment_count() <= 256);
        let mut reader = chain.reader(rig.ram());
        assert!(reader.read(&mut scratch) as u64 <= chain.readable_len());
        let mut writer = chain.writer(rig.ram());
        let written = writer.write(&scratch) as u32;
        assert!(u64::from(written) <= chain.writable_len());
        if queue.complete(rig.ram(), chain, written).is_err() {
            break;
        }
        let _ = queue.publish(rig.ram());
        let _ = queue.rearm(rig.ram(), 0);
        let _ = queue.take_interrupt(rig.ram());
    }
}
