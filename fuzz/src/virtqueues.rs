//! Virtqueues: any descriptors, rings and requests in RAM, with the queues properly set up.

use ringer_hart::{Bus, GuestPhys, Width};
use ringer_machine::memory_map::{RAM_BASE, virtio_slot};

use crate::machine::{self, RAM_LEN};

/// Registers of a virtio-mmio device (virtio 1.2, 4.2.2).
mod register {
    pub const DRIVER_FEATURES: u64 = 0x20;
    pub const DRIVER_FEATURES_SEL: u64 = 0x24;
    pub const QUEUE_SEL: u64 = 0x30;
    pub const QUEUE_NUM: u64 = 0x38;
    pub const QUEUE_READY: u64 = 0x44;
    pub const QUEUE_NOTIFY: u64 = 0x50;
    pub const STATUS: u64 = 0x70;
    pub const DESC: u64 = 0x80;
    pub const DRIVER: u64 = 0x90;
    pub const DEVICE: u64 = 0xa0;
}
use register as reg;

/// The first bytes choose device and features, the others fill RAM: rings first.
pub fn run(data: &[u8]) {
    let Some((head, body)) = data.split_first_chunk::<8>() else {
        return;
    };
    let (_memory, ram, board) = machine::board();
    let slot = virtio_slot(usize::from(head[0]) % 5).base.0;
    let set = |offset: u64, value: u32| {
        let _ = board.store(0, GuestPhys(slot + offset), Width::Word, value.into());
    };
    ram.write(RAM_BASE, &body[..body.len().min(RAM_LEN as usize)]);
    set(reg::STATUS, 1);
    set(reg::STATUS, 3);
    // Indirect descriptors, event indexes, and some of the device's own features.
    set(reg::DRIVER_FEATURES_SEL, 0);
    set(
        reg::DRIVER_FEATURES,
        u32::from_le_bytes([head[1], head[2], head[3], head[4]]),
    );
    set(reg::DRIVER_FEATURES_SEL, 1);
    set(reg::DRIVER_FEATURES, 1);
    set(reg::STATUS, 0xb);
    let size = 1 << (head[5] & 7);
    for queue in 0..4 {
        let place = RAM_BASE.0 + 0x400 * u64::from(queue);
        set(reg::QUEUE_SEL, queue);
        set(reg::QUEUE_NUM, size);
        set(reg::DESC, place as u32);
        set(reg::DRIVER, (place + 0x200) as u32);
        set(reg::DEVICE, (place + 0x300) as u32);
        set(reg::QUEUE_READY, 1);
    }
    set(reg::STATUS, 0xf);
    for round in 0..u32::from(head[6] & 3) + 1 {
        for queue in 0..4 {
            set(reg::QUEUE_NOTIFY, queue);
        }
        board.poll();
        // More buffers come.
        let index = GuestPhys(RAM_BASE.0 + 0x202);
        ram.write(index, &[head[7].wrapping_add(round as u8), 0]);
    }
}
