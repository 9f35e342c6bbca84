//! Memory for code of the monitor's own that is made while guests run, and what lies in it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ringer_metal::rewrite::{Dispatcher, Stretch};

use super::csr;

/// Bytes for it, per virtual hart. Jumps within it must reach.
const SIZE: usize = 960 << 10;

/// Where code begins that [`CodeMemory`] holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry(u64);

impl Entry {
    /// Its address.
    pub fn address(self) -> u64 {
        self.0
    }
}

/// Rewritten code, one piece behind the other, behind the dispatcher.
pub struct CodeMemory {
    memory: Box<[u32]>,
    /// How much of it is used, in words, and how much by the dispatcher.
    used: usize,
    first: usize,
    dispatcher: Dispatcher,
}

impl CodeMemory {
    /// The memory, with the dispatcher in it; `None` if there is none left.
    pub fn new() -> Option<Self> {
        let mut memory = Vec::new();
        memory.try_reserve_exact(SIZE / 4).ok()?;
        memory.resize(SIZE / 4, 0);
        let mut memory = memory.into_boxed_slice();
        let (dispatcher, code) = Dispatcher::write(memory.as_ptr() as u64)?;
        let used = put(&mut memory, 0, &code)?;
        Some(Self {
            memory,
            used,
            first: used,
            dispatcher,
        })
    }
    /// Where the dispatcher is.
    pub fn dispatcher(&self) -> Dispatcher {
        self.dispatcher
    }
    /// Where the next piece will lie.
    pub fn next(&self) -> u64 {
        self.memory.as_ptr() as u64 + 4 * self.used as u64
    }
    /// Puts a piece there, if there is room. It must have been made for that place.
    pub fn add(&mut self, stretch: &Stretch) -> Option<Entry> {
        let at = self.next();
        if stretch.at() != at {
            return None;
        }
        self.used = put(&mut self.memory, self.used, stretch.code())?;
        csr::fence_i();
        Some(Entry(at))
    }
    /// Forgets all pieces.
    pub fn clear(&mut self) {
        self.used = self.first;
    }
}

/// Copies code; gives where it ends.
fn put(memory: &mut [u32], start: usize, code: &[u8]) -> Option<usize> {
    let end = start + code.len().div_ceil(4);
    let place = memory.get_mut(start..end)?;
    for (word, bytes) in place.iter_mut().zip(code.chunks(4)) {
        let mut whole = [0; 4];
        whole.get_mut(..bytes.len())?.copy_from_slice(bytes);
        *word = u32::from_le_bytes(whole);
    }
    Some(end)
}
