//! Published ports: ports of the host that lead to ports of the guest. All are opened at the
//! start, so that a port in use is found then, and nothing need be opened later.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::SocketFlags;

use super::addresses::{GATEWAY, GUEST, Pair};
use super::sockets::{Token, Watch};
use super::tcp::Connections;
use super::wire::Wire;

/// What a published port carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Carries {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

/// A port to publish: `[ADDRESS:]HOSTPORT:GUESTPORT[/udp]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Publish {
    /// Where the host listens; port 0 is one that is free.
    pub host: SocketAddr,
    /// The guest's port.
    pub guest: u16,
    /// What it carries.
    pub carries: Carries,
}

impl Publish {
    /// Reads `[ADDRESS:]HOSTPORT:GUESTPORT[/tcp|/udp]`; `None` if it is not that.
    pub fn parse(text: &str) -> Option<Self> {
        let (ports, carries) = match text.rsplit_once('/') {
            None => (text, Carries::Tcp),
            Some((ports, "tcp")) => (ports, Carries::Tcp),
            Some((ports, "udp")) => (ports, Carries::Udp),
            Some(_) => return None,
        };
        let (host, guest) = ports.rsplit_once(':')?;
        // Without an address only this computer can reach it.
        let host = match host.rsplit_once(':') {
            None => SocketAddr::from((Ipv4Addr::LOCALHOST, host.parse().ok()?)),
            Some((address, port)) => {
                let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']'));
                let address: IpAddr = match bare {
                    Some(six) => IpAddr::V6(six.parse().ok()?),
                    None => IpAddr::V4(address.parse().ok()?),
                };
                SocketAddr::from((address, port.parse().ok()?))
            }
        };
        let guest = guest.parse().ok().filter(|&port| port != 0)?;
        Some(Self {
            host,
            guest,
            carries,
        })
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.guest)?;
        match self.carries {
            Carries::Tcp => Ok(()),
            Carries::Udp => f.write_str("/udp"),
        }
    }
}

/// Why a port cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Somebody has it.
    #[error(
        "cannot publish {0}: another program uses the port; choose another (0 takes one that is free)"
    )]
    InUse(Publish),
    /// Ports below 1024.
    #[error(
        "cannot publish {publish}: this user may not open port {port}; choose one from 1024 on, as in --publish {}:{}",
        publish.host.port().saturating_add(8000), publish.guest
    )]
    Denied {
        /// What was asked for.
        publish: Publish,
        /// The port.
        port: u16,
    },
    /// Anything else.
    #[error("cannot publish {publish}: {reason}")]
    Refused {
        /// What was asked for.
        publish: Publish,
        /// What the system says.
        reason: std::io::Error,
    },
}

/// Callers of published UDP ports at the same time.
const MOST_CALLERS: usize = 256;
/// After this silence a caller is forgotten.
const SILENCE: Duration = Duration::from_secs(120);
/// Connections or datagrams taken from a port before others get a turn.
const BURST: usize = 32;
/// A pause when nothing can be opened.
const BREATH: Duration = Duration::from_millis(10);
/// Ports of the gateway's under which callers appear to the guest.
const FIRST_CALLER: u16 = 0xc000;

/// A published UDP port's caller.
struct Caller {
    /// Which published port it called, by its place.
    port: usize,
    address: SocketAddr,
    last_heard: Instant,
}

/// The published ports.
#[derive(Default)]
pub struct Published {
    listeners: Vec<(TcpListener, u16)>,
    sockets: Vec<(UdpSocket, u16)>,
    /// Callers of UDP ports, by the gateway's port under which the guest sees them.
    callers: HashMap<u16, Caller>,
    by_address: HashMap<(usize, SocketAddr), u16>,
    last: u16,
}

impl Published {
    /// Opens them all. Returns also what was opened in place of port 0.
    pub fn open(all: &[Publish], watch: &Watch) -> Result<(Self, Vec<Publish>), PublishError> {
        let mut published = Self::default();
        let mut opened = Vec::new();
        for publish in all {
            let error = |reason: std::io::Error| match reason.kind() {
                std::io::ErrorKind::AddrInUse => PublishError::InUse(*publish),
                std::io::ErrorKind::PermissionDenied => PublishError::Denied {
                    publish: *publish,
                    port: publish.host.port(),
                },
                _ => PublishError::Refused {
                    publish: *publish,
                    reason,
                },
            };
            let host = published.open_one(publish, watch).map_err(error)?;
            opened.push(Publish { host, ..*publish });
        }
        Ok((published, opened))
    }
    fn open_one(&mut self, publish: &Publish, watch: &Watch) -> std::io::Result<SocketAddr> {
        match publish.carries {
            Carries::Tcp => {
                let listener = TcpListener::bind(publish.host)?;
                listener.set_nonblocking(true)?;
                watch.add(&listener, Token::Listener(self.listeners.len() as u64))?;
                let host = listener.local_addr()?;
                self.listeners.push((listener, publish.guest));
                Ok(host)
            }
            Carries::Udp => {
                let socket = UdpSocket::bind(publish.host)?;
                socket.set_nonblocking(true)?;
                watch.add(&socket, Token::Published(self.sockets.len() as u64))?;
                let host = socket.local_addr()?;
                self.sockets.push((socket, publish.guest));
                Ok(host)
            }
        }
    }

    /// Takes the connections that wait at a TCP port, and calls the guest for each.
    pub fn accept(&mut self, place: u64, connections: &mut Connections, watch: &Watch) {
        let Some(guest) = self.listeners.get(place as usize).map(|(_, guest)| *guest) else {
            return;
        };
        for _ in 0..BURST {
            let guest = SocketAddrV4::new(GUEST, guest);
            let caller = self.next_caller(|caller| {
                let pair = Pair {
                    guest,
                    outside: caller,
                };
                connections.knows(&pair)
            });
            let Some((listener, _)) = self.listeners.get(place as usize) else {
                return;
            };
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket: OwnedFd = match rustix::net::accept_with(listener, flags) {
                Ok(socket) => socket,
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    // For want of files, mostly. The kernel would tell of it again at once.
                    std::thread::sleep(BREATH);
                    return;
                }
            };
            // Without a free port or room, the connection is closed.
            if let Some(outside) = caller {
                let _ = rustix::net::sockopt::set_tcp_nodelay(&socket, true);
                connections.call(Pair { guest, outside }, socket, watch);
            }
        }
    }

    /// Passes on the datagrams that wait at a UDP port.
    pub fn receive(&mut self, place: u64, wire: &mut Wire, room: &mut [u8], now: Instant) {
        let place = place as usize;
        for _ in 0..BURST {
            let Some((socket, guest)) = self.sockets.get(place) else {
                return;
            };
            let (len, from) = match socket.recv_from(room) {
                Ok(received) => received,
                // An earlier datagram has found nobody.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => continue,
                Err(_) => return,
            };
            let guest = SocketAddrV4::new(GUEST, *guest);
            if let Some(caller) = self.caller(place, from, now) {
                wire.send_udp(caller, guest, room.get(..len).unwrap_or_default());
            }
        }
    }
    /// Whom the guest sees for `address`.
    fn caller(&mut self, port: usize, address: SocketAddr, now: Instant) -> Option<SocketAddrV4> {
        let seen_as = match self.by_address.get(&(port, address)) {
            Some(&seen_as) => seen_as,
            None => {
                if self.callers.len() >= MOST_CALLERS
                    && let Some((_, oldest)) = (self.callers.iter())
                        .map(|(seen_as, caller)| (caller.last_heard, *seen_as))
                        .min()
                {
                    self.forget(oldest);
                }
                let callers = &self.callers;
                let last = self.last;
                let seen_as = next_port(last, |port| callers.contains_key(&port))?;
                self.last = seen_as;
                self.by_address.insert((port, address), seen_as);
                seen_as
            }
        };
        let last_heard = now;
        let caller = Caller {
            port,
            address,
            last_heard,
        };
        self.callers.insert(seen_as, caller);
        Some(SocketAddrV4::new(GATEWAY, seen_as))
    }
    /// Sends what the guest says to a caller. False if it is to none.
    pub fn answer(&mut self, pair: &Pair, data: &[u8], now: Instant) -> bool {
        if *pair.outside.ip() != GATEWAY {
            return false;
        }
        let Some(caller) = self.callers.get_mut(&pair.outside.port()) else {
            return false;
        };
        let Some((socket, guest)) = self.sockets.get(caller.port) else {
            return false;
        };
        if *guest != pair.guest.port() {
            return false;
        }
        caller.last_heard = now;
        // What cannot be sent is lost, as datagrams are.
        let _ = socket.send_to(data, caller.address);
        true
    }
    fn next_caller(&mut self, taken: impl Fn(SocketAddrV4) -> bool) -> Option<SocketAddrV4> {
        let port = next_port(self.last, |port| taken(SocketAddrV4::new(GATEWAY, port)))?;
        self.last = port;
        Some(SocketAddrV4::new(GATEWAY, port))
    }
    fn forget(&mut self, seen_as: u16) {
        if let Some(caller) = self.callers.remove(&seen_as) {
            self.by_address.remove(&(caller.port, caller.address));
        }
    }
    /// Forgets callers that have been silent for long.
    pub fn expire(&mut self, now: Instant) {
        let is_over = |caller: &Caller| now.saturating_duration_since(caller.last_heard) > SILENCE;
        let over = self.callers.iter().filter(|(_, caller)| is_over(caller));
        let over: Vec<u16> = over.map(|(&seen_as, _)| seen_as).collect();
        for seen_as in over {
            self.forget(seen_as);
        }
    }
    /// Whether there are callers to forget some time.
    pub fn has_callers(&self) -> bool {
        !self.callers.is_empty()
    }
}

/// The next port for a caller behind `last` that is not taken.
fn next_port(last: u16, taken: impl Fn(u16) -> bool) -> Option<u16> {
    let after = |port: u16| {
        port.checked_add(1)
            .unwrap_or(FIRST_CALLER)
            .max(FIRST_CALLER)
    };
    let mut port = after(last);
    for _ in FIRST_CALLER..=u16::MAX {
        if !taken(port) {
            return Some(port);
        }
        port = after(port);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_described_in_one_word() {
        let parse = |text| Publish::parse(text).map(|publish| publish.to_string());
        assert_eq!(parse("2222:22").unwrap(), "127.0.0.1:2222:22");
        assert_eq!(parse("53:53/udp").unwrap(), "127.0.0.1:53:53/udp");
        assert_eq!(parse("0.0.0.0:80:8080/tcp").unwrap(), "0.0.0.0:80:8080");
        assert_eq!(parse("[::1]:0:1").unwrap(), "[::1]:0:1");
        for text in ["127.0.0.1:2222:22", "[::1]:0:1", "1.2.3.4:5:6/udp"] {
            assert_eq!(parse(text).unwrap(), text, "what is shown can be read");
        }
        for bad in [
            "",
            "22",
            ":22",
            "22:",
            "a:22",
            "22:0",
            "22:65536",
            "22:22/sctp",
            "::1:22:22",
            "localhost:22:22",
            "1.2.3.4.5:2:3",
            "22:22/",
            "-1:22",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_port_in_use_is_said_in_one_line() {
        let watch = Watch::new().unwrap();
        for carries in [Carries::Tcp, Carries::Udp] {
            let any = Publish {
                host: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                guest: 22,
                carries,
            };
            let (first, opened) = Published::open(&[any], &watch).unwrap();
            assert_ne!(opened[0].host.port(), 0);
            let error = Published::open(&opened, &watch).err().unwrap();
            assert!(matches!(error, PublishError::InUse(_)));
            let text = error.to_string();
            assert!(!text.contains('\n') && text.contains(&opened[0].to_string()));
            drop(first);
            assert!(Published::open(&opened, &watch).is_ok());
        }
    }

    #[test]
    fn callers_are_told_apart_and_forgotten() {
        let mut published = Published::default();
        let now = Instant::now();
        let address = |n: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, n));
        let first = published.caller(0, address(1), now).unwrap();
        assert_eq!(published.caller(0, address(1), now), Some(first));
        assert_ne!(published.caller(0, address(2), now), Some(first));
        assert_ne!(published.caller(1, address(1), now), Some(first));
        for n in 0..2000 {
            published.caller(0, address(1000 + n), now).unwrap();
        }
        assert_eq!(published.callers.len(), MOST_CALLERS);
        assert_eq!(published.by_address.len(), MOST_CALLERS);
        published.expire(now + 2 * SILENCE);
        assert!(!published.has_callers() && published.by_address.is_empty());
    }
}
