//! Datagrams that the guest sends in pieces, put together again.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use smoltcp::wire::{IpProtocol, Ipv4Packet};

/// Datagrams that are incomplete at the same time; a new one ends the oldest.
const MOST: usize = 8;
/// How long the other pieces may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest datagram.
const LARGEST: usize = 65535;

/// What the pieces of one datagram have in common.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    from: Ipv4Addr,
    to: Ipv4Addr,
    protocol: IpProtocol,
    ident: u16,
}

struct Incomplete {
    key: Key,
    since: Instant,
    /// What there is, from the start and without a hole.
    bytes: Vec<u8>,
}

/// All incomplete datagrams.
#[derive(Default)]
pub struct Fragments(Vec<Incomplete>);

impl Fragments {
    /// Takes a piece; returns the whole datagram's data if it is the last one.
    /// Pieces must come in order, as they do on a wire that is memory.
    pub fn take(&mut self, packet: &Ipv4Packet<&[u8]>, now: Instant) -> Option<Vec<u8>> {
        let key = Key {
            from: packet.src_addr(),
            to: packet.dst_addr(),
            protocol: packet.next_header(),
            ident: packet.ident(),
        };
        self.0
            .retain(|known| now.saturating_duration_since(known.since) < PATIENCE);
        let offset = usize::from(packet.frag_offset());
        if offset == 0 {
            self.0.retain(|known| known.key != key);
            if self.0.len() >= MOST {
                self.0.remove(0);
            }
            self.0.push(Incomplete {
                key,
                since: now,
                bytes: Vec::new(),
            });
        }
        let place = self.0.iter().position(|known| known.key == key)?;
        let known = self.0.get_mut(place)?;
        let data = packet.payload();
        if offset != known.bytes.len() || offset + data.len() > LARGEST {
            self.0.remove(place);
            return None;
        }
        known.bytes.extend_from_slice(data);
        if packet.more_frags() {
            return None;
        }
        Some(self.0.remove(place).bytes)
    }
    /// Forgets them all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(ident: u16, offset: usize, data: &[u8], more: bool) -> Vec<u8> {
        let mut bytes = vec![0; 20 + data.len()];
        let mut packet = Ipv4Packet::new_unchecked(bytes.as_mut_slice());
        packet.set_version(4);
        packet.set_header_len(20);
        packet.set_total_len(20 + data.len() as u16);
        packet.set_ident(ident);
        packet.set_more_frags(more);
        packet.set_frag_offset(offset as u16);
        packet.payload_mut().copy_from_slice(data);
        bytes
    }
    fn take(fragments: &mut Fragments, bytes: &[u8], now: Instant) -> Option<Vec<u8>> {
        fragments.take(&Ipv4Packet::new_checked(bytes).unwrap(), now)
    }

    #[test]
    fn pieces_in_order_become_a_datagram() {
        let (mut all, now) = (Fragments::default(), Instant::now());
        assert_eq!(take(&mut all, &piece(1, 0, &[1; 16], true), now), None);
        assert_eq!(take(&mut all, &piece(2, 0, &[2; 8], true), now), None);
        assert_eq!(take(&mut all, &piece(1, 16, &[3; 8], true), now), None);
        let whole = take(&mut all, &piece(1, 24, &[4; 3], false), now);
        assert_eq!(
            whole.unwrap(),
            [vec![1; 16], vec![3; 8], vec![4; 3]].concat()
        );
        // A hole, an overlap, a late piece: nothing comes of them.
        assert_eq!(take(&mut all, &piece(2, 16, &[0; 8], false), now), None);
        assert_eq!(take(&mut all, &piece(3, 0, &[0; 8], true), now), None);
        let late = now + 2 * PATIENCE;
        assert_eq!(take(&mut all, &piece(3, 8, &[0; 8], false), late), None);
        assert!(all.0.is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let (mut all, now) = (Fragments::default(), Instant::now());
        for ident in 0..1000 {
            for n in 0..10 {
                take(&mut all, &piece(ident, n * 8000, &[0; 8000], true), now);
            }
        }
        assert!(all.0.len() <= MOST);
        assert!(all.0.iter().all(|known| known.bytes.len() <= LARGEST));
    }
}
