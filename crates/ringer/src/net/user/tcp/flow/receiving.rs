//! From the guest to the host: bytes that are taken, passed on and acknowledged.

use rustix::net::Shutdown;
use smoltcp::wire::TcpControl;

use super::segment::before;
use super::{Flow, MSS, NOTHING, SCALE, Segment};
use crate::net::user::wire::Wire;

impl Flow {
    pub(super) fn take_bytes(&mut self, segment: &Segment<'_>) {
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
    /// Writes to the socket what waits for it, and its end.
    pub(super) fn pass_on(&mut self) {
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
    /// The window to announce: what there is room for.
    pub(super) fn receive_window(&self) -> u32 {
        let most = if self.scaled { u32::MAX } else { 65535 };
        (self.room.saturating_sub(self.backlog.len) as u32).min(most)
    }
    /// Says what has come, if the guest is to know.
    pub(super) fn acknowledge(&mut self, wire: &Wire) {
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
    pub(super) fn announced(&mut self) {
        self.owes_ack = false;
        let scale = if self.scaled { SCALE } else { 0 };
        let window = self.receive_window() >> scale << scale;
        let promise = self.expected.wrapping_add(window);
        // What was promised stays.
        if before(self.promised, promise) {
            self.promised = promise;
        }
    }
}
