//! The networks between guests: numbered Ethernet switches. A frame rings for its receivers.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use ringer_machine::backend::{NetBackend, Switch, SwitchPort};
use spin::Mutex;

use crate::monitor::{self, Receiver};

/// Who is at each port of a switch, by its number. Ports are added at start only.
type Receivers = Arc<Mutex<Vec<Receiver>>>;

/// All switches, made when the first guest is connected to them.
#[derive(Default)]
pub struct Switches(BTreeMap<u32, (Switch, Receivers)>);

impl Switches {
    /// A cable from `receiver` to switch `number`.
    pub fn cable(&mut self, number: u32, receiver: Receiver) -> Cable {
        let (switch, receivers) = self.0.entry(number).or_default();
        receivers.lock().push(receiver);
        Cable {
            port: switch.port(),
            receivers: receivers.clone(),
        }
    }
}

/// One end of a cable into a switch.
pub struct Cable {
    port: SwitchPort,
    receivers: Receivers,
}

impl NetBackend for Cable {
    fn send(&mut self, frame: &[u8]) {
        let receivers = self.receivers.lock();
        (self.port).send_telling(frame, |port| {
            if let Some(receiver) = receivers.get(port) {
                monitor::frame_for(*receiver);
            }
        });
    }
    fn receive(&mut self, into: &mut [u8]) -> Option<usize> {
        self.port.receive(into)
    }
}
