//! One instruction at a time: the definition of execution.

use ringer_isa::{Insn, decode};

use crate::bus::Bus;
use crate::cause::Exception;
use crate::execute::Flow;
use crate::hart::{Exit, Hart};
use crate::memory::{NoCache, TranslationCache};

impl Hart {
    /// Executes exactly one instruction, with every architectural rule, or takes the exception
    /// that it raises. Needs no heap and keeps no cache.
    ///
    /// Interrupts are not sampled here: [`Hart::take_interrupt`] does that, and whoever drives
    /// the hart decides when. What the instruction did beyond the registers is in
    /// [`Hart::effects`].
    pub fn step<B: Bus + ?Sized>(&mut self, bus: &B) -> Option<Exit> {
        self.step_with(bus, &mut NoCache)
    }

    /// As [`Hart::step`], by way of an engine's cache of translations: what an engine calls for
    /// an instruction that it does not do itself.
    ///
    /// The cache is asked first at every fetch, load and store, and told of the pages that had
    /// to be translated. What it holds must be right for the state the hart is in now, and what
    /// it answers for stores must keep the rule of [`TranslationCache::find`]. The instruction
    /// may make it wrong: then [`Hart::effects`] says so, and the engine acts on that before it
    /// asks the cache again. The engine also brings [`Hart::pc`], the registers and the counts
    /// up to date before the call if it keeps them elsewhere.
    #[inline(never)]
    pub fn step_with<B: Bus + ?Sized, T: TranslationCache>(
        &mut self,
        bus: &B,
        cache: &mut T,
    ) -> Option<Exit> {
        let pc = self.pc;
        let (flow, len) = match self.fetch(bus, cache) {
            Err(fault) => (self.trapped(fault), 0),
            Ok(bits) => match decode(bits) {
                None => (self.trapped(Exception::illegal(bits)), 0),
                Some(insn) => (self.execute(bus, cache, &insn, pc), insn.len),
            },
        };
        self.follow(flow, pc, len)
    }

    /// As [`Hart::step_with`], for an engine that has already fetched and decoded the
    /// instruction at `pc`.
    pub fn execute_at_pc<B: Bus + ?Sized, T: TranslationCache>(
        &mut self,
        bus: &B,
        cache: &mut T,
        insn: &Insn,
    ) -> Option<Exit> {
        let pc = self.pc;
        let flow = self.execute(bus, cache, insn, pc);
        self.follow(flow, pc, insn.len)
    }

    /// Moves on after an instruction at `pc` of `len` bytes: the next one, a trap, or out.
    pub(crate) fn follow(&mut self, flow: Flow, pc: u64, len: u8) -> Option<Exit> {
        match flow {
            Flow::Next | Flow::End => self.pc = pc.wrapping_add(len.into()),
            Flow::Jump => {}
            Flow::Leave(exit @ (Exit::Wait | Exit::Pause)) => {
                self.pc = pc.wrapping_add(len.into());
                self.counts.retired += 1;
                return Some(exit);
            }
            // The instruction retires when the monitor has answered.
            Flow::Leave(exit) => return Some(exit),
            Flow::Trap => {
                self.pc = pc;
                return self.raise(self.exception);
            }
        }
        self.counts.retired += 1;
        None
    }
}
