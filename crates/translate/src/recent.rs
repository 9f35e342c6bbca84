//! Code that a hart has looked for lately, by its key: the same as the cache would say, without
//! its lock and in one look.

use crate::cache::Key;

/// Places (direct-mapped).
const PLACES: usize = 1 << 15;

/// Keys with the far entries of their blocks.
#[derive(Debug)]
pub struct RecentCode {
    places: Box<[Option<(Key, u64)>]>,
    is_empty: bool,
}

fn place(key: Key) -> usize {
    let offset = key.offset() >> 1;
    (offset ^ offset >> 15) as usize % PLACES
}

impl RecentCode {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            places: vec![None; PLACES].into_boxed_slice(),
            is_empty: true,
        }
    }

    /// The far entry of the block for `key`, if it is remembered.
    pub fn find(&self, key: Key) -> Option<u64> {
        match self.places[place(key)] {
            Some((known, code)) if known == key => Some(code),
            _ => None,
        }
    }

    /// Remembers the far entry of the block for `key`.
    pub fn remember(&mut self, key: Key, code: u64) {
        self.places[place(key)] = Some((key, code));
        self.is_empty = false;
    }

    /// Forgets all: blocks were dropped.
    pub fn forget(&mut self) {
        if !self.is_empty {
            self.places.fill(None);
            self.is_empty = true;
        }
    }
}
