//! Ports, driven as by a driver.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use proptest::prelude::*;
use ringer_hart::persist::Persist;

use super::RING;
use crate::backend::PortBackend;
use crate::device::Device;
use crate::lock::Lock;
use crate::virtio::ports::{MULTIPORT, PORTS};
use crate::virtio::testing::{BUFFERS, DriverQueue, Rig, readable, writable};
use crate::virtio::{Port, Ports};

/// The host's end.
#[derive(Clone, Default)]
struct End(Arc<Lock<Inside>>);

#[derive(Default)]
struct Inside {
    to_guest: Vec<u8>,
    from_guest: Vec<u8>,
    full: bool,
    ended: bool,
}

impl Default for Lock<Inside> {
    fn default() -> Self {
        Lock::new(Inside::default())
    }
}

impl PortBackend for End {
    fn write(&mut self, bytes: &[u8]) {
        self.0.lock().from_guest.extend_from_slice(bytes);
    }
    fn has_room(&self) -> bool {
        !self.0.lock().full
    }
    fn read(&mut self, into: &mut [u8]) -> usize {
        let mut inside = self.0.lock();
        let len = inside.to_guest.len().min(into.len());
        into[..len].copy_from_slice(&inside.to_guest[..len]);
        inside.to_guest.drain(..len);
        len
    }
    fn is_at_end(&self) -> bool {
        let inside = self.0.lock();
        inside.ended && inside.to_guest.is_empty()
    }
}

fn device(ends: &[End; PORTS]) -> Box<Ports> {
    let names = ["zero", "one", "two", "three"];
    Box::new(Ports::new(core::array::from_fn(|n| Port {
        name: names[n],
        backend: Box::new(ends[n].clone()),
    })))
}

struct Driver {
    rig: Rig,
    queues: Vec<DriverQueue>,
}

impl Driver {
    fn new(ends: &[End; PORTS]) -> Self {
        let rig = Rig::new(device(ends));
        let queues = rig.start(RING | MULTIPORT, 10, 8).unwrap();
        Self { rig, queues }
    }
    fn give(&mut self, queue: usize, len: u32) {
        let at = BUFFERS + 0x100 * queue as u64;
        self.queues[queue].add(self.rig.ram(), &[writable(at, len)]);
        self.rig.kick(&mut self.queues[queue]);
    }
    /// What came into the buffer given before.
    fn taken(&mut self, queue: usize) -> Option<Vec<u8>> {
        let (_, len) = self.queues[queue].take_used(self.rig.ram())?;
        Some(self.rig.bytes(BUFFERS + 0x100 * queue as u64, len as usize))
    }
    fn send(&mut self, queue: usize, bytes: &[u8]) {
        let at = BUFFERS + 0x100 * queue as u64;
        self.rig.put(at, bytes);
        self.queues[queue].add(self.rig.ram(), &[readable(at, bytes.len() as u32)]);
        self.rig.kick(&mut self.queues[queue]);
    }
    fn control(&mut self, port: u32, event: u16, value: u16) {
        let mut message = port.to_le_bytes().to_vec();
        message.extend(event.to_le_bytes());
        message.extend(value.to_le_bytes());
        self.send(3, &message);
    }
    /// The next control message: port, event, value and what follows.
    fn told(&mut self) -> Option<(u8, u8, u8, Vec<u8>)> {
        self.give(2, 64);
        let message = self.taken(2)?;
        Some((message[0], message[4], message[6], message[8..].to_vec()))
    }
    fn open_all(&mut self) {
        self.control(u32::MAX, 0, 1);
        for port in 0..4 {
            assert_eq!(self.told().unwrap(), (port, 1, 1, Vec::new()));
        }
        for port in 0..4 {
            self.control(port.into(), 3, 1);
            let name = ["zero", "one", "two", "three"][usize::from(port)];
            assert_eq!(self.told().unwrap(), (port, 7, 1, name.into()));
            assert_eq!(self.told().unwrap(), (port, 6, 1, Vec::new()));
            // A program opens it.
            self.control(port.into(), 6, 1);
        }
    }
}

#[test]
fn ports_are_announced_named_and_opened() {
    let ends: [End; PORTS] = Default::default();
    let mut driver = Driver::new(&ends);
    driver.open_all();
    driver.queues[2].want_interrupt_after(driver.rig.ram(), 1);
    driver.rig.device().poll();
    // A buffer is waiting now, and stays so.
    driver.give(2, 64);
    assert_eq!(driver.taken(2), None);
}

#[test]
fn bytes_go_both_ways_to_their_port_and_the_end_comes_last() {
    let ends: [End; PORTS] = Default::default();
    let mut driver = Driver::new(&ends);
    driver.open_all();
    for (port, (input, output)) in [(0, 1), (4, 5), (6, 7), (8, 9)].into_iter().enumerate() {
        driver.send(output, &[b'a' + port as u8, 0, 255]);
        assert_eq!(driver.taken(output), Some(Vec::new()));
        assert_eq!(ends[port].0.lock().from_guest, [b'a' + port as u8, 0, 255]);
        ends[port].0.lock().to_guest.extend([port as u8; 5]);
        driver.give(input, 3);
        assert_eq!(driver.taken(input).unwrap(), [port as u8; 3]);
    }
    // Two bytes are left, and then the end.
    ends[1].0.lock().ended = true;
    driver.rig.device().poll();
    driver.give(4, 64);
    assert_eq!(driver.taken(4).unwrap(), [1; 2]);
    driver.rig.device().poll();
    driver.give(4, 64);
    assert_eq!(driver.told().unwrap(), (1, 6, 0, Vec::new()));
    driver.rig.device().poll();
    assert_eq!(driver.told(), None);
}

#[test]
fn a_full_host_holds_the_guest_up_and_loses_nothing() {
    let ends: [End; PORTS] = Default::default();
    let mut driver = Driver::new(&ends);
    driver.open_all();
    ends[2].0.lock().full = true;
    driver.send(7, b"later");
    assert_eq!(driver.taken(7), None);
    driver.rig.device().poll();
    assert_eq!(driver.taken(7), None);
    ends[2].0.lock().full = false;
    driver.rig.device().poll();
    assert_eq!(driver.taken(7), Some(Vec::new()));
    assert_eq!(ends[2].0.lock().from_guest, b"later");
}

#[test]
fn nothing_reaches_a_port_before_the_driver_knows_it() {
    let ends: [End; PORTS] = Default::default();
    ends[0].0.lock().to_guest.extend(b"early");
    let mut driver = Driver::new(&ends);
    driver.give(0, 64);
    driver.rig.device().poll();
    assert_eq!(driver.taken(0), None);
    driver.open_all();
    assert_eq!(driver.taken(0).unwrap(), b"early");
    // Nor when no program has it open: it is kept for the next one.
    driver.control(0, 6, 0);
    ends[0].0.lock().to_guest.extend(b"kept");
    driver.give(0, 64);
    driver.rig.device().poll();
    assert_eq!(driver.taken(0), None);
    driver.control(0, 6, 1);
    assert_eq!(driver.taken(0).unwrap(), b"kept");
}

#[test]
fn a_restored_device_goes_on_where_it_was() {
    let ends: [End; PORTS] = Default::default();
    let mut driver = Driver::new(&ends);
    driver.control(0, 0, 1);
    driver.control(2, 3, 1);
    let saved = driver.rig.device().save();
    driver.rig.replace(device(&ends));
    driver.rig.device().restore(&saved).unwrap();
    assert_eq!(driver.rig.device().save(), saved);
    let mut told = Vec::new();
    while let Some(message) = driver.told() {
        told.push((message.0, message.1));
    }
    assert_eq!(told, [(0, 1), (1, 1), (2, 1), (2, 7), (2, 6), (3, 1)]);
}

proptest! {
    /// Whatever a driver says, there is an answer, and the state can be saved.
    #[test]
    fn any_control_messages(
        messages in prop::collection::vec((0..6_u32, 0..9_u16, 0..3_u16, 0..20_u32), 0..60),
    ) {
        let ends: [End; PORTS] = Default::default();
        ends[3].0.lock().ended = true;
        let mut driver = Driver::new(&ends);
        for (port, event, value, len) in messages {
            driver.control(port.wrapping_sub(1), event, value);
            driver.send(3, &[0xff; 20][..len as usize]);
            driver.taken(3);
            driver.taken(3);
            driver.give(2, len);
            driver.taken(2);
            driver.rig.device().poll();
            let saved = driver.rig.device().save();
            prop_assert_eq!(driver.rig.device().restore(&saved), Ok(()));
        }
    }
}
