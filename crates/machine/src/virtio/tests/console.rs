//! The console, driven as by a driver.

use alloc::boxed::Box;

use ringer_hart::Width;
use ringer_hart::persist::Persist;

use super::RING;
use crate::conformance::SharedTerminal;
use crate::device::Device;
use crate::virtio::Console;
use crate::virtio::console::feature;
use crate::virtio::testing::{BUFFERS, Rig, readable, writable};
use crate::virtio::transport::register as reg;

#[test]
fn shows_and_takes_bytes() {
    let terminal = SharedTerminal::default();
    let rig = Rig::new(Box::new(Console::new(Box::new(terminal.clone()))));
    let mut queues = rig.start(RING, 2, 8).unwrap();
    let [receive, transmit] = &mut queues[..] else {
        panic!("two queues")
    };
    rig.put(BUFFERS, b"login: ");
    transmit.add(rig.ram(), &[readable(BUFFERS, 5), readable(BUFFERS + 5, 2)]);
    rig.kick(transmit);
    assert_eq!(transmit.take_used(rig.ram()), Some((0, 0)));
    assert_eq!(terminal.shown(), "login: ");
    // Typed before there is a buffer: it waits.
    terminal.type_in("root\n");
    rig.device().poll();
    assert_eq!(terminal.0.lock().typed.len(), 5);
    receive.want_interrupt_after(rig.ram(), 1);
    rig.acknowledge();
    receive.add(rig.ram(), &[writable(BUFFERS + 0x100, 3)]);
    rig.kick(receive);
    assert!(rig.interrupt());
    assert_eq!(receive.take_used(rig.ram()), Some((0, 3)));
    receive.add(rig.ram(), &[writable(BUFFERS + 0x103, 64)]);
    rig.kick(receive);
    assert_eq!(receive.take_used(rig.ram()), Some((1, 2)));
    assert_eq!(rig.bytes(BUFFERS + 0x100, 5), b"root\n");
    // A buffer before there is anything typed: it waits.
    receive.add(rig.ram(), &[writable(BUFFERS + 0x100, 64)]);
    rig.kick(receive);
    rig.device().poll();
    assert_eq!(receive.take_used(rig.ram()), None);
    terminal.type_in("x");
    rig.device().poll();
    assert_eq!(receive.take_used(rig.ram()), Some((2, 1)));
}

#[test]
fn long_output_is_whole() {
    let terminal = SharedTerminal::default();
    let rig = Rig::new(Box::new(Console::new(Box::new(terminal.clone()))));
    let mut queues = rig.start(RING, 2, 8).unwrap();
    let text = "0123456789".repeat(1000);
    rig.put(BUFFERS, text.as_bytes());
    queues[1].add(rig.ram(), &[readable(BUFFERS, 10_000)]);
    rig.kick(&mut queues[1]);
    assert_eq!(terminal.shown(), text);
}

#[test]
fn emergency_write_needs_no_driver() {
    let terminal = SharedTerminal::default();
    let rig = Rig::new(Box::new(Console::new(Box::new(terminal.clone()))));
    for byte in b"oops" {
        rig.write(reg::CONFIG + 8, (*byte).into());
    }
    assert_eq!(terminal.shown(), "oops");
}

#[test]
fn the_guest_hears_of_a_new_size() {
    let console = Console::new(Box::new(SharedTerminal::default()));
    let control = console.control();
    let mut rig = Rig::new(Box::new(console));
    rig.start(RING | feature::SIZE, 2, 8).unwrap();
    rig.device().poll();
    assert!(!rig.interrupt());
    let generation = rig.read(reg::CONFIG_GENERATION);
    control.set_size(132, 50);
    rig.device().poll();
    assert_eq!(rig.acknowledge(), 2);
    assert_ne!(rig.read(reg::CONFIG_GENERATION), generation);
    assert_eq!(rig.device().load(reg::CONFIG, Width::Half), Ok(132));
    assert_eq!(rig.device().load(reg::CONFIG + 2, Width::Half), Ok(50));
    // Resumed in a window of another size, it hears of that.
    let saved = rig.device().save();
    rig.replace(Box::new(Console::new(Box::new(SharedTerminal::default()))));
    rig.device().restore(&saved).unwrap();
    rig.device().poll();
    assert_eq!(rig.acknowledge(), 2);
    assert_eq!(
        rig.device().load(reg::CONFIG, Width::Word),
        Ok(80 | 24 << 16)
    );
}
