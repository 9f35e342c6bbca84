//! Instructions that the monitor has met, decoded, by their encodings. What an encoding means
//! never changes, so nothing here has to be forgotten.

use alloc::boxed::Box;
use alloc::vec;

use ringer_isa::{Insn, Op, decode};

use crate::exits::Why;

/// Instructions that are remembered, a power of two.
const INSTRUCTIONS: usize = 512;

/// An instruction, and how the real hart takes it in U-mode.
#[derive(Clone, Copy)]
pub struct Decoded {
    /// The instruction.
    pub insn: Insn,
    /// How the real hart takes it.
    pub kind: Kind,
}

/// How the real hart takes an instruction in U-mode.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It executes it.
    Plain,
    /// It traps.
    Traps,
    /// It needs the floating-point unit.
    Float,
}

impl Kind {
    fn of(insn: &Insn) -> Self {
        if uses_float(insn) {
            return Self::Float;
        }
        let calls = matches!(insn.op, Op::Ecall | Op::Ebreak);
        if calls || Why::emulating(insn) != Why::Instruction {
            Self::Traps
        } else {
            Self::Plain
        }
    }
}

/// The instructions.
pub struct Decoder(Box<[Option<Decoded>]>);

impl Default for Decoder {
    fn default() -> Self {
        Self(vec![None; INSTRUCTIONS].into_boxed_slice())
    }
}

impl Decoder {
    /// The instruction with this encoding, if it is one.
    #[inline]
    pub fn get(&mut self, bits: u32) -> Option<&Decoded> {
        let index = (bits >> 2 ^ bits >> 7 ^ bits >> 15) as usize & (INSTRUCTIONS - 1);
        let place = self.0.get_mut(index)?;
        if place.as_ref().is_none_or(|known| known.insn.bits != bits) {
            let insn = decode(bits)?;
            let kind = Kind::of(&insn);
            *place = Some(Decoded { insn, kind });
        }
        place.as_ref()
    }
}

/// Whether an instruction needs the floating-point unit's state.
fn uses_float(insn: &Insn) -> bool {
    const FFLAGS: i32 = 1;
    const FCSR: i32 = 3;
    match insn.op {
        Op::Csrrw | Op::Csrrs | Op::Csrrc | Op::Csrrwi | Op::Csrrsi | Op::Csrrci => {
            (FFLAGS..=FCSR).contains(&insn.imm)
        }
        // Loads, stores, fused multiply-adds and all others, by their major opcodes; compressed
        // loads and stores have an encoding of their own.
        _ if insn.len == 4 => {
            matches!(
                insn.bits & 0x7f,
                0x07 | 0x27 | 0x43 | 0x47 | 0x4b | 0x4f | 0x53
            )
        }
        _ => insn.bits & 3 != 1 && matches!(insn.bits >> 13 & 7, 1 | 5),
    }
}
