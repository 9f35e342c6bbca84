//! A network on which every address belongs to somebody who sends UDP datagrams back. Nothing of
//! this computer takes part, so it is the same in every run: for deterministic machines.

use std::collections::VecDeque;

use ringer_machine::backend::NetBackend;

use super::MacAddress;

/// Frames that wait for the guest at most; more are lost.
const MOST: usize = 256;
/// The Ethernet address of everybody there.
const HOST: MacAddress = [2, 0, 0, 0, 0, 7];

const ETHERNET: usize = 14;
const ARP: [u8; 2] = [0x08, 0x06];
const IPV4: [u8; 2] = [0x08, 0x00];
const UDP: u8 = 17;
/// How a question for an Ethernet address begins, by IPv4 (RFC 826).
const QUESTION: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 1];
const ANSWER: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 2];

/// The network.
#[derive(Debug, Default)]
pub struct Echo {
    waiting: VecDeque<Vec<u8>>,
}

impl NetBackend for Echo {
    fn send(&mut self, frame: &[u8]) {
        if self.waiting.len() < MOST {
            self.waiting.extend(answer(frame));
        }
    }
    fn receive(&mut self, into: &mut [u8]) -> Option<usize> {
        loop {
            let frame = self.waiting.pop_front()?;
            if let Some(place) = into.get_mut(..frame.len()) {
                place.copy_from_slice(&frame);
                return Some(frame.len());
            }
        }
    }
    fn answers_at_once(&self) -> bool {
        true
    }
    fn reset(&mut self) {
        self.waiting.clear();
    }
}

/// What comes back for a frame.
fn answer(frame: &[u8]) -> Option<Vec<u8>> {
    let (ethernet, packet) = frame.split_at_checked(ETHERNET)?;
    let (to, rest) = ethernet.split_first_chunk()?;
    let (from, kind) = rest.split_first_chunk::<6>()?;
    let packet = match *kind.first_chunk()? {
        ARP => told(packet)?,
        IPV4 if *to == HOST => returned(packet)?,
        _ => return None,
    };
    Some([&from[..], &HOST, kind, &packet].concat())
}

/// The answer to the question who has an address.
fn told(question: &[u8]) -> Option<Vec<u8>> {
    let rest = question.strip_prefix(&QUESTION)?;
    let (who, rest) = rest.split_first_chunk::<10>()?;
    let wanted = rest.get(6..10)?;
    // Who asks for its own address, or has none yet, hopes for silence.
    let (_, asks) = who.split_first_chunk::<6>()?;
    let answered = asks != wanted && asks != [0; 4];
    answered.then(|| [&ANSWER[..], &HOST, wanted, who].concat())
}

/// A datagram on its way back. Checksums are sums, and stay what they are.
fn returned(packet: &[u8]) -> Option<Vec<u8>> {
    let mut packet = packet.to_vec();
    let header = 4 * usize::from(packet.first()? & 15);
    if header < 20 || *packet.get(9)? != UDP {
        return None;
    }
    exchange(&mut packet, 12, 4)?;
    // Later pieces of a datagram have no ports.
    let [high, low] = *packet.get(6..)?.first_chunk()?;
    if u16::from_be_bytes([high & 0x1f, low]) == 0 {
        exchange(&mut packet, header, 2)?;
    }
    Some(packet)
}

/// Exchanges two fields of `len` bytes, one behind the other, from `at` on.
fn exchange(bytes: &mut [u8], at: usize, len: usize) -> Option<()> {
    let (first, second) = bytes.get_mut(at..)?.split_at_mut_checked(len)?;
    first.swap_with_slice(second.get_mut(..len)?);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUEST: MacAddress = [2, 0, 0, 0, 0, 1];

    fn frame(to: MacAddress, kind: [u8; 2], packet: &[u8]) -> Vec<u8> {
        [&to[..], &GUEST, &kind, packet].concat()
    }

    fn question(asks: [u8; 4], wanted: [u8; 4]) -> Vec<u8> {
        let packet = [&QUESTION[..], &GUEST, &asks, &[0; 6], &wanted].concat();
        frame([0xff; 6], ARP, &packet)
    }

    fn datagram(protocol: u8, offset: u8) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 30, 0, 1, 0, offset, 64, protocol, 0xab, 0xcd];
        packet.extend([10, 0, 0, 2, 10, 0, 0, 9, 1, 2, 3, 4, 0, 10, 5, 6, 7, 8]);
        packet
    }

    fn sent(frame: &[u8]) -> Option<Vec<u8>> {
        let mut echo = Echo::default();
        echo.send(frame);
        let mut into = [0; 100];
        let len = echo.receive(&mut into)?;
        assert_eq!(echo.receive(&mut [0; 100]), None);
        Some(into[..len].to_vec())
    }

    #[test]
    fn everybody_is_there() {
        let answer = sent(&question([10, 0, 0, 2], [10, 0, 0, 9])).unwrap();
        let packet = [&ANSWER[..], &HOST, &[10, 0, 0, 9], &GUEST, &[10, 0, 0, 2]].concat();
        assert_eq!(answer, [&GUEST[..], &HOST, &ARP, &packet].concat());
        assert_eq!(sent(&question([10, 0, 0, 2], [10, 0, 0, 2])), None);
        assert_eq!(sent(&question([0; 4], [10, 0, 0, 2])), None);
    }

    #[test]
    fn datagrams_come_back() {
        let packet = datagram(UDP, 0);
        let answer = sent(&frame(HOST, IPV4, &packet)).unwrap();
        let (head, ports) = (&packet[..12], [3, 4, 1, 2]);
        let hosts = [10, 0, 0, 9, 10, 0, 0, 2];
        let back = [head, &hosts, &ports, &packet[24..]].concat();
        assert_eq!(answer, [&GUEST[..], &HOST, &IPV4, &back].concat());
        // A later piece has no ports.
        let answer = sent(&frame(HOST, IPV4, &datagram(UDP, 8))).unwrap();
        assert_eq!(answer[ETHERNET + 20..], packet[20..]);
        assert_eq!(sent(&frame(HOST, IPV4, &datagram(6, 0))), None);
        assert_eq!(sent(&frame([0xff; 6], IPV4, &packet)), None, "to nobody");
    }

    #[test]
    fn no_frame_does_harm() {
        for whole in [
            question([10, 0, 0, 2], [10, 0, 0, 9]),
            frame(HOST, IPV4, &datagram(UDP, 0)),
        ] {
            for len in 0..whole.len() {
                sent(&whole[..len]);
                let mut other = whole.clone();
                other[len] = !other[len];
                sent(&other);
            }
        }
        let mut echo = Echo::default();
        for _ in 0..2 * MOST {
            echo.send(&question([10, 0, 0, 2], [10, 0, 0, 9]));
        }
        assert_eq!(echo.receive(&mut [0; 41]), None, "none fits, all are gone");
    }
}
