//! The ends of connections, as a saved machine keeps them: of a connection, no more than that goes
//! on after a restore. Its guest's end must hear that, or who only listens there would wait for ever.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use minicbor::{Decode, Encode};
use smoltcp::wire::{TcpControl, TcpSeqNumber};

use super::MOST;
use super::flow::header;
use crate::net::user::addresses::Pair;
use crate::net::user::wire::Wire;

/// How often a guest's end is asked.
const PAUSE: Duration = Duration::from_secs(1);
/// And how many times: a guest may have to set up its network first.
const TIMES: u32 = 60;

/// A connection's ends in a saved machine: the guest's address and port, and the other's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SavedPair {
    #[n(0)]
    guest: (u32, u16),
    #[n(1)]
    outside: (u32, u16),
}

/// The ends of a network's connections, for the network and for those who save and restore.
#[derive(Clone, Default)]
pub struct Ends(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    open: HashSet<Pair>,
    /// Of before the restore, and how often the guest is still asked.
    lost: HashMap<Pair, u32>,
    next: Option<Instant>,
}

impl Ends {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// A connection has begun.
    pub fn open(&self, pair: Pair) {
        let mut state = self.state();
        state.lost.remove(&pair);
        state.open.insert(pair);
    }
    /// A connection is over.
    pub fn close(&self, pair: &Pair) {
        self.state().open.remove(pair);
    }
    /// All are over.
    pub fn close_all(&self) {
        self.state().open.clear();
    }
    /// The guest knows of its end that it is over.
    pub fn heard(&self, pair: &Pair) {
        self.state().lost.remove(pair);
    }
    /// Whether a guest's end is to hear that it is over.
    pub fn has_lost(&self) -> bool {
        !self.state().lost.is_empty()
    }
    /// What a saved machine keeps.
    pub fn save(&self) -> Vec<SavedPair> {
        let state = self.state();
        let saved = |pair: &Pair| SavedPair {
            guest: (pair.guest.ip().to_bits(), pair.guest.port()),
            outside: (pair.outside.ip().to_bits(), pair.outside.port()),
        };
        (state.open.iter().chain(state.lost.keys()))
            .map(saved)
            .collect()
    }
    /// These were open when the machine was saved.
    pub fn restore(&self, saved: &[SavedPair]) {
        let end = |(address, port)| SocketAddrV4::new(Ipv4Addr::from_bits(address), port);
        let pairs = saved.iter().take(MOST).map(|saved| Pair {
            guest: end(saved.guest),
            outside: end(saved.outside),
        });
        self.state().lost = pairs.map(|pair| (pair, TIMES)).collect();
    }
    /// Provokes the guest's ends of lost connections to say which bytes they wait for: a reset counts
    /// only with the right number. To a segment that cannot be right they answer with that, and
    /// the answer is answered as any that belongs to no connection.
    pub fn provoke(&self, random: impl Fn(u64) -> u64, wire: &Wire, now: Instant) {
        let mut state = self.state();
        if state.lost.is_empty() || state.next.is_some_and(|next| now < next) {
            return;
        }
        if !wire.knows_guest() || !wire.cable().is_drained() {
            return;
        }
        state.next = Some(now + PAUSE);
        for (pair, times) in &mut state.lost {
            *times = times.saturating_sub(1);
            let number = |salt: u64| {
                let end = u64::from(pair.outside.port()) << 16 | u64::from(pair.guest.port());
                TcpSeqNumber(random(end << 16 ^ u64::from(*times) << 1 ^ salt) as i32)
            };
            let segment = header(pair, TcpControl::None, number(0), Some(number(1)));
            wire.send_tcp(pair, &segment, (&[], &[]), u16::MAX);
        }
        state.lost.retain(|_, times| *times > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_open_is_lost_after_a_restore_until_the_guest_hears() {
        let pair = |port| Pair {
            guest: SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 15), port),
            outside: SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 80),
        };
        let ends = Ends::default();
        ends.open(pair(1));
        ends.open(pair(2));
        ends.open(pair(3));
        ends.close(&pair(2));
        assert!(!ends.has_lost());
        let after = Ends::default();
        after.restore(&ends.save());
        assert_eq!(after.save().len(), 2);
        after.heard(&pair(1));
        // Saved again before the guest has heard.
        let again = Ends::default();
        again.restore(&after.save());
        assert!(again.has_lost());
        // The guest begins anew with the same ends.
        again.open(pair(3));
        assert!(!again.has_lost());
        assert_eq!(again.save().len(), 1);
        again.close_all();
        assert!(again.save().is_empty());
    }
}
