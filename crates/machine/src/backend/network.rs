//! A network within the process: an Ethernet switch, to whose ports network devices connect.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::lock::Lock;

use super::NetBackend;

/// Bytes that wait at a port at most, a few for each frame included; what comes then is dropped,
/// as on a real switch. They are set aside when the port is made: frames take no more memory.
const PORT_BYTES: usize = 256 << 10;
/// Addresses remembered at most; the oldest are forgotten.
const ADDRESSES: usize = 1024;

type MacAddress = [u8; 6];

/// Before each frame that waits stands its length.
const LENGTH: usize = size_of::<u32>();

/// The frames that wait at a port, one behind the other.
struct Port(VecDeque<u8>);

impl Port {
    fn new() -> Self {
        Self(VecDeque::with_capacity(PORT_BYTES))
    }
    /// False if there is no room.
    fn put(&mut self, frame: &[u8]) -> bool {
        let Ok(len) = u32::try_from(frame.len()) else {
            return false;
        };
        if self.0.len() + LENGTH + frame.len() > PORT_BYTES {
            return false;
        }
        self.0.extend(&len.to_le_bytes());
        self.0.extend(frame);
        true
    }
    /// Takes the next frame that fits; those before it are dropped.
    fn take(&mut self, into: &mut [u8]) -> Option<usize> {
        while !self.0.is_empty() {
            let mut prefix = [0; LENGTH];
            self.read(&mut prefix);
            let len = u32::from_le_bytes(prefix) as usize;
            match into.get_mut(..len) {
                Some(to) => {
                    self.read(to);
                    return Some(len);
                }
                None => drop(self.0.drain(..len.min(self.0.len()))),
            }
        }
        None
    }
    fn read(&mut self, into: &mut [u8]) {
        let count = into.len().min(self.0.len());
        let (first, second) = self.0.as_slices();
        let (front, back) = into.split_at_mut(first.len().min(count));
        for (to, from) in [(front, first), (back, second)] {
            for (to, from) in to.iter_mut().zip(from) {
                *to = *from;
            }
        }
        self.0.drain(..count);
    }
}

#[derive(Default)]
struct Inside {
    ports: Vec<Port>,
    /// Which address was last seen at which port, the latest last.
    addresses: VecDeque<(MacAddress, usize)>,
}

impl Inside {
    fn learn(&mut self, address: MacAddress, port: usize) {
        if self.addresses.back() == Some(&(address, port)) {
            return;
        }
        self.addresses.retain(|(known, _)| *known != address);
        if self.addresses.len() >= ADDRESSES {
            self.addresses.pop_front();
        }
        self.addresses.push_back((address, port));
    }
    fn forward(&mut self, from: usize, frame: &[u8], mut told: impl FnMut(usize)) {
        let Some((to, rest)) = frame.split_first_chunk::<6>() else {
            return;
        };
        let Some(source) = rest.first_chunk::<6>() else {
            return;
        };
        // A group address is nobody's source.
        if source[0] & 1 == 0 {
            self.learn(*source, from);
        }
        let known = self.addresses.iter().find(|(address, _)| address == to);
        let only = known.map(|(_, port)| *port);
        for (number, port) in self.ports.iter_mut().enumerate() {
            if number != from && only.is_none_or(|only| only == number) && port.put(frame) {
                told(number);
            }
        }
    }
}

/// An Ethernet switch that learns which address is where.
#[derive(Clone, Default)]
pub struct Switch(Arc<Lock<Inside>>);

impl Default for Lock<Inside> {
    fn default() -> Self {
        Lock::new(Inside::default())
    }
}

impl Switch {
    /// A switch without ports.
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds a port.
    pub fn port(&self) -> SwitchPort {
        let mut inside = self.0.lock();
        inside.ports.push(Port::new());
        SwitchPort {
            switch: self.clone(),
            number: inside.ports.len() - 1,
        }
    }
}

/// A cable into a [`Switch`].
pub struct SwitchPort {
    switch: Switch,
    number: usize,
}

impl SwitchPort {
    /// Its number, from 0 on in the order in which ports were added.
    pub fn number(&self) -> usize {
        self.number
    }
    /// Sends a frame, and tells of each port where it now waits. `told` must not use the switch.
    pub fn send_telling(&mut self, frame: &[u8], told: impl FnMut(usize)) {
        self.switch.0.lock().forward(self.number, frame, told);
    }
}

impl NetBackend for SwitchPort {
    fn send(&mut self, frame: &[u8]) {
        self.send_telling(frame, |_| ());
    }
    fn receive(&mut self, into: &mut [u8]) -> Option<usize> {
        let mut inside = self.switch.0.lock();
        inside.ports.get_mut(self.number)?.take(into)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const A: MacAddress = [2, 0, 0, 0, 0, 1];
    const B: MacAddress = [2, 0, 0, 0, 0, 2];
    const ALL: MacAddress = [0xff; 6];

    fn frame(to: MacAddress, from: MacAddress) -> Vec<u8> {
        [&to[..], &from, &[8, 0, 42]].concat()
    }

    #[test]
    fn floods_until_it_has_learnt() {
        let switch = Switch::new();
        let (mut a, mut b, mut c) = (switch.port(), switch.port(), switch.port());
        let mut into = [0; 64];
        a.send(&frame(ALL, A));
        assert_eq!(b.receive(&mut into), Some(15));
        assert_eq!(&into[..15], frame(ALL, A));
        assert_eq!(c.receive(&mut into), Some(15));
        assert_eq!(a.receive(&mut into), None);
        b.send(&frame(A, B));
        assert_eq!(a.receive(&mut into), Some(15));
        assert_eq!(c.receive(&mut into), None);
        a.send(&frame(B, A));
        assert_eq!(b.receive(&mut into), Some(15));
        assert_eq!(c.receive(&mut into), None);
    }

    #[test]
    fn drops_what_no_one_takes_and_what_does_not_fit() {
        let switch = Switch::new();
        let (mut a, mut b) = (switch.port(), switch.port());
        let mut big = frame(B, A);
        big.resize(1000, 0);
        for _ in 0..5000 {
            a.send(&big);
        }
        let mut into = [0; 2000];
        let mut count = 0;
        while b.receive(&mut into).is_some() {
            count += 1;
        }
        assert_eq!(count, PORT_BYTES / (1000 + LENGTH));
        a.send(&big);
        a.send(&frame(B, A));
        assert_eq!(b.receive(&mut into[..20]), Some(15));
    }

    #[test]
    fn tells_where_a_frame_waits() {
        let switch = Switch::new();
        let (mut a, mut b, c) = (switch.port(), switch.port(), switch.port());
        assert_eq!((a.number(), b.number(), c.number()), (0, 1, 2));
        let mut told = Vec::new();
        a.send_telling(&frame(ALL, A), |port| told.push(port));
        b.send_telling(&frame(A, B), |port| told.push(port));
        assert_eq!(told, [1, 2, 0]);
        // Nobody is told of a frame that found no room.
        let mut big = frame(B, A);
        big.resize(PORT_BYTES - 100, 0);
        a.send(&big);
        a.send_telling(&big, |port| told.push(port));
        assert_eq!(told.len(), 3);
    }

    #[test]
    fn frames_of_any_size_come_out_as_they_went_in() {
        let switch = Switch::new();
        let (mut a, mut b) = (switch.port(), switch.port());
        let mut into = vec![0; 70_000];
        for round in 0..2000_usize {
            let mut sent = frame(B, A);
            sent.resize(15 + round * 37 % 65_000, round as u8);
            a.send(&sent);
            a.send(&frame(B, A));
            assert_eq!(b.receive(&mut into), Some(sent.len()));
            assert_eq!(into[..sent.len()], sent);
            assert_eq!(b.receive(&mut into), Some(15));
        }
        assert_eq!(b.receive(&mut into), None);
        assert!(switch.0.lock().ports[1].0.capacity() < 2 * PORT_BYTES);
    }

    #[test]
    fn remembers_a_bounded_number_of_addresses() {
        let switch = Switch::new();
        let mut a = switch.port();
        for n in 0..10_000_u32 {
            let [n0, n1, n2, n3] = n.to_le_bytes();
            a.send(&frame(B, [2, 1, n0, n1, n2, n3]));
        }
        assert_eq!(switch.0.lock().addresses.len(), ADDRESSES);
    }
}
