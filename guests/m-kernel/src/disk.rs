//! The virtio disk, by the virt board's address, with several requests in flight and interrupts.
//!
//! Negotiates features as xv6 does: only the lower word, so without VERSION_1.

use crate::lock::Lock;
use crate::{pages, process, say};
use bare::virtio::*;
use core::ptr::{addr_of, addr_of_mut};
use core::sync::atomic::{Ordering, fence};

/// The first virtio-mmio device.
pub const BASE: usize = 0x1000_1000;
/// Its interrupt.
pub const IRQ: usize = 1;
/// The bytes of a block.
pub const BLOCK: usize = 1024;

const DEVICE: Device = Device(BASE);

/// Features left out: read-only, SCSI, write-back control, several queues, any layout, indirect
/// descriptors, event indexes.
const WITHOUT: u32 = 1 << 5 | 1 << 7 | 1 << 11 | 1 << 12 | 1 << 27 | 1 << 28 | 1 << 29;
const SIZE: usize = 8;

#[repr(C)]
struct AvailableRing {
    flags: u16,
    index: u16,
    ring: [u16; SIZE],
}

#[repr(C)]
struct UsedRing {
    flags: u16,
    index: u16,
    ring: [[u32; 2]; SIZE],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Request {
    kind: u32,
    reserved: u32,
    sector: u64,
}

struct Disk {
    present: bool,
    descriptors: *mut [Descriptor; SIZE],
    available: *mut AvailableRing,
    used: *mut UsedRing,
    free: [bool; SIZE],
    seen: u16,
    requests: [Request; SIZE],
    status: [u8; SIZE],
    done: [bool; SIZE],
}

static LOCK: Lock = Lock::new();
static mut DISK: Disk = Disk {
    present: false,
    descriptors: core::ptr::null_mut(),
    available: core::ptr::null_mut(),
    used: core::ptr::null_mut(),
    free: [true; SIZE],
    seen: 0,
    requests: [Request {
        kind: 0,
        reserved: 0,
        sector: 0,
    }; SIZE],
    status: [0; SIZE],
    done: [false; SIZE],
};

/// Whether there is a disk.
pub fn present() -> bool {
    // SAFETY: set once, before processes run.
    unsafe { addr_of!(DISK.present).read() }
}

/// Sets the device up.
pub fn start() {
    if !DEVICE.is_disk() || DEVICE.read(VERSION) != 2 {
        say(format_args!(
            "m-kernel: no virtio disk (version 2) at {BASE:#x}; its tests are left out"
        ));
        return;
    }
    DEVICE.write(STATUS, 0);
    DEVICE.write(STATUS, ACKNOWLEDGE);
    DEVICE.write(STATUS, ACKNOWLEDGE | DRIVER);
    DEVICE.write(DRIVER_FEATURES, DEVICE.read(DEVICE_FEATURES) & !WITHOUT);
    DEVICE.write(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    assert!(
        DEVICE.read(STATUS) & FEATURES_OK != 0,
        "the disk refuses the features"
    );
    DEVICE.write(QUEUE_SELECT, 0);
    assert!(
        DEVICE.read(QUEUE_READY) == 0,
        "the disk's queue is in use already"
    );
    assert!(
        DEVICE.read(QUEUE_SIZE_MAX) as usize >= SIZE,
        "the disk's queue is too short"
    );
    let (descriptors, available, used) = (
        pages::allocate().expect("memory for the disk"),
        pages::allocate().expect("memory for the disk"),
        pages::allocate().expect("memory for the disk"),
    );
    DEVICE.write(QUEUE_SIZE, SIZE as u32);
    DEVICE.write_address(QUEUE_DESCRIPTORS, descriptors);
    DEVICE.write_address(QUEUE_AVAILABLE, available);
    DEVICE.write_address(QUEUE_USED, used);
    DEVICE.write(QUEUE_READY, 1);
    // SAFETY: before processes run.
    unsafe {
        let disk = &mut *addr_of_mut!(DISK);
        disk.descriptors = descriptors as *mut _;
        disk.available = available as *mut _;
        disk.used = used as *mut _;
        disk.present = true;
    }
    DEVICE.write(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

/// Takes three descriptors, or none. Under the lock.
fn allocate(disk: &mut Disk) -> Option<[usize; 3]> {
    let mut taken = [0; 3];
    let mut count = 0;
    for (index, free) in disk.free.iter().enumerate().filter(|(_, free)| **free) {
        let _ = free;
        taken[count] = index;
        count += 1;
        if count == 3 {
            taken.iter().for_each(|&i| disk.free[i] = false);
            return Some(taken);
        }
    }
    None
}

/// Reads or writes a block from or to a page of memory, and sleeps until it is done.
pub fn transfer(block: usize, memory: usize, to_disk: bool) -> bool {
    LOCK.acquire();
    let disk = addr_of_mut!(DISK);
    // SAFETY: the disk's state is used under the lock alone; what the device reads and writes, by
    // volatile accesses between fences.
    let status = unsafe {
        let chain = loop {
            if let Some(chain) = allocate(&mut *disk) {
                break chain;
            }
            process::sleep(addr_of!((*disk).free) as usize, &LOCK);
        };
        let [head, data, tail] = chain;
        let request = addr_of_mut!((*disk).requests[head]);
        request.write_volatile(Request {
            kind: u32::from(to_disk),
            reserved: 0,
            sector: (block * (BLOCK / 512)) as u64,
        });
        let status = addr_of_mut!((*disk).status[head]);
        status.write_volatile(0xff);
        let descriptor = |index: usize, address: usize, length: usize, flags: u16, next: usize| {
            let value = Descriptor {
                address: address as u64,
                length: length as u32,
                flags,
                next: next as u16,
            };
            addr_of_mut!((*(*disk).descriptors)[index]).write_volatile(value);
        };
        descriptor(head, request as usize, size_of::<Request>(), NEXT, data);
        descriptor(
            data,
            memory,
            BLOCK,
            if to_disk { NEXT } else { NEXT | WRITABLE },
            tail,
        );
        descriptor(tail, status as usize, 1, WRITABLE, 0);
        (*disk).done[head] = false;
        let available = (*disk).available;
        let index = addr_of!((*available).index).read_volatile();
        addr_of_mut!((*available).ring[index as usize % SIZE]).write_volatile(head as u16);
        fence(Ordering::SeqCst);
        addr_of_mut!((*available).index).write_volatile(index.wrapping_add(1));
        fence(Ordering::SeqCst);
        DEVICE.write(QUEUE_NOTIFY, 0);
        while !addr_of!((*disk).done[head]).read_volatile() {
            process::sleep(addr_of!((*disk).done[head]) as usize, &LOCK);
        }
        chain.iter().for_each(|&i| (*disk).free[i] = true);
        process::wake(addr_of!((*disk).free) as usize);
        status.read_volatile()
    };
    LOCK.release();
    status == 0
}

/// The device's interrupt: marks what is done.
pub fn interrupt() {
    LOCK.acquire();
    DEVICE.write(INTERRUPT_ACKNOWLEDGE, DEVICE.read(INTERRUPT_STATUS) & 3);
    fence(Ordering::SeqCst);
    let disk = addr_of_mut!(DISK);
    // SAFETY: as in `transfer`.
    unsafe {
        let used = (*disk).used;
        while (*disk).seen != addr_of!((*used).index).read_volatile() {
            fence(Ordering::SeqCst);
            let [head, _] = addr_of!((*used).ring[(*disk).seen as usize % SIZE]).read_volatile();
            let done = addr_of_mut!((*disk).done[head as usize]);
            done.write_volatile(true);
            process::wake(done as usize);
            (*disk).seen = (*disk).seen.wrapping_add(1);
        }
    }
    LOCK.release();
}
