//! Generated code for the eyes of a reader: which stretch of a block's host code belongs to which
//! guest instruction. That is not kept; the block is emitted once more to find out.

use std::ops::Range;

use ringer_hart::{Bus, PAGE_SIZE, Ram};

use crate::assembler::Assembler;
use crate::cache::Key;
pub use crate::emit::Purpose;
use crate::emit::{Mark, Translation};
use crate::shared::{SharedCode, Store};

/// Why there is nothing to show.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ShowError {
    /// There is no block.
    #[error("no host code was made from it for this mode yet")]
    NoBlock,
    /// The guest's code has changed, and there was no fence yet that says so.
    #[error("the guest code has changed since host code was made from it")]
    Changed,
}

/// A block of host code.
#[derive(Clone, Debug)]
pub struct ShownBlock {
    /// Where it lies for the processor.
    pub address: u64,
    /// The code as it is now, jumps that were linked included.
    pub code: Vec<u8>,
    /// How many guest instructions it was made from.
    pub instructions: u32,
    /// What it is for, in order; together that is all of the code.
    pub parts: Vec<Part>,
}

/// A stretch of a block's host code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// What it is for.
    pub purpose: Purpose,
    /// Which bytes of the block it is. None, for an instruction that is emitted with the one
    /// before, or that the block simply follows.
    pub bytes: Range<usize>,
}

/// The block that has the instruction at `place`: the one that begins there, or else the one that
/// begins nearest before it in its page.
pub fn block<B: Bus>(
    shared: &SharedCode<B>,
    ram: &Ram,
    place: Key,
) -> Result<ShownBlock, ShowError> {
    let store = shared.store();
    let in_page = place.offset() % PAGE_SIZE;
    let mut changed = false;
    for back in (0..=in_page).step_by(2) {
        let key = place.at(place.offset() - back);
        if store.cache.place(key).is_none() {
            continue;
        }
        match Translation::of(ram, key) {
            Some(block) if block.has(in_page as u16) => {
                return emit_again(shared, &store, key, &block);
            }
            Some(_) => {}
            None => changed |= back == 0,
        }
    }
    Err(if changed {
        ShowError::Changed
    } else {
        ShowError::NoBlock
    })
}

fn emit_again<B: Bus>(
    shared: &SharedCode<B>,
    store: &Store,
    key: Key,
    block: &Translation,
) -> Result<ShownBlock, ShowError> {
    let (place, instructions) = store.cache.place(key).ok_or(ShowError::NoBlock)?;
    let address = shared.memory.address(place.start);
    let mut assembler = Assembler::new(address);
    let mut marks = Vec::new();
    let emitted = block.emit(
        &mut assembler,
        address,
        &shared.thunks,
        &shared.features,
        &shared.known,
        Some(&mut marks),
    );
    let same = store.cache.fingerprint(key) == Some(block.fingerprint());
    if emitted.is_none() || !same || assembler.code().len() != place.len() {
        return Err(ShowError::Changed);
    }
    Ok(ShownBlock {
        address,
        code: shared.memory.read(place.start, place.len()),
        instructions,
        parts: parts(&marks, place.len()),
    })
}

/// Each part goes on to where the next one begins, the last one to `end`.
fn parts(marks: &[Mark], end: usize) -> Vec<Part> {
    let ends = marks.iter().skip(1).map(|mark| mark.at).chain([end]);
    let parts = marks.iter().zip(ends).map(|(mark, end)| Part {
        purpose: mark.purpose,
        bytes: mark.at..end,
    });
    parts.collect()
}
