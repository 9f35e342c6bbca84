//! UDP: a socket of the host for each pair of ends between which the guest sends datagrams. The
//! kernel lets in only what the other end answers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::addresses::Pair;
use super::sockets::{self, Token, Watch};
use super::wire::Wire;

/// Conversations at the same time; a new one ends the one that was silent longest.
pub const MOST: usize = 512;
/// After this silence a conversation is over.
const SILENCE: Duration = Duration::from_secs(120);
/// Datagrams taken from a socket before others get a turn.
const BURST: usize = 32;
/// The largest datagram.
pub const LARGEST: usize = 65535;

struct Flow {
    pair: Pair,
    socket: OwnedFd,
    last_used: Instant,
    /// Datagrams sent since the last answer.
    unanswered: u32,
}

/// What came of sending a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// It is on its way, or lost.
    Gone,
    /// Nobody takes such datagrams there.
    Refused,
    /// The place cannot be reached from this host.
    Unreachable,
}

/// All conversations, by number.
#[derive(Default)]
pub struct Conversations {
    flows: HashMap<u64, Flow>,
    by_pair: HashMap<Pair, u64>,
    last: u64,
}

impl Conversations {
    /// Sends a datagram of the guest to `outside`.
    pub fn send(
        &mut self,
        pair: Pair,
        outside: SocketAddr,
        data: &[u8],
        watch: &Watch,
        now: Instant,
    ) -> Sent {
        let number = match self.by_pair.get(&pair) {
            Some(&number) => number,
            None => match self.open(pair, outside, watch, now) {
                Ok(number) => number,
                Err(Errno::NETUNREACH | Errno::HOSTUNREACH) => return Sent::Unreachable,
                Err(_) => return Sent::Gone,
            },
        };
        let Some(flow) = self.flows.get_mut(&number) else {
            return Sent::Gone;
        };
        flow.last_used = now;
        flow.unanswered = flow.unanswered.saturating_add(1);
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match rustix::net::send(&flow.socket, data, flags) {
            Err(Errno::CONNREFUSED) => Sent::Refused,
            Err(Errno::NETUNREACH | Errno::HOSTUNREACH) => Sent::Unreachable,
            _ => Sent::Gone,
        }
    }
    /// How many datagrams of a conversation were sent since the last answer.
    pub fn unanswered(&self, pair: &Pair) -> u32 {
        let flow = self.by_pair.get(pair).and_then(|n| self.flows.get(n));
        flow.map_or(0, |flow| flow.unanswered)
    }
    fn open(
        &mut self,
        pair: Pair,
        outside: SocketAddr,
        watch: &Watch,
        now: Instant,
    ) -> Result<u64, Errno> {
        if self.flows.len() >= MOST
            && let Some((_, oldest)) = (self.flows.iter())
                .map(|(number, flow)| (flow.last_used, *number))
                .min()
        {
            self.close(oldest);
        }
        let socket = sockets::connect_udp(&outside)?;
        self.last += 1;
        let number = self.last;
        watch.add(&socket, Token::Udp(number))?;
        self.by_pair.insert(pair, number);
        let flow = Flow {
            pair,
            socket,
            last_used: now,
            unanswered: 0,
        };
        self.flows.insert(number, flow);
        Ok(number)
    }
    fn close(&mut self, number: u64) {
        if let Some(flow) = self.flows.remove(&number) {
            self.by_pair.remove(&flow.pair);
        }
    }
    /// Ends a conversation.
    pub fn end(&mut self, pair: &Pair) {
        if let Some(&number) = self.by_pair.get(pair) {
            self.close(number);
        }
    }
    /// Passes on what a socket has received. Returns the ends of the conversation if the other
    /// one does not take what was sent.
    pub fn receive(
        &mut self,
        number: u64,
        wire: &mut Wire,
        room: &mut [u8],
        now: Instant,
    ) -> Option<Pair> {
        let flow = self.flows.get_mut(&number)?;
        for _ in 0..BURST {
            match rustix::net::recv(&flow.socket, &mut *room, RecvFlags::DONTWAIT) {
                Ok((len, _)) => {
                    flow.last_used = now;
                    flow.unanswered = 0;
                    let data = room.get(..len).unwrap_or_default();
                    wire.send_udp(flow.pair.outside, flow.pair.guest, data);
                }
                Err(Errno::INTR) => {}
                Err(Errno::CONNREFUSED) => return Some(flow.pair),
                Err(_) => return None,
            }
        }
        None
    }
    /// Ends what has been silent for long.
    pub fn expire(&mut self, now: Instant) {
        let is_over = |flow: &Flow| now.saturating_duration_since(flow.last_used) > SILENCE;
        let over = self.flows.iter().filter(|(_, flow)| is_over(flow));
        let over: Vec<u64> = over.map(|(&number, _)| number).collect();
        for number in over {
            self.close(number);
        }
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }
    /// Ends them all.
    pub fn clear(&mut self) {
        self.flows.clear();
        self.by_pair.clear();
    }
}
