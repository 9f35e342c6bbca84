//! The `disk` command: a virtio-blk driver of the simplest kind, one request at a time, polled.

use crate::machine::{Machine, Size};
use bare::{print, println};
use core::mem::offset_of;
use core::ptr::{addr_of, addr_of_mut};
use core::sync::atomic::{Ordering, fence};

const MAGIC: usize = 0x000;
const VERSION: usize = 0x004;
const DEVICE_ID: usize = 0x008;
const DEVICE_FEATURES: usize = 0x010;
const DEVICE_FEATURES_SELECT: usize = 0x014;
const DRIVER_FEATURES: usize = 0x020;
const DRIVER_FEATURES_SELECT: usize = 0x024;
const QUEUE_SELECT: usize = 0x030;
const QUEUE_SIZE_MAX: usize = 0x034;
const QUEUE_SIZE: usize = 0x038;
const QUEUE_READY: usize = 0x044;
const QUEUE_NOTIFY: usize = 0x050;
const STATUS: usize = 0x070;
const QUEUE_DESCRIPTORS: usize = 0x080;
const QUEUE_AVAILABLE: usize = 0x090;
const QUEUE_USED: usize = 0x0a0;
const CAPACITY: usize = 0x100;

const BLOCK_DEVICE: u32 = 2;
const SIZE: usize = 4;
const NEXT: u16 = 1;
const WRITABLE: u16 = 2;

#[repr(C)]
#[derive(Clone, Copy)]
struct Descriptor {
    address: u64,
    length: u32,
    flags: u16,
    next: u16,
}

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
struct Disk(usize);

impl Disk {
    fn read(self, register: usize) -> u32 {
        // SAFETY: a device register.
        unsafe { ((self.0 + register) as *const u32).read_volatile() }
    }

    fn write(self, register: usize, value: u32) {
        // SAFETY: a device register.
        unsafe { ((self.0 + register) as *mut u32).write_volatile(value) }
    }

    fn write_address(self, register: usize, address: usize) {
        self.write(register, address as u32);
        self.write(register + 4, (address >> 32) as u32);
    }

    /// Resets the device and sets its one queue up; says each step.
    fn start(self) -> Result<(), &'static str> {
        self.write(STATUS, 0);
        self.write(STATUS, 1);
        self.write(STATUS, 1 | 2);
        println!("  status <- ACKNOWLEDGE, DRIVER");
        self.write(DEVICE_FEATURES_SELECT, 1);
        let high = self.read(DEVICE_FEATURES);
        self.write(DEVICE_FEATURES_SELECT, 0);
        println!(
            "  features offered {:#x}; taken: VERSION_1 alone",
            u64::from(high) << 32 | u64::from(self.read(DEVICE_FEATURES))
        );
        self.write(DRIVER_FEATURES_SELECT, 1);
        self.write(DRIVER_FEATURES, 1);
        self.write(DRIVER_FEATURES_SELECT, 0);
        self.write(DRIVER_FEATURES, 0);
        self.write(STATUS, 1 | 2 | 8);
        if self.read(STATUS) & 8 == 0 {
            return Err("the device refused the features");
        }
        self.write(QUEUE_SELECT, 0);
        if (self.read(QUEUE_SIZE_MAX) as usize) < SIZE {
            return Err("the device has no queue");
        }
        self.write(QUEUE_SIZE, SIZE as u32);
        // SAFETY: the device is reset, so the queue is ours.
        unsafe {
            addr_of_mut!(QUEUE.available_index).write_volatile(0);
            addr_of_mut!(QUEUE.used_head).write_volatile(0);
        }
        self.write_address(QUEUE_DESCRIPTORS, queue_address!(descriptors));
        self.write_address(QUEUE_AVAILABLE, queue_address!(available_flags));
        self.write_address(QUEUE_USED, queue_address!(used_head));
        self.write(QUEUE_READY, 1);
        self.write(STATUS, 1 | 2 | 8 | 4);
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
            self.write(QUEUE_NOTIFY, 0);
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
        .map(|(base, _)| Disk(base))
        .find(|d| {
            d.read(MAGIC) == u32::from_le_bytes(*b"virt") && d.read(DEVICE_ID) == BLOCK_DEVICE
        });
    let Some(disk) = disk else {
        println!(
            "There is no disk. Start the machine with one (`ringer demo --disk FILE`) and try again."
        );
        return;
    };
    println!(
        "A virtio block device at {:#x}, version {}:",
        disk.0,
        disk.read(VERSION)
    );
    if disk.read(VERSION) != 2 {
        println!("  this driver knows version 2 only");
        return;
    }
    let sectors = u64::from(disk.read(CAPACITY)) | u64::from(disk.read(CAPACITY + 4)) << 32;
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
    match disk.start().and_then(|()| disk.sector(sector)) {
        Ok(data) => {
            println!("  sector {sector}:");
            dump(&data);
        }
        Err(why) => println!("  sector {sector}: {why}"),
    }
    disk.write(STATUS, 0);
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
