//! One TCP connection: a conversation with the guest on one side, a socket of the host on the
//! other, and bytes passed on between them.
//!
//! The wire to the guest is memory, so segments arrive in order and congestion does not exist.
//! What remains of TCP is the handshake, windows, the two ends of a stream, and repeating what the
//! guest, for want of memory, did not take.

mod host_side;
mod receiving;
mod segment;
mod sending;

use std::os::fd::OwnedFd;
use std::time::Instant;

use smoltcp::wire::TcpControl;

use super::ring::Ring;
use crate::net::user::addresses::{MTU, Pair};
use crate::net::user::sockets::{Ready, reset};
use crate::net::user::wire::{Pieces, Wire};
use host_side::{Backlog, HostSide};
use segment::before;

pub use segment::{Segment, header};

/// Data in one segment of ours and, by announcement, of the guest's.
const MSS: u16 = (MTU - 40) as u16;
/// What a peer takes that announces nothing (RFC 9293, 3.7.1).
const DEFAULT_MSS: u16 = 536;
/// Less than this in a segment is not believed.
const LEAST_MSS: u16 = 64;
/// Windows that we announce count in units of 2^this.
const SCALE: u8 = 5;
/// The data of a segment without any.
const NOTHING: Pieces<'static> = (&[], &[]);

/// What is to become of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It goes on; what can be done now is done.
    Goes,
    /// It goes on, and could do more as soon as the cable has room.
    Wants,
    /// It is over.
    Over,
}

/// How far a connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// The guest calls, and the host's connection is not there yet.
    Connecting,
    /// It is there; the guest has been told so, and has not confirmed that.
    Answered,
    /// Somebody calls the guest, which has not answered yet.
    Calling,
    /// Bytes are passed on.
    Open,
}

/// A connection.
pub struct Flow {
    /// Its ends.
    pub pair: Pair,
    host: HostSide,
    stage: Stage,

    /// To the guest: what is not acknowledged yet starts at `oldest`, the next byte to send is
    /// `next`, and nothing from `newest` on was ever sent.
    data: Ring,
    oldest: u32,
    next: u32,
    newest: u32,
    /// How much the guest takes, from `oldest` on.
    window: u32,
    window_scale: u8,
    mss: u16,
    /// All that the host sends is in `data`.
    read_all: bool,
    /// The number of our FIN, once it was sent.
    fin: Option<u32>,
    /// When to repeat or probe.
    pub alarm: Option<Instant>,
    retries: u32,
    duplicates: u32,

    /// From the guest: the byte that comes next, and the end of what it was allowed to send.
    expected: u32,
    promised: u32,
    scaled: bool,
    room: usize,
    backlog: Backlog,
    /// The guest sends no more.
    guest_ended: bool,
    /// The host's socket knows that.
    told_end: bool,
    owes_ack: bool,
}

impl Flow {
    fn new(pair: Pair, socket: OwnedFd, stage: Stage, first: u32, room: usize) -> Self {
        Self {
            pair,
            host: HostSide::new(socket),
            stage,
            data: Ring::new(room),
            oldest: first,
            next: first,
            newest: first,
            window: 0,
            window_scale: 0,
            mss: DEFAULT_MSS,
            read_all: false,
            fin: None,
            alarm: None,
            retries: 0,
            duplicates: 0,
            expected: 0,
            promised: 0,
            scaled: false,
            room,
            backlog: Backlog::default(),
            guest_ended: false,
            told_end: false,
            owes_ack: false,
        }
    }
    /// The guest calls by `syn`, and `socket` is on its way. Ours is the number `first`;
    /// `room` bytes are kept in each direction at most.
    pub fn called(pair: Pair, socket: OwnedFd, syn: &Segment<'_>, first: u32, room: usize) -> Self {
        let mut flow = Self::new(pair, socket, Stage::Connecting, first, room);
        flow.meet(syn);
        flow
    }
    /// `socket` was accepted for the guest, which is called.
    pub fn calling(pair: Pair, socket: OwnedFd, first: u32, room: usize) -> Self {
        let mut flow = Self::new(pair, socket, Stage::Calling, first, room);
        flow.scaled = true;
        flow
    }
    /// Learns what the guest's SYN says.
    fn meet(&mut self, syn: &Segment<'_>) {
        self.mss = syn
            .0
            .max_seg_size
            .unwrap_or(DEFAULT_MSS)
            .clamp(LEAST_MSS, MSS);
        self.scaled = syn.0.window_scale.is_some();
        self.window_scale = syn.0.window_scale.unwrap_or(0).min(14);
        self.window = syn.0.window_len.into();
        self.expected = syn.seq().wrapping_add(1);
        self.promised = self.expected;
    }

    /// What the socket has to say.
    pub fn ready(&mut self, ready: &Ready) {
        self.host.readable |= ready.readable;
        self.host.writable |= ready.writable;
        self.host.peer_ended |= ready.ended;
    }

    /// Takes a segment of the guest.
    pub fn take(&mut self, segment: &Segment<'_>, wire: &Wire) -> Fate {
        match self.stage {
            // A guest that gives up says so; nothing else it says now matters.
            Stage::Connecting => match segment.0.control {
                TcpControl::Rst => self.abandon(),
                _ => Fate::Goes,
            },
            Stage::Calling => self.take_answer(segment, wire),
            Stage::Answered | Stage::Open => self.take_data(segment, wire),
        }
    }

    fn take_answer(&mut self, segment: &Segment<'_>, wire: &Wire) -> Fate {
        // Only what answers our SYN counts (RFC 9293, 3.10.7.3).
        if segment.ack() != Some(self.oldest.wrapping_add(1)) {
            // The guest still knows an earlier connection with the same ends: it waits behind one
            // that it has ended, or was saved with it. A reset ends that, and we call once more.
            if let Some(ack) = segment
                .ack()
                .filter(|_| segment.0.control != TcpControl::Rst)
            {
                self.refuse(wire, ack);
                self.next = self.oldest;
            }
            return Fate::Goes;
        }
        match segment.0.control {
            TcpControl::Rst => self.abandon(),
            TcpControl::Syn => {
                self.meet(segment);
                self.open();
                self.owes_ack = true;
                Fate::Goes
            }
            _ => Fate::Goes,
        }
    }
    /// Our SYN is acknowledged.
    fn open(&mut self) {
        self.stage = Stage::Open;
        self.oldest = self.oldest.wrapping_add(1);
        self.next = self.oldest;
        self.newest = self.oldest;
        self.calm();
    }
    /// The guest has answered.
    fn calm(&mut self) {
        self.alarm = None;
        self.retries = 0;
        self.duplicates = 0;
    }

    fn take_data(&mut self, segment: &Segment<'_>, wire: &Wire) -> Fate {
        let seq = segment.seq();
        match segment.0.control {
            TcpControl::Rst => {
                let inside = !before(seq, self.expected) && !before(self.promised, seq);
                return if inside { self.abandon() } else { Fate::Goes };
            }
            TcpControl::Syn => {
                // Its SYN once more, or a new one: it will reset what it does not know.
                if self.stage == Stage::Answered {
                    self.next = self.oldest;
                } else {
                    self.owes_ack = true;
                }
                return Fate::Goes;
            }
            _ => {}
        }
        let Some(ack) = segment.ack() else {
            return Fate::Goes;
        };
        if self.stage == Stage::Answered {
            if ack != self.oldest.wrapping_add(1) {
                self.refuse(wire, ack);
                return Fate::Goes;
            }
            self.open();
        }
        self.take_ack(segment, ack);
        self.take_bytes(segment);
        Fate::Goes
    }

    /// Does all that can be done now.
    pub fn advance(&mut self, wire: &Wire, now: Instant) -> Fate {
        match self.stage {
            Stage::Connecting => return self.finish_connecting(wire, now),
            Stage::Answered | Stage::Calling => {
                if self.next == self.oldest {
                    self.send_syn(wire, now);
                }
                return Fate::Goes;
            }
            Stage::Open => {}
        }
        self.pass_on();
        let fate = loop {
            let read = self.read();
            if self.host.broken {
                self.send_reset(wire);
                return Fate::Over;
            }
            match self.send(wire, now) {
                Fate::Goes if read => {}
                fate => break fate,
            }
        };
        self.acknowledge(wire);
        if self.told_end && self.fin.is_some_and(|fin| before(fin, self.oldest)) {
            return Fate::Over;
        }
        fate
    }

    fn finish_connecting(&mut self, wire: &Wire, now: Instant) -> Fate {
        if !self.host.writable {
            return Fate::Goes;
        }
        match rustix::net::sockopt::socket_error(&self.host.socket) {
            Ok(Ok(())) => {
                self.stage = Stage::Answered;
                self.send_syn(wire, now);
                Fate::Goes
            }
            _ => {
                self.send_reset(wire);
                Fate::Over
            }
        }
    }

    /// The host's peer is to see that this was no proper end.
    fn abandon(&self) -> Fate {
        reset(&self.host.socket);
        Fate::Over
    }
}
