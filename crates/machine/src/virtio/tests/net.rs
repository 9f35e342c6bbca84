//! The network device, driven as by a driver, on the in-process switch.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use ringer_hart::Width;
use ringer_hart::persist::Persist;

use super::{RING, VERSION_1};
use crate::backend::{Incoming, NetBackend, Offloads, Switch, SwitchPort, Unfinished};
use crate::device::Device;
use crate::lock::Lock;
use crate::virtio::net::{MacAddress, feature};
use crate::virtio::testing::{BUFFERS, DriverQueue, Rig, readable, writable};
use crate::virtio::transport::register as reg;
use crate::virtio::{Net, QueueError, Renewal};

const US: MacAddress = [2, 0, 0, 0, 0, 1];
const PEER: MacAddress = [2, 0, 0, 0, 0, 2];
const ALL: MacAddress = [0xff; 6];
const GROUP: MacAddress = [0x33, 0x33, 0, 0, 0, 1];
const HEADER: usize = 12;

struct Bench {
    rig: Rig,
    switch: Switch,
    peer: SwitchPort,
    receive: DriverQueue,
    transmit: DriverQueue,
    control: DriverQueue,
}

fn frame(to: MacAddress, from: MacAddress, len: usize) -> Vec<u8> {
    let mut frame = [&to[..], &from, &[8, 0]].concat();
    frame.extend((frame.len()..len).map(|n| (n * 7) as u8));
    frame
}

impl Bench {
    fn new(mask: u64) -> Self {
        let switch = Switch::new();
        let rig = Rig::new(Box::new(Net::new(Box::new(switch.port()), US)));
        let mut queues = rig.start(rig.offered() & mask, 3, 16).unwrap();
        Self {
            peer: switch.port(),
            switch,
            rig,
            receive: queues.remove(0),
            transmit: queues.remove(0),
            control: queues.remove(0),
        }
    }
    fn give_buffer(&mut self, at: u64, len: u32) {
        self.receive.add(self.rig.ram(), &[writable(at, len)]);
        self.rig.kick(&mut self.receive);
    }
    /// Sends the guest a frame; returns it as received in one large buffer, if it was.
    fn receives(&mut self, frame: &[u8]) -> bool {
        self.peer.send(frame);
        self.rig.device().poll();
        let used = self.receive.take_used(self.rig.ram());
        if used.is_some() {
            self.give_buffer(BUFFERS, 2048);
        }
        used.is_some()
    }
    /// Gives a command on the control queue; returns the answer.
    fn command(&mut self, command: &[u8]) -> u8 {
        let at = BUFFERS + 0x4000;
        self.rig.put(at, command);
        let buffers = [
            readable(at, 2),
            readable(at + 2, command.len() as u32 - 2),
            writable(at + 0x1000, 1),
        ];
        self.control.add(self.rig.ram(), &buffers);
        self.rig.kick(&mut self.control);
        assert!(self.control.take_used(self.rig.ram()).is_some());
        self.rig.bytes(at + 0x1000, 1)[0]
    }
}

#[test]
fn frames_go_out() {
    let mut bench = Bench::new(u64::MAX);
    let sent = frame(PEER, US, 100);
    bench.rig.put(BUFFERS, &[0; HEADER]);
    bench.rig.put(BUFFERS + 0x100, &sent);
    // Header apart, header with data, all in pieces.
    for buffers in [
        &[readable(BUFFERS, 12), readable(BUFFERS + 0x100, 100)][..],
        &[readable(BUFFERS + 0x100 - 12, 112)],
        &[
            readable(BUFFERS, 5),
            readable(BUFFERS + 5, 7),
            readable(BUFFERS + 0x100, 13),
            readable(BUFFERS + 0x10d, 87),
        ],
    ] {
        bench.transmit.add(bench.rig.ram(), buffers);
        bench.rig.kick(&mut bench.transmit);
        assert!(bench.transmit.take_used(bench.rig.ram()).is_some());
        let mut got = [0; 2000];
        assert_eq!(bench.peer.receive(&mut got), Some(100));
        assert_eq!(got[..100], sent);
    }
    // No frame, half a frame, half a megabyte: nothing goes out.
    for len in [12, 25, 12 + 65550] {
        bench
            .transmit
            .add(bench.rig.ram(), &[readable(BUFFERS, len)]);
        bench.rig.kick(&mut bench.transmit);
        assert!(bench.transmit.take_used(bench.rig.ram()).is_some());
        assert_eq!(bench.peer.receive(&mut [0; 70000]), None);
    }
    bench
        .transmit
        .add(bench.rig.ram(), &[readable(BUFFERS, 11)]);
    bench.rig.kick(&mut bench.transmit);
    assert_eq!(bench.rig.device().fault(), Some(QueueError::Request));
}

/// Sends back what it gets.
struct Mirror(Vec<Vec<u8>>);

impl NetBackend for Mirror {
    fn send(&mut self, frame: &[u8]) {
        self.0.push(frame.to_vec());
    }
    fn receive(&mut self, into: &mut [u8]) -> Option<usize> {
        let frame = self.0.pop()?;
        into.get_mut(..frame.len())?.copy_from_slice(&frame);
        Some(frame.len())
    }
    fn answers_at_once(&self) -> bool {
        true
    }
}

#[test]
fn an_answer_at_once_is_taken_at_once() {
    let rig = Rig::new(Box::new(Net::new(Box::new(Mirror(Vec::new())), US)));
    let mut queues = rig.start(rig.offered(), 3, 16).unwrap();
    let [receive, transmit, _] = &mut queues[..] else {
        panic!("it has three queues");
    };
    receive.add(rig.ram(), &[writable(BUFFERS + 0x1000, 2048)]);
    rig.kick(receive);
    let sent = frame(US, PEER, 60);
    rig.put(BUFFERS, &[&[0; HEADER][..], &sent].concat());
    transmit.add(rig.ram(), &[readable(BUFFERS, 72)]);
    rig.kick(transmit);
    assert_eq!(receive.take_used(rig.ram()), Some((0, 72)));
    assert_eq!(rig.bytes(BUFFERS + 0x1000 + 12, 60), sent);
}

#[test]
fn frames_come_in() {
    for mask in [u64::MAX, RING, VERSION_1] {
        let mut bench = Bench::new(mask);
        let sent = frame(US, PEER, 200);
        bench.give_buffer(BUFFERS, 2048);
        bench.peer.send(&sent);
        assert!(!bench.rig.interrupt());
        bench.rig.device().poll();
        assert!(bench.rig.interrupt());
        assert_eq!(bench.receive.take_used(bench.rig.ram()), Some((0, 212)));
        let header = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
        assert_eq!(bench.rig.bytes(BUFFERS, HEADER), header);
        assert_eq!(bench.rig.bytes(BUFFERS + 12, 200), sent);
    }
}

#[test]
fn without_buffers_frames_wait_outside() {
    let mut bench = Bench::new(u64::MAX);
    for n in 0..5 {
        bench.peer.send(&frame(US, PEER, 100 + n));
    }
    bench.rig.device().poll();
    assert!(!bench.rig.interrupt());
    // The notification for the buffers brings them in, in order.
    for n in 0..5 {
        bench.give_buffer(BUFFERS, 2048);
        let (_, len) = bench.receive.take_used(bench.rig.ram()).unwrap();
        assert_eq!(len as usize, HEADER + 100 + n);
    }
}

#[test]
fn large_frames_are_merged_from_several_buffers_or_dropped() {
    let sent = frame(US, PEER, 1000);
    let mut bench = Bench::new(u64::MAX);
    bench.peer.send(&sent);
    bench.peer.send(&frame(US, PEER, 50));
    for n in 0..3 {
        bench.give_buffer(BUFFERS + n * 0x1000, 256);
        // It waits until there is room for all of it.
        assert_eq!(bench.receive.take_used(bench.rig.ram()), None);
    }
    bench.give_buffer(BUFFERS + 3 * 0x1000, 300);
    let mut got = vec![];
    for n in 0..4 {
        let (head, len) = bench.receive.take_used(bench.rig.ram()).unwrap();
        assert_eq!(head, n);
        got.extend(
            bench
                .rig
                .bytes(BUFFERS + u64::from(n) * 0x1000, len as usize),
        );
    }
    assert_eq!(got[10..12], [4, 0]);
    assert_eq!(got[12..], sent);
    bench.give_buffer(BUFFERS, 256);
    assert_eq!(bench.receive.take_used(bench.rig.ram()), Some((4, 62)));

    // Without merging: dropped, and the buffer is there for the next.
    let mut bench = Bench::new(!feature::MRG_RXBUF);
    bench.give_buffer(BUFFERS, 256);
    assert!(!bench.receives(&sent));
    assert!(bench.receives(&frame(US, PEER, 244)));

    // A full queue that cannot hold it: dropped.
    let mut bench = Bench::new(u64::MAX);
    for n in 0..16 {
        bench.give_buffer(BUFFERS + n * 0x100, 20);
    }
    assert!(!bench.receives(&sent));
    assert!(bench.receives(&frame(US, PEER, 60)));

    // A buffer that cannot hold the header is the driver's fault.
    let mut bench = Bench::new(u64::MAX);
    bench.give_buffer(BUFFERS, 11);
    bench.receives(&sent);
    assert_eq!(bench.rig.device().fault(), Some(QueueError::Request));
}

#[test]
fn the_filter_does_as_told() {
    let mut bench = Bench::new(u64::MAX);
    bench.give_buffer(BUFFERS, 2048);
    let other = [2, 0, 0, 0, 0, 9];
    let receives =
        |bench: &mut Bench| [US, other, GROUP, ALL].map(|to| bench.receives(&frame(to, PEER, 60)));
    assert_eq!(receives(&mut bench), [true; 4], "all, before it is told");
    assert_eq!(bench.command(&[0, 0, 0]), 0);
    assert_eq!(receives(&mut bench), [true, false, false, true]);
    assert_eq!(bench.command(&[0, 1, 1]), 0);
    assert_eq!(receives(&mut bench), [true, false, true, true]);
    assert_eq!(bench.command(&[0, 2, 1]), 0);
    assert_eq!(receives(&mut bench), [true; 4]);
    assert_eq!(bench.command(&[0, 2, 0]), 0);
    for (mode, refused) in [
        (3, [false, false, true, false]),
        (4, [true, false, false, false]),
    ] {
        assert_eq!(bench.command(&[0, mode, 1]), 0);
        let now = receives(&mut bench);
        assert_eq!(
            now.map(|got| !got),
            [refused[0], true, refused[2], refused[3]]
        );
        assert_eq!(bench.command(&[0, mode, 0]), 0);
    }
    assert_eq!(bench.command(&[0, 5, 1]), 0);
    assert_eq!(receives(&mut bench), [true, false, true, false]);
    assert_eq!(bench.command(&[0, 5, 0]), 0);
    assert_eq!(bench.command(&[0, 1, 0]), 0);
    // Tables: `other` as unicast, the group as multicast; then neither.
    let mut tables = vec![1, 0, 1, 0, 0, 0];
    tables.extend(other);
    tables.extend([1, 0, 0, 0]);
    tables.extend(GROUP);
    assert_eq!(bench.command(&tables), 0);
    assert_eq!(receives(&mut bench), [true; 4]);
    assert_eq!(bench.command(&tables[..tables.len() - 1]), 1);
    assert_eq!(bench.command(&[1, 0, 255, 255, 255, 255, 0, 0]), 1);
    assert_eq!(
        receives(&mut bench),
        [true; 4],
        "a bad command changes nothing"
    );
    // It all survives being saved.
    let saved = bench.rig.device().save();
    bench
        .rig
        .replace(Box::new(Net::new(Box::new(bench.switch.port()), PEER)));
    bench.rig.device().restore(&saved).unwrap();
    assert_eq!(receives(&mut bench), [true; 4]);
    assert_eq!(bench.command(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]), 0);
    assert_eq!(receives(&mut bench), [true, false, false, true]);
    // More addresses than it holds: all of that kind.
    let mut many = vec![1, 0, 65, 0, 0, 0];
    many.extend([2; 65 * 6]);
    many.extend([0; 4]);
    assert_eq!(bench.command(&many), 0);
    assert_eq!(receives(&mut bench), [true, true, false, true]);
}

#[test]
fn the_address_can_be_set() {
    let mut bench = Bench::new(u64::MAX);
    let address = |bench: &Bench| bench.rig.device().load(reg::CONFIG, Width::Double).unwrap();
    assert_eq!(address(&bench) & 0xffff_ffff_ffff, 0x0100_0000_0002);
    assert_eq!(bench.command(&[1, 1, 2, 9, 9, 9, 9, 9]), 0);
    assert_eq!(address(&bench) & 0xffff_ffff_ffff, 0x0909_0909_0902);
    assert_eq!(bench.command(&[1, 1, 2, 9, 9, 9, 9]), 1);
    assert_eq!(bench.command(&[4, 0, 1, 0]), 1, "an unknown class");
    bench.rig.write(reg::STATUS, 0);
    assert_eq!(address(&bench) & 0xffff_ffff_ffff, 0x0100_0000_0002);
}

#[test]
fn the_guest_hears_of_its_cable() {
    let switch = Switch::new();
    let net = Net::new(Box::new(switch.port()), US);
    let control = net.control();
    let rig = Rig::new(Box::new(net));
    let mut queues = rig.start(rig.offered(), 3, 8).unwrap();
    let up = || rig.device().load(reg::CONFIG + 6, Width::Half).unwrap();
    assert_eq!(up(), 1);
    control.set_link(false);
    rig.device().poll();
    assert_eq!(rig.acknowledge(), 2);
    assert_eq!(up(), 0);
    // Nothing goes in or out.
    let mut peer = switch.port();
    peer.send(&frame(US, PEER, 60));
    queues[0].add(rig.ram(), &[writable(BUFFERS, 2048)]);
    rig.device().poll();
    assert_eq!(queues[0].take_used(rig.ram()), None);
    rig.put(
        BUFFERS + 0x1000,
        &[[0; 12].to_vec(), frame(ALL, US, 60)].concat(),
    );
    queues[1].add(rig.ram(), &[readable(BUFFERS + 0x1000, 72)]);
    rig.kick(&mut queues[1]);
    assert_eq!(peer.receive(&mut [0; 100]), None);
}

/// As the driver sees them: the address, the link, and whether the device is to be reset.
fn seen(rig: &Rig) -> (MacAddress, bool, bool) {
    let config = |at, width| rig.device().load(reg::CONFIG + at, width).unwrap();
    let [mac @ .., _, _] = config(0, Width::Double).to_le_bytes();
    let up = config(6, Width::Half) & 1 != 0;
    (mac, up, rig.read(reg::STATUS) & 0x40 != 0)
}

#[test]
fn another_address_is_there_once_the_driver_resets_the_device() {
    const NEW: MacAddress = [2, 0, 0, 0, 0, 7];
    for cut_off in [false, true] {
        let mut bench = Bench::new(u64::MAX);
        let mut net = Net::new(Box::new(bench.switch.port()), PEER);
        let saved = bench.rig.device().save();
        // The address comes with the saved state, and stays through resets.
        let control = net.control();
        bench.rig.replace(Box::new(net));
        bench.rig.device().restore(&saved).unwrap();
        control.renew(Renewal { mac: US, cut_off });
        bench.rig.device().poll();
        assert_eq!(seen(&bench.rig), (US, true, false), "it is the same");
        assert_eq!(bench.rig.acknowledge(), 0);

        control.renew(Renewal { mac: NEW, cut_off });
        bench.rig.device().poll();
        assert_eq!(bench.rig.acknowledge(), 2);
        assert_eq!(seen(&bench.rig), (US, !cut_off, true));
        bench.give_buffer(BUFFERS, 2048);
        assert_eq!(bench.receives(&frame(US, PEER, 60)), !cut_off);
        // The wish outlives saving.
        let saved = bench.rig.device().save();
        net = Net::new(Box::new(bench.switch.port()), PEER);
        bench.rig.replace(Box::new(net));
        bench.rig.device().restore(&saved).unwrap();
        assert_eq!(seen(&bench.rig), (US, !cut_off, true));
        bench.rig.write(reg::STATUS, 0);
        assert_eq!(seen(&bench.rig), (NEW, true, false));
        bench.rig.device().reset();
        assert_eq!(seen(&bench.rig), (NEW, true, false));
    }
    // A driver may choose one itself.
    let mut bench = Bench::new(u64::MAX);
    let net = Net::new(Box::new(bench.switch.port()), US);
    let control = net.control();
    let saved = bench.rig.device().save();
    bench.rig.replace(Box::new(net));
    bench.rig.device().restore(&saved).unwrap();
    control.renew(Renewal {
        mac: NEW,
        cut_off: true,
    });
    bench.rig.device().poll();
    assert_eq!(bench.command(&[&[1, 1][..], &US].concat()), 0);
    assert_eq!(seen(&bench.rig), (US, false, true), "that is the old one");
    assert_eq!(bench.command(&[&[1, 1][..], &PEER].concat()), 0);
    assert_eq!(seen(&bench.rig), (PEER, true, false));
}

#[test]
fn saved_with_a_frame_that_waits_for_more_buffers() {
    let mut bench = Bench::new(u64::MAX);
    let sent = frame(US, PEER, 400);
    bench.give_buffer(BUFFERS, 256);
    bench.peer.send(&sent);
    bench.rig.device().poll();
    let saved = bench.rig.device().save();
    bench
        .rig
        .replace(Box::new(Net::new(Box::new(bench.switch.port()), US)));
    bench.rig.device().restore(&saved).unwrap();
    assert_eq!(bench.rig.device().save(), saved);
    bench.give_buffer(BUFFERS + 256, 256);
    assert_eq!(bench.receive.take_used(bench.rig.ram()), Some((0, 256)));
    assert_eq!(bench.receive.take_used(bench.rig.ram()), Some((1, 156)));
    assert_eq!(bench.rig.bytes(BUFFERS + 12, 400), sent);
}

/// What a backend with a thread and offloads has seen and is to do.
#[derive(Default)]
struct Seen {
    incoming: Vec<(Vec<u8>, Option<Unfinished>)>,
    sent: Vec<Vec<u8>>,
    agreed: Offloads,
    busy: bool,
    woken: u32,
    resets: u32,
}

#[derive(Clone, Default)]
struct Offloading(Arc<Lock<Option<Seen>>>);

impl Default for Lock<Option<Seen>> {
    fn default() -> Self {
        Lock::new(Some(Seen::default()))
    }
}

impl Offloading {
    fn with<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(self.0.lock().get_or_insert_default())
    }
}

impl NetBackend for Offloading {
    fn send(&mut self, frame: &[u8]) {
        self.with(|seen| seen.sent.push(frame.to_vec()));
    }
    fn receive(&mut self, into: &mut [u8]) -> Option<usize> {
        self.receive_unfinished(into).map(|incoming| incoming.len)
    }
    fn receive_unfinished(&mut self, into: &mut [u8]) -> Option<Incoming> {
        let (frame, unfinished) = self.with(|seen| seen.incoming.pop())?;
        into.get_mut(..frame.len())?.copy_from_slice(&frame);
        let len = frame.len();
        Some(Incoming { len, unfinished })
    }
    fn offloads(&self) -> bool {
        true
    }
    fn agreed(&mut self, offloads: Offloads) {
        self.with(|seen| seen.agreed = offloads);
    }
    fn ready(&mut self) -> bool {
        self.with(|seen| !seen.busy)
    }
    fn has_thread(&self) -> bool {
        true
    }
    fn wake(&mut self) {
        self.with(|seen| seen.woken += 1);
    }
    fn reset(&mut self) {
        self.with(|seen| seen.resets += 1);
    }
}

const OFFLOADS: u64 =
    feature::CSUM | feature::GUEST_CSUM | feature::GUEST_TSO4 | feature::HOST_TSO4;

#[test]
fn offloads_are_there_as_far_as_the_backend_has_them() {
    assert_eq!(
        Bench::new(u64::MAX).rig.offered() & OFFLOADS,
        0,
        "a switch has none"
    );
    let backend = Offloading::default();
    let rig = Rig::new(Box::new(Net::new(Box::new(backend.clone()), US)));
    assert_eq!(rig.offered() & OFFLOADS, OFFLOADS);
    for (mask, checksums, segments) in [
        (u64::MAX, true, true),
        (!feature::GUEST_TSO4, true, false),
        (!feature::CSUM, false, true),
        (!OFFLOADS, false, false),
        // Segments without checksums mean nothing.
        (!feature::GUEST_CSUM, false, false),
    ] {
        rig.start(rig.offered() & mask, 3, 16).unwrap();
        let agreed = backend.with(|seen| seen.agreed);
        assert_eq!(
            agreed,
            Offloads {
                checksums,
                segments
            },
            "{mask:x}"
        );
    }
    assert!(backend.with(|seen| seen.resets) >= 5);
}

const UNFINISHED: Unfinished = Unfinished {
    checksum_start: 34,
    checksum_offset: 16,
    segment: Some(1460),
    headers: 54,
};

#[test]
fn unfinished_frames_say_what_is_left_to_do() {
    let backend = Offloading::default();
    let rig = Rig::new(Box::new(Net::new(Box::new(backend.clone()), US)));
    let mut queues = rig.start(rig.offered(), 3, 16).unwrap();
    let sent = frame(US, PEER, 5000);
    for (unfinished, expected) in [
        (None, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        (Some(UNFINISHED), [1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0]),
        (
            Some(Unfinished {
                segment: None,
                ..UNFINISHED
            }),
            [1, 0, 54, 0, 0, 0, 34, 0, 16, 0],
        ),
    ] {
        backend.with(|seen| seen.incoming.push((sent.clone(), unfinished)));
        for n in 0..2 {
            queues[0].add(rig.ram(), &[writable(BUFFERS + n * 4096, 4096)]);
        }
        rig.device().poll();
        for _ in 0..2 {
            queues[0].take_used(rig.ram()).unwrap();
        }
        assert_eq!(rig.bytes(BUFFERS, 10), expected);
        assert_eq!(rig.bytes(BUFFERS + 10, 2), [2, 0]);
        assert_eq!(rig.bytes(BUFFERS + 12, 4084), sent[..4084]);
    }
}

#[test]
fn an_unfinished_frame_that_waits_is_saved_and_older_states_are_read() {
    let backend = Offloading::default();
    let mut rig = Rig::new(Box::new(Net::new(Box::new(backend.clone()), US)));
    let mut queues = rig.start(rig.offered(), 3, 16).unwrap();
    let sent = frame(US, PEER, 5000);
    backend.with(|seen| seen.incoming.push((sent.clone(), Some(UNFINISHED))));
    queues[0].add(rig.ram(), &[writable(BUFFERS, 4096)]);
    rig.device().poll();
    let saved = rig.device().save();
    let other = Offloading::default();
    rig.replace(Box::new(Net::new(Box::new(other.clone()), US)));
    rig.device().restore(&saved).unwrap();
    assert_eq!(rig.device().save(), saved);
    let agreed = other.with(|seen| seen.agreed);
    assert!(
        agreed.checksums && agreed.segments,
        "the backend learns what was agreed"
    );
    queues[0].add(rig.ram(), &[writable(BUFFERS + 4096, 4096)]);
    rig.device().poll();
    assert!(queues[0].take_used(rig.ram()).is_some());
    assert_eq!(rig.bytes(BUFFERS, 2), [1, 1]);
    // A backend that cannot do what was agreed refuses the state.
    let switch = Switch::new();
    rig.replace(Box::new(Net::new(Box::new(switch.port()), US)));
    assert!(rig.device().restore(&saved).is_err());
}

#[test]
fn a_state_of_a_device_that_knew_no_offloads_is_read() {
    use crate::virtio::device::VirtioDevice;
    // Three fields: told, the filter, a waiting frame of two bytes.
    let net = |backend| Net::new(Box::new(backend), US);
    let filter = [
        0x84, 0x86, 2, 0, 0, 0, 0, 1, 1, 0x82, 0x80, 0xf4, 0x82, 0x80, 0xf4,
    ];
    let old = [&[0x83, 0xf5][..], &filter, &[0x42, 7, 8]].concat();
    let mut device = net(Switch::new().port());
    device.restore(&old, 0).unwrap();
    let new = device.save();
    assert_eq!(
        new[1..old.len()],
        old[1..],
        "the fields are where they were"
    );
    let mut again = net(Switch::new().port());
    again.restore(&new, 0).unwrap();
    assert_eq!(again.save(), new);
}

#[test]
fn a_backend_with_a_thread_is_woken_and_then_polls() {
    let backend = Offloading::default();
    let rig = Rig::new(Box::new(Net::new(Box::new(backend.clone()), US)));
    let mut queues = rig.start(rig.offered(), 3, 16).unwrap();
    let before = backend.with(|seen| seen.woken);
    rig.put(BUFFERS + 12, &frame(PEER, US, 60));
    queues[1].add(rig.ram(), &[readable(BUFFERS, 72)]);
    rig.kick(&mut queues[1]);
    assert_eq!(backend.with(|seen| seen.woken), before + 1);
    assert!(backend.with(|seen| seen.sent.is_empty()));
    // While the backend has no room, the frame stays with the driver.
    backend.with(|seen| seen.busy = true);
    rig.device().poll();
    assert_eq!(queues[1].take_used(rig.ram()), None);
    backend.with(|seen| seen.busy = false);
    rig.device().poll();
    assert!(queues[1].take_used(rig.ram()).is_some());
    assert_eq!(backend.with(|seen| seen.sent.len()), 1);
}
