//! The rewritten code of one virtual hart: found by the guest's address, and compared with the
//! guest's memory before it is used, as nobody tells when that is changed.

use core::ops::Range;

use alloc::boxed::Box;
use alloc::vec::Vec;

use ringer_hart::memory::TranslationCache;
use ringer_hart::ram::RamTable;
use ringer_hart::translate::Access;
use ringer_hart::{PAGE_SIZE, Privilege, Ram};
use ringer_isa::{Insn, decode};
use ringer_metal::closeness::Closeness;
use ringer_metal::rewrite::{Dispatcher, Frame, LONGEST, NOWHERE, Place, StretchWriter, Window};

use crate::hardware::code::{CodeMemory, Entry};
use crate::hardware::csr;
use crate::virtual_hart::bits_at;

/// Places in the table of stretches, a power of two.
const TABLE: usize = 2048;
/// Nothing, in the table.
const NONE: u16 = u16::MAX;
/// Stretches that are looked up before they are needed.
const AHEAD: usize = 3;
/// Stretches, and places that none can be made for, that are remembered.
const MOST: usize = 4096;
/// Doublewords of the guest's code that are remembered.
const WORDS: usize = 16 << 10;
/// Instructions of the guest in rewritten code.
const PLACES: usize = 40 << 10;
/// Code is made where it would have been used so many times.
const HOT: u8 = 24;
/// Places in the table of how often that was, a power of two.
const HEATS: usize = 8192;
/// That is forgotten after so many times.
const COOLS: u32 = 64 << 10;

/// A place in the guest's code.
struct Known {
    pc: u64,
    /// Where its code lies, or that of the next one.
    at: u64,
    privilege: Privilege,
    /// What was there, from the doubleword that `pc` is in: a part of [`Rewritten::words`].
    source: Range<u32>,
    /// Where its instructions are: a part of [`Rewritten::places`].
    places: Range<u32>,
    /// What was needed after it the last time: a number, or [`NONE`].
    next: u16,
    /// What became of it; none if its first instruction cannot be rewritten.
    made: Option<Entry>,
}

/// What is found for a place in the guest's code.
pub enum Found {
    /// Rewritten code.
    Code(Entry),
    /// An instruction that is left as it is.
    Instruction,
    /// Nothing: the page is not one that the real hart has executed.
    Nothing,
}

/// Code that was needed and was not there.
#[derive(Clone, Copy, Default)]
pub struct Missing {
    /// Whether there was any.
    pub any: bool,
    /// Instructions that it took to make some of it.
    pub made: u64,
}

/// The code.
pub struct Rewritten {
    code: CodeMemory,
    known: Vec<Known>,
    /// Each address has two places in it, one beside the other.
    table: Box<[u16]>,
    /// What was looked up last, in the order in which it may be used.
    chain: Vec<u16>,
    words: Vec<u64>,
    places: Vec<Place>,
    heat: Box<[u8]>,
    warmed: u32,
    /// What was missing since it was asked last.
    pub missing: Missing,
}

impl Rewritten {
    /// No code yet; none at all if there is no memory for it.
    pub fn new() -> Option<Self> {
        Some(Self {
            code: CodeMemory::new()?,
            known: room(MOST)?,
            table: filled(NONE, TABLE)?,
            chain: room(AHEAD + 1)?,
            words: room(WORDS)?,
            places: room(PLACES)?,
            heat: filled(0, HEATS)?,
            warmed: 0,
            missing: Missing::default(),
        })
    }

    /// Where the dispatcher is.
    pub fn dispatcher(&self) -> Dispatcher {
        self.code.dispatcher()
    }

    /// The code for what is at `pc` now, made if need be; `frame` learns of it, and of what was
    /// needed behind it before.
    pub fn find(
        &mut self,
        pc: u64,
        privilege: Privilege,
        near: &impl TranslationCache,
        ram: &Ram,
        closeness: &Closeness,
        frame: &mut Frame,
    ) -> Found {
        let page = pc & !(PAGE_SIZE - 1);
        let code = |page| {
            let offset = near.find(Access::Fetch, page, 1)?;
            Some((offset, ram.table(ram.base().offset(offset))?))
        };
        let Some((offset, mut words)) = code(page) else {
            return Found::Nothing;
        };
        let number = match self.number_at(pc) {
            Some(number)
                if (self.known.get(usize::from(number)))
                    .is_some_and(|known| self.holds(known, privilege, words)) =>
            {
                number
            }
            _ => {
                self.missing.any = true;
                if !self.is_hot(pc) {
                    return Found::Nothing;
                }
                let before = csr::read!("minstret");
                let delta = offset.wrapping_sub(page);
                let made = self.make(pc, privilege, delta, ram, closeness).or_else(|| {
                    self.clear();
                    frame.forget();
                    self.make(pc, privilege, delta, ram, closeness)
                });
                let took = csr::read!("minstret").wrapping_sub(before);
                self.missing.made = self.missing.made.wrapping_add(took);
                match made {
                    Some(number) => number,
                    None => return Found::Nothing,
                }
            }
        };
        self.follow(number, frame);
        let Some(known) = self.known.get(usize::from(number)) else {
            return Found::Nothing;
        };
        let Some(entry) = known.made else {
            return Found::Instruction;
        };
        frame.learn(pc, entry.address());
        self.chain.push(number);
        // What follows is looked up now, and not by coming back for each.
        let mut page = page;
        let mut next = known.next;
        for _ in 0..AHEAD {
            let Some(known) = self.known.get(usize::from(next)) else {
                break;
            };
            let Some(entry) = known.made else {
                break;
            };
            if frame.knows(known.pc) {
                break;
            }
            let start = known.pc & !(PAGE_SIZE - 1);
            if start != page {
                let Some((_, there)) = code(start) else {
                    break;
                };
                (page, words) = (start, there);
            }
            if !self.holds(known, privilege, words) {
                break;
            }
            frame.learn(known.pc, entry.address());
            self.chain.push(next);
            next = known.next;
        }
        Found::Code(entry)
    }

    /// Whether what is known was made from what its page holds now.
    #[inline(always)]
    fn holds(&self, known: &Known, privilege: Privilege, page: RamTable<'_>) -> bool {
        let first = (known.pc / 8) as usize;
        let source = part(&self.words, &known.source);
        known.privilege == privilege && page.holds(first, source)
    }

    /// What comes next has nothing to do with what was.
    pub fn jump(&mut self, frame: &Frame) {
        self.follow(NONE, frame);
    }

    /// `number` was needed after what was used last: of what was looked up before, some may not
    /// have been.
    fn follow(&mut self, number: u16, frame: &Frame) {
        let first = self.chain.first().copied();
        while let Some(latest) = self.chain.pop() {
            if let Some(latest_known) = self.known.get_mut(usize::from(latest))
                && (self.chain.is_empty() && first == Some(latest)
                    || frame.has_used(latest_known.pc))
            {
                latest_known.next = number;
                break;
            }
        }
        self.chain.clear();
    }

    fn index(pc: u64) -> usize {
        (pc >> 1 ^ pc >> 9 ^ pc >> 17) as usize & (TABLE - 1)
    }

    fn number_at(&self, pc: u64) -> Option<u16> {
        let index = Self::index(pc);
        [index, index ^ 1].into_iter().find_map(|index| {
            let number = *self.table.get(index)?;
            let known = self.known.get(usize::from(number))?;
            (known.pc == pc).then_some(number)
        })
    }

    /// Enters what is known last; gives its number.
    fn enter(&mut self, pc: u64) -> Option<u16> {
        let number = self.known.len().checked_sub(1)?;
        let (first, second) = (Self::index(pc), Self::index(pc) ^ 1);
        let before = *self.table.get(first)?;
        let other = self.known.get(usize::from(before));
        if other.is_some_and(|other| other.pc != pc) {
            *self.table.get_mut(second)? = before;
        }
        *self.table.get_mut(first)? = number as u16;
        Some(number as u16)
    }

    /// `None` if there is no room.
    fn make(
        &mut self,
        pc: u64,
        privilege: Privilege,
        delta: u64,
        ram: &Ram,
        closeness: &Closeness,
    ) -> Option<u16> {
        if self.known.len() == MOST {
            return None;
        }
        let page = pc & !(PAGE_SIZE - 1);
        // What was read is what must be there again.
        let mut end = pc;
        let fetch = |va: u64| -> Option<Insn> {
            let in_page = |parcel: u64| {
                (parcel & !(PAGE_SIZE - 1) == page).then(|| parcel.wrapping_add(delta))
            };
            let bits = bits_at(va, ram, in_page)?;
            let insn = decode(bits);
            end = end.max(va.wrapping_add(insn.map_or(4, |insn| insn.len.into())));
            insn
        };
        let at = self.code.next();
        let stretch = Window::of(privilege).and_then(|window| {
            let writer = StretchWriter {
                dispatcher: self.code.dispatcher(),
                window,
            };
            let patience = |site| closeness.expects(site).unwrap_or(0);
            writer.write(pc, at, fetch, patience)
        });
        // Not beyond the page, where something else may be.
        let last = end
            .max(pc.wrapping_add(2))
            .wrapping_sub(1)
            .min(page + (PAGE_SIZE - 1));
        let source = (pc & !7..=last).step_by(8);
        let source = source.map(|va| ram.load_at::<u64>(va.wrapping_add(delta)));
        let instructions = stretch.as_ref().map_or(&[][..], |stretch| stretch.places());
        let full = |len: usize, more: usize, most: usize| len + more > most;
        if full(self.words.len(), source.size_hint().0, WORDS)
            || full(self.places.len(), instructions.len(), PLACES)
        {
            return None;
        }
        let made = match &stretch {
            None => None,
            Some(stretch) => Some(self.code.add(stretch)?),
        };
        let words = self.words.len() as u32;
        for word in source {
            self.words.push(word?);
        }
        let places = self.places.len() as u32;
        self.places.extend_from_slice(instructions);
        let known = Known {
            pc,
            at,
            privilege,
            source: words..self.words.len() as u32,
            places: places..self.places.len() as u32,
            next: NONE,
            made,
        };
        self.known.push(known);
        self.enter(pc)
    }

    /// Whether code for `pc` would have been used often.
    fn is_hot(&mut self, pc: u64) -> bool {
        let index = (pc >> 1 ^ pc >> 13) as usize & (HEATS - 1);
        let Some(heat) = self.heat.get_mut(index) else {
            return false;
        };
        *heat = heat.saturating_add(1);
        let hot = *heat >= HOT;
        self.warmed += 1;
        if self.warmed == COOLS {
            self.warmed = 0;
            self.heat.fill(0);
        }
        hot
    }

    /// Forgets all.
    fn clear(&mut self) {
        self.code.clear();
        self.known.clear();
        self.words.clear();
        self.places.clear();
        self.table.fill(NONE);
        self.chain.clear();
        self.heat.fill(0);
    }

    /// The number of the code that `address` is in.
    fn number_of(&self, address: u64) -> Option<usize> {
        // They lie in the order in which they were made.
        let behind = self.known.partition_point(|known| known.at <= address);
        let before = self.known.get(..behind)?;
        before.iter().rposition(|known| known.made.is_some())
    }

    /// The guest's instruction that rewritten code at `address` belongs to, and its address.
    pub fn place(&self, address: u64) -> Option<(u64, Place)> {
        let known = self.known.get(self.number_of(address)?)?;
        let places = part(&self.places, &known.places);
        let place = Place::find(places, address.checked_sub(known.at)?)?;
        Some((known.pc.wrapping_add(place.guest.into()), place))
    }

    /// Makes all code anew, when it is needed next, that stands for the guest's instruction at
    /// `pc`: more is known of that.
    pub fn reconsider(&mut self, pc: u64) {
        for start in (0..=LONGEST).step_by(2).map(|back| pc.wrapping_sub(back)) {
            while let Some(number) = self.number_at(start)
                && let Some(known) = self.known.get_mut(usize::from(number))
                && part(&self.places, &known.places)
                    .iter()
                    .any(|place| u64::from(place.guest) == pc.wrapping_sub(start))
            {
                // What was needed before it does not lead there either.
                known.pc = NOWHERE;
            }
        }
    }
}

/// Room for so many, none of which is there yet.
fn room<T>(many: usize) -> Option<Vec<T>> {
    let mut room = Vec::new();
    room.try_reserve_exact(many).ok()?;
    Some(room)
}

/// So many of the same.
fn filled<T: Copy>(value: T, many: usize) -> Option<Box<[T]>> {
    let mut all = room(many)?;
    all.resize(many, value);
    Some(all.into_boxed_slice())
}

/// A part of what lies side by side.
fn part<'a, T>(all: &'a [T], range: &Range<u32>) -> &'a [T] {
    let range = range.start as usize..range.end as usize;
    all.get(range).unwrap_or_default()
}
