//! How the operands of 32-bit instructions are laid out, and what that says about them.

use crate::disassemble::Operands;
use crate::moves::Move;

/// The layout of an instruction's operands.
///
/// The fields named here are those of [`crate::Insn`] that the format fills; the others are zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Format {
    /// `rd, rs1, rs2`.
    R,
    /// `rd, rs1`.
    RUnary,
    /// `rd, rs1, imm`: 12 bits, signed.
    I,
    /// `rd, rs1, imm`: a shift by 0 to 63.
    Shift64,
    /// `rd, rs1, imm`: a shift by 0 to 31.
    Shift32,
    /// `rd, imm(rs1)`, from memory.
    Load,
    /// `rs2, imm(rs1)`, to memory.
    Store,
    /// `rs1, rs2, imm`: a conditional jump by `imm` bytes.
    Branch,
    /// `rd, imm(rs1)`: an indirect jump.
    JumpRegister,
    /// `rd, imm`: a jump by `imm` bytes.
    Jump,
    /// `rd, imm`: the upper 20 bits, in place.
    Upper,
    /// `imm`: fm, pred and succ of a fence. `rd` and `rs1` are reserved, kept and ignored.
    Fence,
    /// `rd, imm, rs1`: `imm` is the number of a CSR.
    Csr,
    /// `rd, imm, rs1`: `imm` is the number of a CSR and `rs1` itself the 5-bit operand.
    CsrImmediate,
    /// No operands.
    System,
    /// `rs1, rs2`: an address and an address space, for fences of translations.
    AddressFence,
    /// `(rs1)`: an address in a cache block.
    CacheBlock,
    /// `rd, (rs1)`: hypervisor loads.
    GuestLoad,
    /// `rs2, (rs1)`: hypervisor stores.
    GuestStore,
    /// `rd, rs2, (rs1)`; `rm` is `aq << 1 | rl`.
    Atomic,
    /// As [`Format::Atomic`], on register pairs: `rd` and `rs2` are even.
    AtomicPair,
    /// `rd, (rs1)`; `rm` is `aq << 1 | rl`.
    LoadReserved,
    /// `rd, rs1`; `imm` is the n of `mop.r.n`.
    MayBeUnary,
    /// `rd, rs1, rs2`; `imm` is the n of `mop.rr.n`.
    MayBeBinary,
    /// `imm` is the n of `c.mop.n`; exists in compressed form only.
    MayBeCompressed,
    /// `rd, imm(rs1)`, `rd` floating-point.
    FloatLoad,
    /// `rs2, imm(rs1)`, `rs2` floating-point.
    FloatStore,
    /// `rd, rs1, rs2`, all floating-point.
    Float,
    /// `rd, rs1, rs2`, all floating-point, rounded by `rm`.
    FloatRounded,
    /// `rd, rs1`, both floating-point, rounded by `rm`.
    FloatUnaryRounded,
    /// `rd, rs1, rs2, rs3`, all floating-point, rounded by `rm`.
    FloatFused,
    /// `rd, rs1, rs2`, `rd` integer and the sources floating-point.
    FloatCompare,
    /// `rd, rs1`, from floating-point to integer.
    FloatToInteger,
    /// `rd, rs1`, from floating-point to integer, rounded by `rm`.
    FloatToIntegerRounded,
    /// `rd, rs1`, from integer to floating-point.
    IntegerToFloat,
    /// `rd, rs1`, from integer to floating-point, rounded by `rm`.
    IntegerToFloatRounded,
    /// `rd, rs1`: `rs1` itself is the index of a constant, `rd` floating-point.
    FloatConstant,
}

/// What kind of thing an instruction does, as far as an engine has to treat it apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    /// Computes on integer registers.
    Integer,
    /// Computes on floating-point registers, or moves between the two kinds.
    Float,
    /// A conditional jump.
    Branch,
    /// An unconditional jump.
    Jump,
    /// Loads from memory, into either kind of register. Hypervisor loads too.
    Load,
    /// Stores to memory, from either kind of register. Hypervisor stores too.
    Store,
    /// `lr`, `sc` and the atomic memory operations.
    Atomic,
    /// Orders memory accesses or instruction fetches.
    Fence,
    /// Works on a cache block.
    CacheBlock,
    /// Reads or writes a CSR.
    Csr,
    /// Traps, returns, waits, and fences of address translations.
    System,
}

/// Where the n of `mop.r.n` is.
pub(crate) const MAY_BE_UNARY: &[Move] = &[
    Move::new(20, 2, 0),
    Move::new(26, 2, 2),
    Move::new(30, 1, 4),
];
/// Where the n of `mop.rr.n` is.
pub(crate) const MAY_BE_BINARY: &[Move] = &[Move::new(26, 2, 0), Move::new(30, 1, 2)];

impl Format {
    /// The bits of the encoding that are fixed in this format.
    pub const fn mask(self) -> u32 {
        match self {
            Self::Jump | Self::Upper => 0x0000_007f,
            Self::I
            | Self::Load
            | Self::Store
            | Self::Branch
            | Self::JumpRegister
            | Self::Fence
            | Self::Csr
            | Self::CsrImmediate
            | Self::FloatLoad
            | Self::FloatStore => 0x0000_707f,
            Self::Shift64 => 0xfc00_707f,
            Self::R | Self::Shift32 | Self::Float | Self::FloatCompare => 0xfe00_707f,
            Self::RUnary
            | Self::GuestLoad
            | Self::FloatToInteger
            | Self::IntegerToFloat
            | Self::FloatConstant => 0xfff0_707f,
            Self::AddressFence | Self::GuestStore => 0xfe00_7fff,
            Self::CacheBlock => 0xfff0_7fff,
            Self::Atomic | Self::AtomicPair => 0xf800_707f,
            Self::LoadReserved => 0xf9f0_707f,
            Self::MayBeUnary => 0xb3c0_707f,
            Self::MayBeBinary => 0xb200_707f,
            Self::FloatRounded => 0xfe00_007f,
            Self::FloatUnaryRounded | Self::FloatToIntegerRounded | Self::IntegerToFloatRounded => {
                0xfff0_007f
            }
            Self::FloatFused => 0x0600_007f,
            Self::System | Self::MayBeCompressed => 0xffff_ffff,
        }
    }

    /// Whether rd is a floating-point register.
    pub fn writes_float(self) -> bool {
        Operands::of(self).starts_with('D')
    }

    /// What kind of instruction has this format.
    pub const fn class(self) -> Class {
        match self {
            Self::R
            | Self::RUnary
            | Self::I
            | Self::Shift64
            | Self::Shift32
            | Self::Upper
            | Self::MayBeUnary
            | Self::MayBeBinary
            | Self::MayBeCompressed => Class::Integer,
            Self::Branch => Class::Branch,
            Self::Jump | Self::JumpRegister => Class::Jump,
            Self::Load | Self::FloatLoad | Self::GuestLoad => Class::Load,
            Self::Store | Self::FloatStore | Self::GuestStore => Class::Store,
            Self::Atomic | Self::AtomicPair | Self::LoadReserved => Class::Atomic,
            Self::Fence => Class::Fence,
            Self::CacheBlock => Class::CacheBlock,
            Self::Csr | Self::CsrImmediate => Class::Csr,
            Self::System | Self::AddressFence => Class::System,
            Self::Float
            | Self::FloatRounded
            | Self::FloatUnaryRounded
            | Self::FloatFused
            | Self::FloatCompare
            | Self::FloatToInteger
            | Self::FloatToIntegerRounded
            | Self::IntegerToFloat
            | Self::IntegerToFloatRounded
            | Self::FloatConstant => Class::Float,
        }
    }

    /// Whether `rm` holds a rounding mode.
    pub const fn has_rounding_mode(self) -> bool {
        matches!(
            self,
            Self::FloatRounded
                | Self::FloatUnaryRounded
                | Self::FloatFused
                | Self::FloatToIntegerRounded
                | Self::IntegerToFloatRounded
        )
    }
}
