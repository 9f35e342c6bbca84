//! The stack as a guest sees it: hand-made frames in `frames`, a guest with a TCP of its own (which
//! is smoltcp's) in `connections`, and frames that mean harm in `hostile`.

mod connections;
mod frames;
mod hostile;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use ringer_machine::backend::{Incoming, NetBackend, Offloads};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv4Repr, TcpPacket,
    TcpRepr, UdpPacket, UdpRepr,
};

use super::addresses::{GATEWAY, GUEST, ROUTER_MAC};
use super::cable::{self, CardEnd};
use super::dns::Resolvers;
use super::publish::Published;
use super::sockets::Watch;
use super::{Policy, Publish, Stack};

/// The guest's card.
pub const MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];
/// How long something may take that will happen: much longer than it does.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The gateway leads to this host, and nothing else leads anywhere.
pub const LOOPBACK: Policy = Policy {
    isolated: true,
    host_loopback: true,
};

/// A guest's card on a stack.
pub struct Lab {
    pub card: CardEnd,
    pub stack: Stack,
    pub published: Vec<Publish>,
}

impl Lab {
    pub fn new(policy: Policy) -> Self {
        Self::with(policy, &[], Vec::new())
    }
    pub fn with(policy: Policy, publish: &[&str], resolvers: Vec<SocketAddr>) -> Self {
        super::sockets::allow_many();
        let watch = Watch::new().unwrap();
        let publish: Vec<Publish> = publish
            .iter()
            .map(|text| Publish::parse(text).unwrap())
            .collect();
        let (published, opened) = Published::open(&publish, &watch).unwrap();
        let (card, cable) = cable::cable().unwrap();
        let resolvers = Resolvers::fixed(resolvers, Instant::now());
        let stack = Stack::new(policy, cable, watch, published, resolvers).unwrap();
        Self {
            card,
            stack,
            published: opened,
        }
    }
    /// The guest's driver takes unfinished frames.
    pub fn offload(&mut self) {
        self.card.agreed(Offloads {
            checksums: true,
            segments: true,
        });
    }
    /// The next frame for the guest; `None` if the stack has nothing to do.
    pub fn poll(&mut self) -> Option<(Vec<u8>, Incoming)> {
        let mut room = vec![0; 70_000];
        loop {
            if let Some(incoming) = self.card.receive_unfinished(&mut room) {
                room.truncate(incoming.len);
                return Some((room, incoming));
            }
            if !self.stack.work(Instant::now()) {
                return None;
            }
        }
    }
    /// The next frame for the guest, which comes.
    pub fn frame(&mut self) -> Vec<u8> {
        let start = Instant::now();
        loop {
            if let Some((frame, _)) = self.poll() {
                return frame;
            }
            assert!(start.elapsed() < PATIENCE, "no frame comes");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    /// The guest sends a datagram.
    pub fn send_udp(&mut self, port: u16, to: SocketAddrV4, data: &[u8]) {
        let mut bytes = vec![0; 8 + data.len()];
        let repr = UdpRepr {
            src_port: port,
            dst_port: to.port(),
        };
        repr.emit(
            &mut UdpPacket::new_unchecked(bytes.as_mut_slice()),
            &GUEST.into(),
            &(*to.ip()).into(),
            data.len(),
            |room| room.copy_from_slice(data),
            &ChecksumCapabilities::default(),
        );
        self.card
            .send(&ip(GUEST, *to.ip(), IpProtocol::Udp, &bytes));
    }
    /// The datagram in the next frame: its ends and its data.
    pub fn datagram(&mut self) -> (SocketAddrV4, SocketAddrV4, Vec<u8>) {
        let frame = self.frame();
        let (from, to, protocol, data) = open_ip(&frame);
        assert_eq!(protocol, IpProtocol::Udp, "{data:?}");
        let packet = UdpPacket::new_checked(data.as_slice()).unwrap();
        assert!(packet.verify_checksum(&from.into(), &to.into()));
        (
            SocketAddrV4::new(from, packet.src_port()),
            SocketAddrV4::new(to, packet.dst_port()),
            packet.payload().to_vec(),
        )
    }
    /// The guest sends a segment.
    pub fn send_tcp(&mut self, to: Ipv4Addr, repr: &TcpRepr<'_>) {
        let mut bytes = vec![0; repr.buffer_len()];
        repr.emit(
            &mut TcpPacket::new_unchecked(bytes.as_mut_slice()),
            &GUEST.into(),
            &to.into(),
            &ChecksumCapabilities::default(),
        );
        self.card.send(&ip(GUEST, to, IpProtocol::Tcp, &bytes));
    }
}

/// A place on this host, as the guest names it.
pub fn at_gateway(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(GATEWAY, port)
}

/// A frame of the guest.
pub fn ethernet(protocol: EthernetProtocol, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 14 + data.len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    frame.set_src_addr(EthernetAddress(MAC));
    frame.set_dst_addr(ROUTER_MAC);
    frame.set_ethertype(protocol);
    frame.payload_mut().copy_from_slice(data);
    bytes
}

/// A frame of the guest with an IP packet.
pub fn ip(from: Ipv4Addr, to: Ipv4Addr, protocol: IpProtocol, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 20 + data.len()];
    let repr = Ipv4Repr {
        src_addr: from,
        dst_addr: to,
        next_header: protocol,
        payload_len: data.len(),
        hop_limit: 64,
    };
    let mut packet = Ipv4Packet::new_unchecked(bytes.as_mut_slice());
    repr.emit(&mut packet, &ChecksumCapabilities::default());
    packet.payload_mut().copy_from_slice(data);
    ethernet(EthernetProtocol::Ipv4, &bytes)
}

/// What is in a frame for the guest.
pub fn open_ip(frame: &[u8]) -> (Ipv4Addr, Ipv4Addr, IpProtocol, Vec<u8>) {
    let frame = EthernetFrame::new_checked(frame).unwrap();
    assert_eq!(frame.src_addr(), ROUTER_MAC);
    assert_eq!(frame.ethertype(), EthernetProtocol::Ipv4);
    let packet = Ipv4Packet::new_checked(frame.payload()).unwrap();
    assert!(packet.verify_checksum());
    (
        packet.src_addr(),
        packet.dst_addr(),
        packet.next_header(),
        packet.payload().to_vec(),
    )
}
