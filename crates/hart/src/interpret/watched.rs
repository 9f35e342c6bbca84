//! The interpreter under somebody's eyes: a debugger or a trace sees every instruction before and
//! after it is executed, and can stop the hart between any two instructions.
//!
//! Interrupts are seen at the same instructions as by [`Interpreter::run`], wherever it stops.

use core::cell::Cell;

use ringer_isa::{Insn, decode};

use super::blocks::Predecoded;
use super::tlb::Tlb;
use super::{Interpreter, busy};
use crate::bus::Bus;
use crate::execute::Flow;
use crate::hart::{Effects, Exit, Hart};
use crate::memory::TranslationCache;
use crate::ram::Ram;
use crate::translate::{Access, Translation};

/// Who watches a hart.
pub trait Watcher {
    /// The instruction at `hart.pc` is next; it is not known if it cannot be fetched or decoded.
    /// True: the hart stops before it.
    fn before(&self, hart: &Hart, insn: Option<&Insn>) -> bool;
    /// An instruction was executed, or has trapped. True: the hart stops behind it.
    fn after(&self, hart: &Hart) -> bool;
    /// An interrupt was taken; `hart.pc` is at its handler.
    fn interrupted(&self, hart: &Hart);
}

/// A run of a number of instructions that may be stopped on the way and gone on with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slice {
    left: u64,
    begun: bool,
}

impl Slice {
    /// A run of `budget` instructions that has not begun.
    pub const fn new(budget: u64) -> Self {
        Self {
            left: budget,
            begun: false,
        }
    }
    /// How many instructions are left; one that traps counts too.
    pub const fn left(&self) -> u64 {
        self.left
    }
}

/// What follows a stretch of code.
enum Then {
    GoOn,
    Leave(Exit),
    Stop,
}

impl Interpreter {
    /// Executes what is left of `slice`, as [`Interpreter::run`] would. `None`: the watcher has
    /// stopped the hart. Then the rest of the slice is to be run by this method as well, so that
    /// interrupts are not looked for at a place where an unwatched hart would not look.
    pub fn run_watched<B: Bus + ?Sized, W: Watcher>(
        &mut self,
        hart: &mut Hart,
        bus: &B,
        slice: &mut Slice,
        watcher: &W,
    ) -> Option<Exit> {
        // Whoever drove the hart before may have changed anything.
        hart.effects |= Effects::CONTEXT;
        if !slice.begun {
            slice.begun = true;
            bus.look_at_clock(hart.id);
            hart.effects |= Effects::INTERRUPTS;
        }
        loop {
            if bus.lines(hart.id).has_requests() && hart.attend(bus) {
                return Some(Exit::Yield);
            }
            while !hart.effects.is_empty() {
                if self.act_on_effects(hart, bus) {
                    watcher.interrupted(hart);
                }
            }
            if slice.left == 0 {
                return Some(Exit::Budget);
            }
            match self.run_block_watched(hart, bus, &mut slice.left, watcher) {
                Then::GoOn => {}
                Then::Leave(exit) => return Some(exit),
                Then::Stop => return None,
            }
        }
    }

    /// Forgets all it knows of translations and code, for whoever has changed memory or the hart
    /// behind its back.
    pub fn forget(&mut self) {
        self.blocks.fence_i();
        self.tlb.fence(Default::default());
        self.blocks.forget_addresses();
    }

    fn run_block_watched<B: Bus + ?Sized, W: Watcher>(
        &mut self,
        hart: &mut Hart,
        bus: &B,
        left: &mut u64,
        watcher: &W,
    ) -> Then {
        let Self { tlb, blocks } = self;
        let Some(block) = blocks.find(hart, bus, tlb) else {
            let walks = hart.counts.walks;
            let insn = hart.fetch(bus, tlb).ok().and_then(decode);
            hart.counts.walks = walks; // to look at it was no doing of the guest's
            if watcher.before(hart, insn.as_ref()) {
                return Then::Stop;
            }
            *left -= 1;
            let mut noting = Noting::new(tlb);
            let exit = hart.step_with(bus, &mut noting);
            noting.note_store(bus.ram());
            return match exit {
                Some(exit) => Then::Leave(exit),
                None => stop_if(watcher.after(hart)),
            };
        };
        let mut rest = block.iter();
        while *left > 0
            && let Some(Predecoded { insn, target }) = rest.next()
        {
            if watcher.before(hart, Some(insn)) {
                return Then::Stop;
            }
            *left -= 1;
            let pc = hart.pc;
            let mut noting = Noting::new(tlb);
            let flow = hart.execute(bus, &mut noting, insn, pc);
            noting.note_store(bus.ram());
            match flow {
                Flow::Next => {
                    hart.pc = pc.wrapping_add(insn.len.into());
                    hart.counts.retired += 1;
                    if watcher.after(hart) {
                        return Then::Stop;
                    }
                }
                Flow::Jump => {
                    hart.counts.retired += 1;
                    if watcher.after(hart) {
                        return Then::Stop;
                    }
                    match block.get(*target as usize..) {
                        Some(onward) if !busy(hart, bus) => rest = onward.iter(),
                        _ => return Then::GoOn,
                    }
                }
                ended => {
                    return match hart.follow(ended, pc, insn.len) {
                        Some(exit) => Then::Leave(exit),
                        None => stop_if(watcher.after(hart)),
                    };
                }
            }
        }
        Then::GoOn
    }
}

fn stop_if(stop: bool) -> Then {
    if stop { Then::Stop } else { Then::GoOn }
}

/// The interpreter's translations, for as long as other engines keep code that they have made:
/// they hear of what is stored, which [`Interpreter::run`] does not tell them.
struct Noting<'a> {
    tlb: &'a mut Tlb,
    /// Where the instruction stores.
    stored: Cell<Option<(u64, u64)>>,
}

impl<'a> Noting<'a> {
    fn new(tlb: &'a mut Tlb) -> Self {
        Self {
            tlb,
            stored: Cell::new(None),
        }
    }
    fn note_store(&self, ram: &Ram) {
        if let Some((offset, bytes)) = self.stored.get() {
            ram.note_change(offset, bytes);
        }
    }
}

impl TranslationCache for Noting<'_> {
    #[inline]
    fn find(&self, access: Access, va: u64, bytes: u64) -> Option<u64> {
        let found = self.tlb.find(access, va, bytes);
        if access == Access::Store
            && let Some(offset) = found
        {
            self.stored.set(Some((offset, bytes)));
        }
        found
    }
    fn fill(&mut self, access: Access, va: u64, offset: u64, found: &Translation) {
        self.tlb.fill(access, va, offset, found);
    }
}
