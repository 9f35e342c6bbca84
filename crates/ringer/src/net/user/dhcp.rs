//! The DHCP server: it has one address to give, and gives it to whoever asks.

use std::net::Ipv4Addr;

use smoltcp::wire::{DhcpMessageType, DhcpPacket, DhcpRepr};

use super::addresses::{GATEWAY, GUEST, MASK, NAME_SERVER};

/// Where a server listens.
pub const SERVER_PORT: u16 = 67;
/// Where a client does.
pub const CLIENT_PORT: u16 = 68;
/// How long an address is the guest's. It may ask again, and gets the same.
const LEASE: u32 = 86_400;

/// An answer, and the address it goes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Where it goes.
    pub to: Ipv4Addr,
    /// The DHCP message.
    pub message: Vec<u8>,
}

/// Answers a message of a client; `None` if there is nothing to say.
pub fn answer(message: &[u8]) -> Option<Answer> {
    let packet = DhcpPacket::new_checked(message).ok()?;
    let asked = DhcpRepr::parse(&packet).ok()?;
    let kind = match asked.message_type {
        DhcpMessageType::Discover => DhcpMessageType::Offer,
        DhcpMessageType::Inform => DhcpMessageType::Ack,
        DhcpMessageType::Request => match asked.server_identifier {
            // It has chosen another server.
            Some(server) if server != GATEWAY => return None,
            _ => match wanted(&asked) {
                Some(address) if address != GUEST => DhcpMessageType::Nak,
                _ => DhcpMessageType::Ack,
            },
        },
        _ => return None,
    };
    let (refused, informed) = (
        kind == DhcpMessageType::Nak,
        asked.message_type == DhcpMessageType::Inform,
    );
    let leased = !refused && !informed;
    let reply = DhcpRepr {
        message_type: kind,
        transaction_id: asked.transaction_id,
        secs: 0,
        client_hardware_address: asked.client_hardware_address,
        client_ip: if refused {
            Ipv4Addr::UNSPECIFIED
        } else {
            asked.client_ip
        },
        your_ip: if leased { GUEST } else { Ipv4Addr::UNSPECIFIED },
        server_ip: GATEWAY,
        router: (!refused).then_some(GATEWAY),
        subnet_mask: (!refused).then_some(MASK),
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        broadcast: asked.broadcast,
        requested_ip: None,
        client_identifier: None,
        server_identifier: Some(GATEWAY),
        parameter_request_list: None,
        dns_servers: (!refused).then(|| [NAME_SERVER].into_iter().collect()),
        max_size: None,
        lease_duration: leased.then_some(LEASE),
        renew_duration: None,
        rebind_duration: None,
        additional_options: &[],
    };
    // Old clients take no message shorter than BOOTP's.
    let mut bytes = vec![0; reply.buffer_len().max(300)];
    reply
        .emit(&mut DhcpPacket::new_unchecked(bytes.as_mut_slice()))
        .ok()?;
    // A client that has its address already hears what is sent there (RFC 2131, 4.1).
    let has_address = asked.client_ip == GUEST && !asked.broadcast && !refused;
    Some(Answer {
        to: if has_address {
            GUEST
        } else {
            Ipv4Addr::BROADCAST
        },
        message: bytes,
    })
}

/// The address that a request is for.
fn wanted(request: &DhcpRepr<'_>) -> Option<Ipv4Addr> {
    let has = Some(request.client_ip).filter(|address| !address.is_unspecified());
    request.requested_ip.or(has)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use smoltcp::wire::EthernetAddress;

    use super::*;

    fn ask(change: impl FnOnce(&mut DhcpRepr<'_>)) -> Option<Answer> {
        let mut repr = DhcpRepr {
            message_type: DhcpMessageType::Discover,
            transaction_id: 0x1234,
            secs: 1,
            client_hardware_address: EthernetAddress([2, 0, 0, 0, 0, 9]),
            client_ip: Ipv4Addr::UNSPECIFIED,
            your_ip: Ipv4Addr::UNSPECIFIED,
            server_ip: Ipv4Addr::UNSPECIFIED,
            router: None,
            subnet_mask: None,
            relay_agent_ip: Ipv4Addr::UNSPECIFIED,
            broadcast: false,
            requested_ip: None,
            client_identifier: None,
            server_identifier: None,
            parameter_request_list: None,
            dns_servers: None,
            max_size: None,
            lease_duration: None,
            renew_duration: None,
            rebind_duration: None,
            additional_options: &[],
        };
        change(&mut repr);
        let mut bytes = vec![0; repr.buffer_len()];
        repr.emit(&mut DhcpPacket::new_unchecked(bytes.as_mut_slice()))
            .unwrap();
        answer(&bytes)
    }

    fn told(answer: &Answer, check: impl FnOnce(&DhcpRepr<'_>)) {
        let packet = DhcpPacket::new_checked(answer.message.as_slice()).unwrap();
        check(&DhcpRepr::parse(&packet).unwrap());
    }

    #[test]
    fn a_client_gets_the_address() {
        let offer = ask(|_| ()).unwrap();
        assert_eq!(offer.to, Ipv4Addr::BROADCAST);
        told(&offer, |repr| {
            assert_eq!(repr.message_type, DhcpMessageType::Offer);
            assert_eq!(repr.your_ip, GUEST);
            assert_eq!(repr.transaction_id, 0x1234);
        });
        let ack = ask(|repr| {
            repr.message_type = DhcpMessageType::Request;
            repr.requested_ip = Some(GUEST);
            repr.server_identifier = Some(GATEWAY);
        });
        told(&ack.unwrap(), |repr| {
            assert_eq!(repr.message_type, DhcpMessageType::Ack);
            assert_eq!(repr.your_ip, GUEST);
            assert_eq!(repr.router, Some(GATEWAY));
            assert_eq!(repr.subnet_mask, Some(MASK));
            assert_eq!(repr.server_identifier, Some(GATEWAY));
            assert_eq!(repr.dns_servers.as_ref().unwrap()[..], [NAME_SERVER]);
            assert_eq!(repr.lease_duration, Some(LEASE));
        });
        // Renewing goes to the address itself.
        let ack = ask(|repr| {
            repr.message_type = DhcpMessageType::Request;
            repr.client_ip = GUEST;
        });
        assert_eq!(ack.unwrap().to, GUEST);
    }

    #[test]
    fn another_address_is_refused_and_another_server_left_alone() {
        let other = Ipv4Addr::new(192, 168, 0, 7);
        let nak = ask(|repr| {
            repr.message_type = DhcpMessageType::Request;
            repr.requested_ip = Some(other);
        });
        told(&nak.unwrap(), |repr| {
            assert_eq!(repr.message_type, DhcpMessageType::Nak);
            assert_eq!(repr.your_ip, Ipv4Addr::UNSPECIFIED);
        });
        let silence = ask(|repr| {
            repr.message_type = DhcpMessageType::Request;
            repr.server_identifier = Some(other);
        });
        assert_eq!(silence, None);
        for kind in [DhcpMessageType::Release, DhcpMessageType::Offer] {
            assert_eq!(ask(|repr| repr.message_type = kind), None);
        }
        let inform = ask(|repr| repr.message_type = DhcpMessageType::Inform);
        told(&inform.unwrap(), |repr| {
            assert_eq!(repr.your_ip, Ipv4Addr::UNSPECIFIED);
            assert_eq!(repr.lease_duration, None);
        });
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = answer(&bytes);
        }
    }
}
