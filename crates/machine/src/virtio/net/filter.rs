//! Which frames a network device lets in, and the control queue's commands that decide it
//! (virtio 1.2, 5.1.6.5).

use alloc::string::ToString;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use ringer_hart::persist::PersistError;

use crate::virtio::chain::Reader;

use super::feature;

/// An Ethernet address.
pub type MacAddress = [u8; 6];

/// Addresses in each of the two tables; with more, all of that kind are let in.
const TABLE: usize = 64;

mod class {
    pub const RX: u8 = 0;
    pub const MAC: u8 = 1;
}
mod rx {
    pub const PROMISCUOUS: u8 = 0;
    pub const ALL_MULTICAST: u8 = 1;
    pub const ALL_UNICAST: u8 = 2;
    pub const NO_MULTICAST: u8 = 3;
    pub const NO_UNICAST: u8 = 4;
    pub const NO_BROADCAST: u8 = 5;
}
mod mac {
    pub const TABLE_SET: u8 = 0;
    pub const ADDR_SET: u8 = 1;
}

/// A list of addresses of bounded length.
#[derive(Clone, Debug, Default, Encode, Decode)]
struct Table {
    #[n(0)]
    addresses: Vec<MacAddress>,
    /// There were more than it holds.
    #[n(1)]
    overflow: bool,
}

impl Table {
    fn contains(&self, address: &MacAddress) -> bool {
        self.overflow || self.addresses.contains(address)
    }
    /// Reads a table of the `TABLE_SET` command; `None` if it is cut short.
    fn read(list: &mut Reader<'_>) -> Option<Self> {
        let count = u64::from(u32::from_le_bytes(list.read_array()?));
        if count * 6 > list.remaining() {
            return None;
        }
        let mut table = Self {
            addresses: Vec::new(),
            overflow: count > TABLE as u64,
        };
        if table.overflow {
            list.skip(count * 6);
        } else {
            for _ in 0..count {
                table.addresses.push(list.read_array()?);
            }
        }
        Some(table)
    }
}

/// The saved state of a filter: all of it.
#[derive(Clone, Debug, Encode, Decode)]
pub struct FilterState {
    #[n(0)]
    mac: MacAddress,
    /// What each of the six receive-mode commands was last set to, by its number as a bit.
    #[n(1)]
    modes: u8,
    #[n(2)]
    unicast: Table,
    #[n(3)]
    multicast: Table,
}

/// What a network device lets in.
#[derive(Clone, Debug)]
pub struct Filter(FilterState);

impl Filter {
    /// Everything is let in until the driver says otherwise: it may not know the commands.
    pub fn new(mac: MacAddress) -> Self {
        Self(FilterState {
            mac,
            modes: 1 << rx::PROMISCUOUS,
            unicast: Table::default(),
            multicast: Table::default(),
        })
    }
    /// The device's own address.
    pub fn mac(&self) -> MacAddress {
        self.0.mac
    }
    fn mode(&self, command: u8) -> bool {
        self.0.modes >> command & 1 != 0
    }

    /// Whether a frame is for the guest.
    pub fn accepts(&self, frame: &[u8]) -> bool {
        let Some(to) = frame.first_chunk::<6>() else {
            return false;
        };
        if self.mode(rx::PROMISCUOUS) {
            return true;
        }
        let [first, ..] = to;
        if *to == [0xff; 6] {
            !self.mode(rx::NO_BROADCAST)
        } else if first & 1 != 0 {
            !self.mode(rx::NO_MULTICAST)
                && (self.mode(rx::ALL_MULTICAST) || self.0.multicast.contains(to))
        } else {
            !self.mode(rx::NO_UNICAST)
                && (self.mode(rx::ALL_UNICAST) || *to == self.0.mac || self.0.unicast.contains(to))
        }
    }

    /// Does a command of the control queue; `None` if it is not one.
    pub fn command(&mut self, request: &mut Reader<'_>, features: u64) -> Option<()> {
        let [class, command] = request.read_array()?;
        let has = |feature| features & feature != 0;
        match (class, command) {
            (class::RX, rx::PROMISCUOUS..=rx::NO_BROADCAST) => {
                let wanted = match command {
                    rx::PROMISCUOUS | rx::ALL_MULTICAST => feature::CTRL_RX,
                    _ => feature::CTRL_RX_EXTRA,
                };
                let [on] = request.read_array()?;
                if !has(wanted) {
                    return None;
                }
                self.0.modes = self.0.modes & !(1 << command) | u8::from(on != 0) << command;
            }
            (class::MAC, mac::TABLE_SET) if has(feature::CTRL_RX) => {
                let unicast = Table::read(request)?;
                let multicast = Table::read(request)?;
                self.0.unicast = unicast;
                self.0.multicast = multicast;
            }
            (class::MAC, mac::ADDR_SET) if has(feature::CTRL_MAC_ADDR) => {
                self.0.mac = request.read_array()?;
            }
            _ => return None,
        }
        Some(())
    }

    /// The state to save.
    pub fn save(&self) -> FilterState {
        self.0.clone()
    }
    /// A filter with a saved state.
    pub fn restored(state: &FilterState) -> Result<Self, PersistError> {
        if state.unicast.addresses.len() > TABLE || state.multicast.addresses.len() > TABLE {
            return Err(PersistError::Damaged {
                part: "a network device",
                reason: "an address table is too long".to_string(),
            });
        }
        Ok(Self(state.clone()))
    }
}
