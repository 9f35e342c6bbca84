//! Registers, negotiation, interrupts and saved state.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU16, Ordering};

use ringer_hart::Width;
use ringer_hart::persist::Persist;

use super::RING;
use crate::backend::{BackendResult, EntropyBackend, SeededEntropy};
use crate::device::Device;
use crate::virtio::endpoint::status;
use crate::virtio::feature::{EVENT_IDX, INDIRECT_DESC, VERSION_1};
use crate::virtio::testing::fuzz::{TYPES, device};
use crate::virtio::testing::{BASE, BUFFERS, RAM_BYTES, Rig, writable};
use crate::virtio::transport::register as reg;
use crate::virtio::{DeviceType, EmptySlot, QueueError, Rng};

fn entropy(seed: u64) -> Box<Rng> {
    Box::new(Rng::new(Box::new(SeededEntropy::new(seed))))
}
fn rig() -> Rig {
    Rig::new(entropy(1))
}

const AT_WORK: u32 =
    (status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK | status::DRIVER_OK) as u32;

#[test]
fn identity() {
    for (kind, number) in TYPES.into_iter().zip([1, 2, 3, 4, 5]) {
        let rig = Rig::new(device(kind));
        assert_eq!(rig.read(reg::MAGIC), 0x7472_6976);
        assert_eq!(rig.read(reg::VERSION), 2);
        assert_eq!(rig.read(reg::DEVICE_ID), number);
        assert_eq!(rig.read(reg::SHM_LEN), u32::MAX);
        assert_eq!(rig.offered() & RING, RING);
        // No bits beyond the 64.
        rig.write(reg::DEVICE_FEATURES_SEL, 2);
        assert_eq!(rig.read(reg::DEVICE_FEATURES), 0);
    }
    let empty = EmptySlot::new("virtio7");
    assert_eq!(empty.load(reg::MAGIC, Width::Word), Ok(0x7472_6976));
    assert_eq!(empty.load(reg::DEVICE_ID, Width::Word), Ok(0));
    assert_eq!(empty.load(reg::STATUS, Width::Word), Ok(0));
}

#[test]
fn registers_answer_only_to_aligned_words() {
    let rig = rig();
    for (offset, width) in [
        (0, Width::Byte),
        (0, Width::Half),
        (0, Width::Double),
        (2, Width::Word),
    ] {
        assert_eq!(rig.device().load(offset, width), Ok(0));
    }
    rig.device().store(reg::STATUS, Width::Byte, 1).unwrap();
    rig.device().store(reg::STATUS, Width::Double, 1).unwrap();
    assert_eq!(rig.read(reg::STATUS), 0);
}

#[test]
fn features_must_be_known() {
    let rig = rig();
    assert!(rig.negotiate(VERSION_1));
    assert!(rig.negotiate(RING));
    assert!(rig.negotiate(EVENT_IDX), "VERSION_1 left out, as by xv6");
    assert!(!rig.negotiate(VERSION_1 | 1 << 63), "an unknown feature");
    // Without agreement there is no work.
    rig.write(reg::STATUS, AT_WORK);
    let refused = AT_WORK & !u32::from(status::FEATURES_OK | status::DRIVER_OK);
    assert_eq!(rig.read(reg::STATUS), refused);
    // After agreement nothing can be changed, and bits stay until a reset.
    assert!(rig.negotiate(VERSION_1));
    rig.write(reg::DRIVER_FEATURES_SEL, 0);
    rig.write(reg::DRIVER_FEATURES, u32::MAX);
    rig.write(reg::STATUS, AT_WORK);
    rig.write(reg::STATUS, 1);
    assert_eq!(rig.read(reg::STATUS), AT_WORK);
    rig.write(reg::STATUS, 0x100);
    assert_eq!(rig.read(reg::STATUS), AT_WORK);
    rig.write(reg::STATUS, 0);
    assert_eq!(rig.read(reg::STATUS), 0);
}

#[test]
fn queues_are_described_and_reset() {
    let rig = rig();
    assert_eq!(rig.read(reg::QUEUE_SIZE_MAX), 8);
    rig.write(reg::QUEUE_SEL, 1);
    assert_eq!(rig.read(reg::QUEUE_SIZE_MAX), 0);
    rig.write(reg::QUEUE_READY, 1);
    assert_eq!(rig.read(reg::QUEUE_READY), 0);
    rig.start(RING, 1, 4).unwrap();
    assert_eq!(rig.read(reg::QUEUE_READY), 1);
    rig.write(reg::QUEUE_READY, 0);
    assert_eq!(rig.read(reg::QUEUE_READY), 0);
    rig.write(reg::QUEUE_READY, 1);
    rig.write(reg::STATUS, 0);
    assert_eq!(rig.read(reg::QUEUE_READY), 0);
}

#[test]
fn a_queue_put_to_use_again_begins_anew() {
    let rig = rig();
    let mut queue = rig.start(RING, 1, 8).unwrap().remove(0);
    for size in [8, 4] {
        for _ in 0..3 {
            queue.add(rig.ram(), &[writable(BUFFERS, 1)]);
            rig.kick(&mut queue);
            assert!(queue.take_used(rig.ram()).is_some());
        }
        rig.write(reg::QUEUE_READY, 0);
        queue.add(rig.ram(), &[writable(BUFFERS, 1)]);
        rig.write(reg::QUEUE_NOTIFY, 0);
        assert_eq!(queue.take_used(rig.ram()), None);
        queue = rig.start_queue(0, size, RING);
    }
}

#[test]
fn requests_interrupt_and_are_acknowledged() {
    let rig = rig();
    let mut queues = rig.start(VERSION_1, 1, 8).unwrap();
    let queue = &mut queues[0];
    let head = queue.add(rig.ram(), &[writable(BUFFERS, 16)]);
    assert!(!rig.interrupt());
    rig.kick(queue);
    assert!(rig.interrupt());
    assert_eq!(rig.read(reg::INTERRUPT_STATUS), 1);
    assert_eq!(queue.take_used(rig.ram()), Some((head.into(), 16)));
    assert_ne!(rig.bytes(BUFFERS, 16), [0; 16]);
    rig.write(reg::INTERRUPT_ACK, 2);
    assert!(rig.interrupt());
    assert_eq!(rig.acknowledge(), 1);
    assert!(!rig.interrupt());
}

#[test]
fn requests_made_before_the_driver_is_ready_are_served_then() {
    let rig = rig();
    assert!(rig.negotiate(RING));
    let mut queue = rig.start_queue(0, 8, RING);
    queue.add(rig.ram(), &[writable(BUFFERS, 16)]);
    rig.write(reg::QUEUE_NOTIFY, 0);
    assert_eq!(queue.take_used(rig.ram()), None);
    rig.write(reg::STATUS, AT_WORK);
    assert_eq!(queue.take_used(rig.ram()), Some((0, 16)));
}

#[test]
fn a_malformed_queue_stops_the_device_until_reset() {
    let rig = rig();
    let mut queues = rig.start(RING, 1, 8).unwrap();
    let queue = &mut queues[0];
    queue.add(rig.ram(), &[writable(BASE + RAM_BYTES, 1)]);
    rig.kick(queue);
    let stopped = AT_WORK | u32::from(status::NEEDS_RESET);
    assert_eq!(rig.read(reg::STATUS), stopped);
    assert_eq!(rig.device().fault(), Some(QueueError::OutOfRam));
    assert_eq!(rig.acknowledge(), 2, "told by a configuration change");
    queue.add(rig.ram(), &[writable(BUFFERS, 1)]);
    rig.write(reg::QUEUE_NOTIFY, 0);
    rig.device().poll();
    assert_eq!(queue.take_used(rig.ram()), None);
    // It can be saved and resumed like this, too.
    assert_eq!(rig.device().restore(&rig.device().save()), Ok(()));
    assert_eq!(rig.read(reg::STATUS), stopped);
    let mut queues = rig.start(RING, 1, 8).unwrap();
    let queue = &mut queues[0];
    queue.add(rig.ram(), &[writable(BUFFERS, 1)]);
    rig.kick(queue);
    assert_eq!(queue.take_used(rig.ram()), Some((0, 1)));
}

#[test]
fn a_misplaced_queue_stops_the_device() {
    let rig = rig();
    assert!(rig.negotiate(RING));
    rig.write(reg::QUEUE_DESC, 0x1000);
    rig.write(reg::QUEUE_READY, 1);
    assert_eq!(rig.read(reg::QUEUE_READY), 0);
    assert_eq!(rig.device().fault(), Some(QueueError::Placement));
    assert_ne!(rig.read(reg::STATUS) & u32::from(status::NEEDS_RESET), 0);
}

#[test]
fn event_indexes_spare_notifications_and_interrupts() {
    let rig = rig();
    let mut queues = rig.start(RING, 1, 8).unwrap();
    let queue = &mut queues[0];
    queue.want_interrupt_after(rig.ram(), 4);
    for n in 1..=4 {
        queue.add(rig.ram(), &[writable(BUFFERS, 4)]);
        rig.kick(queue);
        assert_eq!(rig.interrupt(), n == 4, "request {n}");
    }
    // The device is idle, so it wants to know of the first of two requests, once.
    queue.add(rig.ram(), &[writable(BUFFERS, 4)]);
    queue.add(rig.ram(), &[writable(BUFFERS, 4)]);
    assert!(queue.wants_notification(rig.ram()));
    assert!(!queue.wants_notification(rig.ram()));
}

#[test]
fn seventy_thousand_requests() {
    for features in [VERSION_1, RING, VERSION_1 | INDIRECT_DESC] {
        let rig = rig();
        let mut queues = rig.start(features, 1, 4).unwrap();
        let queue = &mut queues[0];
        for n in 0..70_000_u32 {
            let head = match n % 3 {
                0 if features & INDIRECT_DESC != 0 => queue.add_indirect(
                    rig.ram(),
                    BUFFERS + 0x100,
                    &[writable(BUFFERS, 4), writable(BUFFERS + 8, 4)],
                ),
                _ => queue.add(rig.ram(), &[writable(BUFFERS, 4), writable(BUFFERS + 8, 4)]),
            };
            queue.want_interrupt_after(rig.ram(), 1);
            rig.kick(queue);
            assert_eq!(
                queue.take_used(rig.ram()),
                Some((head.into(), 8)),
                "request {n}"
            );
            assert!(rig.interrupt(), "request {n}");
            rig.acknowledge();
        }
        assert_eq!(rig.interrupts(), 70_000);
    }
}

#[test]
fn saved_between_any_two_accesses_of_a_request() {
    // The same conversation, with the device taken out and a new one put in after step `cut`.
    for cut in 0..4 {
        let mut rig = Rig::new(entropy(1));
        let mut queues = rig.start(RING, 1, 8).unwrap();
        let queue = &mut queues[0];
        queue.add(rig.ram(), &[writable(BUFFERS, 16)]);
        rig.kick(queue);
        for step in 0..4 {
            match step {
                0 => {
                    queue.add(rig.ram(), &[writable(BUFFERS + 0x100, 8)]);
                }
                1 => rig.kick(queue),
                2 => assert_eq!(rig.read(reg::INTERRUPT_STATUS), 1),
                _ => assert_eq!(rig.acknowledge(), 1),
            }
            if step == cut {
                let saved = rig.device().save();
                rig.replace(entropy(2));
                assert_eq!(rig.device().restore(&saved), Ok(()));
                assert_eq!(rig.device().save(), saved);
                assert_eq!(rig.interrupt(), step != 3);
            }
        }
        assert_eq!(queue.take_used(rig.ram()), Some((0, 16)));
        assert_eq!(queue.take_used(rig.ram()), Some((1, 8)));
        assert_eq!(queue.take_used(rig.ram()), None);
        assert_ne!(rig.bytes(BUFFERS + 0x100, 8), [0; 8]);
        assert!(!rig.interrupt());
        // And it goes on from there.
        queue.want_interrupt_after(rig.ram(), 1);
        queue.add(rig.ram(), &[writable(BUFFERS, 4)]);
        rig.kick(queue);
        assert!(rig.interrupt());
    }
}

#[test]
fn saved_state_of_another_machine_is_refused() {
    let rig = rig();
    rig.start(RING, 1, 8).unwrap();
    let saved = rig.device().save();
    for kind in TYPES {
        let other = Rig::new(device(kind));
        let before = other.device().save();
        let fits = other.device().restore(&saved).is_ok();
        assert_eq!(fits, kind == DeviceType::Rng);
        if !fits {
            assert_eq!(other.device().save(), before);
        }
    }
    for cut in 0..saved.len() {
        assert!(rig.device().restore(&saved[..cut]).is_err());
    }
}

/// Random bytes that are not: the number of the request after the next, and all of them count.
struct EndlessWork(Arc<AtomicU16>);

impl EntropyBackend for EndlessWork {
    fn fill(&mut self, into: &mut [u8]) -> BackendResult {
        let served = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        into.copy_from_slice(&served.wrapping_add(1).to_le_bytes());
        Ok(())
    }
}

#[test]
fn endless_work_is_done_in_bounded_pieces() {
    let served = Arc::new(AtomicU16::new(0));
    let device = || Box::new(Rng::new(Box::new(EndlessWork(served.clone()))));
    let mut rig = Rig::new(device());
    let mut queues = rig.start(VERSION_1, 1, 8).unwrap();
    // The device writes into the available index itself: each request makes the next one, as
    // a second hart could.
    let index = queues[0].layout().driver + 2;
    queues[0].add(rig.ram(), &[writable(index, 2)]);
    rig.kick(&mut queues[0]);
    assert_eq!(served.load(Ordering::Relaxed), 1024);
    rig.device().poll();
    assert_eq!(served.load(Ordering::Relaxed), 2048);
    // That there is work left over is part of the state.
    let saved = rig.device().save();
    rig.replace(device());
    assert_eq!(rig.device().restore(&saved), Ok(()));
    rig.acknowledge();
    assert_eq!(served.load(Ordering::Relaxed), 3072);
    assert!(rig.interrupt());
    rig.write(reg::STATUS, 0);
    rig.device().poll();
    assert_eq!(served.load(Ordering::Relaxed), 3072);
}
