//! How a constant is loaded into a register.

use super::{Assembler, X};
use crate::table::Op;

/// Emits the instructions that put `value` into `rd`.
pub(super) fn load(asm: &mut Assembler, rd: X, value: i64) {
    let low = value << 52 >> 52;
    if value == low {
        asm.i(Op::Addi, rd, X(0), low as i32);
    } else if let Ok(value) = i32::try_from(value) {
        // The upper part may wrap to the other sign here; addiw wraps it back.
        asm.lui(rd, value.wrapping_add(0x800) & !0xfff);
        if low != 0 {
            asm.i(Op::Addiw, rd, rd, low as i32);
        }
    } else {
        // The rest without the low part, as few bits as possible, then shifted into place.
        let rest = value.wrapping_sub(low);
        let shift = rest.trailing_zeros();
        load(asm, rd, rest >> shift);
        asm.i(Op::Slli, rd, rd, shift as i32);
        if low != 0 {
            asm.i(Op::Addi, rd, rd, low as i32);
        }
    }
}
