//! The addresses of the network that a guest sees, and where each address that it sends to leads.
//! The plan is QEMU's, so that what is written for that works here.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use smoltcp::wire::EthernetAddress;

/// The network's router, which is the host.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// The name server.
pub const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
/// The guest, by DHCP.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
/// Which part of an address is the network's.
pub const MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);
/// Everyone on the network.
const BROADCAST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 255);
/// The Ethernet address of router and name server.
pub const ROUTER_MAC: EthernetAddress = EthernetAddress([0x52, 0x55, 0x0a, 0x00, 0x02, 0x02]);
/// The largest IP packet on the wire.
pub const MTU: usize = 1500;
/// Where name servers listen.
pub const DNS_PORT: u16 = 53;

/// Whether an address belongs to the guest's network.
pub fn is_inside(address: Ipv4Addr) -> bool {
    address.to_bits() & MASK.to_bits() == GATEWAY.to_bits() & MASK.to_bits()
}

/// Whether a guest may call an address its own.
pub fn is_guest(address: Ipv4Addr) -> bool {
    is_inside(address)
        && ![GATEWAY, NAME_SERVER, BROADCAST].contains(&address)
        && address.octets() != [10, 0, 2, 0]
}

/// A conversation, by its two ends as the guest sees them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Pair {
    /// The guest's end.
    pub guest: SocketAddrV4,
    /// The other end.
    pub outside: SocketAddrV4,
}

/// What a guest may reach.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Policy {
    /// Nothing leaves for the host's network.
    pub isolated: bool,
    /// The gateway's address leads to services on the host's loopback.
    pub host_loopback: bool,
}

impl Policy {
    /// Where the host connects to when the guest sends to `to`; `None` if it must not.
    /// The name server is not asked about here.
    pub fn outside(self, to: SocketAddrV4) -> Option<SocketAddr> {
        let address = *to.ip();
        if address == GATEWAY {
            let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, to.port()));
            return self.host_loopback.then_some(loopback);
        }
        // What no router forwards. To the host, 0.0.0.0 would be its loopback, and link-local
        // addresses are where clouds keep a machine's keys.
        let stays = is_inside(address)
            || address.is_loopback()
            || address.octets()[0] == 0
            || address.is_link_local()
            || address.is_multicast()
            || address.octets()[0] >= 240;
        (!self.isolated && !stays && to.port() != 0).then_some(SocketAddr::V4(to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_reached_only_as_allowed() {
        let open = Policy::default();
        let to = |a, b, c, d| SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), 80);
        assert_eq!(open.outside(to(1, 2, 3, 4)), Some(to(1, 2, 3, 4).into()));
        for never in [
            to(10, 0, 2, 2),
            to(10, 0, 2, 3),
            to(10, 0, 2, 99),
            to(127, 0, 0, 1),
            to(127, 9, 9, 9),
            to(0, 0, 0, 0),
            to(0, 1, 2, 3),
            to(169, 254, 169, 254),
            to(224, 0, 0, 251),
            to(255, 255, 255, 255),
            SocketAddrV4::new(Ipv4Addr::new(1, 2, 3, 4), 0),
        ] {
            assert_eq!(open.outside(never), None, "{never}");
        }
        let isolated = Policy {
            isolated: true,
            host_loopback: true,
        };
        assert_eq!(isolated.outside(to(1, 2, 3, 4)), None);
        assert_eq!(isolated.outside(to(127, 0, 0, 1)), None);
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
        assert_eq!(isolated.outside(to(10, 0, 2, 2)), Some(loopback));
    }

    #[test]
    fn the_guest_cannot_be_the_router() {
        for address in [GATEWAY, NAME_SERVER, BROADCAST, Ipv4Addr::new(10, 0, 2, 0)] {
            assert!(!is_guest(address));
        }
        assert!(is_guest(GUEST));
        assert!(!is_guest(Ipv4Addr::new(10, 0, 3, 15)));
    }
}
