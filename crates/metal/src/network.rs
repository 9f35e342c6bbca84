//! The networks between guests: numbered Ethernet switches. A frame rings for its receiver.

use alloc::collections::BTreeMap;

use ringer_machine::backend::{NetBackend, Switch, SwitchPort};

use crate::monitor;

/// All switches, made when the first guest is connected to them.
#[derive(Default)]
pub struct Switches(BTreeMap<u32, Switch>);

impl Switches {
    /// A cable from `guest` to switch `number`.
    pub fn port(&mut self, number: u32, guest: usize) -> Cable {
        Cable {
            port: self.0.entry(number).or_default().port(),
            guest,
        }
    }
}

/// A guest's end of a cable.
pub struct Cable {
    port: SwitchPort,
    guest: usize,
}

impl NetBackend for Cable {
    fn send(&mut self, frame: &[u8]) {
        self.port.send(frame);
        monitor::frame_sent(self.guest);
    }
    fn receive(&mut self, into: &mut [u8]) -> Option<usize> {
        self.port.receive(into)
    }
}
