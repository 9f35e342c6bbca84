//! Frames to the guest: headers put before what is to be said, on the way to the cable.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddrV4};

use ringer_machine::backend::Unfinished;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv4Repr, TcpPacket,
    TcpRepr, UdpPacket, UdpRepr,
};

use super::addresses::{MTU, Pair, ROUTER_MAC};
use super::cable::{Frame, StackEnd};

const ETHERNET: usize = 14;
const IP: usize = 20;
/// Where the data of an IP packet without options starts in its frame.
const IP_DATA: usize = ETHERNET + IP;
const UDP: usize = 8;
/// Where the checksum is in a TCP header.
const TCP_CHECKSUM: u16 = 16;
/// The most TCP data in a frame that the guest cuts itself, with room for TCP's options.
const LARGEST: usize = 65535 - IP - 60;
/// Hops that our packets may take; they need none.
const HOPS: u8 = 64;

/// The way to the guest.
pub struct Wire {
    cable: StackEnd,
    /// The guest's Ethernet address, as it was last seen; before, everyone's.
    pub guest: EthernetAddress,
    /// The number of the last datagram that was cut.
    ident: u16,
    sent: Cell<u64>,
}

/// Data in two pieces, as it lies in a ring.
pub type Pieces<'a> = (&'a [u8], &'a [u8]);

impl Wire {
    /// The wire to the card at the other end of `cable`.
    pub fn new(cable: StackEnd) -> Self {
        Self {
            cable,
            guest: EthernetAddress::BROADCAST,
            ident: 0,
            sent: Cell::new(0),
        }
    }
    /// The cable.
    pub fn cable(&self) -> &StackEnd {
        &self.cable
    }
    /// Whether the guest was seen.
    pub fn knows_guest(&self) -> bool {
        !self.guest.is_broadcast()
    }
    /// How many frames were sent.
    pub fn sent(&self) -> u64 {
        self.sent.get()
    }
    /// The most TCP data in one frame, for a guest that takes `mss` bytes in a segment.
    pub fn largest_segment(&self, mss: usize) -> usize {
        if self.cable.offloads().segments {
            // Full segments only, so that none but the last is short.
            (LARGEST / mss).max(1) * mss
        } else {
            mss
        }
    }

    /// Sends what is not IP.
    pub fn send(&self, protocol: EthernetProtocol, len: usize, fill: impl FnOnce(&mut [u8])) {
        let mut bytes = self.headed(protocol, len);
        fill(bytes.get_mut(ETHERNET..).unwrap_or_default());
        self.put(bytes, None);
    }
    /// Sends an IP packet with `len` bytes of data.
    pub fn send_ip(
        &self,
        from: Ipv4Addr,
        to: Ipv4Addr,
        protocol: IpProtocol,
        len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) {
        let mut bytes = self.headed_ip(from, to, protocol, len);
        fill(bytes.get_mut(IP_DATA..).unwrap_or_default());
        self.put(bytes, None);
    }
    /// Sends a datagram, in several packets if it is large.
    pub fn send_udp(&mut self, from: SocketAddrV4, to: SocketAddrV4, data: &[u8]) {
        if data.len() > 65535 - IP - UDP {
            return;
        }
        let mut datagram = vec![0; UDP + data.len()];
        UdpRepr {
            src_port: from.port(),
            dst_port: to.port(),
        }
        .emit(
            &mut UdpPacket::new_unchecked(datagram.as_mut_slice()),
            &(*from.ip()).into(),
            &(*to.ip()).into(),
            data.len(),
            |room| room.copy_from_slice(data),
            &ChecksumCapabilities::default(),
        );
        if IP + datagram.len() <= MTU {
            let fill = |room: &mut [u8]| room.copy_from_slice(&datagram);
            return self.send_ip(*from.ip(), *to.ip(), IpProtocol::Udp, datagram.len(), fill);
        }
        self.ident = self.ident.wrapping_add(1);
        // All pieces but the last have a multiple of eight bytes.
        let most = (MTU - IP) & !7;
        let pieces = datagram.len().div_ceil(most);
        for (number, piece) in datagram.chunks(most).enumerate() {
            let (from, to) = (*from.ip(), *to.ip());
            let mut bytes = self.headed_ip(from, to, IpProtocol::Udp, piece.len());
            if let Some(packet) = bytes.get_mut(ETHERNET..) {
                let mut packet = Ipv4Packet::new_unchecked(packet);
                packet.set_ident(self.ident);
                packet.set_dont_frag(false);
                packet.set_more_frags(number + 1 < pieces);
                packet.set_frag_offset((number * most) as u16);
                packet.fill_checksum();
                packet.payload_mut().copy_from_slice(piece);
            }
            self.put(bytes, None);
        }
    }
    /// Sends a TCP segment with a header as `repr` says and this data, which may be more than
    /// `mss` if the guest cuts it.
    pub fn send_tcp(&self, pair: &Pair, repr: &TcpRepr<'_>, data: Pieces<'_>, mss: u16) {
        let (from, to) = (*pair.outside.ip(), *pair.guest.ip());
        let header = repr.header_len();
        let len = header + data.0.len() + data.1.len();
        let mut bytes = self.headed_ip(from, to, IpProtocol::Tcp, len);
        let Some(segment) = bytes.get_mut(IP_DATA..) else {
            return;
        };
        if let Some((head, room)) = segment.split_at_mut_checked(header)
            && let Some((first, second)) = room.split_at_mut_checked(data.0.len())
        {
            repr.emit(
                &mut TcpPacket::new_unchecked(head),
                &from.into(),
                &to.into(),
                &ChecksumCapabilities::ignored(),
            );
            first.copy_from_slice(data.0);
            second.copy_from_slice(data.1);
        }
        let mut unfinished = None;
        let mut packet = TcpPacket::new_unchecked(segment);
        if self.cable.offloads().checksums {
            packet.set_checksum(pseudo_header(from, to, len as u16));
            let data = data.0.len() + data.1.len();
            unfinished = Some(Unfinished {
                checksum_start: IP_DATA as u16,
                checksum_offset: TCP_CHECKSUM,
                segment: (data > usize::from(mss)).then_some(mss),
                headers: (IP_DATA + header) as u16,
            });
        } else {
            packet.fill_checksum(&from.into(), &to.into());
        }
        self.put(bytes, unfinished);
    }

    fn headed(&self, protocol: EthernetProtocol, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; ETHERNET + len];
        let mut frame = EthernetFrame::new_unchecked(&mut bytes);
        frame.set_dst_addr(self.guest);
        frame.set_src_addr(ROUTER_MAC);
        frame.set_ethertype(protocol);
        bytes
    }
    fn headed_ip(&self, from: Ipv4Addr, to: Ipv4Addr, protocol: IpProtocol, len: usize) -> Vec<u8> {
        let mut bytes = self.headed(EthernetProtocol::Ipv4, IP + len);
        let packet = bytes.get_mut(ETHERNET..).unwrap_or_default();
        Ipv4Repr {
            src_addr: from,
            dst_addr: to,
            next_header: protocol,
            payload_len: len,
            hop_limit: HOPS,
        }
        .emit(
            &mut Ipv4Packet::new_unchecked(packet),
            &ChecksumCapabilities::default(),
        );
        bytes
    }
    fn put(&self, bytes: Vec<u8>, unfinished: Option<Unfinished>) {
        self.sent.set(self.sent.get() + 1);
        self.cable.put(Frame { bytes, unfinished });
    }
}

/// The checksum over the addresses and length that TCP counts as part of a segment.
fn pseudo_header(from: Ipv4Addr, to: Ipv4Addr, len: u16) -> u16 {
    let [a, b, c, d] = from.octets();
    let [e, f, g, h] = to.octets();
    let words = [[a, b], [c, d], [e, f], [g, h]].map(u16::from_be_bytes);
    let sum: u32 = words.into_iter().map(u32::from).sum();
    let sum = sum + u32::from(u8::from(IpProtocol::Tcp)) + u32::from(len);
    let folded = (sum & 0xffff) + (sum >> 16);
    (folded & 0xffff) as u16 + (folded >> 16) as u16
}
