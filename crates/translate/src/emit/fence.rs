//! Ordering of memory accesses. The host keeps their order but in one respect (TSO): a load may
//! be done before a store that comes before it, to another place.

use ringer_isa::{Insn, Op};

use super::Emitter;
use crate::assembler::{Mem, Reg, Width};

/// `pause` is a fence by its encoding, and leaves the run loop.
const PAUSE: u32 = 0x0100_000f;
/// `fence.tso` orders everything but stores before loads, though its sets say otherwise.
const TSO: i32 = 0x833;
/// In the sets before and after a fence (unprivileged 2.7): what reads, and what writes, memory
/// or devices.
const READS: i32 = 0b1010;
const WRITES: i32 = 0b0101;

/// Whether a fence with this immediate keeps loads behind stores.
fn holds_loads_back(imm: i32) -> bool {
    imm >> 4 & WRITES != 0 && imm & READS != 0 && imm & 0xfff != TSO
}

impl Emitter<'_> {
    /// Emits `insn` if it is a `fence`.
    pub(super) fn fence(&mut self, insn: &Insn) -> bool {
        if insn.op != Op::Fence || insn.bits == PAUSE {
            return false;
        }
        if holds_loads_back(insn.imm) {
            self.order_memory();
        }
        true
    }

    /// All accesses so far are done before those that follow.
    pub(super) fn order_memory(&mut self) {
        self.a.lock_or_mi(Width::W32, Mem::at(Reg::Rsp, 0), 0);
    }
}

#[cfg(test)]
mod tests {
    use ringer_isa::decode;

    use super::*;

    #[test]
    fn only_loads_behind_stores_need_the_host_to_be_told() {
        const I: i32 = 8;
        const O: i32 = 4;
        const R: i32 = 2;
        const W: i32 = 1;
        for (before, after, wanted) in [
            (R | W, R | W, true),
            (I | O | R | W, I | O | R | W, true),
            (W, R, true),
            (O, R, true),
            (W, I, true),
            (O, I, true),
            (R, R | W, false),
            (I | R, I | O | R | W, false),
            (R | W, W, false),
            (I | O | R | W, O | W, false),
            (0, R, false),
            (W, 0, false),
        ] {
            assert_eq!(
                holds_loads_back(before << 4 | after),
                wanted,
                "fence {before:04b}, {after:04b}"
            );
        }
        let tso = decode(0x8330_000f).expect("fence.tso");
        assert!(!holds_loads_back(tso.imm));
    }
}
