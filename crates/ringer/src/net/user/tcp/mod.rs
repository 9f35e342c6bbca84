//! TCP: all connections between the guest and sockets of the host.
//!
//! smoltcp's own sockets would not do here: they answer a SYN before the host's connection is there
//! (or refused), send no segments for the guest to cut, and look at each socket for each frame.

mod ends;
mod flow;
mod ring;

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Instant;

use smoltcp::wire::{TcpControl, TcpRepr, TcpSeqNumber};

use super::addresses::Pair;
use super::sockets::{self, Ready, Token, Watch};
use super::wire::Wire;
pub use ends::{Ends, SavedPair};
use flow::{Fate, Flow, Segment, header};

/// Connections at the same time.
pub const MOST: usize = 1024;
/// As long as there are no more than these,
const FEW: usize = 64;
/// so many bytes may wait in each direction of a new one,
const MUCH_ROOM: usize = 512 << 10;
/// and then so many.
const LITTLE_ROOM: usize = 64 << 10;

/// A flow, and what the table knows of it.
struct Entry {
    flow: Flow,
    /// It is in `busy`.
    busy: bool,
}

/// All connections, by number.
#[derive(Default)]
pub struct Connections {
    entries: HashMap<u64, Entry>,
    by_pair: HashMap<Pair, u64>,
    /// Those that may have something to do.
    busy: VecDeque<u64>,
    /// How many have an alarm set.
    alarms: usize,
    last: u64,
    random: RandomState,
    ends: Ends,
}

impl Connections {
    /// Takes a segment of the guest. A new connection goes to `outside`, if it may.
    pub fn take(
        &mut self,
        pair: Pair,
        repr: TcpRepr<'_>,
        outside: Option<SocketAddr>,
        wire: &Wire,
        watch: &Watch,
    ) {
        let segment = Segment(repr);
        if let Some(&number) = self.by_pair.get(&pair) {
            self.with(number, |flow| flow.take(&segment, wire));
            return;
        }
        self.ends.heard(&pair);
        let is_call = segment.0.control == TcpControl::Syn && segment.0.ack_number.is_none();
        let socket = outside
            .filter(|_| is_call && self.entries.len() < MOST)
            .and_then(|outside| sockets::connect_tcp(&outside).ok());
        match socket {
            Some(socket) => self.add(watch, socket, |socket, first, room| {
                Flow::called(pair, socket, &segment, first, room)
            }),
            None => refuse(&pair, &segment, wire),
        }
    }
    /// Calls the guest at `pair.guest` on behalf of an accepted connection.
    pub fn call(&mut self, pair: Pair, socket: OwnedFd, watch: &Watch) {
        if self.entries.len() < MOST && !self.by_pair.contains_key(&pair) {
            self.add(watch, socket, |socket, first, room| {
                Flow::calling(pair, socket, first, room)
            });
        }
    }
    /// Whether a conversation with these ends is under way.
    pub fn knows(&self, pair: &Pair) -> bool {
        self.by_pair.contains_key(pair)
    }
    fn add(
        &mut self,
        watch: &Watch,
        socket: OwnedFd,
        make: impl FnOnce(OwnedFd, u32, usize) -> Flow,
    ) {
        self.last += 1;
        let number = self.last;
        if watch.add_stream(&socket, Token::Tcp(number)).is_err() {
            return;
        }
        // Nobody outside can guess it.
        let first = self.random.hash_one(number) as u32;
        let room = if self.entries.len() < FEW {
            MUCH_ROOM
        } else {
            LITTLE_ROOM
        };
        let flow = make(socket, first, room);
        self.by_pair.insert(flow.pair, number);
        self.ends.open(flow.pair);
        self.entries.insert(number, Entry { flow, busy: true });
        self.busy.push_back(number);
    }
    /// What the socket of a flow has to say.
    pub fn ready(&mut self, number: u64, ready: &Ready) {
        self.with(number, |flow| {
            flow.ready(ready);
            Fate::Goes
        });
    }
    /// Lets all that may have something to do, do it.
    pub fn advance(&mut self, wire: &Wire, now: Instant) {
        for _ in 0..self.busy.len() {
            let Some(number) = self.busy.pop_front() else {
                return;
            };
            if let Some(entry) = self.entries.get_mut(&number) {
                entry.busy = false;
            }
            let mut wants = false;
            self.change(number, |flow| {
                let fate = flow.advance(wire, now);
                wants = fate == Fate::Wants;
                fate
            });
            if wants {
                self.make_busy(number);
            }
        }
    }
    /// Lets those act whose alarm rings.
    pub fn ring(&mut self, wire: &Wire, now: Instant) {
        // A guest that takes no frames is paused or starting: no reason to lose patience.
        if self.alarms == 0 || !wire.cable().is_drained() {
            return;
        }
        let rings = |entry: &Entry| entry.flow.alarm.is_some_and(|alarm| alarm <= now);
        let due = self.entries.iter().filter(|(_, entry)| rings(entry));
        let due: Vec<u64> = due.map(|(&number, _)| number).collect();
        for number in due {
            self.with(number, |flow| flow.ring(wire, now));
        }
    }
    /// Tells the guest of connections that a saved machine had.
    pub fn provoke_lost(&self, wire: &Wire, now: Instant) {
        let random = |salt| self.random.hash_one(salt);
        self.ends.provoke(random, wire, now);
    }
    /// The ends of all.
    pub fn ends(&self) -> &Ends {
        &self.ends
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }
    /// Whether some could do more if the cable had room.
    pub fn is_busy(&self) -> bool {
        !self.busy.is_empty()
    }
    /// Whether an alarm is set.
    pub fn has_alarms(&self) -> bool {
        self.alarms > 0
    }
    /// Closes them all.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.by_pair.clear();
        self.ends.close_all();
        self.busy.clear();
        self.alarms = 0;
    }

    /// Changes a flow, which then may have something to do.
    fn with(&mut self, number: u64, change: impl FnOnce(&mut Flow) -> Fate) {
        self.change(number, change);
        self.make_busy(number);
    }
    fn make_busy(&mut self, number: u64) {
        if let Some(entry) = self.entries.get_mut(&number)
            && !std::mem::replace(&mut entry.busy, true)
        {
            self.busy.push_back(number);
        }
    }
    fn change(&mut self, number: u64, change: impl FnOnce(&mut Flow) -> Fate) {
        let Some(entry) = self.entries.get_mut(&number) else {
            return;
        };
        let had = entry.flow.alarm.is_some();
        let fate = change(&mut entry.flow);
        let has = entry.flow.alarm.is_some() && fate != Fate::Over;
        self.alarms = self.alarms + usize::from(has) - usize::from(had);
        if fate == Fate::Over
            && let Some(entry) = self.entries.remove(&number)
        {
            self.by_pair.remove(&entry.flow.pair);
            self.ends.close(&entry.flow.pair);
        }
    }
}

/// Answers what belongs to no connection (RFC 9293, 3.10.7.1).
fn refuse(pair: &Pair, segment: &Segment<'_>, wire: &Wire) {
    let repr = &segment.0;
    if repr.control == TcpControl::Rst {
        return;
    }
    let (seq, ack) = match repr.ack_number {
        Some(ack) => (ack, None),
        None => (TcpSeqNumber(0), Some(repr.seq_number + repr.segment_len())),
    };
    let reset = header(pair, TcpControl::Rst, seq, ack);
    wire.send_tcp(pair, &reset, (&[], &[]), u16::MAX);
}
