//! TCP against another TCP: the guest is smoltcp, on a wire that may lose frames.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant as GuestTime;
use smoltcp::wire::{IpCidr, TcpControl, TcpSeqNumber};

use super::*;

/// The guest's end of the wire.
struct Wire<'a> {
    lab: &'a mut Lab,
    /// Each so many frames, one is lost; 0 loses none.
    loses: u32,
    count: &'a mut u32,
}

impl Wire<'_> {
    fn lost(&mut self) -> bool {
        *self.count += 1;
        self.loses > 0 && self.count.is_multiple_of(self.loses)
    }
}

struct Received(Vec<u8>);
impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(&self.0)
    }
}
struct Sends<'a> {
    card: &'a mut CardEnd,
    lost: bool,
}
impl TxToken for Sends<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        let mut frame = vec![0; len];
        let result = fill(&mut frame);
        if !self.lost {
            self.card.send(&frame);
        }
        result
    }
}
impl Device for Wire<'_> {
    type RxToken<'b>
        = Received
    where
        Self: 'b;
    type TxToken<'b>
        = Sends<'b>
    where
        Self: 'b;
    fn receive(&mut self, _: GuestTime) -> Option<(Received, Sends<'_>)> {
        let mut frame = self.lab.poll()?.0;
        while self.lost() {
            frame = self.lab.poll()?.0;
        }
        let lost = self.lost();
        let card = &mut self.lab.card;
        Some((Received(frame), Sends { card, lost }))
    }
    fn transmit(&mut self, _: GuestTime) -> Option<Sends<'_>> {
        let lost = self.lost();
        let card = &mut self.lab.card;
        Some(Sends { card, lost })
    }
    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

/// A guest with one TCP socket.
struct Guest {
    lab: Lab,
    interface: Interface,
    sockets: SocketSet<'static>,
    socket: SocketHandle,
    loses: u32,
    count: u32,
    start: Instant,
}

impl Guest {
    fn new(lab: Lab) -> Self {
        Self::with(lab, 0, 20_000)
    }
    fn with(mut lab: Lab, loses: u32, buffer: usize) -> Self {
        let mut count = 0;
        let mut wire = Wire {
            lab: &mut lab,
            loses: 0,
            count: &mut count,
        };
        let config = Config::new(EthernetAddress(MAC).into());
        let mut interface = Interface::new(config, &mut wire, GuestTime::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(GUEST.into(), 24)).unwrap();
        });
        interface
            .routes_mut()
            .add_default_ipv4_route(GATEWAY)
            .unwrap();
        let room = || SocketBuffer::new(vec![0; buffer]);
        let mut sockets = SocketSet::new(Vec::new());
        let socket = sockets.add(Socket::new(room(), room()));
        Self {
            lab,
            interface,
            sockets,
            socket,
            loses,
            count,
            start: Instant::now(),
        }
    }
    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.socket)
    }
    fn connect(&mut self, port: u16) {
        let to = (GATEWAY, port);
        let Self {
            sockets,
            socket,
            interface,
            ..
        } = self;
        let socket: &mut Socket<'_> = sockets.get_mut(*socket);
        socket.connect(interface.context(), to, 40_000).unwrap();
    }
    /// Lets time pass until `done` has a result.
    fn until<T>(&mut self, mut done: impl FnMut(&mut Socket<'static>) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            let mut wire = Wire {
                lab: &mut self.lab,
                loses: self.loses,
                count: &mut self.count,
            };
            let now = GuestTime::from_micros(self.start.elapsed().as_micros() as i64);
            self.interface.poll(now, &mut wire, &mut self.sockets);
            if let Some(result) = done(self.sockets.get_mut(self.socket)) {
                return result;
            }
            assert!(start.elapsed() < PATIENCE, "{:?}", self.socket().state());
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    fn until_open(&mut self) {
        self.until(|socket| socket.may_send().then_some(()));
    }
    fn send(&mut self, bytes: &[u8]) {
        let mut sent = 0;
        self.until(|socket| {
            sent += socket.send_slice(&bytes[sent..]).unwrap();
            (sent == bytes.len()).then_some(())
        });
    }
    /// Reads until the other side has ended.
    fn read_to_end(&mut self) -> Vec<u8> {
        let mut got = Vec::new();
        self.until(|socket| {
            while socket.can_recv() {
                socket
                    .recv(|data| {
                        got.extend_from_slice(data);
                        (data.len(), ())
                    })
                    .unwrap();
            }
            (!socket.may_recv()).then_some(())
        });
        got
    }
    /// Lets time pass until the stack has forgotten all connections.
    fn until_forgotten(&mut self) {
        let start = Instant::now();
        while self.lab.stack.connections() > 0 {
            self.until(|_| Some(()));
            assert!(start.elapsed() < PATIENCE, "a connection is left");
        }
    }
}

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

#[test]
fn a_guest_calls_and_both_sides_end_properly() {
    let (listener, port) = listener();
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut question = Vec::new();
        socket.read_to_end(&mut question).unwrap();
        socket.write_all(&question).unwrap();
    });
    let mut guest = Guest::new(Lab::new(LOOPBACK));
    guest.connect(port);
    guest.until_open();
    guest.send(b"question");
    guest.socket().close();
    assert_eq!(guest.read_to_end(), b"question");
    server.join().unwrap();
    guest.until(|socket| (socket.state() == State::TimeWait).then_some(()));
    guest.until_forgotten();
}

#[test]
fn a_refused_call_is_refused() {
    let (listener, port) = listener();
    drop(listener);
    let mut guest = Guest::new(Lab::new(LOOPBACK));
    guest.connect(port);
    guest.until(|socket| (socket.state() == State::Closed).then_some(()));
    guest.until_forgotten();
}

#[test]
fn without_leave_no_call_leaves() {
    let (listener, port) = listener();
    listener.set_nonblocking(true).unwrap();
    let mut guest = Guest::new(Lab::new(Policy::default()));
    guest.connect(port);
    guest.until(|socket| (socket.state() == State::Closed).then_some(()));
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// Sends `len` bytes from the host to the guest and back.
fn to_and_fro(loses: u32, buffer: usize, len: usize) {
    let (listener, port) = listener();
    let bytes = pattern(len);
    let expected = bytes.clone();
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.write_all(&bytes).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        let mut got = Vec::new();
        socket.read_to_end(&mut got).unwrap();
        assert!(got == bytes);
    });
    let mut guest = Guest::with(Lab::new(LOOPBACK), loses, buffer);
    guest.connect(port);
    guest.until_open();
    assert!(guest.read_to_end() == expected);
    guest.send(&expected);
    guest.socket().close();
    guest.until(|socket| {
        let over = [State::Closed, State::TimeWait];
        over.contains(&socket.state()).then_some(())
    });
    server.join().unwrap();
    guest.until_forgotten();
}

#[test]
fn many_bytes_both_ways() {
    to_and_fro(0, 300_000, 4_000_000);
}

#[test]
fn many_bytes_through_small_windows() {
    to_and_fro(0, 3000, 200_000);
}

#[test]
fn what_gets_lost_is_repeated() {
    to_and_fro(13, 15_000, 60_000);
}

#[test]
fn a_host_that_does_not_read_stops_the_guest() {
    let (listener, port) = listener();
    let mut guest = Guest::with(Lab::new(LOOPBACK), 0, 100_000);
    guest.connect(port);
    guest.until_open();
    let (mut socket, _) = listener.accept().unwrap();
    let chunk = pattern(100_000);
    let (mut sent, mut still) = (0, Instant::now());
    guest.until(|socket| {
        let at = sent % chunk.len();
        let count = socket.send_slice(&chunk[at..]).unwrap();
        if count > 0 {
            (sent, still) = (sent + count, Instant::now());
        }
        // The kernel's own buffers end some time, too.
        (still.elapsed() > Duration::from_millis(500)).then_some(())
    });
    assert!(sent < 64 << 20, "{sent} bytes wait somewhere");
    guest.socket().close();
    // It all arrives when somebody reads again.
    let reader = std::thread::spawn(move || {
        let mut got = Vec::new();
        socket.read_to_end(&mut got).unwrap();
        got
    });
    guest.until(|_| reader.is_finished().then_some(()));
    let got = reader.join().unwrap();
    assert_eq!(got.len(), sent);
    assert!(
        got.chunks(chunk.len())
            .all(|part| *part == chunk[..part.len()])
    );
}

#[test]
fn a_guest_that_does_not_read_stops_the_host_and_goes_on_later() {
    let (listener, port) = listener();
    let mut guest = Guest::with(Lab::new(LOOPBACK), 0, 5000);
    guest.connect(port);
    guest.until_open();
    let (mut socket, _) = listener.accept().unwrap();
    let bytes = pattern(300_000);
    let sent = bytes.clone();
    let writer = std::thread::spawn(move || socket.write_all(&sent).unwrap());
    // Longer than the stack waits before it probes.
    let start = Instant::now();
    guest.until(|_| (start.elapsed() > Duration::from_millis(700)).then_some(()));
    assert!(guest.read_to_end() == bytes);
    writer.join().unwrap();
}

#[test]
fn resets_pass_through() {
    // The guest's, to the host.
    let (listener, port) = listener();
    let mut guest = Guest::new(Lab::new(LOOPBACK));
    guest.connect(port);
    guest.until_open();
    let (mut socket, _) = listener.accept().unwrap();
    guest.socket().abort();
    guest.until(|socket| (socket.state() == State::Closed).then_some(()));
    let start = Instant::now();
    guest.until(|_| (start.elapsed() > Duration::from_millis(20)).then_some(()));
    let error = socket.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    guest.until_forgotten();
    // The host's, to the guest.
    guest.connect(port);
    guest.until_open();
    let (socket, _) = listener.accept().unwrap();
    rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).unwrap();
    drop(socket);
    guest.until(|socket| (socket.state() == State::Closed).then_some(()));
    guest.until_forgotten();
}

#[test]
fn a_published_port_leads_to_the_guest() {
    let lab = Lab::with(
        Policy {
            isolated: true,
            host_loopback: false,
        },
        &["0:80"],
        vec![],
    );
    let host = lab.published[0].host;
    let mut guest = Guest::new(lab);
    for _ in 0..3 {
        guest.socket().listen(80).unwrap();
        let mut caller = TcpStream::connect(host).unwrap();
        caller.write_all(b"GET").unwrap();
        caller.shutdown(Shutdown::Write).unwrap();
        guest.until_open();
        assert_eq!(guest.read_to_end(), b"GET");
        guest.send(b"here");
        guest.socket().close();
        guest.until(|socket| (socket.state() == State::Closed).then_some(()));
        let mut got = Vec::new();
        caller.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"here");
    }
    guest.until_forgotten();
    // Nobody listens: the caller hears it.
    let mut caller = TcpStream::connect(host).unwrap();
    let start = Instant::now();
    guest.until(|_| (start.elapsed() > Duration::from_millis(20)).then_some(()));
    let error = caller.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

/// The next segment of this kind for the guest: its number, and what it acknowledges.
fn segment(lab: &mut Lab, control: TcpControl) -> (TcpSeqNumber, Option<TcpSeqNumber>, u16) {
    loop {
        let frame = lab.frame();
        // Somebody may be asked for before.
        if frame[12..14] != [8, 0] {
            continue;
        }
        let (from, to, _, data) = open_ip(&frame);
        let packet = TcpPacket::new_checked(data.as_slice()).unwrap();
        let checksums = ChecksumCapabilities::default();
        let repr = TcpRepr::parse(&packet, &from.into(), &to.into(), &checksums).unwrap();
        if repr.control == control {
            return (repr.seq_number, repr.ack_number, repr.src_port);
        }
    }
}

#[test]
fn a_call_that_the_guest_takes_for_an_old_connection_comes_through() {
    let mut lab = Lab::with(Policy::default(), &["0:80"], vec![]);
    let _caller = TcpStream::connect(lab.published[0].host).unwrap();
    let (first, none, port) = segment(&mut lab, TcpControl::Syn);
    assert_eq!(none, None);
    let old = TcpRepr {
        control: TcpControl::None,
        ack_number: Some(TcpSeqNumber(77)),
        ..syn(80, port)
    };
    lab.send_tcp(GATEWAY, &old);
    let (reset, none, _) = segment(&mut lab, TcpControl::Rst);
    assert_eq!((reset, none), (TcpSeqNumber(77), None));
    let (again, ..) = segment(&mut lab, TcpControl::Syn);
    assert_eq!(again, first);
    let answer = TcpRepr {
        ack_number: Some(first + 1),
        ..syn(80, port)
    };
    lab.send_tcp(GATEWAY, &answer);
    let (_, acknowledged, _) = segment(&mut lab, TcpControl::None);
    assert_eq!(acknowledged, Some(answer.seq_number + 1));
}

#[test]
fn after_a_restart_old_connections_are_reset() {
    let (listener, port) = listener();
    let mut guest = Guest::new(Lab::new(LOOPBACK));
    guest.connect(port);
    guest.until_open();
    let (mut socket, _) = listener.accept().unwrap();
    // As after a reset, or in a machine that was restored from a file.
    guest.lab.card.reset();
    guest.socket().send_slice(b"still there?").unwrap();
    guest.until(|socket| (socket.state() == State::Closed).then_some(()));
    guest.until_forgotten();
    assert!(matches!(socket.read(&mut [0; 1]), Ok(0) | Err(_)));
}

fn syn(from: u16, to: u16) -> TcpRepr<'static> {
    TcpRepr {
        src_port: from,
        dst_port: to,
        control: TcpControl::Syn,
        seq_number: TcpSeqNumber(1000),
        ack_number: None,
        window_len: 65535,
        window_scale: Some(7),
        max_seg_size: Some(1460),
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    }
}

#[test]
fn large_segments_are_left_to_a_guest_that_cuts_them() {
    let (listener, port) = listener();
    let bytes = pattern(200_000);
    let sent = bytes.clone();
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.write_all(&sent).unwrap();
        let mut got = Vec::new();
        socket.read_to_end(&mut got).unwrap();
        assert!(got == sent[..60_000]);
    });
    let mut lab = Lab::new(LOOPBACK);
    lab.offload();
    lab.send_tcp(GATEWAY, &syn(4000, port));
    let (mut got, mut largest, mut ours) = (Vec::new(), 0, None);
    let start = Instant::now();
    while got.len() < bytes.len() {
        assert!(start.elapsed() < PATIENCE);
        let Some((frame, incoming)) = lab.poll() else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        let (_, _, _, data) = open_ip(&frame);
        let packet = TcpPacket::new_checked(data.as_slice()).unwrap();
        let header = usize::from(packet.header_len());
        let left = incoming.unfinished.unwrap();
        assert_eq!((left.checksum_start, left.checksum_offset), (34, 16));
        assert_eq!(usize::from(left.headers), 34 + header);
        let len = packet.payload().len();
        assert_eq!(left.segment, (len > 1460).then_some(1460));
        // With the bytes summed up behind it, the half checksum becomes a right one.
        assert!(packet.verify_partial_checksum(&GATEWAY.into(), &GUEST.into()));
        largest = largest.max(len);
        got.extend_from_slice(packet.payload());
        let next = packet.seq_number() + packet.segment_len();
        ours = Some(next);
        let ack = TcpRepr {
            control: TcpControl::None,
            seq_number: TcpSeqNumber(1001),
            ack_number: Some(next),
            window_scale: None,
            max_seg_size: None,
            ..syn(4000, port)
        };
        lab.send_tcp(GATEWAY, &ack);
    }
    assert!(got == bytes);
    assert!(largest > 20_000, "the largest segment was {largest}");
    // And the other way: 60,000 bytes in a frame, without a checksum.
    let large = TcpRepr {
        control: TcpControl::Fin,
        seq_number: TcpSeqNumber(1001),
        ack_number: ours,
        window_scale: None,
        max_seg_size: None,
        payload: &bytes[..60_000],
        ..syn(4000, port)
    };
    let mut segment = vec![0; large.buffer_len()];
    large.emit(
        &mut TcpPacket::new_unchecked(segment.as_mut_slice()),
        &GUEST.into(),
        &GATEWAY.into(),
        &ChecksumCapabilities::ignored(),
    );
    lab.card
        .send(&ip(GUEST, GATEWAY, IpProtocol::Tcp, &segment));
    while !server.is_finished() {
        lab.poll();
        assert!(start.elapsed() < PATIENCE);
    }
    server.join().unwrap();
}

#[test]
fn connections_are_bounded() {
    let (_listener, port) = listener();
    let mut lab = Lab::new(LOOPBACK);
    for from in 1..4000 {
        lab.send_tcp(GATEWAY, &syn(from, port));
        while lab.poll().is_some() {}
    }
    let most = super::super::tcp::MOST;
    assert!(lab.stack.connections() <= most);
    assert!(lab.stack.connections() > 100);
    lab.card.reset();
    lab.poll();
    assert_eq!(lab.stack.connections(), 0);
}
