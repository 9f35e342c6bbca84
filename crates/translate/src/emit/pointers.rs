//! Loops that follow pointers: there each load waits for the one that has loaded its address.

use ringer_isa::Op;

use super::Emitter;
use super::block::Step;
use super::window::writes;

impl Emitter<'_> {
    /// Whether the current instruction is in a loop and its address has just been loaded, in this
    /// turn or in the last one.
    pub(super) fn follows_pointers(&self) -> bool {
        self.is_loop() && is_loaded(self.steps, self.index, self.current().insn.rs1)
    }
}

/// Whether what `base` holds at instruction `index` of a loop was loaded by one of its
/// instructions, and maybe moved since.
fn is_loaded(steps: &[Step], index: usize, mut base: u8) -> bool {
    let (this_turn, last_turn) = steps.split_at(index);
    for step in this_turn.iter().rev().chain(last_turn.iter().rev()) {
        let insn = &step.insn;
        if base == 0 || !writes(insn, base) {
            continue;
        }
        match insn.op {
            Op::Ld => return true,
            Op::Addi => base = insn.rs1,
            // What `c.mv` stands for.
            Op::Add if insn.rs1 == 0 => base = insn.rs2,
            _ => return false,
        }
    }
    false
}
