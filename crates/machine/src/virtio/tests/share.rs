//! The shared folder, driven as by a driver.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;

use ringer_hart::Width;
use ringer_hart::persist::Persist;

use super::RING;
use crate::device::Device;
use crate::virtio::Share;
use crate::virtio::share::{MAX_MESSAGE, feature};
use crate::virtio::testing::fuzz::Echo;
use crate::virtio::testing::{BUFFERS, Rig, readable, writable};
use crate::virtio::transport::register as reg;

fn share(tag: &str) -> Box<Share> {
    Box::new(Share::new(Box::new(Echo::default()), tag))
}

#[test]
fn the_configuration_holds_the_tag() {
    for (tag, shown) in [("work", 4), (&*"x".repeat(300), 255)] {
        let rig = Rig::new(share(tag));
        assert_eq!(rig.offered() & feature::MOUNT_TAG, feature::MOUNT_TAG);
        assert_eq!(rig.device().load(reg::CONFIG, Width::Half), Ok(shown));
        let byte = |at| {
            rig.device()
                .load(reg::CONFIG + 2 + at, Width::Byte)
                .unwrap() as u8
        };
        let bytes: Vec<u8> = (0..shown).map(byte).collect();
        assert_eq!(bytes, &tag.as_bytes()[..shown as usize]);
        assert_eq!(byte(shown), 0);
    }
}

#[test]
fn messages_are_answered_wherever_their_pieces_lie() {
    let rig = Rig::new(share("work"));
    let mut queues = rig.start(RING | feature::MOUNT_TAG, 1, 8).unwrap();
    let queue = &mut queues[0];
    rig.put(BUFFERS, b"one two");
    let split = [
        readable(BUFFERS, 3),
        readable(BUFFERS + 3, 4),
        writable(BUFFERS + 0x100, 1),
        writable(BUFFERS + 0x101, 64),
    ];
    queue.add(rig.ram(), &split);
    rig.kick(queue);
    assert!(rig.interrupt());
    assert_eq!(queue.take_used(rig.ram()), Some((0, 11)));
    assert_eq!(rig.bytes(BUFFERS + 0x100, 12), b"\x01\0\0\0one two\0");
    // Little room, none, and no request at all.
    queue.add(
        rig.ram(),
        &[readable(BUFFERS, 7), writable(BUFFERS + 0x200, 5)],
    );
    queue.add(rig.ram(), &[readable(BUFFERS, 7)]);
    rig.kick(queue);
    assert_eq!(queue.take_used(rig.ram()), Some((4, 5)));
    assert_eq!(rig.bytes(BUFFERS + 0x200, 6), b"\x02\0\0\0o\0");
    assert_eq!(queue.take_used(rig.ram()), Some((6, 0)));
    queue.add(rig.ram(), &[writable(BUFFERS + 0x300, 9)]);
    rig.kick(queue);
    assert_eq!(queue.take_used(rig.ram()), Some((7, 4)));
}

#[test]
fn messages_have_a_longest_length() {
    let rig = Rig::new(share("work"));
    let mut queues = rig.start(RING, 1, 8).unwrap();
    // The same 200 KiB four times, and to read them back.
    let parts = [
        readable(BUFFERS, 200 << 10),
        readable(BUFFERS, 200 << 10),
        readable(BUFFERS, 200 << 10),
        readable(BUFFERS, 200 << 10),
        writable(BUFFERS, 300 << 10),
        writable(BUFFERS, 300 << 10),
    ];
    queues[0].add(rig.ram(), &parts);
    rig.kick(&mut queues[0]);
    assert_eq!(
        queues[0].take_used(rig.ram()),
        Some((0, MAX_MESSAGE as u32))
    );
}

#[test]
fn the_server_is_saved_with_it_and_reset_with_it() {
    let mut rig = Rig::new(share("work"));
    let mut queues = rig.start(RING, 1, 8).unwrap();
    let mut answer = |rig: &Rig| {
        queues[0].add(
            rig.ram(),
            &[readable(BUFFERS, 1), writable(BUFFERS + 0x100, 4)],
        );
        rig.kick(&mut queues[0]);
        assert!(queues[0].take_used(rig.ram()).is_some());
        rig.bytes(BUFFERS + 0x100, 1)
    };
    assert_eq!(answer(&rig), [1]);
    assert_eq!(answer(&rig), [2]);
    let saved = rig.device().save();
    rig.replace(share("work"));
    rig.device().restore(&saved).unwrap();
    assert_eq!(answer(&rig), [3]);
    rig.replace(share("other"));
    let refused = rig.device().restore(&saved).unwrap_err();
    assert!(refused.to_string().contains("'work'"), "{refused}");
    rig.replace(share("work"));
    rig.device().restore(&saved).unwrap();
    rig.write(reg::STATUS, 0);
    let mut queues = rig.start(RING, 1, 8).unwrap();
    queues[0].add(
        rig.ram(),
        &[readable(BUFFERS, 1), writable(BUFFERS + 0x100, 4)],
    );
    rig.kick(&mut queues[0]);
    assert_eq!(rig.bytes(BUFFERS + 0x100, 1), [1]);
}
