//! The stack: what each frame of the guest means, and what each socket of the host has for it.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use smoltcp::phy::{Checksum, ChecksumCapabilities};
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    Icmpv4DstUnreachable, Icmpv4Packet, Icmpv4Repr, IpProtocol, Ipv4Packet, Ipv4Repr, TcpPacket,
    TcpRepr, UdpPacket, UdpRepr,
};

use super::addresses::{DNS_PORT, GATEWAY, GUEST, NAME_SERVER, Pair, Policy, ROUTER_MAC, is_guest};
use super::cable::StackEnd;
use super::dhcp;
use super::dns::{self, Resolvers};
use super::fragments::Fragments;
use super::publish::Published;
use super::sockets::{Ready, Token, Watch};
use super::tcp::{Connections, Ends};
use super::udp::{self, Conversations, Sent};
use super::wire::Wire;

/// How often alarms and silences are looked at, if there are any.
const TICK: Duration = Duration::from_millis(100);
/// Questions that a name server may leave unanswered before the next one is asked.
const UNANSWERED: u32 = 2;
/// How much of a datagram that was refused comes back with the refusal.
const QUOTED: usize = 8;

/// A guest's network.
pub struct Stack {
    policy: Policy,
    wire: Wire,
    watch: Watch,
    tcp: Connections,
    udp: Conversations,
    published: Published,
    resolvers: Resolvers,
    fragments: Fragments,
    /// When alarms and silences are looked at next.
    next_tick: Instant,
    ready: Vec<Ready>,
    /// Room for one datagram.
    room: Vec<u8>,
}

/// The head of an IP packet, as far as it matters.
#[derive(Clone, Copy)]
struct Head {
    from: Ipv4Addr,
    to: Ipv4Addr,
    protocol: IpProtocol,
}

impl Stack {
    /// A stack at the end of `cable`.
    pub fn new(
        policy: Policy,
        cable: StackEnd,
        watch: Watch,
        published: Published,
        resolvers: Resolvers,
    ) -> Result<Self, rustix::io::Errno> {
        watch.add(&cable, Token::Bell)?;
        Ok(Self {
            policy,
            wire: Wire::new(cable),
            watch,
            tcp: Connections::default(),
            udp: Conversations::default(),
            published,
            resolvers,
            fragments: Fragments::default(),
            next_tick: Instant::now(),
            ready: Vec::new(),
            room: vec![0; udp::LARGEST],
        })
    }
    /// The cable.
    pub fn cable(&self) -> &StackEnd {
        self.wire.cable()
    }

    /// Does all that there is to do. True if that was something: the card should be looked at.
    pub fn work(&mut self, now: Instant) -> bool {
        if self.wire.cable().take_restart() {
            self.tcp.clear();
            self.udp.clear();
            self.fragments.clear();
        }
        let before = self.wire.sent();
        let mut did = false;
        while let Some(frame) = self.wire.cable().take() {
            did = true;
            self.take_frame(&frame.bytes, now);
        }
        did |= self.take_events(Some(Duration::ZERO), now);
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            self.tcp.ring(&self.wire, now);
            self.udp.expire(now);
            self.published.expire(now);
            self.tcp.provoke_lost(&self.wire, now);
            let somebody_calls =
                self.tcp.has_alarms() || self.published.has_callers() || self.tcp.ends().has_lost();
            let silent = !self.wire.knows_guest() && self.wire.cable().is_drained();
            if silent && somebody_calls {
                self.ask_for_guest();
            }
        }
        self.tcp.advance(&self.wire, now);
        did || self.wire.sent() != before
    }
    /// Whether there is something to do, of which no socket tells.
    pub fn has_work(&self) -> bool {
        let cable = self.wire.cable();
        cable.is_waiting() || self.tcp.is_busy() && cable.has_room()
    }
    /// Waits until there is something to do.
    pub fn wait(&mut self) {
        let watched = self.tcp.has_alarms()
            || !self.udp.is_empty()
            || self.published.has_callers()
            || self.tcp.ends().has_lost();
        let now = Instant::now();
        let timeout = watched.then(|| self.next_tick.saturating_duration_since(now));
        self.take_events(timeout, now);
    }

    /// The ends of the TCP connections.
    pub fn ends(&self) -> &Ends {
        self.tcp.ends()
    }
    /// How many TCP connections there are.
    pub fn connections(&self) -> usize {
        self.tcp.len()
    }

    /// Takes what sockets have to say. True if they had something.
    fn take_events(&mut self, timeout: Option<Duration>, now: Instant) -> bool {
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        self.watch.wait(timeout, &mut ready);
        for event in &ready {
            match event.token {
                Token::Bell => self.wire.cable().silence(),
                Token::Tcp(number) => self.tcp.ready(number, event),
                Token::Udp(number) => {
                    let Self {
                        udp, wire, room, ..
                    } = self;
                    if let Some(pair) = udp.receive(number, wire, room, now) {
                        udp.end(&pair);
                        self.unreachable(&pair, Icmpv4DstUnreachable::PortUnreachable, &[]);
                    }
                }
                Token::Listener(place) => {
                    (self.published).accept(place, &mut self.tcp, &self.watch);
                }
                Token::Published(place) => {
                    (self.published).receive(place, &mut self.wire, &mut self.room, now);
                }
            }
        }
        self.ready = ready;
        !self.ready.is_empty()
    }

    /// Takes a frame of the guest, whatever is in it.
    pub fn take_frame(&mut self, bytes: &[u8], now: Instant) {
        let Ok(frame) = EthernetFrame::new_checked(bytes) else {
            return;
        };
        let to = frame.dst_addr();
        if to != ROUTER_MAC && !to.is_broadcast() || !frame.src_addr().is_unicast() {
            return;
        }
        self.wire.guest = frame.src_addr();
        match frame.ethertype() {
            EthernetProtocol::Arp => self.take_arp(frame.payload()),
            EthernetProtocol::Ipv4 => self.take_ip(frame.payload(), now),
            _ => {}
        }
    }

    /// Asks who has the guest's address: somebody calls, and the guest has said nothing yet. So it
    /// is after it was restored.
    fn ask_for_guest(&self) {
        let question = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Request,
            source_hardware_addr: ROUTER_MAC,
            source_protocol_addr: GATEWAY,
            target_hardware_addr: EthernetAddress([0; 6]),
            target_protocol_addr: GUEST,
        };
        self.send_arp(&question);
    }
    fn send_arp(&self, repr: &ArpRepr) {
        self.wire
            .send(EthernetProtocol::Arp, repr.buffer_len(), |room| {
                repr.emit(&mut ArpPacket::new_unchecked(room));
            });
    }
    fn take_arp(&self, bytes: &[u8]) {
        let Ok(packet) = ArpPacket::new_checked(bytes) else {
            return;
        };
        let Ok(ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Request,
            source_hardware_addr,
            source_protocol_addr,
            target_protocol_addr,
            ..
        }) = ArpRepr::parse(&packet)
        else {
            return;
        };
        if ![GATEWAY, NAME_SERVER].contains(&target_protocol_addr) {
            return;
        }
        let answer = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Reply,
            source_hardware_addr: ROUTER_MAC,
            source_protocol_addr: target_protocol_addr,
            target_hardware_addr: source_hardware_addr,
            target_protocol_addr: source_protocol_addr,
        };
        self.send_arp(&answer);
    }

    fn take_ip(&mut self, bytes: &[u8], now: Instant) {
        let Ok(packet) = Ipv4Packet::new_checked(bytes) else {
            return;
        };
        if packet.version() != 4 || packet.header_len() < 20 || !packet.verify_checksum() {
            return;
        }
        let head = Head {
            from: packet.src_addr(),
            to: packet.dst_addr(),
            protocol: packet.next_header(),
        };
        if packet.more_frags() || packet.frag_offset() != 0 {
            if let Some(whole) = self.fragments.take(&packet, now) {
                self.take_data(head, &whole, true, now);
            }
            return;
        }
        let verify = !self.wire.cable().offloads().checksums;
        self.take_data(head, packet.payload(), verify, now);
    }

    fn take_data(&mut self, head: Head, data: &[u8], verify: bool, now: Instant) {
        let checksums = checksums(verify);
        match head.protocol {
            IpProtocol::Udp => {
                let Ok(packet) = UdpPacket::new_checked(data) else {
                    return;
                };
                let (from, to) = (head.from.into(), head.to.into());
                if let Ok(repr) = UdpRepr::parse(&packet, &from, &to, &checksums) {
                    let pair = Pair {
                        guest: SocketAddrV4::new(head.from, repr.src_port),
                        outside: SocketAddrV4::new(head.to, repr.dst_port),
                    };
                    self.take_datagram(pair, packet.payload(), now);
                }
            }
            _ if !is_guest(head.from) => {}
            IpProtocol::Tcp => {
                let Ok(packet) = TcpPacket::new_checked(data) else {
                    return;
                };
                let (from, to) = (head.from.into(), head.to.into());
                if let Ok(repr) = TcpRepr::parse(&packet, &from, &to, &checksums) {
                    let pair = Pair {
                        guest: SocketAddrV4::new(head.from, repr.src_port),
                        outside: SocketAddrV4::new(head.to, repr.dst_port),
                    };
                    self.take_segment(pair, repr, now);
                }
            }
            IpProtocol::Icmp => self.take_icmp(head, data),
            _ => {}
        }
    }

    fn take_segment(&mut self, pair: Pair, repr: TcpRepr<'_>, now: Instant) {
        let to = pair.outside;
        let outside = if *to.ip() == NAME_SERVER && to.port() == DNS_PORT {
            let resolvers = &mut self.resolvers;
            (!self.policy.isolated)
                .then(|| resolvers.current(now))
                .flatten()
        } else {
            self.policy.outside(to)
        };
        self.tcp.take(pair, repr, outside, &self.wire, &self.watch);
    }

    fn take_datagram(&mut self, pair: Pair, data: &[u8], now: Instant) {
        let to = pair.outside;
        if to.port() == dhcp::SERVER_PORT && pair.guest.port() == dhcp::CLIENT_PORT {
            if *to.ip() == GATEWAY || to.ip().is_broadcast() {
                self.take_dhcp(data);
            }
            return;
        }
        if !is_guest(*pair.guest.ip()) || self.published.answer(&pair, data, now) {
            return;
        }
        let outside = if *to.ip() == NAME_SERVER && to.port() == DNS_PORT {
            if self.policy.isolated {
                if let Some(answer) = dns::refusal(data) {
                    self.wire.send_udp(to, pair.guest, &answer);
                }
                return;
            }
            if self.udp.unanswered(&pair) >= UNANSWERED {
                self.udp.end(&pair);
                self.resolvers.next();
            }
            self.resolvers.current(now)
        } else {
            self.policy.outside(to)
        };
        let Some(outside) = outside else {
            if !to.ip().is_broadcast() && !to.ip().is_multicast() {
                self.unreachable(&pair, Icmpv4DstUnreachable::NetProhibited, data);
            }
            return;
        };
        match self.udp.send(pair, outside, data, &self.watch, now) {
            Sent::Gone => {}
            Sent::Refused => {
                self.udp.end(&pair);
                self.unreachable(&pair, Icmpv4DstUnreachable::PortUnreachable, data);
            }
            Sent::Unreachable => {
                self.unreachable(&pair, Icmpv4DstUnreachable::NetUnreachable, data);
            }
        }
    }

    fn take_dhcp(&mut self, message: &[u8]) {
        if let Some(answer) = dhcp::answer(message) {
            let from = SocketAddrV4::new(GATEWAY, dhcp::SERVER_PORT);
            let to = SocketAddrV4::new(answer.to, dhcp::CLIENT_PORT);
            self.wire.send_udp(from, to, &answer.message);
        }
    }

    /// Router and name server answer pings. The host's network cannot be pinged: that takes rights.
    fn take_icmp(&self, head: Head, data: &[u8]) {
        if ![GATEWAY, NAME_SERVER].contains(&head.to) {
            return;
        }
        let Ok(packet) = Icmpv4Packet::new_checked(data) else {
            return;
        };
        let Ok(Icmpv4Repr::EchoRequest {
            ident,
            seq_no,
            data,
        }) = Icmpv4Repr::parse(&packet, &checksums(true))
        else {
            return;
        };
        let answer = Icmpv4Repr::EchoReply {
            ident,
            seq_no,
            data,
        };
        self.send_icmp(head.to, head.from, &answer);
    }
    /// Tells the guest that a datagram, which began with `data`, has not arrived.
    fn unreachable(&self, pair: &Pair, reason: Icmpv4DstUnreachable, data: &[u8]) {
        // A datagram's head is quoted, by which the guest knows whose it was.
        let mut quoted = [0; QUOTED];
        let mut packet = UdpPacket::new_unchecked(&mut quoted[..]);
        packet.set_src_port(pair.guest.port());
        packet.set_dst_port(pair.outside.port());
        packet.set_len((QUOTED + data.len()).min(65535) as u16);
        let error = Icmpv4Repr::DstUnreachable {
            reason,
            header: Ipv4Repr {
                src_addr: *pair.guest.ip(),
                dst_addr: *pair.outside.ip(),
                next_header: IpProtocol::Udp,
                payload_len: QUOTED + data.len().min(1400),
                hop_limit: 64,
            },
            data: &quoted,
        };
        self.send_icmp(GATEWAY, *pair.guest.ip(), &error);
    }
    fn send_icmp(&self, from: Ipv4Addr, to: Ipv4Addr, repr: &Icmpv4Repr<'_>) {
        let len = repr.buffer_len();
        self.wire.send_ip(from, to, IpProtocol::Icmp, len, |room| {
            let mut packet = Icmpv4Packet::new_unchecked(room);
            repr.emit(&mut packet, &ChecksumCapabilities::default());
        });
    }
}

/// What is checked in what comes from the guest.
fn checksums(verify: bool) -> ChecksumCapabilities {
    let mut checksums = ChecksumCapabilities::ignored();
    if verify {
        checksums.tcp = Checksum::Both;
        checksums.udp = Checksum::Both;
        checksums.icmpv4 = Checksum::Both;
    }
    checksums
}
