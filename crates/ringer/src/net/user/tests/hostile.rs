//! Frames that mean harm: none may crash the stack, or have it keep more than its bounds.

use proptest::prelude::*;
use smoltcp::wire::{TcpControl, TcpSeqNumber};

use super::*;

/// A frame with these bytes changed.
fn spoiled(mut frame: Vec<u8>, changes: &[(usize, u8)], len: usize) -> Vec<u8> {
    for (at, value) in changes {
        let at = at % frame.len().max(1);
        if let Some(byte) = frame.get_mut(at) {
            *byte = *value;
        }
    }
    frame.truncate(len);
    frame
}

fn segment(
    seq: i32,
    ack: Option<i32>,
    control: u8,
    window: u16,
    payload: &[u8],
    port: u16,
) -> Vec<u8> {
    let controls = [
        TcpControl::None,
        TcpControl::Psh,
        TcpControl::Syn,
        TcpControl::Fin,
        TcpControl::Rst,
    ];
    let repr = TcpRepr {
        src_port: 4000,
        dst_port: port,
        control: controls[usize::from(control) % controls.len()],
        seq_number: TcpSeqNumber(seq),
        ack_number: ack.map(TcpSeqNumber),
        window_len: window,
        window_scale: Some(7),
        max_seg_size: Some(window),
        sack_permitted: true,
        sack_ranges: [None; 3],
        timestamp: None,
        payload,
    };
    let mut bytes = vec![0; repr.buffer_len()];
    repr.emit(
        &mut TcpPacket::new_unchecked(bytes.as_mut_slice()),
        &GUEST.into(),
        &GATEWAY.into(),
        &ChecksumCapabilities::default(),
    );
    ip(GUEST, GATEWAY, IpProtocol::Tcp, &bytes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_do_no_harm(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..20),
        offload: bool,
    ) {
        let mut lab = Lab::new(LOOPBACK);
        if offload {
            lab.offload();
        }
        for data in frames {
            lab.card.send(&data);
            lab.card.send(&ethernet(EthernetProtocol::Ipv4, &data));
            lab.card.send(&ethernet(EthernetProtocol::Arp, &data));
            for protocol in [IpProtocol::Udp, IpProtocol::Icmp] {
                lab.card.send(&ip(GUEST, GATEWAY, protocol, &data));
            }
            lab.send_udp(68, at_gateway(67), &data);
            lab.send_udp(1, SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 3), 53), &data);
            while lab.poll().is_some() {}
        }
    }

    /// A conversation with a real connection behind it, in which anything is said.
    #[test]
    fn any_segments_do_no_harm(
        steps in prop::collection::vec(
            (any::<(i8, i8, u8, u16, bool)>(), 0..3000_usize, prop::collection::vec(any::<(usize, u8)>(), 0..3)),
            1..60,
        ),
        offload: bool,
    ) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut lab = Lab::new(LOOPBACK);
        if offload {
            lab.offload();
        }
        let mut theirs = 0;
        lab.card.send(&segment(0, None, 2, 1000, &[], port));
        for ((seq, ack, control, window, plain), len, changes) in steps {
            while let Some((frame, _)) = lab.poll() {
                let (_, _, protocol, data) = open_ip(&frame);
                if protocol == IpProtocol::Tcp {
                    let packet = TcpPacket::new_checked(data.as_slice()).unwrap();
                    prop_assert!(packet.payload().len() <= 65535);
                    theirs = (packet.seq_number() + packet.segment_len()).0;
                }
            }
            let seq = i32::from(seq) + 1;
            let ack = theirs.wrapping_add(if plain { 0 } else { ack.into() });
            let mut frame = segment(seq, Some(ack), control, window, &vec![1; len], port);
            if !plain {
                let len = frame.len();
                frame = spoiled(frame, &changes, len);
            }
            lab.card.send(&frame);
        }
        while lab.poll().is_some() {}
        prop_assert!(lab.stack.connections() <= 2);
    }
}
