//! From the host to the guest: what is read from the socket and sent, what the guest acknowledges,
//! and what is repeated because it does not. Also the segments that say something about the
//! connection.

use std::time::{Duration, Instant};

use rustix::io::Errno;
use smoltcp::wire::{TcpControl, TcpRepr};

use super::segment::{before, header, number};
use super::{Fate, Flow, MSS, NOTHING, SCALE, Segment, Stage};
use crate::net::user::wire::Wire;

/// How long the guest may take to acknowledge before a segment is repeated; doubled each time.
const PATIENCE: Duration = Duration::from_millis(300);
/// The same at most.
const MOST_PATIENCE: Duration = Duration::from_secs(8);
/// Repetitions before a guest that does not answer is given up.
const RETRIES: u32 = 10;
/// Acknowledgements of the same byte after which it counts as lost (RFC 5681).
const DUPLICATES: u32 = 3;

impl Flow {
    pub(super) fn take_ack(&mut self, segment: &Segment<'_>, ack: u32) {
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
    /// Reads from the socket. True if something came.
    pub(super) fn read(&mut self) -> bool {
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
    pub(super) fn send(&mut self, wire: &Wire, now: Instant) -> Fate {
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
    pub(super) fn header(&self, seq: u32, control: TcpControl) -> TcpRepr<'static> {
        let scale = if self.scaled { SCALE } else { 0 };
        // An announcement may not take back an earlier one.
        let promise = self.expected.wrapping_add(self.receive_window());
        let kept = if before(promise, self.promised) {
            self.promised.wrapping_sub(self.expected)
        } else {
            self.receive_window()
        };
        TcpRepr {
            window_len: (kept >> scale).min(65535) as u16,
            ..header(
                &self.pair,
                control,
                number(seq),
                Some(number(self.expected)),
            )
        }
    }
    /// Calls the guest, or answers its call.
    pub(super) fn send_syn(&mut self, wire: &Wire, now: Instant) {
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
    pub(super) fn refuse(&self, wire: &Wire, ack: u32) {
        let repr = TcpRepr {
            ack_number: None,
            window_len: 0,
            ..self.header(ack, TcpControl::Rst)
        };
        wire.send_tcp(&self.pair, &repr, NOTHING, self.mss);
    }
}
