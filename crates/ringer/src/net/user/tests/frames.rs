//! ARP, ping, DHCP, DNS, UDP: by hand-made frames.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress,
    EthernetFrame, EthernetProtocol, Icmpv4DstUnreachable, Icmpv4Message, Icmpv4Packet, Icmpv4Repr,
    IpProtocol, Ipv4Packet,
};

use super::*;
use crate::net::user::addresses::NAME_SERVER;

/// What a guest asks who has `address`, and the answer.
fn who_has(lab: &mut Lab, address: Ipv4Addr) -> Option<EthernetAddress> {
    let ask = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: EthernetAddress(MAC),
        source_protocol_addr: GUEST,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: address,
    };
    let mut bytes = vec![0; ask.buffer_len()];
    ask.emit(&mut ArpPacket::new_unchecked(bytes.as_mut_slice()));
    lab.card.send(&ethernet(EthernetProtocol::Arp, &bytes));
    let (frame, _) = lab.poll()?;
    let frame = EthernetFrame::new_checked(frame.as_slice()).unwrap();
    let packet = ArpPacket::new_checked(frame.payload()).unwrap();
    match ArpRepr::parse(&packet).unwrap() {
        ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Reply,
            source_hardware_addr,
            source_protocol_addr,
            target_protocol_addr: GUEST,
            ..
        } if source_protocol_addr == address => Some(source_hardware_addr),
        other => panic!("{other:?}"),
    }
}

#[test]
fn router_and_name_server_are_there_and_nobody_else() {
    let mut lab = Lab::new(Policy::default());
    assert_eq!(who_has(&mut lab, GATEWAY), Some(ROUTER_MAC));
    assert_eq!(who_has(&mut lab, NAME_SERVER), Some(ROUTER_MAC));
    // A guest that asks for its own address asks whether somebody else has it.
    assert_eq!(who_has(&mut lab, GUEST), None);
    assert_eq!(who_has(&mut lab, Ipv4Addr::new(10, 0, 2, 77)), None);
}

#[test]
fn a_guest_that_has_said_nothing_is_asked_for_when_somebody_calls() {
    let mut lab = Lab::with(Policy::default(), &["0:22"], vec![]);
    let _caller = std::net::TcpStream::connect(lab.published[0].host).unwrap();
    let asked = loop {
        let frame = lab.frame();
        let frame = EthernetFrame::new_checked(frame.as_slice()).unwrap();
        assert!(frame.dst_addr().is_broadcast());
        if frame.ethertype() == EthernetProtocol::Arp {
            break ArpPacket::new_checked(frame.payload().to_vec()).unwrap();
        }
    };
    assert_eq!(asked.target_protocol_addr(), GUEST.octets());
    // Any frame tells where it is; the call goes there.
    assert!(who_has(&mut lab, NAME_SERVER).is_some());
    loop {
        let frame = lab.frame();
        let frame = EthernetFrame::new_checked(frame.as_slice()).unwrap();
        if frame.ethertype() == EthernetProtocol::Ipv4 {
            assert_eq!(frame.dst_addr(), EthernetAddress(MAC));
            break;
        }
    }
}

#[test]
fn pings_are_answered_by_the_router() {
    let mut lab = Lab::new(Policy::default());
    for (to, answered) in [
        (GATEWAY, true),
        (NAME_SERVER, true),
        (Ipv4Addr::new(192, 0, 2, 1), false),
    ] {
        let ping = Icmpv4Repr::EchoRequest {
            ident: 7,
            seq_no: 9,
            data: b"are you there",
        };
        let mut bytes = vec![0; ping.buffer_len()];
        ping.emit(
            &mut Icmpv4Packet::new_unchecked(bytes.as_mut_slice()),
            &ChecksumCapabilities::default(),
        );
        lab.card.send(&ip(GUEST, to, IpProtocol::Icmp, &bytes));
        let Some((frame, _)) = lab.poll() else {
            assert!(!answered);
            continue;
        };
        assert!(answered);
        let (from, _, _, data) = open_ip(&frame);
        assert_eq!(from, to);
        let packet = Icmpv4Packet::new_checked(data.as_slice()).unwrap();
        let repr = Icmpv4Repr::parse(&packet, &ChecksumCapabilities::default()).unwrap();
        let pong = Icmpv4Repr::EchoReply {
            ident: 7,
            seq_no: 9,
            data: b"are you there",
        };
        assert_eq!(repr, pong);
    }
}

#[test]
fn an_address_comes_by_dhcp() {
    let mut lab = Lab::new(LOOPBACK);
    let discover = DhcpRepr {
        message_type: DhcpMessageType::Discover,
        transaction_id: 42,
        secs: 0,
        client_hardware_address: EthernetAddress(MAC),
        client_ip: Ipv4Addr::UNSPECIFIED,
        your_ip: Ipv4Addr::UNSPECIFIED,
        server_ip: Ipv4Addr::UNSPECIFIED,
        router: None,
        subnet_mask: None,
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        broadcast: false,
        requested_ip: None,
        client_identifier: None,
        server_identifier: None,
        parameter_request_list: None,
        dns_servers: None,
        max_size: None,
        lease_duration: None,
        renew_duration: None,
        rebind_duration: None,
        additional_options: &[],
    };
    let mut message = vec![0; discover.buffer_len()];
    discover
        .emit(&mut DhcpPacket::new_unchecked(message.as_mut_slice()))
        .unwrap();
    let to = SocketAddrV4::new(Ipv4Addr::BROADCAST, 67);
    lab.send_udp(68, to, &message);
    let (from, to, answer) = lab.datagram();
    assert_eq!(from, at_gateway(67));
    assert_eq!(to, SocketAddrV4::new(Ipv4Addr::BROADCAST, 68));
    let packet = DhcpPacket::new_checked(answer.as_slice()).unwrap();
    let offer = DhcpRepr::parse(&packet).unwrap();
    assert_eq!(offer.message_type, DhcpMessageType::Offer);
    assert_eq!((offer.your_ip, offer.transaction_id), (GUEST, 42));
}

/// A port of this host that echoes datagrams, twice each.
fn echo_twice() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut room = vec![0; 70_000];
        while let Ok((len, from)) = socket.recv_from(&mut room) {
            socket.send_to(&room[..len], from).unwrap();
            socket.send_to(&room[..len], from).unwrap();
        }
    });
    port
}

#[test]
fn datagrams_go_out_and_answers_come_back() {
    let mut lab = Lab::new(LOOPBACK);
    let port = echo_twice();
    for guest_port in [1000, 2000] {
        for text in [&b"first"[..], b"", b"second"] {
            lab.send_udp(guest_port, at_gateway(port), text);
            for _ in 0..2 {
                let (from, to, data) = lab.datagram();
                assert_eq!(from, at_gateway(port));
                assert_eq!(to, SocketAddrV4::new(GUEST, guest_port));
                assert_eq!(data, text);
            }
        }
    }
}

#[test]
fn large_datagrams_travel_in_pieces() {
    let mut lab = Lab::new(LOOPBACK);
    let port = echo_twice();
    let data: Vec<u8> = (0..9000_u32).map(|n| (n * 7 / 3) as u8).collect();
    // By the stack's own way of cutting, turned round.
    let mut whole = Vec::from([0x12, 0x34]);
    whole.extend(port.to_be_bytes());
    whole.extend((8 + data.len() as u16).to_be_bytes());
    whole.extend([0, 0]); // no checksum, which UDP allows
    whole.extend(&data);
    for (n, piece) in whole.chunks(1480).enumerate() {
        let mut frame = ip(GUEST, GATEWAY, IpProtocol::Udp, piece);
        let mut packet = Ipv4Packet::new_unchecked(&mut frame[14..]);
        packet.set_ident(99);
        packet.set_dont_frag(false);
        packet.set_more_frags((n + 1) * 1480 < whole.len());
        packet.set_frag_offset((n * 1480) as u16);
        packet.fill_checksum();
        lab.card.send(&frame);
    }
    let mut got = Vec::new();
    while got.len() < 8 + data.len() {
        let frame = lab.frame();
        let packet = Ipv4Packet::new_checked(&frame[14..]).unwrap();
        assert!(packet.total_len() <= 1500);
        assert_eq!(usize::from(packet.frag_offset()), got.len());
        got.extend_from_slice(packet.payload());
        assert_eq!(packet.more_frags(), got.len() < 8 + data.len());
    }
    assert_eq!(got[8..], data);
}

/// Why a datagram was returned.
fn refused(lab: &mut Lab) -> Icmpv4DstUnreachable {
    let frame = lab.frame();
    let (from, to, protocol, data) = open_ip(&frame);
    assert_eq!((from, to, protocol), (GATEWAY, GUEST, IpProtocol::Icmp));
    let packet = Icmpv4Packet::new_checked(data.as_slice()).unwrap();
    assert!(packet.verify_checksum());
    assert_eq!(packet.msg_type(), Icmpv4Message::DstUnreachable);
    // The head of what was sent comes back.
    let quoted = Ipv4Packet::new_unchecked(packet.data());
    assert_eq!(quoted.src_addr(), GUEST);
    assert_eq!(quoted.next_header(), IpProtocol::Udp);
    assert_eq!(packet.data()[20..22], 1234_u16.to_be_bytes());
    packet.msg_code().into()
}

#[test]
fn what_nobody_takes_is_returned() {
    let mut lab = Lab::new(LOOPBACK);
    // Nobody listens there now.
    let port = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    lab.send_udp(1234, at_gateway(port), b"hello?");
    assert_eq!(refused(&mut lab), Icmpv4DstUnreachable::PortUnreachable);
    // What may not leave.
    let outside = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 53);
    lab.send_udp(1234, outside, b"hello?");
    assert_eq!(refused(&mut lab), Icmpv4DstUnreachable::NetProhibited);
    let mut lab = Lab::new(Policy::default());
    lab.send_udp(1234, at_gateway(echo_twice()), b"hello?");
    assert_eq!(refused(&mut lab), Icmpv4DstUnreachable::NetProhibited);
}

#[test]
fn names_are_asked_of_the_hosts_servers_one_after_the_other() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let good = echo_twice();
    let servers = vec![
        silent.local_addr().unwrap(),
        (Ipv4Addr::LOCALHOST, good).into(),
    ];
    let mut lab = Lab::with(Policy::default(), &[], servers);
    let name_server = SocketAddrV4::new(NAME_SERVER, 53);
    for _ in 0..2 {
        lab.send_udp(1234, name_server, b"question");
        assert_eq!(lab.poll(), None);
    }
    lab.send_udp(1234, name_server, b"again");
    let (from, to, data) = lab.datagram();
    assert_eq!(from, name_server);
    assert_eq!(to, SocketAddrV4::new(GUEST, 1234));
    assert_eq!(data, b"again");
    let mut heard = [0; 20];
    for _ in 0..2 {
        assert_eq!(silent.recv(&mut heard).unwrap(), 8);
    }
}

#[test]
fn an_isolated_guest_learns_at_once_that_it_gets_no_names() {
    let mut lab = Lab::new(LOOPBACK);
    let mut question = vec![7, 8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    question.extend(b"\x03www\x07example\x00\x00\x01\x00\x01");
    lab.send_udp(1234, SocketAddrV4::new(NAME_SERVER, 53), &question);
    let (_, _, answer) = lab.datagram();
    assert_eq!(answer[..4], [7, 8, 0x81, 5]);
}

#[test]
fn published_datagrams_come_in_and_are_answered() {
    let mut lab = Lab::with(Policy::default(), &["0:53/udp", "0:54/udp"], vec![]);
    assert!(who_has(&mut lab, GATEWAY).is_some());
    let callers = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    for (publish, guest_port) in [(0, 53), (1, 54)] {
        for caller in &callers {
            caller
                .send_to(b"call", lab.published[publish].host)
                .unwrap();
            let (seen_as, to, data) = lab.datagram();
            assert_eq!(to, SocketAddrV4::new(GUEST, guest_port));
            assert_eq!(*seen_as.ip(), GATEWAY);
            assert_eq!(data, b"call");
            lab.send_udp(guest_port, seen_as, b"answer");
            assert_eq!(lab.poll(), None);
            let mut room = [0; 20];
            let (len, from) = caller.recv_from(&mut room).unwrap();
            assert_eq!(from, lab.published[publish].host);
            assert_eq!(room[..len], *b"answer");
            // Another port of the guest's has no part in it.
            lab.send_udp(1234, seen_as, b"me too");
            assert_eq!(refused(&mut lab), Icmpv4DstUnreachable::NetProhibited);
        }
    }
}
