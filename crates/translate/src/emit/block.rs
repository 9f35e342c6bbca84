//! The guest code of a block: which instructions belong to it.

use std::hash::Hasher;

use ringer_hart::{PAGE_SHIFT, PAGE_SIZE, Ram};
use ringer_isa::{Class, Insn, Op, decode};

use crate::cache::{Key, Spread};

/// Guest instructions in a block at most.
const MOST: usize = 64;

/// Where in the page an instruction lies that reaches into the next one.
pub const CROSSING: u16 = PAGE_SIZE as u16 - 2;

/// One instruction of a block.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub insn: Insn,
    /// Where in the page it lies.
    pub at: u16,
    /// It is a jump within the page that the block simply follows.
    pub followed: bool,
}

impl Step {
    /// Where in the page the next one in memory lies; the page's size if that is the next page.
    pub fn end(&self) -> u16 {
        self.at + u16::from(self.insn.len)
    }
    /// Where in the page, or before or behind it, a branch or `jal` leads.
    pub fn target(&self) -> i64 {
        i64::from(self.at) + i64::from(self.insn.imm)
    }
}

/// The guest code of one block.
#[derive(Debug)]
pub struct Translation {
    pub(super) key: Key,
    pub(super) steps: Vec<Step>,
    /// Behind them comes an instruction that reaches into the next page, wherever that lies:
    /// the definition executes it.
    pub(super) crosses: bool,
}

/// Whether a branch that leads here stays in the page.
pub fn is_in_page(target: i64) -> bool {
    (0..PAGE_SIZE as i64).contains(&target)
}

/// What is found at a place in RAM.
enum Found {
    Instruction(Insn),
    /// One that reaches into the next page.
    Crossing,
    /// None that there is.
    Nothing,
}

fn find(ram: &Ram, offset: u64) -> Found {
    let parcel = |offset| ram.load_at::<u16>(offset).unwrap_or(0);
    let low = parcel(offset);
    let bits = if ringer_isa::length(low) == 2 {
        u32::from(low)
    } else if (offset + 2).is_multiple_of(PAGE_SIZE) {
        return Found::Crossing;
    } else {
        u32::from(low) | u32::from(parcel(offset + 2)) << 16
    };
    decode(bits).map_or(Found::Nothing, Found::Instruction)
}

impl Translation {
    /// The block that begins at `key`; `None` if its first instruction is for the definition.
    pub fn of(ram: &Ram, key: Key) -> Option<Self> {
        let page = key.page() << PAGE_SHIFT;
        let mut at = (key.offset() - page) as u16;
        let mut steps: Vec<Step> = Vec::with_capacity(MOST);
        let mut crosses = false;
        while steps.len() + 1 < MOST && u64::from(at) < PAGE_SIZE {
            let insn = match find(ram, page + u64::from(at)) {
                Found::Instruction(insn) => insn,
                Found::Crossing => {
                    crosses = true;
                    break;
                }
                Found::Nothing => break,
            };
            let mut step = Step {
                insn,
                at,
                followed: false,
            };
            let next = step.end();
            let target = step.target();
            let mut ends = ends_block(&insn);
            if insn.op == Op::Jal && insn.rd == 0 && is_in_page(target) {
                let seen = steps.iter().any(|step| i64::from(step.at) == target);
                // Backward jumps close loops: those are better linked than unrolled.
                if target > i64::from(at) && !seen && steps.len() + 1 < MOST {
                    step.followed = true;
                    ends = false;
                }
            }
            steps.push(step);
            if ends || (insn.op.class() == Class::Branch && insn.imm < 0) {
                break;
            }
            at = if step.followed { target as u16 } else { next };
        }
        (crosses || !steps.is_empty()).then_some(Self {
            key,
            steps,
            crosses,
        })
    }

    /// A number that another block has if its code differs.
    pub fn fingerprint(&self) -> u64 {
        let mut spread = Spread::default();
        for step in &self.steps {
            spread.write_u64(u64::from(step.insn.bits) << 16 | u64::from(step.at));
        }
        spread.write_u64(self.count() as u64);
        spread.finish()
    }

    /// Whether one of its instructions lies at this place in the page.
    pub fn has(&self, at: u16) -> bool {
        self.steps.iter().any(|step| step.at == at) || self.crosses && at == CROSSING
    }

    /// How many instructions it has.
    pub(super) fn count(&self) -> usize {
        self.steps.len() + usize::from(self.crosses)
    }
}

/// Whether nothing that follows `insn` in memory is reached by falling through.
fn ends_block(insn: &Insn) -> bool {
    matches!(
        insn.op,
        Op::Jal
            | Op::Jalr
            | Op::Ecall
            | Op::Ebreak
            | Op::Mret
            | Op::Sret
            | Op::Wfi
            | Op::FenceI
            | Op::SfenceVma
            | Op::SinvalVma
    )
}
