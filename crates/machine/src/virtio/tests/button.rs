//! The power button, driven as by a driver.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ringer_hart::persist::Persist;

use super::RING;
use crate::device::Device;
use crate::virtio::Button;
use crate::virtio::testing::{BUFFERS, DriverQueue, Rig, writable};
use crate::virtio::transport::register as reg;

const PRESS: [[u8; 8]; 4] = [
    [1, 0, 116, 0, 1, 0, 0, 0],
    [0; 8],
    [1, 0, 116, 0, 0, 0, 0, 0],
    [0; 8],
];

/// Reads what is selected in the configuration.
fn config(rig: &Rig, select: u8, kind: u8) -> Vec<u8> {
    for (at, value) in [(0, select), (1, kind)] {
        let width = ringer_hart::Width::Byte;
        rig.device()
            .store(reg::CONFIG + at, width, value.into())
            .unwrap();
    }
    let byte = |at| {
        let width = ringer_hart::Width::Byte;
        rig.device().load(reg::CONFIG + at, width).unwrap() as u8
    };
    assert_eq!((byte(0), byte(1)), (select, kind));
    (0..u64::from(byte(2))).map(|at| byte(8 + at)).collect()
}

/// Gives the device buffers for so many events.
fn offer(rig: &Rig, queue: &mut DriverQueue, count: u64) {
    for number in 0..count {
        queue.add(rig.ram(), &[writable(BUFFERS + 8 * number, 8)]);
    }
    rig.kick(queue);
}

#[test]
fn a_driver_learns_that_there_is_one_key() {
    let rig = Rig::new(Box::new(Button::new()));
    assert_eq!(config(&rig, 1, 0), b"Ringer power button");
    assert_eq!(config(&rig, 3, 0), [6, 0, 0, 0, 0, 0, 0, 0]);
    let keys = config(&rig, 0x11, 1);
    let set: Vec<usize> = (0..keys.len() * 8)
        .filter(|bit| keys[bit / 8] >> (bit % 8) & 1 != 0)
        .collect();
    assert_eq!(set, [116]);
    // No other events, no axes, and nothing under numbers that mean nothing.
    for (select, kind) in [
        (0x11, 0),
        (0x11, 2),
        (0x11, 0x14),
        (0x12, 0),
        (2, 0),
        (0, 0),
        (255, 1),
    ] {
        assert_eq!(config(&rig, select, kind), b"", "{select} {kind}");
    }
}

#[test]
fn a_press_is_heard_as_it_should_be() {
    let button = Button::new();
    let control = button.control();
    let rig = Rig::new(Box::new(button));
    assert!(!control.is_connected());
    let mut queues = rig.start(RING, 2, 8).unwrap();
    offer(&rig, &mut queues[0], 8);
    assert!(control.is_connected());
    rig.device().poll();
    assert_eq!(queues[0].take_used(rig.ram()), None);
    queues[0].want_interrupt_after(rig.ram(), 1);
    control.press();
    rig.device().poll();
    assert!(rig.interrupt());
    for (number, event) in PRESS.iter().enumerate() {
        assert_eq!(queues[0].take_used(rig.ram()), Some((number as u32, 8)));
        assert_eq!(rig.bytes(BUFFERS + 8 * number as u64, 8), event);
    }
    rig.device().poll();
    assert_eq!(queues[0].take_used(rig.ram()), None);
    // A guest that starts again has no driver at first.
    rig.write(reg::STATUS, 0);
    assert!(!control.is_connected());
}

#[test]
fn a_press_goes_on_when_there_are_buffers_again_in_a_resumed_machine_too() {
    let button = Button::new();
    let control = button.control();
    let mut rig = Rig::new(Box::new(button));
    let mut queues = rig.start(RING, 2, 8).unwrap();
    offer(&rig, &mut queues[0], 1);
    control.press();
    rig.device().poll();
    // Pressed again while the first press is not through: that is one press.
    control.press();
    rig.device().poll();
    assert_eq!(queues[0].take_used(rig.ram()), Some((0, 8)));
    let saved = rig.device().save();
    let button = Button::new();
    let control = button.control();
    rig.replace(Box::new(button));
    rig.device().restore(&saved).unwrap();
    assert!(control.is_connected());
    offer(&rig, &mut queues[0], 7);
    for event in &PRESS[1..] {
        let (head, 8) = queues[0].take_used(rig.ram()).unwrap() else {
            panic!("an event has 8 bytes");
        };
        assert_eq!(rig.bytes(BUFFERS + 8 * (u64::from(head) - 1), 8), event);
    }
    assert_eq!(queues[0].take_used(rig.ram()), None);
}
