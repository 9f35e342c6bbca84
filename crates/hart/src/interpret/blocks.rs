//! Predecoded code: straight runs of instructions, found by virtual address and kept by place
//! in RAM, so that what is mapped twice is decoded once.
//!
//! Stores are not watched. `fence.i` makes every block suspect; a suspect block is compared
//! with memory before it runs again. That covers the guest's own stores, other harts' and DMA
//! alike, and asks nothing of other threads.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ringer_isa::{Class, Insn, Op, decode};

use super::tlb::Tlb;
use crate::address::PAGE_SIZE;
use crate::bus::Bus;
use crate::hart::Hart;
use crate::memory::TranslationCache;
use crate::ram::Ram;
use crate::translate::Access;

/// Blocks kept by place in RAM (direct-mapped).
const BLOCKS: usize = 1 << 14;
/// Blocks remembered by virtual address (direct-mapped).
const JUMPS: usize = 1 << 12;
/// Instructions in a block.
const BLOCK_LEN: usize = 32;
/// Instructions decoded before everything is dropped: 10 MiB of them.
const ARENA: usize = 1 << 19;

/// What the block cache has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BlockCounts {
    /// Blocks decoded.
    pub decoded: u64,
    /// Blocks found unchanged after a `fence.i`.
    pub revalidated: u64,
    /// Times that everything was dropped for want of room.
    pub dropped: u64,
}

/// An instruction of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Predecoded {
    pub insn: Insn,
    /// Where in the block its branch or jump leads; past any block if it leads elsewhere.
    pub target: u32,
}

/// No place in any block.
const ELSEWHERE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Block {
    /// Where it starts in RAM; odd for none.
    offset: u64,
    /// When it was last known to equal memory.
    epoch: u64,
    first: u32,
    len: u32,
}

#[derive(Clone, Copy, Debug)]
struct Jump {
    pc: u64,
    /// Context name and generation under which this holds.
    stamp: u64,
    first: u32,
    len: u32,
}

const NO_BLOCK: Block = Block {
    offset: 1,
    epoch: 0,
    first: 0,
    len: 0,
};
const NO_JUMP: Jump = Jump {
    pc: 1,
    stamp: 0,
    first: 0,
    len: 0,
};

#[derive(Debug)]
pub(super) struct Blocks {
    arena: Vec<Predecoded>,
    blocks: Box<[Block]>,
    jumps: Box<[Jump]>,
    /// Counts `fence.i`.
    epoch: u64,
    /// Counts whatever makes virtual addresses suspect.
    generation: u64,
    counts: BlockCounts,
}

impl Blocks {
    pub fn new() -> Self {
        Self {
            arena: Vec::new(),
            blocks: alloc::vec![NO_BLOCK; BLOCKS].into_boxed_slice(),
            jumps: alloc::vec![NO_JUMP; JUMPS].into_boxed_slice(),
            epoch: 0,
            generation: 0,
            counts: BlockCounts::default(),
        }
    }

    pub fn counts(&self) -> BlockCounts {
        self.counts
    }

    /// All code is suspect.
    pub fn fence_i(&mut self) {
        self.epoch += 1;
        self.generation += 1;
    }

    /// Virtual addresses may lead elsewhere now.
    pub fn forget_addresses(&mut self) {
        self.generation += 1;
    }

    /// The block at `hart.pc`. `None` if a single step must be taken instead.
    #[inline]
    pub fn find<B: Bus + ?Sized>(
        &mut self,
        hart: &mut Hart,
        bus: &B,
        tlb: &mut Tlb,
    ) -> Option<&[Predecoded]> {
        let pc = hart.pc;
        let stamp = self.generation << 12 | tlb.fetch_context();
        let index = (pc >> 1) as usize % JUMPS;
        let jump = self.jumps.get(index)?;
        let (first, len) = if jump.pc == pc && jump.stamp == stamp {
            (jump.first, jump.len)
        } else {
            let (first, len) = self.find_in_ram(hart, bus, tlb)?;
            // A full arena may just have been dropped: the generation is read anew.
            let stamp = self.generation << 12 | tlb.fetch_context();
            if let Some(jump) = self.jumps.get_mut(index) {
                *jump = Jump {
                    pc,
                    stamp,
                    first,
                    len,
                };
            }
            (first, len)
        };
        self.arena.get(first as usize..(first + len) as usize)
    }

    #[inline(never)]
    fn find_in_ram<B: Bus + ?Sized>(
        &mut self,
        hart: &mut Hart,
        bus: &B,
        tlb: &mut Tlb,
    ) -> Option<(u32, u32)> {
        let ram = bus.ram();
        let offset = match tlb.find(Access::Fetch, hart.pc, 2) {
            Some(offset) => offset,
            None => {
                hart.locate_code(bus, tlb, hart.pc).ok()?;
                // Only what the cache took is uniform over the page, PMP and all.
                tlb.find(Access::Fetch, hart.pc, 2)?
            }
        };
        let index = ((offset >> 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % BLOCKS;
        let known = *self.blocks.get(index)?;
        if known.offset == offset {
            if known.epoch == self.epoch {
                return Some((known.first, known.len));
            }
            if self.unchanged(ram, &known) {
                self.counts.revalidated += 1;
                self.blocks.get_mut(index)?.epoch = self.epoch;
                return Some((known.first, known.len));
            }
        }
        let (first, len) = self.predecode(ram, offset)?;
        *self.blocks.get_mut(index)? = Block {
            offset,
            epoch: self.epoch,
            first,
            len,
        };
        Some((first, len))
    }

    fn unchanged(&self, ram: &Ram, block: &Block) -> bool {
        let range = block.first as usize..(block.first + block.len) as usize;
        let mut at = block.offset;
        self.arena.get(range).is_some_and(|insns| {
            insns.iter().all(|Predecoded { insn, .. }| {
                let same = instruction_at(ram, at) == Some(insn.bits);
                at += u64::from(insn.len);
                same
            })
        })
    }

    fn predecode(&mut self, ram: &Ram, offset: u64) -> Option<(u32, u32)> {
        if self.arena.len() + BLOCK_LEN > ARENA {
            self.counts.dropped += 1;
            self.arena.clear();
            self.blocks.fill(NO_BLOCK);
            self.generation += 1;
        }
        let first = self.arena.len();
        let mut at = offset;
        while self.arena.len() - first < BLOCK_LEN {
            // Not past the page: the next may lie elsewhere.
            let Some(insn) = instruction_at(ram, at).and_then(decode) else {
                break;
            };
            at += u64::from(insn.len);
            self.arena.push(Predecoded {
                insn,
                target: ELSEWHERE,
            });
            if ends_block(insn.op) || at.is_multiple_of(PAGE_SIZE) {
                break;
            }
        }
        let len = self.arena.len() - first;
        if len == 0 {
            return None;
        }
        if let Some(block) = self.arena.get_mut(first..) {
            link(block);
        }
        self.counts.decoded += 1;
        Some((first as u32, len as u32))
    }
}

/// Finds the jumps inside `block`.
fn link(block: &mut [Predecoded]) {
    let mut starts = [0; BLOCK_LEN];
    let mut at = 0;
    for (start, step) in starts.iter_mut().zip(block.iter()) {
        *start = at;
        at += i64::from(step.insn.len);
    }
    let len = block.len();
    for (&from, step) in starts.iter().zip(block) {
        if matches!(step.insn.op.class(), Class::Branch) || step.insn.op == Op::Jal {
            let to = from + i64::from(step.insn.imm);
            let index = starts.iter().take(len).position(|&start| start == to);
            step.target = index.map_or(ELSEWHERE, |index| index as u32);
        }
    }
}

/// The encoding at `offset`, if it does not reach into the next page.
fn instruction_at(ram: &Ram, offset: u64) -> Option<u32> {
    let low = ram.load_at::<u16>(offset)?;
    if ringer_isa::length(low) == 2 {
        return Some(low.into());
    }
    if (offset + 2).is_multiple_of(PAGE_SIZE) {
        return None;
    }
    let high = ram.load_at::<u16>(offset + 2)?;
    Some(u32::from(low) | u32::from(high) << 16)
}

/// Whether nothing can follow `op` in a block: unconditional jumps, and whatever reads counters
/// or changes the mode, the interrupts or the caches.
fn ends_block(op: Op) -> bool {
    matches!(
        op,
        Op::Jal
            | Op::Jalr
            | Op::Csrrw
            | Op::Csrrs
            | Op::Csrrc
            | Op::Csrrwi
            | Op::Csrrsi
            | Op::Csrrci
            | Op::FenceI
            | Op::SfenceVma
            | Op::SinvalVma
            | Op::Ecall
            | Op::Ebreak
            | Op::Mret
            | Op::Sret
            | Op::Wfi
    )
}
