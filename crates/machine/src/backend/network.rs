//! A network within the process: an Ethernet switch, to whose ports network devices connect.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::lock::Lock;

use super::NetBackend;

/// Bytes that wait at a port at most; what comes then is dropped, as on a real switch.
const PORT_BYTES: usize = 1 << 20;
/// Addresses remembered at most; the oldest are forgotten.
const ADDRESSES: usize = 1024;

type MacAddress = [u8; 6];

#[derive(Default)]
struct Port {
    frames: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Port {
    fn put(&mut self, frame: &[u8]) {
        if self.bytes + frame.len() <= PORT_BYTES {
            self.bytes += frame.len();
            self.frames.push_back(frame.to_vec());
        }
    }
    fn take(&mut self) -> Option<Vec<u8>> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
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
    fn forward(&mut self, from: usize, frame: &[u8]) {
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
            if number != from && only.is_none_or(|only| only == number) {
                port.put(frame);
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
        inside.ports.push(Port::default());
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

impl NetBackend for SwitchPort {
    fn send(&mut self, frame: &[u8]) {
        self.switch.0.lock().forward(self.number, frame);
    }
    fn receive(&mut self, into: &mut [u8]) -> Option<usize> {
        let mut inside = self.switch.0.lock();
        let port = inside.ports.get_mut(self.number)?;
        loop {
            let frame = port.take()?;
            if let Some(to) = into.get_mut(..frame.len()) {
                to.copy_from_slice(&frame);
                return Some(frame.len());
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(count, PORT_BYTES / 1000);
        a.send(&big);
        a.send(&frame(B, A));
        assert_eq!(b.receive(&mut into[..20]), Some(15));
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
