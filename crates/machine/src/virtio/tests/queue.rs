//! The queue against right and wrong rings.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;
use ringer_hart::GuestPhys;

use super::{EVENT_IDX, INDIRECT_DESC, RING};
use crate::backend::SeededEntropy;
use crate::virtio::queue::{Queue, QueueError, passed_event};
use crate::virtio::testing::{
    BASE, BUFFERS, Buffer, DriverQueue, RAM_BYTES, Rig, readable, writable,
};
use crate::virtio::{Chain, Rng};

fn rig() -> Rig {
    Rig::new(Box::new(Rng::new(Box::new(SeededEntropy::new(7)))))
}

fn both(rig: &Rig, size: u16, features: u64) -> (DriverQueue, Queue) {
    let driver = DriverQueue::new(0, size, features);
    let device = driver.device_side(rig.ram(), features);
    assert!(device.ready());
    (driver, device)
}

fn popped(rig: &Rig, queue: &mut Queue) -> Chain {
    queue.pop(rig.ram()).unwrap().unwrap()
}

/// What the device finds when the driver offers descriptor 0 of this table.
fn outcome(features: u64, table: &[(Buffer, u16, u16)]) -> Result<(), QueueError> {
    let rig = rig();
    let (mut driver, mut device) = both(&rig, 8, features);
    for (n, (buffer, flags, next)) in (0_u16..).zip(table) {
        DriverQueue::describe(rig.ram(), driver.layout().desc, n, *buffer, *flags, *next);
    }
    driver.offer(rig.ram(), 0);
    device.pop(rig.ram()).map(|chain| assert!(chain.is_some()))
}

const NEXT: u16 = 1;
const INDIRECT: u16 = 4;

#[test]
fn a_chain_is_read_and_written_across_its_segments() {
    let rig = rig();
    let (mut driver, mut device) = both(&rig, 8, 0);
    rig.put(BUFFERS, b"hello, ");
    rig.put(BUFFERS + 0x101, b"device");
    let head = driver.add(
        rig.ram(),
        &[
            readable(BUFFERS, 7),
            readable(BUFFERS + 0x101, 6),
            writable(BUFFERS + 0x203, 3),
            writable(BUFFERS + 0x300, 5),
        ],
    );
    let chain = popped(&rig, &mut device);
    assert_eq!((chain.readable_len(), chain.writable_len()), (13, 8));
    let mut reader = chain.reader(rig.ram());
    assert_eq!(reader.read_array(), Some(*b"hell"));
    assert_eq!(reader.skip(3), 3);
    let mut rest = [0; 9];
    assert_eq!(reader.read(&mut rest), 6);
    assert_eq!(&rest[..6], b"device");
    assert_eq!(reader.read_array::<1>(), None);
    let (mut front, mut end) = chain.writer(rig.ram()).split_end(1);
    assert_eq!(front.write(b"answered too long"), 7);
    assert_eq!((front.written(), end.remaining()), (7, 1));
    assert_eq!(end.write(b"!!"), 1);
    assert_eq!(rig.bytes(BUFFERS + 0x203, 3), b"ans");
    assert_eq!(rig.bytes(BUFFERS + 0x300, 6), b"were!\0");
    device.complete(rig.ram(), chain, 8).unwrap();
    assert_eq!(driver.take_used(rig.ram()), None);
    device.publish(rig.ram()).unwrap();
    assert_eq!(driver.take_used(rig.ram()), Some((head.into(), 8)));
    assert!(device.pop(rig.ram()).unwrap().is_none());
}

#[test]
fn bounce_buffers_carry_chains_of_any_length() {
    let rig = rig();
    let (mut driver, mut device) = both(&rig, 8, 0);
    let sent: Vec<u8> = (0..1000).map(|n| n as u8).collect();
    rig.put(BUFFERS, &sent);
    driver.add(
        rig.ram(),
        &[
            readable(BUFFERS, 333),
            readable(BUFFERS + 333, 667),
            writable(BUFFERS + 0x1001, 999),
            writable(BUFFERS + 0x2000, 1),
        ],
    );
    let chain = popped(&rig, &mut device);
    let mut bounce = [0; 64];
    let mut got = vec![];
    let sink = |part: &[u8]| -> Result<(), ()> {
        got.extend_from_slice(part);
        Ok(())
    };
    chain.reader(rig.ram()).drain(&mut bounce, sink).unwrap();
    assert_eq!(got, sent);
    let mut byte = 0_u8;
    let source = |part: &mut [u8]| -> Result<(), ()> {
        for to in part {
            *to = byte;
            byte = byte.wrapping_add(3);
        }
        Ok(())
    };
    let mut writer = chain.writer(rig.ram());
    writer.fill_from(&mut bounce, source).unwrap();
    assert_eq!(writer.written(), 1000);
    let wanted: Vec<u8> = (0..1000).map(|n| (n * 3) as u8).collect();
    assert_eq!(rig.bytes(BUFFERS + 0x1001, 999), wanted[..999]);
    assert_eq!(rig.bytes(BUFFERS + 0x2000, 1), wanted[999..]);
}

#[test]
fn indirect_tables_may_follow_descriptors_and_lie_anywhere() {
    let rig = rig();
    let (mut driver, mut device) = both(&rig, 8, INDIRECT_DESC);
    let buffers: Vec<Buffer> = (0..200).map(|n| readable(BUFFERS + n * 8, 8)).collect();
    driver.add_indirect(rig.ram(), BUFFERS + 0x1_0008, &buffers);
    let chain = popped(&rig, &mut device);
    assert_eq!((chain.segment_count(), chain.readable_len()), (200, 1600));
    let table = BUFFERS + 0x2_0000;
    DriverQueue::describe(rig.ram(), table, 0, writable(BUFFERS, 5), 0, 0);
    let desc = driver.layout().desc;
    DriverQueue::describe(rig.ram(), desc, 3, readable(BUFFERS, 4), NEXT, 5);
    // The write flag means nothing on the descriptor of a table (2.7.5.3.2).
    DriverQueue::describe(rig.ram(), desc, 5, writable(table, 16), INDIRECT, 0);
    driver.offer(rig.ram(), 3);
    let chain = popped(&rig, &mut device);
    assert_eq!((chain.readable_len(), chain.writable_len()), (4, 5));
}

#[test]
fn malformed_chains_are_refused() {
    let good = readable(BUFFERS, 8);
    assert_eq!(outcome(0, &[(good, 0, 0)]), Ok(()));
    let end = BASE + RAM_BYTES;
    let table = |len| readable(BUFFERS, len);
    use QueueError::*;
    for (error, features, chain) in [
        (Loop, 0, vec![(good, NEXT, 0)]),
        (Loop, 0, vec![(good, NEXT, 1), (good, NEXT, 0)]),
        (Index, 0, vec![(good, NEXT, 8)]),
        (Index, 0, vec![(good, NEXT, u16::MAX)]),
        (ZeroLength, 0, vec![(readable(BUFFERS, 0), 0, 0)]),
        (OutOfRam, 0, vec![(readable(0, 8), 0, 0)]),
        (OutOfRam, 0, vec![(readable(BASE - 1, 8), 0, 0)]),
        (OutOfRam, 0, vec![(readable(end - 7, 8), 0, 0)]),
        (OutOfRam, 0, vec![(readable(u64::MAX, 8), 0, 0)]),
        (OutOfRam, 0, vec![(readable(BASE, u32::MAX), 0, 0)]),
        (
            ReadableAfterWritable,
            0,
            vec![(writable(BUFFERS, 8), NEXT, 1), (good, 0, 0)],
        ),
        (Indirect, 0, vec![(table(16), INDIRECT, 0)]),
        (Indirect, RING, vec![(table(0), INDIRECT, 0)]),
        (Indirect, RING, vec![(table(17), INDIRECT, 0)]),
        (
            Indirect,
            RING,
            vec![(table(16), INDIRECT | NEXT, 1), (good, 0, 0)],
        ),
        (OutOfRam, RING, vec![(readable(end - 16, 32), INDIRECT, 0)]),
        (
            OutOfRam,
            RING,
            vec![(readable(u64::MAX - 15, 32), INDIRECT, 0)],
        ),
        // The table, being zero, describes nothing at address 0.
        (ZeroLength, RING, vec![(table(16), INDIRECT, 0)]),
        // The queue's own table taken as an indirect one has an indirect descriptor.
        (Indirect, RING, vec![(readable(BASE, 16), INDIRECT, 0)]),
    ] {
        assert_eq!(outcome(features, &chain), Err(error), "{chain:?}");
    }
}

#[test]
fn loops_in_indirect_tables_end() {
    let rig = rig();
    let (mut driver, mut device) = both(&rig, 8, INDIRECT_DESC);
    DriverQueue::describe(rig.ram(), BUFFERS, 0, readable(BASE, 1), NEXT, 1);
    DriverQueue::describe(rig.ram(), BUFFERS, 1, readable(BASE, 1), NEXT, 0);
    let desc = driver.layout().desc;
    DriverQueue::describe(rig.ram(), desc, 0, readable(BUFFERS, 32), INDIRECT, 0);
    driver.offer(rig.ram(), 0);
    assert_eq!(device.pop(rig.ram()).unwrap_err(), QueueError::Loop);
    // A successor beyond the table.
    DriverQueue::describe(rig.ram(), BUFFERS, 1, readable(BASE, 1), NEXT, 2);
    assert_eq!(device.pop(rig.ram()).unwrap_err(), QueueError::Index);
}

#[test]
fn the_available_index_may_not_jump_and_heads_must_exist() {
    let rig = rig();
    let (mut driver, mut device) = both(&rig, 8, 0);
    let index = GuestPhys(driver.layout().driver + 2);
    for index_now in [9_u16, 0xffff, 0x8000] {
        rig.ram().store(index, index_now);
        assert_eq!(
            device.pop(rig.ram()).unwrap_err(),
            QueueError::AvailableJump
        );
    }
    rig.ram().store(index, 0_u16);
    driver.offer(rig.ram(), 8);
    assert_eq!(device.pop(rig.ram()).unwrap_err(), QueueError::Index);
}

#[test]
fn rings_must_be_aligned_and_in_ram() {
    let rig = rig();
    let good = DriverQueue::new(0, 8, 0).layout();
    type Change = fn(&mut crate::virtio::queue::Layout);
    let cases: [(Change, QueueError); 9] = [
        (|l| l.size = 0, QueueError::Size),
        (|l| l.size = 7, QueueError::Size),
        (|l| l.size = 512, QueueError::Size),
        (|l| l.desc += 8, QueueError::Placement),
        (|l| l.driver += 1, QueueError::Placement),
        (|l| l.device += 2, QueueError::Placement),
        (|l| l.desc = BASE + RAM_BYTES - 64, QueueError::Placement),
        (|l| l.device = BASE + RAM_BYTES - 68, QueueError::Placement),
        (|l| l.driver = u64::MAX - 1, QueueError::Placement),
    ];
    for (change, error) in cases {
        let mut queue = Queue::new(256);
        queue.configure(|layout| {
            *layout = good;
            change(layout);
        });
        assert_eq!(queue.enable(rig.ram()), Err(error));
        assert!(!queue.ready());
        assert!(queue.pop(rig.ram()).unwrap().is_none());
    }
}

#[test]
fn requests_can_be_put_back() {
    let rig = rig();
    let (mut driver, mut device) = both(&rig, 8, 0);
    let head = driver.add(rig.ram(), &[readable(BUFFERS, 1)]);
    let chain = popped(&rig, &mut device);
    device.undo_pop(chain);
    assert_eq!(popped(&rig, &mut device).head(), head);
}

#[test]
fn indexes_wrap() {
    for features in [0, EVENT_IDX] {
        let rig = rig();
        let (mut driver, mut device) = both(&rig, 4, features);
        for n in 0..70_000_u32 {
            let head = driver.add(rig.ram(), &[writable(BUFFERS, 4)]);
            // With an event index the driver notifies of each, as the device has caught up.
            assert!(driver.wants_notification(rig.ram()), "request {n}");
            let chain = popped(&rig, &mut device);
            chain.writer(rig.ram()).write(&n.to_le_bytes());
            device.complete(rig.ram(), chain, n).unwrap();
            device.publish(rig.ram()).unwrap();
            assert!(device.pop_or_rearm(rig.ram()).unwrap().is_none());
            driver.want_interrupt_after(rig.ram(), 1);
            assert!(device.take_interrupt(rig.ram()).unwrap(), "request {n}");
            assert!(!device.take_interrupt(rig.ram()).unwrap());
            assert_eq!(driver.take_used(rig.ram()), Some((head.into(), n)));
            assert_eq!(rig.bytes(BUFFERS, 4), n.to_le_bytes());
        }
    }
}

#[test]
fn flags_suppress_interrupts() {
    let rig = rig();
    let (mut driver, mut device) = both(&rig, 4, 0);
    for wanted in [true, false, true] {
        driver.want_interrupt_after(rig.ram(), wanted.into());
        driver.add(rig.ram(), &[writable(BUFFERS, 4)]);
        let chain = popped(&rig, &mut device);
        device.complete(rig.ram(), chain, 0).unwrap();
        device.publish(rig.ram()).unwrap();
        assert_eq!(device.take_interrupt(rig.ram()), Ok(wanted));
    }
}

/// The definition by counting: is `event + 1` among the indexes `old + 1 ..= new`?
fn passed_by_counting(event: u16, new: u16, old: u16) -> bool {
    let mut index = old;
    while index != new {
        index = index.wrapping_add(1);
        if index == event.wrapping_add(1) {
            return true;
        }
    }
    false
}

#[test]
fn event_index_at_the_edges() {
    let edges = [0, 1, 2, 0x7fff, 0x8000, 0xfffe, 0xffff];
    for event in edges {
        for new in edges {
            for old in edges {
                let (fast, slow) = (
                    passed_event(event, new, old),
                    passed_by_counting(event, new, old),
                );
                assert_eq!(fast, slow, "{event} {new} {old}");
            }
        }
    }
}

proptest! {
    #[test]
    fn event_index_by_the_definition(event: u16, old: u16, by in 0..600_u16) {
        let new = old.wrapping_add(by);
        prop_assert_eq!(passed_event(event, new, old), passed_by_counting(event, new, old));
    }

    #[test]
    fn interrupts_come_exactly_when_the_event_index_is_passed(
        batches in prop::collection::vec((1..8_u16, 0..20_u16), 1..200),
    ) {
        let rig = rig();
        let (mut driver, mut device) = both(&rig, 8, EVENT_IDX);
        let mut done = 0_u16;
        for (count, event_after) in batches {
            let event = done.wrapping_add(event_after).wrapping_sub(3);
            let at = driver.layout().driver + 4 + 2 * 8;
            rig.ram().store(GuestPhys(at), event);
            for _ in 0..count {
                driver.add(rig.ram(), &[writable(BUFFERS, 4)]);
                let chain = popped(&rig, &mut device);
                device.complete(rig.ram(), chain, 0).unwrap();
                driver.take_used(rig.ram());
            }
            device.publish(rig.ram()).unwrap();
            let new = done.wrapping_add(count);
            prop_assert_eq!(
                device.take_interrupt(rig.ram()).unwrap(),
                passed_by_counting(event, new, done)
            );
            done = new;
        }
    }
}
