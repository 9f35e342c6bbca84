//! The reference interpreter: the same execution functions as `step`, over predecoded blocks
//! and cached translations.

mod blocks;
mod tlb;
mod watched;

pub use blocks::BlockCounts;
pub use tlb::TlbCounts;
pub use watched::{Slice, Watcher};

use blocks::{Blocks, Predecoded};
use tlb::Tlb;

use crate::bus::Bus;
use crate::execute::Flow;
use crate::hart::{AddressFence, Effects, Exit, Hart};

/// Runs one hart. Holds nothing but caches: it can be dropped and made anew at any time.
#[derive(Debug)]
pub struct Interpreter {
    tlb: Tlb,
    blocks: Blocks,
}

impl Default for Interpreter {
    fn default() -> Self {
        Self::new()
    }
}

impl Interpreter {
    /// An interpreter with empty caches.
    pub fn new() -> Self {
        Self {
            tlb: Tlb::new(),
            blocks: Blocks::new(),
        }
    }

    /// Executes up to `budget` instructions; one that traps counts too.
    ///
    /// Interrupts are sampled at the start, when a wire asks for it, and after instructions
    /// that may have made one pending or enabled; so call it again every few thousand
    /// instructions for the timers' sake.
    pub fn run<B: Bus + ?Sized>(&mut self, hart: &mut Hart, bus: &B, budget: u64) -> Exit {
        let mut left = budget;
        bus.look_at_clock(hart.id);
        // Whoever drove the hart before may have changed anything.
        hart.effects |= Effects::CONTEXT | Effects::INTERRUPTS;
        loop {
            if bus.lines(hart.id).has_requests() && hart.attend(bus) {
                return Exit::Yield;
            }
            while !hart.effects.is_empty() {
                self.act_on_effects(hart, bus);
            }
            if left == 0 {
                return Exit::Budget;
            }
            if let Some(exit) = self.run_block(hart, bus, &mut left) {
                return exit;
            }
        }
    }

    /// What the caches have done.
    pub fn counts(&self) -> (TlbCounts, BlockCounts) {
        (self.tlb.counts(), self.blocks.counts())
    }

    /// True if an interrupt was taken.
    fn act_on_effects<B: Bus + ?Sized>(&mut self, hart: &mut Hart, bus: &B) -> bool {
        let effects = hart.take_effects();
        if effects.contains(Effects::FENCE_I) {
            self.blocks.fence_i();
        }
        if effects.contains(Effects::FLUSH_TLB) {
            self.tlb.fence(AddressFence::default());
            self.blocks.forget_addresses();
        } else if effects.contains(Effects::FENCE_VMA) {
            self.tlb.fence(hart.fence);
            self.blocks.forget_addresses();
        }
        let look = effects.intersects(Effects::INTERRUPTS | Effects::DEVICE);
        let interrupted = look && hart.take_interrupt(bus);
        // After a fence the contexts have new names; after an interrupt they have changed.
        if self.tlb.enter(&hart.fetch_context(), &hart.data_context()) {
            self.blocks.forget_addresses();
        }
        hart.effects.remove(Effects::CONTEXT);
        interrupted
    }

    /// Executes the block at `pc`, or as much of it as is `left`.
    fn run_block<B: Bus + ?Sized>(
        &mut self,
        hart: &mut Hart,
        bus: &B,
        left: &mut u64,
    ) -> Option<Exit> {
        let Self { tlb, blocks } = self;
        let Some(block) = blocks.find(hart, bus, tlb) else {
            // Code outside RAM, across a page, not decodable, or that faults: one step does it.
            *left -= 1;
            return hart.step_with(bus, tlb);
        };
        let whole = usize::try_from(*left).unwrap_or(usize::MAX);
        let (executed, exit) =
            execute_run(hart, bus, tlb, block.get(..whole).unwrap_or(block), *left);
        *left -= executed;
        exit
    }
}

/// Executes `block`, up to `left` instructions: to its end, to a jump out of it, or to what
/// needs attention. Returns how many were executed. Jumps inside the block stay here.
#[inline(always)]
fn execute_run<B: Bus + ?Sized>(
    hart: &mut Hart,
    bus: &B,
    tlb: &mut Tlb,
    block: &[Predecoded],
    left: u64,
) -> (u64, Option<Exit>) {
    let mut pc = hart.pc;
    let retired = hart.counts.retired;
    let mut executed = 0;
    let mut rest = block.iter();
    while let Some(Predecoded { insn, target }) = rest.next() {
        // Up to date at every instruction, since any may read a counter.
        hart.counts.retired = retired + executed;
        executed += 1;
        match hart.execute(bus, tlb, insn, pc) {
            Flow::Next => pc = pc.wrapping_add(insn.len.into()),
            Flow::Jump => match block.get(*target as usize..) {
                Some(onward) if onward.len() as u64 <= left - executed && !busy(hart, bus) => {
                    pc = hart.pc;
                    rest = onward.iter();
                }
                _ => {
                    hart.counts.retired = retired + executed;
                    return (executed, None);
                }
            },
            ended => return (executed, hart.follow(ended, pc, insn.len)),
        }
    }
    hart.counts.retired = retired + executed;
    hart.pc = pc;
    (executed, None)
}

/// Whether the hart must look up before it goes on.
#[inline(always)]
fn busy<B: Bus + ?Sized>(hart: &Hart, bus: &B) -> bool {
    !hart.effects.is_empty() || bus.lines(hart.id).has_requests()
}
