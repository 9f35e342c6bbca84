//! Bit manipulation: what is left of Zba, Zbb, Zbc, Zbs, Zbkb and Zbkx. Pure functions.

use ringer_isa::{Insn, Op};

use super::word;

/// The value that `insn` computes from `a` and `b`; `None` if it is not of this group.
pub(super) fn evaluate(insn: &Insn, a: u64, b: u64) -> Option<u64> {
    let shamt = insn.imm as u32 & 63;
    let unsigned_word = a & 0xffff_ffff;
    Some(match insn.op {
        Op::Sh1addUw => b.wrapping_add(unsigned_word << 1),
        Op::Sh2addUw => b.wrapping_add(unsigned_word << 2),
        Op::Sh3addUw => b.wrapping_add(unsigned_word << 3),
        Op::SlliUw => unsigned_word << shamt,

        Op::Orn => a | !b,
        Op::Xnor => !(a ^ b),
        Op::Clz => a.leading_zeros().into(),
        Op::Clzw => (a as u32).leading_zeros().into(),
        Op::Ctz => a.trailing_zeros().into(),
        Op::Ctzw => (a as u32).trailing_zeros().into(),
        Op::Cpop => a.count_ones().into(),
        Op::Cpopw => (a as u32).count_ones().into(),
        Op::Max => (a as i64).max(b as i64) as u64,
        Op::Maxu => a.max(b),
        Op::Min => (a as i64).min(b as i64) as u64,
        Op::Minu => a.min(b),
        Op::Rol => a.rotate_left(b as u32 & 63),
        Op::Ror => a.rotate_right(b as u32 & 63),
        Op::Rori => a.rotate_right(shamt),
        Op::Rolw => word((a as u32).rotate_left(b as u32 & 31).into()),
        Op::Rorw => word((a as u32).rotate_right(b as u32 & 31).into()),
        Op::Roriw => word((a as u32).rotate_right(shamt & 31).into()),
        Op::OrcB => each_byte(a, |byte| if byte == 0 { 0 } else { 0xff }),
        Op::Rev8 => a.swap_bytes(),
        Op::Brev8 => each_byte(a, u8::reverse_bits),
        Op::Pack => a & 0xffff_ffff | b << 32,
        Op::Packh => a & 0xff | (b & 0xff) << 8,
        Op::Packw => word(a & 0xffff | (b & 0xffff) << 16),
        Op::Xperm4 => permute(a, b, 4),
        Op::Xperm8 => permute(a, b, 8),

        Op::Clmul => carryless(a, b) as u64,
        Op::Clmulh => (carryless(a, b) >> 64) as u64,
        Op::Clmulr => (carryless(a, b) >> 63) as u64,

        Op::Bclr => a & !(1 << (b & 63)),
        Op::Bclri => a & !(1 << shamt),
        Op::Bext => a >> (b & 63) & 1,
        Op::Bexti => a >> shamt & 1,
        Op::Binv => a ^ 1 << (b & 63),
        Op::Binvi => a ^ 1 << shamt,
        Op::Bset => a | 1 << (b & 63),
        Op::Bseti => a | 1 << shamt,
        _ => return None,
    })
}

fn each_byte(value: u64, map: impl Fn(u8) -> u8) -> u64 {
    u64::from_le_bytes(value.to_le_bytes().map(map))
}

/// Looks up each `width`-bit index of `indices` in the vector `table`; beyond it is 0.
fn permute(table: u64, indices: u64, width: u32) -> u64 {
    let mask = (1 << width) - 1;
    (0..64).step_by(width as usize).fold(0, |result, at| {
        let index = indices >> at & mask;
        let shift = index.saturating_mul(width.into());
        let element = if shift < 64 { table >> shift & mask } else { 0 };
        result | element << at
    })
}

/// The product of polynomials over GF(2).
fn carryless(a: u64, b: u64) -> u128 {
    (0..64).fold(0, |product, bit| {
        if b >> bit & 1 != 0 {
            product ^ u128::from(a) << bit
        } else {
            product
        }
    })
}
