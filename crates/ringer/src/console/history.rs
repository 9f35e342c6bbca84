//! The last output of a console: for those who attach later, and to see when the guest is ready.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// How much output is kept.
const KEPT: usize = 256 << 10;
/// The most that is handed out at once.
const CHUNK: usize = 16 << 10;

/// The last output, with places counted from the first byte ever written.
pub struct History {
    kept: Mutex<Kept>,
    /// The place behind the last byte; its change wakes those who wait for more.
    end: watch::Sender<u64>,
}

struct Kept {
    bytes: VecDeque<u8>,
    /// The place behind them.
    end: u64,
    /// There will be no more.
    closed: bool,
    ready: Ready,
}

/// Looks for the text by which the guest says that it is ready.
struct Ready {
    text: Vec<u8>,
    /// The last bytes that may be its beginning.
    tail: Vec<u8>,
    found: bool,
}

impl Ready {
    fn look(&mut self, bytes: &[u8]) {
        if self.found || self.text.is_empty() {
            return;
        }
        self.tail.extend(bytes);
        let len = self.text.len();
        self.found = self.tail.windows(len).any(|window| window == self.text);
        self.tail.drain(..self.tail.len().saturating_sub(len - 1));
    }
}

/// A piece of output.
#[derive(PartialEq, Eq, Debug)]
pub struct Piece {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The place behind them.
    pub end: u64,
    /// How many bytes before them are kept no more.
    pub missed: u64,
}

impl History {
    /// Empty. The guest is ready once it has written `ready`.
    pub fn new(ready: &str) -> Self {
        Self {
            kept: Mutex::new(Kept {
                bytes: VecDeque::new(),
                end: 0,
                closed: false,
                ready: Ready {
                    text: ready.as_bytes().to_vec(),
                    tail: Vec::new(),
                    found: false,
                },
            }),
            end: watch::Sender::new(0),
        }
    }
    /// Adds output.
    pub fn add(&self, bytes: &[u8]) {
        let mut kept = self.kept();
        kept.ready.look(bytes);
        kept.bytes.extend(bytes);
        let surplus = kept.bytes.len().saturating_sub(KEPT);
        kept.bytes.drain(..surplus);
        kept.end += bytes.len() as u64;
        self.end.send_replace(kept.end);
    }
    /// Output from `place` on, as far as it is kept. Empty if there is no more yet.
    pub fn since(&self, place: u64) -> Piece {
        let kept = self.kept();
        let first = kept.end - kept.bytes.len() as u64;
        let from = place.clamp(first, kept.end);
        let skip = (from - first) as usize;
        let bytes: Vec<u8> = kept.bytes.iter().skip(skip).take(CHUNK).copied().collect();
        Piece {
            end: from + bytes.len() as u64,
            missed: from.saturating_sub(place),
            bytes,
        }
    }
    /// There will be no more output.
    pub fn close(&self) {
        self.kept().closed = true;
        self.end.send_modify(|_| {});
    }
    /// Whether there will be no more.
    pub fn is_closed(&self) -> bool {
        self.kept().closed
    }
    /// Where the output that is kept begins.
    pub fn first(&self) -> u64 {
        let kept = self.kept();
        kept.end - kept.bytes.len() as u64
    }
    /// Sees when there is more.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.end.subscribe()
    }
    /// Whether the guest has said that it is ready.
    pub fn is_ready(&self) -> bool {
        self.kept().ready.found
    }
    /// Says whether the guest is ready; one that starts again is not.
    pub fn set_ready(&self, ready: bool) {
        let mut kept = self.kept();
        kept.ready.found = ready;
        kept.ready.tail.clear();
    }
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_readers_get_what_is_kept() {
        let history = History::new("");
        let text: Vec<u8> = (0..2 * KEPT).map(|n| (n / 7) as u8).collect();
        for chunk in text.chunks(1000) {
            history.add(chunk);
        }
        let mut place = 0;
        let mut got = Vec::new();
        loop {
            let piece = history.since(place);
            if piece.bytes.is_empty() {
                break;
            }
            assert_eq!(piece.missed, if place == 0 { KEPT as u64 } else { 0 });
            got.extend(piece.bytes);
            place = piece.end;
        }
        assert_eq!(got, &text[KEPT..]);
        assert_eq!(place, text.len() as u64);
        // Nobody can ask for what is still to come.
        assert_eq!(history.since(u64::MAX).bytes, b"");
    }

    #[test]
    fn the_ready_text_is_found_in_pieces() {
        let history = History::new("login:");
        for piece in ["loglo", "g", "in", "log", "in"] {
            history.add(piece.as_bytes());
            assert!(!history.is_ready(), "{piece}");
        }
        history.add(b": ");
        assert!(history.is_ready());
        history.set_ready(false);
        history.add(b"in: login");
        assert!(!history.is_ready());
        history.add(b":");
        assert!(history.is_ready());
        assert!({
            let never = History::new("");
            never.add(b"anything");
            !never.is_ready()
        });
    }
}
