//! The host's sockets behind a guest's conversations: opened without waiting, watched by epoll.

use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Open files that this process should be able to have.
const FILES: u64 = 4096;
/// Events taken at once.
const EVENTS: usize = 64;

/// Lets this process open enough sockets, as far as its owner may.
pub fn allow_many() {
    let now = getrlimit(Resource::Nofile);
    let wanted = now.maximum.map_or(FILES, |most| most.min(FILES));
    if now.current.is_some_and(|current| current < wanted) {
        // With fewer, a guest has fewer conversations.
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(wanted),
                ..now
            },
        );
    }
}

fn open(to: &SocketAddr, kind: SocketType) -> Result<OwnedFd, Errno> {
    let family = match to {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    rustix::net::socket_with(family, kind, flags, None)
}

/// Begins a TCP connection; the socket becomes writable when there is one, or an error.
pub fn connect_tcp(to: &SocketAddr) -> Result<OwnedFd, Errno> {
    let socket = open(to, SocketType::STREAM)?;
    // The guest has gathered small writes already, if it wants that.
    let _ = rustix::net::sockopt::set_tcp_nodelay(&socket, true);
    match rustix::net::connect(&socket, to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}

/// A UDP socket that exchanges datagrams with `to` only.
pub fn connect_udp(to: &SocketAddr) -> Result<OwnedFd, Errno> {
    let socket = open(to, SocketType::DGRAM)?;
    rustix::net::connect(&socket, to)?;
    Ok(socket)
}

/// Has a TCP connection end by a reset when its socket is closed: the other side is not to take it
/// for a proper end.
pub fn reset(socket: &OwnedFd) {
    let _ = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

/// What a socket is to the stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Token {
    /// The cable's bell.
    Bell,
    /// A TCP flow, by its number.
    Tcp(u64),
    /// A UDP flow, by its number.
    Udp(u64),
    /// A published TCP port, by its place in the list.
    Listener(u64),
    /// A published UDP port, by its place in the list.
    Published(u64),
}

impl Token {
    const BITS: u32 = 56;
    fn pack(self) -> u64 {
        let (kind, number) = match self {
            Self::Bell => (0, 0),
            Self::Tcp(number) => (1, number),
            Self::Udp(number) => (2, number),
            Self::Listener(number) => (3, number),
            Self::Published(number) => (4, number),
        };
        kind << Self::BITS | number
    }
    fn unpack(data: u64) -> Self {
        let number = data & ((1 << Self::BITS) - 1);
        match data >> Self::BITS {
            1 => Self::Tcp(number),
            2 => Self::Udp(number),
            3 => Self::Listener(number),
            4 => Self::Published(number),
            _ => Self::Bell,
        }
    }
}

/// A socket has something to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ready {
    /// Which.
    pub token: Token,
    /// It can be read, or is at its end.
    pub readable: bool,
    /// It can be written, or has failed.
    pub writable: bool,
    /// Its peer sends no more.
    pub ended: bool,
}

/// All sockets that are watched.
pub struct Watch {
    epoll: OwnedFd,
}

impl Watch {
    /// Nothing is watched yet.
    pub fn new() -> Result<Self, Errno> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        })
    }
    /// Tells of `socket` as long as there is something to read. Closing it ends that.
    pub fn add(&self, socket: impl AsFd, token: Token) -> Result<(), Errno> {
        self.add_for(socket, token, epoll::EventFlags::IN)
    }
    /// Tells of each change of a stream, once.
    pub fn add_stream(&self, socket: impl AsFd, token: Token) -> Result<(), Errno> {
        use epoll::EventFlags as Flags;
        let flags = Flags::IN | Flags::OUT | Flags::RDHUP | Flags::ET;
        self.add_for(socket, token, flags)
    }
    fn add_for(
        &self,
        socket: impl AsFd,
        token: Token,
        flags: epoll::EventFlags,
    ) -> Result<(), Errno> {
        let data = epoll::EventData::new_u64(token.pack());
        epoll::add(&self.epoll, socket, data, flags)
    }
    /// Waits until something happens, for at most `timeout`, and puts it into `ready`.
    pub fn wait(&self, timeout: Option<Duration>, ready: &mut Vec<Ready>) {
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let mut room = [const { MaybeUninit::uninit() }; EVENTS];
        // A signal ends the wait early, and there is nothing to tell.
        let Ok((events, _)) = epoll::wait(&self.epoll, &mut room[..], timeout.as_ref()) else {
            return;
        };
        ready.extend(events.iter().map(|event| {
            use epoll::EventFlags as Flags;
            let flags = event.flags;
            Ready {
                token: Token::unpack(event.data.u64()),
                readable: flags.intersects(Flags::IN | Flags::RDHUP | Flags::HUP | Flags::ERR),
                writable: flags.intersects(Flags::OUT | Flags::HUP | Flags::ERR),
                ended: flags.intersects(Flags::RDHUP | Flags::HUP | Flags::ERR),
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        for token in [
            Token::Bell,
            Token::Tcp(0),
            Token::Tcp((1 << 56) - 1),
            Token::Udp(7),
            Token::Listener(3),
            Token::Published(9),
        ] {
            assert_eq!(Token::unpack(token.pack()), token);
        }
    }
}
