//! The encoder.

use crate::compressed;
use crate::decode::operands;
use crate::format::{Format, MAY_BE_BINARY, MAY_BE_UNARY};
use crate::insn::Insn;
use crate::moves::scatter;

/// Encodes an instruction from its operation, operands and length; its `bits` do not matter.
/// `None` if an operand does not fit, a field that the format does not use is not zero, or there
/// is no compressed form.
///
/// Where two compressed forms mean the same, it is one of them.
pub fn encode(insn: &Insn) -> Option<u32> {
    match insn.len {
        2 => compressed::encode(insn).map(u32::from),
        4 => encode_wide(insn),
        _ => None,
    }
}

fn encode_wide(insn: &Insn) -> Option<u32> {
    let row = insn.op.row();
    let rd = u32::from(insn.rd) << 7;
    let rs1 = u32::from(insn.rs1) << 15;
    let rs2 = u32::from(insn.rs2) << 20;
    let rs3 = u32::from(insn.rs3) << 27;
    let rm = u32::from(insn.rm) << 12;
    let order = u32::from(insn.rm) << 25;
    let imm = insn.imm as u32;
    let fields = match row.format {
        Format::R | Format::Float | Format::FloatCompare => rd | rs1 | rs2,
        Format::RUnary
        | Format::GuestLoad
        | Format::FloatToInteger
        | Format::IntegerToFloat
        | Format::FloatConstant => rd | rs1,
        Format::I
        | Format::Load
        | Format::JumpRegister
        | Format::FloatLoad
        | Format::Shift64
        | Format::Shift32
        | Format::Fence
        | Format::Csr
        | Format::CsrImmediate => rd | rs1 | imm << 20,
        Format::Store | Format::FloatStore => rs1 | rs2 | (imm & 0x1f) << 7 | imm >> 5 << 25,
        Format::Branch => {
            rs1 | rs2
                | (imm & 0x1e) << 7
                | (imm & 0x7e0) << 20
                | (imm & 0x800) >> 4
                | (imm & 0x1000) << 19
        }
        Format::Jump => {
            rd | (imm & 0x7fe) << 20 | (imm & 0x800) << 9 | imm & 0xf_f000 | (imm & 0x10_0000) << 11
        }
        Format::Upper => rd | imm & !0xfff,
        Format::System => 0,
        Format::AddressFence | Format::GuestStore => rs1 | rs2,
        Format::CacheBlock => rs1,
        Format::Atomic | Format::AtomicPair => rd | rs1 | rs2 | order,
        Format::LoadReserved => rd | rs1 | order,
        Format::MayBeUnary => rd | rs1 | scatter(imm, MAY_BE_UNARY),
        Format::MayBeBinary => rd | rs1 | rs2 | scatter(imm, MAY_BE_BINARY),
        Format::MayBeCompressed => return None,
        Format::FloatRounded => rd | rs1 | rs2 | rm,
        Format::FloatUnaryRounded
        | Format::FloatToIntegerRounded
        | Format::IntegerToFloatRounded => rd | rs1 | rm,
        Format::FloatFused => rd | rs1 | rs2 | rs3 | rm,
    };
    let bits = row.bits | fields;
    // An operand that is too large comes back different, or has spilt into the fixed bits.
    let back = operands(row, bits)?;
    let fits = bits & row.format.mask() == row.bits
        && Insn {
            bits: insn.bits,
            ..back
        } == *insn;
    fits.then_some(bits)
}
