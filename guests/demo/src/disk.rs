//! The `disk` command: a virtio-blk driver of the simplest kind, one request at a time, polled.

use crate::machine::{Machine, Size};
use bare::virtio::*;
use bare::{print, println};
use core::mem::offset_of;
use core::ptr::{addr_of, addr_of_mut};
use core::sync::atomic::{Ordering, fence};

const SIZE: usize = 4;

/// A virtqueue, the request and its data, in memory that the device reads and writes.
#[repr(C, align(16))]
struct Queue {
    descriptors: [Descriptor; SIZE],
    available_flags: u16,
    available_index: u16,
    available: [u16; SIZE],
    /// Flags in the lower half, index in the upper.
    used_head: u32,
    used: [[u32; 2]; SIZE],
    request: [u64; 2],
    data: [u8; 512],
    status: u8,
}

const BLANK: Descriptor = Descriptor {
    address: 0,
    length: 0,
    flags: 0,
    next: 0,
};
static mut QUEUE: Queue = Queue {
    descriptors: [BLANK; SIZE],
    available_flags: 0,
    available_index: 0,
    available: [0; SIZE],
    used_head: 0,
    used: [[0; 2]; SIZE],
    request: [0; 2],
    data: [0; 512],
    status: 0,
};

/// The address of one of the queue's fields, as the device gets it.
macro_rules! queue_address {
    ($field:ident) => {
        addr_of_mut!(QUEUE) as usize + offset_of!(Queue, $field)
    };
}

#[derive(Clone, Copy)]
struct Disk(Device);

impl Disk {
    /// Resets the device and sets its one queue up; says each step.
    fn start(self) -> Result<(), &'static str> {
        self.0.write(STATUS, 0);
        self.0.write(STATUS, ACKNOWLEDGE);
        self.0.write(STATUS, ACKNOWLEDGE | DRIVER);
        println!("  status <- ACKNOWLEDGE, DRIVER");
        self.0.write(DEVICE_FEATURES_SELECT, 1);
        let high = self.0.read(DEVICE_FEATURES);
        self.0.write(DEVICE_FEATURES_SELECT, 0);
        println!(
            "  features offered {:#x}; taken: VERSION_1 alone",
            u64::from(high) << 32 | u64::from(self.0.read(DEVICE_FEATURES))
        );
        self.0.write(DRIVER_FEATURES_SELECT, 1);
        self.0.write(DRIVER_FEATURES, 1);
        self.0.write(DRIVER_FEATURES_SELECT, 0);
        self.0.write(DRIVER_FEATURES, 0);
        self.0.write(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
        if self.0.read(STATUS) & FEATURES_OK == 0 {
            return Err("the device refused the features");
        }
        self.0.write(QUEUE_SELECT, 0);
        if (self.0.read(QUEUE_SIZE_MAX) as usize) < SIZE {
            return Err("the device has no queue");
        }
        self.0.write(QUEUE_SIZE, SIZE as u32);
        // SAFETY: the device is reset, so the queue is ours.
        unsafe {
            addr_of_mut!(QUEUE.available_index).write_volatile(0);
            addr_of_mut!(QUEUE.used_head).write_volatile(0);
        }
        self.0
            .write_address(QUEUE_DESCRIPTORS, queue_address!(descriptors));
        self.0
            .write_address(QUEUE_AVAILABLE, queue_address!(available_flags));
        self.0.write_address(QUEUE_USED, queue_address!(used_head));
        self.0.write(QUEUE_READY, 1);
        self.0
            .write(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
        println!(
            "  queue 0 of {SIZE} descriptors at {:#x}; status <- FEATURES_OK, DRIVER_OK",
            queue_address!(descriptors)
        );
        Ok(())
    }

    /// Reads one sector.
    fn sector(self, sector: u64) -> Result<[u8; 512], &'static str> {
        let part = |address: usize, length, flags, next| Descriptor {
            address: address as u64,
            length,
            flags,
            next,
        };
        // SAFETY: the device touches the queue only after the notification below, and has finished
        // when the used index has advanced.
        unsafe {
            addr_of_mut!(QUEUE.request).write_volatile([0, sector]);
            addr_of_mut!(QUEUE.status).write_volatile(0xff);
            addr_of_mut!(QUEUE.descriptors).write_volatile([
                part(queue_address!(request), 16, NEXT, 1),
                part(queue_address!(data), 512, NEXT | WRITABLE, 2),
                part(queue_address!(status), 1, WRITABLE, 0),
                BLANK,
            ]);
            fence(Ordering::SeqCst);
            addr_of_mut!(QUEUE.available_index).write_volatile(1);
            fence(Ordering::SeqCst);
            self.0.write(QUEUE_NOTIFY, 0);
            while addr_of!(QUEUE.used_head).read_volatile() >> 16 == 0 {
                core::hint::spin_loop();
            }
            fence(Ordering::SeqCst);
            match addr_of!(QUEUE.status).read_volatile() {
                0 => Ok(addr_of!(QUEUE.data).read_volatile()),
                1 => Err("the device reports an I/O error"),
                _ => Err("the device does not know the request"),
            }
        }
    }
}

/// The `disk` command.
pub fn command(machine: &Machine, argument: &str) {
    let disk = machine
        .tree
        .compatible("virtio,mmio")
        .filter_map(|n| n.reg())
        .map(|(base, _)| Device(base))
        .find(|device| device.is_disk());
    let Some(device) = disk else {
        println!(
            "There is no disk. Start the machine with one (`ringer demo --disk FILE`) and try again."
        );
        return;
    };
    println!(
        "A virtio block device at {:#x}, version {}:",
        device.0,
        device.read(VERSION)
    );
    if device.read(VERSION) != 2 {
        println!("  this driver knows version 2 only");
        return;
    }
    let sectors = u64::from(device.read(CAPACITY)) | u64::from(device.read(CAPACITY + 4)) << 32;
    println!(
        "  {sectors} sectors of 512 bytes, {}",
        Size(sectors as usize * 512)
    );
    let Ok(sector) = (if argument.is_empty() {
        Ok(0)
    } else {
        argument.parse::<u64>()
    }) else {
        println!("usage: disk [SECTOR]");
        return;
    };
    let disk = Disk(device);
    match disk.start().and_then(|()| disk.sector(sector)) {
        Ok(data) => {
            println!("  sector {sector}:");
            dump(&data);
        }
        Err(why) => println!("  sector {sector}: {why}"),
    }
    device.write(STATUS, 0);
}

fn dump(data: &[u8]) {
    for (row, bytes) in data.chunks(16).enumerate().take(8) {
        print!("  {:03x} ", row * 16);
        for byte in bytes {
            print!(" {byte:02x}");
        }
        print!("  ");
        for &byte in bytes {
            print!(
                "{}",
                if (0x20..0x7f).contains(&byte) {
                    byte as char
                } else {
                    '.'
                }
            );
        }
        print!("\n");
    }
    println!("  ... and {} bytes more", data.len().saturating_sub(128));
}
