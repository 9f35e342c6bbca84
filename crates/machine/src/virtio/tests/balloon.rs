//! The balloon, driven as by a driver.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use ringer_hart::Width;
use ringer_hart::persist::Persist;

use super::{RING, VERSION_1};
use crate::backend::MemoryBackend;
use crate::device::Device;
use crate::lock::Lock;
use crate::virtio::balloon::feature;
use crate::virtio::testing::{BASE, BUFFERS, RAM_BYTES, Rig, readable, writable};
use crate::virtio::transport::register as reg;
use crate::virtio::{Balloon, BalloonControl};

#[derive(Clone)]
struct Released(Arc<Lock<Vec<(u64, u64)>>>);

impl Released {
    fn take(&self) -> Vec<(u64, u64)> {
        core::mem::take(&mut self.0.lock())
    }
}

impl MemoryBackend for Released {
    fn release(&mut self, offset: u64, len: u64) {
        self.0.lock().push((offset, len));
    }
}

fn balloon() -> (Rig, Released, BalloonControl) {
    let released = Released(Arc::new(Lock::new(vec![])));
    let balloon = Balloon::new(Box::new(released.clone()));
    let control = balloon.control();
    (Rig::new(Box::new(balloon)), released, control)
}

const PAGE: u64 = 4096;

fn inflate(rig: &Rig, queue: &mut crate::virtio::testing::DriverQueue, pages: &[u32]) {
    let list: Vec<u8> = pages.iter().flat_map(|page| page.to_le_bytes()).collect();
    rig.put(BUFFERS, &list);
    queue.add(rig.ram(), &[readable(BUFFERS, list.len() as u32)]);
    rig.kick(queue);
    assert!(queue.take_used(rig.ram()).is_some());
}

#[test]
fn inflated_pages_are_released_and_nothing_else() {
    let (rig, released, control) = balloon();
    let mut queues = rig.start(VERSION_1, 2, 8).unwrap();
    let first = (BASE / PAGE) as u32;
    let last = first + (RAM_BYTES / PAGE) as u32 - 1;
    // Neighbours go together, upwards and downwards.
    inflate(
        &rig,
        &mut queues[0],
        &[first + 8, first + 9, first + 10, first + 20, first + 19],
    );
    assert_eq!(
        released.take(),
        [(8 * PAGE, 3 * PAGE), (19 * PAGE, 2 * PAGE)]
    );
    assert_eq!(control.released_bytes(), 5 * PAGE);
    // Pages outside RAM are not ours to release, next to RAM or not.
    inflate(
        &rig,
        &mut queues[0],
        &[0, u32::MAX, first - 1, first, last, last + 1],
    );
    assert_eq!(released.take(), [(0, PAGE), (RAM_BYTES - PAGE, PAGE)]);
    // Deflating needs nothing; a list cut short ends early.
    inflate(&rig, &mut queues[1], &[first + 8]);
    rig.put(BUFFERS, &(first + 3).to_le_bytes());
    queues[0].add(rig.ram(), &[readable(BUFFERS, 7)]);
    rig.kick(&mut queues[0]);
    assert_eq!(released.take(), [(3 * PAGE, PAGE)]);
}

/// A backend may let pages read as zero: that is a change like any other.
#[test]
fn released_pages_that_held_code_have_changed() {
    let (rig, _, _) = balloon();
    let mut queues = rig.start(VERSION_1, 2, 8).unwrap();
    let code = rig.ram().watch_code();
    (0..RAM_BYTES / PAGE).for_each(|page| code.mark(page));
    let first = (BASE / PAGE) as u32;
    inflate(
        &rig,
        &mut queues[0],
        &[first + 100, first + 101, first + 103],
    );
    let changed: Vec<bool> = (99..105).map(|page| code.is_changed(page)).collect();
    assert_eq!(changed, [false, true, true, false, true, false]);
}

#[test]
fn reported_pages_are_released_whichever_number_the_queue_has() {
    for number in [2, 3, 4] {
        let (rig, released, _) = balloon();
        let mut queues = rig.start(RING | feature::REPORTING, 5, 8).unwrap();
        let queue = &mut queues[number];
        let buffers = [
            writable(BASE + 0x10_000, 0x4000),
            writable(BASE + 0x20_800, 0x2000),
            writable(BASE + 0x30_001, 0xffe),
        ];
        queue.add(rig.ram(), &buffers);
        rig.kick(queue);
        assert_eq!(queue.take_used(rig.ram()), Some((0, 0)));
        // Only whole pages.
        assert_eq!(released.take(), [(0x10_000, 0x4000), (0x21_000, 0x1000)]);
    }
    // Not agreed on.
    let (rig, released, _) = balloon();
    let mut queues = rig.start(RING, 5, 8).unwrap();
    queues[2].add(rig.ram(), &[writable(BASE + 0x10_000, 0x4000)]);
    rig.kick(&mut queues[2]);
    assert_eq!(released.take(), []);
}

#[test]
fn the_host_asks_and_the_guest_answers() {
    let (mut rig, _, control) = balloon();
    rig.start(RING, 2, 8).unwrap();
    rig.device().poll();
    assert!(!rig.interrupt());
    control.set_target(42);
    rig.device().poll();
    assert_eq!(rig.acknowledge(), 2);
    assert_eq!(rig.read(reg::CONFIG), 42);
    rig.write(reg::CONFIG + 4, 40);
    rig.write(reg::CONFIG, 7);
    rig.device().store(reg::CONFIG + 4, Width::Half, 1).unwrap();
    assert_eq!((control.target(), control.actual()), (42, 40));
    // Resumed elsewhere, target and answer are the same and no news.
    let saved = rig.device().save();
    let other = Balloon::new(Box::new(Released(Arc::new(Lock::new(vec![])))));
    let control = other.control();
    rig.replace(Box::new(other));
    rig.device().restore(&saved).unwrap();
    assert_eq!((control.target(), control.actual()), (42, 40));
    rig.device().poll();
    assert!(!rig.interrupt());
}
