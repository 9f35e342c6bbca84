//! The decoder.

use crate::compressed;
use crate::format::{Format, MAY_BE_BINARY, MAY_BE_UNARY};
use crate::insn::Insn;
use crate::moves::gather;
use crate::table::{Op, ROWS, Row, TABLE};

/// Bytes in the instruction that starts with `parcel`.
#[inline]
pub const fn length(parcel: u16) -> u8 {
    if parcel & 3 == 3 { 4 } else { 2 }
}

/// Decodes an instruction; `None` if there is no such one. If the low two bits say that it is
/// compressed, the upper half of `bits` does not matter.
#[inline]
pub fn decode(bits: u32) -> Option<Insn> {
    if length(bits as u16) == 2 {
        return compressed::decode(bits as u16);
    }
    let bucket = bucket(bits);
    let first = usize::from(BUCKETS.starts[bucket]);
    let end = usize::from(BUCKETS.starts[bucket + 1]);
    BUCKETS.ops[first..end]
        .iter()
        .find_map(|&op| {
            let row = &TABLE[usize::from(op)];
            (bits & row.format.mask() == row.bits).then_some(row)
        })
        .and_then(|row| operands(row, bits))
}

/// The instruction of this row with the operands that `bits` has; `None` if they are reserved.
#[inline]
pub(crate) fn operands(row: &Row, bits: u32) -> Option<Insn> {
    let register = |at: u32| (bits >> at & 31) as u8;
    let (rd, rs1, rs2, rs3) = (register(7), register(15), register(20), register(27));
    let rm = (bits >> 12 & 7) as u8;
    let upper_12 = bits as i32 >> 20;
    let mut insn = Insn {
        bits,
        ..Insn::new(row.op)
    };
    match row.format {
        Format::R | Format::Float | Format::FloatCompare => {
            (insn.rd, insn.rs1, insn.rs2) = (rd, rs1, rs2);
        }
        Format::RUnary
        | Format::GuestLoad
        | Format::FloatToInteger
        | Format::IntegerToFloat
        | Format::FloatConstant => (insn.rd, insn.rs1) = (rd, rs1),
        Format::I | Format::Load | Format::JumpRegister | Format::FloatLoad => {
            (insn.rd, insn.rs1, insn.imm) = (rd, rs1, upper_12);
        }
        Format::Shift64 => (insn.rd, insn.rs1, insn.imm) = (rd, rs1, upper_12 & 63),
        Format::Shift32 => (insn.rd, insn.rs1, insn.imm) = (rd, rs1, upper_12 & 31),
        Format::Store | Format::FloatStore => {
            (insn.rs1, insn.rs2, insn.imm) = (rs1, rs2, upper_12 & !31 | i32::from(rd));
        }
        Format::Branch => {
            let low = bits >> 7 & 0x1e | bits >> 20 & 0x7e0 | bits << 4 & 0x800;
            let sign = bits as i32 >> 31 << 12;
            (insn.rs1, insn.rs2, insn.imm) = (rs1, rs2, low as i32 | sign);
        }
        Format::Jump => {
            let low = bits >> 20 & 0x7fe | bits >> 9 & 0x800 | bits & 0xf_f000;
            let sign = bits as i32 >> 31 << 20;
            (insn.rd, insn.imm) = (rd, low as i32 | sign);
        }
        Format::Upper => (insn.rd, insn.imm) = (rd, bits as i32 & !0xfff),
        Format::Fence | Format::Csr | Format::CsrImmediate => {
            (insn.rd, insn.rs1, insn.imm) = (rd, rs1, upper_12 & 0xfff);
        }
        Format::System | Format::MayBeCompressed => {}
        Format::AddressFence | Format::GuestStore => (insn.rs1, insn.rs2) = (rs1, rs2),
        Format::CacheBlock => insn.rs1 = rs1,
        Format::Atomic | Format::LoadReserved => {
            (insn.rd, insn.rs1, insn.rs2) = (rd, rs1, rs2);
            insn.rm = (bits >> 25 & 3) as u8;
        }
        Format::AtomicPair => {
            if (rd | rs2) & 1 != 0 {
                return None;
            }
            (insn.rd, insn.rs1, insn.rs2) = (rd, rs1, rs2);
            insn.rm = (bits >> 25 & 3) as u8;
        }
        Format::MayBeUnary => {
            (insn.rd, insn.rs1, insn.imm) = (rd, rs1, gather(bits, MAY_BE_UNARY) as i32);
        }
        Format::MayBeBinary => {
            (insn.rd, insn.rs1, insn.rs2) = (rd, rs1, rs2);
            insn.imm = gather(bits, MAY_BE_BINARY) as i32;
        }
        Format::FloatRounded => (insn.rd, insn.rs1, insn.rs2, insn.rm) = (rd, rs1, rs2, rm),
        Format::FloatUnaryRounded
        | Format::FloatToIntegerRounded
        | Format::IntegerToFloatRounded => (insn.rd, insn.rs1, insn.rm) = (rd, rs1, rm),
        Format::FloatFused => {
            (insn.rd, insn.rs1, insn.rs2, insn.rs3, insn.rm) = (rd, rs1, rs2, rs3, rm);
        }
    }
    Some(insn)
}

/// Instructions are sought by major opcode, bits 14:12 and bits 31:27; together 13 bits.
const BUCKET_BITS: u32 = 0x1f << 27 | 7 << 12 | 0x1f << 2;
const BUCKET_COUNT: usize = 1 << 13;

const fn bucket(bits: u32) -> usize {
    (bits >> 27 << 8 | (bits >> 12 & 7) << 5 | bits >> 2 & 0x1f) as usize
}

/// For each bucket the instructions that can be in it, those with more fixed bits first.
struct Buckets {
    /// Where each bucket begins in `ops`, and at last where the last one ends.
    starts: [u16; BUCKET_COUNT + 1],
    ops: [u16; ENTRIES],
}

static BUCKETS: Buckets = fill_buckets();

/// Instructions in all buckets together; most are in more than one.
const ENTRIES: usize = {
    let mut entries = 0;
    let mut i = 0;
    while i < ROWS.len() {
        entries += 1 << (BUCKET_BITS & !ROWS[i].format.mask()).count_ones();
        i += 1;
    }
    entries
};

const fn fill_buckets() -> Buckets {
    let mut starts = [0; BUCKET_COUNT + 1];
    let mut ops = [0; ENTRIES];
    let mut i = 0;
    while i < ROWS.len() {
        let free = BUCKET_BITS & !ROWS[i].format.mask();
        // Visits every subset of the free bits: adding 1 to all but those carries over the gaps.
        let mut choice = 0;
        loop {
            starts[bucket(ROWS[i].bits | choice) + 1] += 1;
            choice = (choice | !free).wrapping_add(1) & free;
            if choice == 0 {
                break;
            }
        }
        i += 1;
    }
    let mut b = 0;
    while b < BUCKET_COUNT {
        starts[b + 1] += starts[b];
        b += 1;
    }
    let mut next = starts;
    let mut fixed = 32;
    while fixed > 0 {
        let mut i = 0;
        while i < ROWS.len() {
            let mask = ROWS[i].format.mask();
            if mask.count_ones() == fixed {
                let free = BUCKET_BITS & !mask;
                let mut choice = 0;
                loop {
                    let b = bucket(ROWS[i].bits | choice);
                    ops[next[b] as usize] = i as u16;
                    next[b] += 1;
                    choice = (choice | !free).wrapping_add(1) & free;
                    if choice == 0 {
                        break;
                    }
                }
            }
            i += 1;
        }
        fixed -= 1;
    }
    Buckets { starts, ops }
}

const _: () = assert!(Op::ALL.len() == ROWS.len() && size_of::<Insn>() == 16);
