//! One TCP connection: a conversation with the guest on one side, a socket of the host on the
//! other, and bytes passed on between them.
//!
//! The wire to the guest is memory, so segments arrive in order and congestion does not exist.
//! What remains of TCP is the handshake, windows, the two ends of a stream, and repeating what the
//! guest, for want of memory, did not take.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown};
use smoltcp::wire::{TcpControl, TcpRepr, TcpSeqNumber};

use super::ring::Ring;
use crate::net::user::addresses::{MTU, Pair};
use crate::net::user::sockets::{Ready, reset};
use crate::net::user::wire::{Pieces, Wire};

/// Data in one segment of ours and, by announcement, of the guest's.
const MSS: u16 = (MTU - 40) as u16;
/// What a peer takes that announces nothing (RFC 9293, 3.7.1).
const DEFAULT_MSS: u16 = 536;
/// Less than this in a segment is not believed.
const LEAST_MSS: u16 = 64;
/// Windows that we announce count in units of 2^this.
const SCALE: u8 = 5;
/// How long the guest may take to acknowledge before a segment is repeated; doubled each time.
const PATIENCE: Duration = Duration::from_millis(300);
/// The same at most.
const MOST_PATIENCE: Duration = Duration::from_secs(8);
/// Repetitions before a guest that does not answer is given up.
const RETRIES: u32 = 10;
/// Pieces of a backlog up to this size are put together.
const SMALL: usize = 4096;
/// Acknowledgements of the same byte after which it counts as lost (RFC 5681).
const DUPLICATES: u32 = 3;

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

/// A segment of the guest, checked.
pub struct Segment<'a>(pub TcpRepr<'a>);

impl Segment<'_> {
    fn seq(&self) -> u32 {
        self.0.seq_number.0 as u32
    }
    fn ack(&self) -> Option<u32> {
        self.0.ack_number.map(|ack| ack.0 as u32)
    }
    /// The number after its last byte; SYN and FIN count as one each.
    fn end(&self) -> u32 {
        self.seq().wrapping_add(self.0.segment_len() as u32)
    }
}

/// Whether `a` comes before `b` on the circle of sequence numbers.
fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

fn number(value: u32) -> TcpSeqNumber {
    TcpSeqNumber(value as i32)
}

/// Bytes from the guest that the host's socket does not take yet, as they came.
#[derive(Default)]
struct Backlog {
    pieces: VecDeque<Vec<u8>>,
    /// Bytes of the first piece that are gone.
    skip: usize,
    len: usize,
}

impl Backlog {
    fn put(&mut self, bytes: &[u8]) {
        // Small ones are put together, so that they take no more memory than they have bytes.
        match self.pieces.back_mut() {
            Some(last) if last.len() + bytes.len() <= SMALL => last.extend_from_slice(bytes),
            _ => self.pieces.push_back(bytes.to_vec()),
        }
        self.len += bytes.len();
    }
    /// Lets `write` write the first piece, and forgets what it has written.
    fn write_first(&mut self, write: impl FnOnce(&[u8]) -> usize) {
        let Some(first) = self.pieces.front() else {
            return;
        };
        let count = write(first.get(self.skip..).unwrap_or_default());
        self.len = self.len.saturating_sub(count);
        self.skip += count;
        if self.skip >= first.len() {
            self.skip = 0;
            self.pieces.pop_front();
        }
    }
}

/// The host's socket, and what is known of it.
struct HostSide {
    socket: OwnedFd,
    readable: bool,
    writable: bool,
    /// Its peer sends no more, after what can still be read.
    peer_ended: bool,
    /// Writing has failed: nothing can be passed on any more.
    broken: bool,
}

impl HostSide {
    fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            readable: false,
            writable: false,
            peer_ended: false,
            broken: false,
        }
    }
    /// Writes what the socket takes, if it takes something.
    fn write(&mut self, bytes: &[u8]) -> usize {
        if !self.writable {
            return 0;
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match rustix::net::send(&self.socket, bytes, flags) {
            Ok(count) => {
                // A stream that takes less than all is full: it will tell when it is not.
                self.writable = count == bytes.len();
                count
            }
            Err(Errno::INTR) => 0,
            Err(error) => {
                self.writable = false;
                self.broken = error != Errno::AGAIN;
                0
            }
        }
    }
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
            Stage::Calling => self.take_answer(segment),
            Stage::Answered | Stage::Open => self.take_data(segment, wire),
        }
    }

    fn take_answer(&mut self, segment: &Segment<'_>) -> Fate {
        // Only what answers our SYN counts (RFC 9293, 3.10.7.3).
        if segment.ack() != Some(self.oldest.wrapping_add(1)) {
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

    fn take_ack(&mut self, segment: &Segment<'_>, ack: u32) {
        if before(self.newest, ack) {
            // Of what was never sent.
            self.owes_ack = true;
            return;
        }
        if before(ack, self.oldest) {
            return;
        }
        let window = u32::from(segment.0.window_len) << self.window_scale;
        let new = ack.wrapping_sub(self.oldest);
        if new > 0 {
            // If there are more than bytes, the last one is our FIN.
            self.data.forget(new as usize);
            self.oldest = ack;
            if before(self.next, ack) {
                self.next = ack;
            }
            self.calm();
        } else if self.next != self.oldest
            && segment.0.payload.is_empty()
            && segment.0.control == TcpControl::None
            && window == self.window
        {
            self.duplicates += 1;
            if self.duplicates == DUPLICATES {
                self.next = self.oldest;
            }
        } else if self.next == self.oldest {
            // An answer to a probe.
            self.calm();
        }
        self.window = window;
    }

    fn take_bytes(&mut self, segment: &Segment<'_>) {
        let (seq, end) = (segment.seq(), segment.end());
        if seq == end {
            // A keepalive looks like an acknowledgement of one byte ago, and wants an answer.
            self.owes_ack |= seq != self.expected;
            return;
        }
        self.owes_ack = true;
        if before(self.expected, seq) || self.guest_ended {
            return; // a hole before it, or bytes behind its end
        }
        let old = self.expected.wrapping_sub(seq) as usize;
        let room = self.promised.wrapping_sub(self.expected) as usize;
        // Without a rest, all of it has been seen.
        let Some(fresh) = segment.0.payload.get(old..) else {
            return;
        };
        let taken = fresh.get(..room.min(fresh.len())).unwrap_or_default();
        self.expected = self.expected.wrapping_add(taken.len() as u32);
        let sent = if self.backlog.len == 0 && !taken.is_empty() {
            self.host.write(taken)
        } else {
            0
        };
        if let Some(rest) = taken.get(sent..).filter(|rest| !rest.is_empty()) {
            self.backlog.put(rest);
        }
        if taken.len() == fresh.len() {
            self.take_end(segment);
        }
    }
    fn take_end(&mut self, segment: &Segment<'_>) {
        if segment.0.control == TcpControl::Fin && !self.guest_ended {
            self.guest_ended = true;
            self.expected = self.expected.wrapping_add(1);
            if before(self.promised, self.expected) {
                self.promised = self.expected;
            }
        }
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

    /// Writes to the socket what waits for it, and its end.
    fn pass_on(&mut self) {
        while self.backlog.len > 0 && self.host.writable {
            let Self { host, backlog, .. } = self;
            backlog.write_first(|bytes| host.write(bytes));
        }
        if self.guest_ended && self.backlog.len == 0 && !self.told_end {
            self.told_end = true;
            // A socket that is not connected any more knows.
            let _ = rustix::net::shutdown(&self.host.socket, Shutdown::Write);
        }
    }

    /// Reads from the socket. True if something came.
    fn read(&mut self) -> bool {
        if !self.host.readable || self.read_all || self.data.is_full() {
            return false;
        }
        let had = self.data.len();
        match self.data.read_from(&self.host.socket) {
            Ok(0) => self.read_all = true,
            Ok(count) => {
                // Less than fits means that there is no more, unless it is the end that comes.
                self.host.readable = self.host.peer_ended || had + count >= self.room;
                return true;
            }
            Err(Errno::INTR) => return true,
            Err(Errno::AGAIN) => self.host.readable = false,
            Err(_) => self.host.broken = true,
        }
        false
    }

    /// Sends what is read, as far as the guest's window and the cable allow.
    fn send(&mut self, wire: &Wire, now: Instant) -> Fate {
        let largest = wire.largest_segment(self.mss.into());
        while self.fin.is_none_or(|fin| !before(fin, self.next)) {
            let sent = self.next.wrapping_sub(self.oldest);
            let unsent = self.data.len().saturating_sub(sent as usize);
            let open = self.window.saturating_sub(sent) as usize;
            let len = unsent.min(open).min(largest);
            // A guest with a small window gets small segments only if nothing else keeps it busy.
            let silly = len < unsent && len < usize::from(self.mss) && sent > 0;
            if unsent > 0 && (len == 0 || silly) {
                if sent == 0 {
                    self.set_alarm(now);
                }
                break;
            }
            if unsent == 0 && !self.read_all {
                break;
            }
            if !wire.cable().has_room() {
                return Fate::Wants;
            }
            let control = match (unsent, len == unsent) {
                (0, _) => TcpControl::Fin,
                (_, true) => TcpControl::Psh,
                (_, false) => TcpControl::None,
            };
            let repr = self.header(self.next, control);
            wire.send_tcp(
                &self.pair,
                &repr,
                self.data.get(sent as usize, len),
                self.mss,
            );
            self.announced();
            if unsent == 0 {
                self.fin = Some(self.next);
            }
            self.next = self
                .next
                .wrapping_add((len + usize::from(unsent == 0)) as u32);
            if before(self.newest, self.next) {
                self.newest = self.next;
            }
        }
        if self.next != self.oldest {
            self.set_alarm(now);
        }
        Fate::Goes
    }
    fn set_alarm(&mut self, now: Instant) {
        if self.alarm.is_none() {
            let patience = PATIENCE * 2_u32.saturating_pow(self.retries.min(8));
            self.alarm = Some(now + patience.min(MOST_PATIENCE));
        }
    }
    /// The guest has not answered in time.
    pub fn ring(&mut self, wire: &Wire, now: Instant) -> Fate {
        self.alarm = None;
        self.retries += 1;
        if self.retries > RETRIES {
            self.send_reset(wire);
            return self.abandon();
        }
        if self.stage == Stage::Open && self.next == self.oldest {
            // Its window is shut. A byte that it has already makes it say whether it still is.
            let probe = self.header(self.oldest.wrapping_sub(1), TcpControl::None);
            wire.send_tcp(&self.pair, &probe, NOTHING, self.mss);
            self.set_alarm(now);
        }
        self.next = self.oldest;
        Fate::Goes
    }

    /// The window to announce: what there is room for.
    fn receive_window(&self) -> u32 {
        let most = if self.scaled { u32::MAX } else { 65535 };
        (self.room.saturating_sub(self.backlog.len) as u32).min(most)
    }
    /// Says what has come, if the guest is to know.
    fn acknowledge(&mut self, wire: &Wire) {
        let promise = self.expected.wrapping_add(self.receive_window());
        let fresh = promise.wrapping_sub(self.promised) as i32;
        // News of more room are worth a segment if it is a lot, or ends a standstill.
        let shut = self.promised.wrapping_sub(self.expected) < u32::from(MSS);
        let worth = fresh >= (self.room / 2) as i32 || shut && fresh >= MSS.into();
        if self.owes_ack || worth && !self.guest_ended {
            let repr = self.header(self.next, TcpControl::None);
            wire.send_tcp(&self.pair, &repr, NOTHING, self.mss);
            self.announced();
        }
    }
    /// A segment has told the guest what has come and what it may send.
    fn announced(&mut self) {
        self.owes_ack = false;
        let scale = if self.scaled { SCALE } else { 0 };
        let window = self.receive_window() >> scale << scale;
        let promise = self.expected.wrapping_add(window);
        // What was promised stays.
        if before(self.promised, promise) {
            self.promised = promise;
        }
    }
    fn header(&self, seq: u32, control: TcpControl) -> TcpRepr<'static> {
        let scale = if self.scaled { SCALE } else { 0 };
        // An announcement may not take back an earlier one.
        let promise = self.expected.wrapping_add(self.receive_window());
        let kept = if before(promise, self.promised) {
            self.promised.wrapping_sub(self.expected)
        } else {
            self.receive_window()
        };
        TcpRepr {
            src_port: self.pair.outside.port(),
            dst_port: self.pair.guest.port(),
            control,
            seq_number: number(seq),
            ack_number: Some(number(self.expected)),
            window_len: (kept >> scale).min(65535) as u16,
            window_scale: None,
            max_seg_size: None,
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: &[],
        }
    }
    /// Calls the guest, or answers its call.
    fn send_syn(&mut self, wire: &Wire, now: Instant) {
        let calling = self.stage == Stage::Calling;
        // The window of a SYN is not scaled (RFC 7323, 2.2).
        let window = self.receive_window().min(65535);
        let repr = TcpRepr {
            control: TcpControl::Syn,
            ack_number: (!calling).then_some(number(self.expected)),
            window_len: window as u16,
            window_scale: self.scaled.then_some(SCALE),
            max_seg_size: Some(MSS),
            ..self.header(self.oldest, TcpControl::Syn)
        };
        wire.send_tcp(&self.pair, &repr, NOTHING, self.mss);
        if !calling {
            self.promised = self.expected.wrapping_add(window);
        }
        self.next = self.oldest.wrapping_add(1);
        self.newest = self.next;
        self.set_alarm(now);
    }
    /// Tells the guest that the connection is broken, or never was one.
    pub fn send_reset(&self, wire: &Wire) {
        let calling = self.stage == Stage::Calling;
        let repr = TcpRepr {
            ack_number: (!calling).then_some(number(self.expected)),
            window_len: 0,
            ..self.header(self.next, TcpControl::Rst)
        };
        wire.send_tcp(&self.pair, &repr, NOTHING, self.mss);
    }
    /// A segment acknowledges what was never said.
    fn refuse(&self, wire: &Wire, ack: u32) {
        let repr = TcpRepr {
            ack_number: None,
            window_len: 0,
            ..self.header(ack, TcpControl::Rst)
        };
        wire.send_tcp(&self.pair, &repr, NOTHING, self.mss);
    }
    /// The host's peer is to see that this was no proper end.
    fn abandon(&self) -> Fate {
        reset(&self.host.socket);
        Fate::Over
    }
}

const NOTHING: Pieces<'static> = (&[], &[]);
