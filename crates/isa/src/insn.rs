//! A decoded instruction.

use crate::table::Op;

/// One decoded instruction: 16 bytes, so that predecoded code stays small.
///
/// What each field holds is fixed by the instruction's [`crate::table::Format`]; fields that a
/// format does not use are zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Insn {
    /// Which instruction.
    pub op: Op,
    /// Destination register, integer or floating-point by `op`.
    pub rd: u8,
    /// First source register; the 5-bit immediate of `csrr?i` and `fli`.
    pub rs1: u8,
    /// Second source register.
    pub rs2: u8,
    /// Third source register of the fused multiply-adds.
    pub rs3: u8,
    /// The rounding-mode field of floating-point instructions; `aq << 1 | rl` of atomics.
    pub rm: u8,
    /// Bytes in the encoding: 2 or 4. A compressed instruction is otherwise its expansion.
    pub len: u8,
    /// The immediate, sign-extended; the shift amount; the CSR number (0 to 4095); the fm, pred
    /// and succ fields of `fence` as one 12-bit number. For `lui` and `auipc` it is the whole
    /// value, its low 12 bits zero.
    pub imm: i32,
    /// The encoding itself, zero-extended if compressed.
    pub bits: u32,
}

impl Insn {
    /// The 4-byte form of `op` with all operands zero, to be completed by struct update; its
    /// `bits` are zero until [`crate::encode`] gives them.
    pub const fn new(op: Op) -> Self {
        Self {
            op,
            rd: 0,
            rs1: 0,
            rs2: 0,
            rs3: 0,
            rm: 0,
            len: 4,
            imm: 0,
            bits: 0,
        }
    }
}
