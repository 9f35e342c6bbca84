//! Frames of a guest on `--net user`: anything, and conversations with a real port behind them,
//! which sends back what it gets.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use ringer::net::user::{self, CardEnd, Policy, Stack};
use ringer_machine::backend::{NetBackend, Offloads};

const MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];
const ROUTER_MAC: [u8; 6] = [0x52, 0x55, 0x0a, 0, 2, 2];
const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
const TCP: u8 = 6;
const UDP: u8 = 17;
/// Frames in one input.
const MOST: usize = 200;
/// No frame is larger.
const ROOM: usize = 70_000;
/// Connections that the stack may keep.
const MOST_CONNECTIONS: usize = 1024;

#[derive(Arbitrary)]
enum Action {
    /// Any frame.
    Frame { ether_type: u16, bytes: Vec<u8> },
    /// An IP packet to an address of the guest's network.
    Packet {
        to: u8,
        protocol: u8,
        fragment: u16,
        bytes: Vec<u8>,
    },
    /// A segment near where the conversation is.
    Segment {
        port: u8,
        seq: i8,
        ack: i8,
        flags: u8,
        window: u16,
        options: [u8; 4],
        len: u16,
    },
    /// The guest's driver starts again.
    Restart { offload: bool },
    /// Nothing happens for a while.
    Wait { millis: u16 },
}

/// Takes the bytes as frames.
pub fn run(data: &[u8]) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of this host");
    listener.set_nonblocking(true).expect("a listener");
    let port = listener.local_addr().map_or(1, |address| address.port());
    // Only this host's own port can be reached.
    let policy = Policy {
        isolated: true,
        host_loopback: true,
    };
    let (mut card, mut stack, _) = user::open(policy, &[]).expect("a network");
    let mut peers = Vec::new();
    let mut next = 0_u32;
    let mut now = Instant::now();
    let mut room = vec![0; ROOM];
    let mut input = Unstructured::new(data);
    for _ in 0..MOST {
        let Ok(action) = Action::arbitrary(&mut input) else {
            break;
        };
        match action {
            Action::Frame { ether_type, bytes } => {
                card.send(&guarded(frame(ether_type, &bytes), port));
            }
            Action::Packet {
                to,
                protocol,
                fragment,
                bytes,
            } => {
                let packet = packet(Ipv4Addr::new(10, 0, 2, to), protocol, fragment, &bytes);
                card.send(&guarded(frame(0x800, &packet), port));
            }
            Action::Segment {
                port: from,
                seq,
                ack,
                flags,
                window,
                options,
                len,
            } => {
                let mut segment = vec![0x40, from, 0, 0];
                segment.extend(1_u32.wrapping_add_signed(seq.into()).to_be_bytes());
                segment.extend(next.wrapping_add_signed(ack.into()).to_be_bytes());
                segment.extend([0x60, flags]);
                segment.extend(window.to_be_bytes());
                segment.extend([0; 4]);
                segment.extend(options);
                segment.resize(segment.len() + usize::from(len), 7);
                segment.truncate(65_000);
                let packet = packet(Ipv4Addr::new(10, 0, 2, 2), TCP, 0, &segment);
                card.send(&guarded(frame(0x800, &packet), port));
            }
            Action::Restart { offload } => {
                card.reset();
                card.agreed(Offloads {
                    checksums: offload,
                    segments: offload,
                });
            }
            Action::Wait { millis } => now += Duration::from_millis(millis.into()),
        }
        settle(&mut card, &mut stack, now, &mut room, &mut next);
        if let Ok((peer, _)) = listener.accept() {
            peer.set_nonblocking(true).expect("a socket");
            peers.push(peer);
        }
        peers.retain_mut(|peer| echo(peer, &mut room));
    }
}

/// Sends back what came; whether the peer is still there.
fn echo(peer: &mut TcpStream, room: &mut [u8]) -> bool {
    match peer.read(room) {
        Ok(0) => false,
        // What does not fit is lost.
        Ok(len) => peer.write(&room[..len]).is_ok(),
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}

/// Lets the stack do what it can; `next` becomes what the last segment wants acknowledged.
fn settle(card: &mut CardEnd, stack: &mut Stack, now: Instant, room: &mut [u8], next: &mut u32) {
    for _ in 0..100 {
        let worked = stack.work(now);
        while let Some(len) = card.receive(room) {
            if let Some(segment) = room.get(34..len)
                && room.get(23) == Some(&TCP)
                && let Some(&[s0, s1, s2, s3]) = segment.get(4..8)
            {
                *next = u32::from_be_bytes([s0, s1, s2, s3]).wrapping_add(1);
            }
        }
        if !worked {
            break;
        }
    }
    assert!(stack.connections() <= MOST_CONNECTIONS);
}

fn frame(ether_type: u16, bytes: &[u8]) -> Vec<u8> {
    [&ROUTER_MAC[..], &MAC, &ether_type.to_be_bytes(), bytes].concat()
}

fn packet(to: Ipv4Addr, protocol: u8, fragment: u16, bytes: &[u8]) -> Vec<u8> {
    let bytes = &bytes[..bytes.len().min(65_000)];
    let mut header = vec![0x45, 0];
    header.extend((20 + bytes.len() as u16).to_be_bytes());
    header.extend([0, 1]);
    header.extend(fragment.to_be_bytes());
    header.extend([64, protocol, 0, 0]);
    header.extend(GUEST.octets());
    header.extend(to.octets());
    let words = header
        .chunks(2)
        .map(|w| u32::from(w[0]) << 8 | u32::from(w[1]));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !(((folded & 0xffff) + (folded >> 16)) as u16);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    [header, bytes.to_vec()].concat()
}

/// The frame, but to no other port of this host than `port`.
fn guarded(mut frame: Vec<u8>, port: u16) -> Vec<u8> {
    let header = frame.get(14).map_or(0, |first| usize::from(first & 15) * 4);
    let carries_port = matches!(frame.get(23), Some(&(TCP | UDP)));
    let at = 14 + header;
    // What DHCP and DNS are asked does not leave the stack.
    let dhcp = frame.get(at..at + 4) == Some(&[0, 68, 0, 67]);
    let dns = frame.get(30..34) == Some(&[10, 0, 2, 3]);
    if carries_port
        && !dhcp
        && !dns
        && let Some(to) = frame.get_mut(at + 2..at + 4)
    {
        to.copy_from_slice(&port.to_be_bytes());
    }
    frame
}
