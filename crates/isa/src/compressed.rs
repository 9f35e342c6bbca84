//! Compressed instructions: a second table, each row saying what the parcel expands to.

use crate::insn::Insn;
use crate::moves::{Move, gather, scatter};
use crate::table::Op;

/// Where a register's number comes from: `(parcel >> shift & mask) + base`.
#[derive(Clone, Copy, Debug)]
struct Register {
    shift: u8,
    mask: u8,
    base: u8,
}

const fn fixed(number: u8) -> Register {
    Register {
        shift: 0,
        mask: 0,
        base: number,
    }
}

const X0: Register = fixed(0);
const RA: Register = fixed(1);
const SP: Register = fixed(2);
/// Any register, in bits 11:7.
const R7: Register = Register {
    shift: 7,
    mask: 31,
    base: 0,
};
/// Any register, in bits 6:2.
const R2: Register = Register {
    shift: 2,
    mask: 31,
    base: 0,
};
/// One of x8 to x15, in bits 9:7.
const P7: Register = Register {
    shift: 7,
    mask: 7,
    base: 8,
};
/// One of x8 to x15, in bits 4:2.
const P2: Register = Register {
    shift: 2,
    mask: 7,
    base: 8,
};

impl Register {
    #[inline]
    fn get(self, parcel: u16) -> u8 {
        ((parcel >> self.shift) as u8 & self.mask) + self.base
    }

    /// The bits of a parcel that say `number`, if there are any that do.
    fn put(self, number: u8) -> Option<u16> {
        let field = number.checked_sub(self.base)?;
        (field & !self.mask == 0).then_some(u16::from(field) << self.shift)
    }
}

/// Where an immediate comes from.
#[derive(Clone, Copy, Debug)]
struct Immediate {
    moves: &'static [Move],
    /// Bits in a signed immediate; 32 if it is unsigned.
    width: u8,
    /// Added to it; the whole value if there are no bits.
    base: i32,
}

const fn unsigned(moves: &'static [Move]) -> Immediate {
    Immediate {
        moves,
        width: 32,
        base: 0,
    }
}

const fn signed(width: u8, moves: &'static [Move]) -> Immediate {
    Immediate {
        moves,
        width,
        base: 0,
    }
}

const fn constant(value: i32) -> Immediate {
    Immediate {
        moves: &[],
        width: 32,
        base: value,
    }
}

const fn m(from: u8, width: u8, to: u8) -> Move {
    Move::new(from, width, to)
}

const NONE: Immediate = constant(0);
const IMM6: Immediate = signed(6, &[m(2, 5, 0), m(12, 1, 5)]);
const SHIFT: Immediate = unsigned(&[m(2, 5, 0), m(12, 1, 5)]);
const UPPER: Immediate = signed(18, &[m(2, 5, 12), m(12, 1, 17)]);
const ADDI16SP: Immediate = signed(
    10,
    &[m(2, 1, 5), m(3, 2, 7), m(5, 1, 6), m(6, 1, 4), m(12, 1, 9)],
);
const ADDI4SPN: Immediate = unsigned(&[m(5, 1, 3), m(6, 1, 2), m(7, 4, 6), m(11, 2, 4)]);
const WORD: Immediate = unsigned(&[m(5, 1, 6), m(6, 1, 2), m(10, 3, 3)]);
const DOUBLE: Immediate = unsigned(&[m(5, 2, 6), m(10, 3, 3)]);
const BYTE: Immediate = unsigned(&[m(5, 1, 1), m(6, 1, 0)]);
const HALF: Immediate = unsigned(&[m(5, 1, 1)]);
const WORD_SP: Immediate = unsigned(&[m(2, 2, 6), m(4, 3, 2), m(12, 1, 5)]);
const DOUBLE_SP: Immediate = unsigned(&[m(2, 3, 6), m(5, 2, 3), m(12, 1, 5)]);
const STORE_WORD_SP: Immediate = unsigned(&[m(7, 2, 6), m(9, 4, 2)]);
const STORE_DOUBLE_SP: Immediate = unsigned(&[m(7, 3, 6), m(10, 3, 3)]);
const BRANCH: Immediate = signed(
    9,
    &[m(2, 1, 5), m(3, 2, 1), m(5, 2, 6), m(10, 2, 3), m(12, 1, 8)],
);
const JUMP: Immediate = signed(
    12,
    &[
        m(2, 1, 5),
        m(3, 3, 1),
        m(6, 1, 7),
        m(7, 1, 6),
        m(8, 1, 10),
        m(9, 2, 8),
        m(11, 1, 4),
        m(12, 1, 11),
    ],
);
const MAY_BE: Immediate = Immediate {
    moves: &[m(8, 3, 1)],
    width: 32,
    base: 1,
};

impl Immediate {
    #[inline]
    fn get(self, parcel: u16) -> i32 {
        let unused = 32 - u32::from(self.width);
        ((gather(u32::from(parcel), self.moves) << unused) as i32 >> unused) + self.base
    }

    /// The bits of a parcel for `value`, those lost that have no place.
    fn put(self, value: i32) -> u16 {
        scatter(value.wrapping_sub(self.base) as u32, self.moves) as u16
    }
}

/// Operands that are reserved although the bits match.
#[derive(Clone, Copy, Debug)]
enum Reserved {
    Nothing,
    ImmediateZero,
    RdZero,
    Rs1Zero,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    mask: u16,
    bits: u16,
    op: Op,
    rd: Register,
    rs1: Register,
    rs2: Register,
    imm: Immediate,
    reserved: Reserved,
}

macro_rules! rows {
    ($($mask:literal $bits:literal $op:ident $rd:ident $rs1:ident $rs2:ident
        $imm:ident $(($arg:expr))? $(, $reserved:ident)?;)*) => {
        &[$(Row {
            mask: $mask,
            bits: $bits,
            op: Op::$op,
            rd: $rd,
            rs1: $rs1,
            rs2: $rs2,
            imm: $imm $(($arg))?,
            reserved: rows!(@ $($reserved)?),
        },)*]
    };
    (@) => { Reserved::Nothing };
    (@ $reserved:ident) => { Reserved::$reserved };
}

/// The rows by quadrant (bits 1:0) and bits 15:13, those with more fixed bits first.
///
/// What the manual calls hints (`c.li x0`, `c.slli` by 0 …) has no rows of its own: the
/// expansions do nothing either.
static TABLE: [[&[Row]; 8]; 3] = [
    [
        rows! { 0xe003 0x0000 Addi P2 SP X0 ADDI4SPN, ImmediateZero; },
        rows! { 0xe003 0x2000 Fld P2 P7 X0 DOUBLE; },
        rows! { 0xe003 0x4000 Lw P2 P7 X0 WORD; },
        rows! { 0xe003 0x6000 Ld P2 P7 X0 DOUBLE; },
        rows! {
            0xfc43 0x8400 Lhu P2 P7 X0 HALF;
            0xfc43 0x8440 Lh P2 P7 X0 HALF;
            0xfc43 0x8c00 Sh X0 P7 P2 HALF;
            0xfc03 0x8000 Lbu P2 P7 X0 BYTE;
            0xfc03 0x8800 Sb X0 P7 P2 BYTE;
        },
        rows! { 0xe003 0xa000 Fsd X0 P7 P2 DOUBLE; },
        rows! { 0xe003 0xc000 Sw X0 P7 P2 WORD; },
        rows! { 0xe003 0xe000 Sd X0 P7 P2 DOUBLE; },
    ],
    [
        rows! { 0xe003 0x0001 Addi R7 R7 X0 IMM6; },
        rows! { 0xe003 0x2001 Addiw R7 R7 X0 IMM6, RdZero; },
        rows! { 0xe003 0x4001 Addi R7 X0 X0 IMM6; },
        rows! {
            0xf8ff 0x6081 CMop X0 X0 X0 MAY_BE;
            0xef83 0x6101 Addi SP SP X0 ADDI16SP, ImmediateZero;
            0xe003 0x6001 Lui R7 X0 X0 UPPER, ImmediateZero;
        },
        rows! {
            0xfc7f 0x9c61 Andi P7 P7 X0 constant(255);
            0xfc7f 0x9c65 SextB P7 P7 X0 NONE;
            0xfc7f 0x9c69 ZextH P7 P7 X0 NONE;
            0xfc7f 0x9c6d SextH P7 P7 X0 NONE;
            0xfc7f 0x9c71 AddUw P7 P7 X0 NONE;
            0xfc7f 0x9c75 Xori P7 P7 X0 constant(-1);
            0xfc63 0x8c01 Sub P7 P7 P2 NONE;
            0xfc63 0x8c21 Xor P7 P7 P2 NONE;
            0xfc63 0x8c41 Or P7 P7 P2 NONE;
            0xfc63 0x8c61 And P7 P7 P2 NONE;
            0xfc63 0x9c01 Subw P7 P7 P2 NONE;
            0xfc63 0x9c21 Addw P7 P7 P2 NONE;
            0xfc63 0x9c41 Mul P7 P7 P2 NONE;
            0xec03 0x8001 Srli P7 P7 X0 SHIFT;
            0xec03 0x8401 Srai P7 P7 X0 SHIFT;
            0xec03 0x8801 Andi P7 P7 X0 IMM6;
        },
        rows! { 0xe003 0xa001 Jal X0 X0 X0 JUMP; },
        rows! { 0xe003 0xc001 Beq X0 P7 X0 BRANCH; },
        rows! { 0xe003 0xe001 Bne X0 P7 X0 BRANCH; },
    ],
    [
        rows! { 0xe003 0x0002 Slli R7 R7 X0 SHIFT; },
        rows! { 0xe003 0x2002 Fld R7 SP X0 DOUBLE_SP; },
        rows! { 0xe003 0x4002 Lw R7 SP X0 WORD_SP, RdZero; },
        rows! { 0xe003 0x6002 Ld R7 SP X0 DOUBLE_SP, RdZero; },
        rows! {
            0xffff 0x9002 Ebreak X0 X0 X0 NONE;
            0xf07f 0x8002 Jalr X0 R7 X0 NONE, Rs1Zero;
            0xf07f 0x9002 Jalr RA R7 X0 NONE;
            0xf003 0x8002 Add R7 X0 R2 NONE;
            0xf003 0x9002 Add R7 R7 R2 NONE;
        },
        rows! { 0xe003 0xa002 Fsd X0 SP R2 STORE_DOUBLE_SP; },
        rows! { 0xe003 0xc002 Sw X0 SP R2 STORE_WORD_SP; },
        rows! { 0xe003 0xe002 Sd X0 SP R2 STORE_DOUBLE_SP; },
    ],
];

/// Decodes a compressed instruction.
pub(crate) fn decode(parcel: u16) -> Option<Insn> {
    let rows = TABLE.get(usize::from(parcel & 3))?[usize::from(parcel >> 13)];
    let row = rows.iter().find(|row| parcel & row.mask == row.bits)?;
    let insn = Insn {
        rd: row.rd.get(parcel),
        rs1: row.rs1.get(parcel),
        rs2: row.rs2.get(parcel),
        len: 2,
        imm: row.imm.get(parcel),
        bits: u32::from(parcel),
        ..Insn::new(row.op)
    };
    let reserved = match row.reserved {
        Reserved::Nothing => false,
        Reserved::ImmediateZero => insn.imm == 0,
        Reserved::RdZero => insn.rd == 0,
        Reserved::Rs1Zero => insn.rs1 == 0,
    };
    (!reserved).then_some(insn)
}

/// Encodes an instruction in two bytes if it fits.
pub(crate) fn encode(insn: &Insn) -> Option<u16> {
    TABLE
        .iter()
        .flatten()
        .copied()
        .flatten()
        .filter(|row| row.op == insn.op)
        .find_map(|row| {
            let registers =
                row.rd.put(insn.rd)? | row.rs1.put(insn.rs1)? | row.rs2.put(insn.rs2)?;
            let parcel = row.bits | registers | row.imm.put(insn.imm);
            // Operands that do not fit, are reserved, or mean another row come back different.
            let back = decode(parcel)?;
            (Insn {
                bits: insn.bits,
                ..back
            } == *insn)
                .then_some(parcel)
        })
}
