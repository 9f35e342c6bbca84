//! What instructions work on: registers, places in memory, sizes, conditions; and the families
//! of operations, whose members differ by a number in the encoding.

/// A general register.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub enum Reg {
    Rax,
    Rcx,
    Rdx,
    Rbx,
    Rsp,
    Rbp,
    Rsi,
    Rdi,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
}

impl Reg {
    /// All of them, by number.
    pub const ALL: [Self; 16] = [
        Self::Rax,
        Self::Rcx,
        Self::Rdx,
        Self::Rbx,
        Self::Rsp,
        Self::Rbp,
        Self::Rsi,
        Self::Rdi,
        Self::R8,
        Self::R9,
        Self::R10,
        Self::R11,
        Self::R12,
        Self::R13,
        Self::R14,
        Self::R15,
    ];

    /// The number in encodings.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// A vector register, of which scalar floating point uses the low part: 0 to 15.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Xmm(pub u8);

/// The size of an integer operation. One of 32 bits clears the upper half of its result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Width {
    W32,
    W64,
}

/// The size of a memory access: 1, 2, 4 or 8 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Cell {
    B,
    H,
    W,
    D,
}

/// What an index register is multiplied by.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Scale {
    X1,
    X2,
    X4,
    X8,
}

/// A place in memory: base, plus index times scale, plus displacement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mem {
    /// The base register.
    pub base: Reg,
    /// The index register, which cannot be `rsp`.
    pub index: Option<(Reg, Scale)>,
    /// The displacement in bytes.
    pub disp: i32,
}

impl Mem {
    /// `[base + disp]`
    pub const fn at(base: Reg, disp: i32) -> Self {
        Self {
            base,
            index: None,
            disp,
        }
    }

    /// `[base + index * scale + disp]`; `index` cannot be `rsp`.
    pub const fn indexed(base: Reg, index: Reg, scale: Scale, disp: i32) -> Self {
        Self {
            base,
            index: Some((index, scale)),
            disp,
        }
    }
}

/// A condition on the flags, as conditional jumps, moves and sets test it.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cond {
    /// Overflow.
    O = 0,
    /// No overflow.
    No,
    /// Below, unsigned; also: carry.
    B,
    /// Above or equal, unsigned; also: no carry.
    Ae,
    /// Equal.
    E,
    /// Not equal.
    Ne,
    /// Below or equal, unsigned.
    Be,
    /// Above, unsigned.
    A,
    /// Sign.
    S,
    /// No sign.
    Ns,
    /// Parity; after `ucomis`: unordered.
    P,
    /// No parity; after `ucomis`: ordered.
    Np,
    /// Less, signed.
    L,
    /// Greater or equal, signed.
    Ge,
    /// Less or equal, signed.
    Le,
    /// Greater, signed.
    G,
}

impl Cond {
    /// All of them, by number.
    pub const ALL: [Self; 16] = [
        Self::O,
        Self::No,
        Self::B,
        Self::Ae,
        Self::E,
        Self::Ne,
        Self::Be,
        Self::A,
        Self::S,
        Self::Ns,
        Self::P,
        Self::Np,
        Self::L,
        Self::Ge,
        Self::Le,
        Self::G,
    ];

    /// The condition that holds exactly when this one does not.
    pub const fn inverted(self) -> Self {
        Self::ALL[(self as usize) ^ 1]
    }
}

/// Two-operand arithmetic.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Alu {
    Add = 0,
    Or,
    Adc,
    Sbb,
    And,
    Sub,
    Xor,
    Cmp,
}

/// Shifts and rotations.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Shift {
    Rol = 0,
    Ror = 1,
    Shl = 4,
    Shr = 5,
    Sar = 7,
}

/// One-operand arithmetic. `Mul` to `Idiv` work on `rdx:rax`.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Unary {
    Not = 2,
    Neg = 3,
    Mul = 4,
    Imul = 5,
    Div = 6,
    Idiv = 7,
}

/// The format of a floating-point operation: binary32 or binary64.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Precision {
    Single,
    Double,
}

/// Scalar floating-point arithmetic.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum FloatOp {
    Sqrt = 0x51,
    Add = 0x58,
    Mul = 0x59,
    Sub = 0x5c,
    Min = 0x5d,
    Div = 0x5e,
    Max = 0x5f,
}

/// Logic on whole vector registers. `Andn` inverts its destination before the conjunction.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Bitwise {
    And = 0x54,
    Andn = 0x55,
    Or = 0x56,
    Xor = 0x57,
}

/// Fused multiplication and addition (FMA3). The digits say which operands are multiplied and
/// which is added: `Madd231` is `d = a * b + d`, `Madd213` is `d = a * d + b`, `Madd132` is
/// `d = d * b + a`.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Fused {
    Madd132 = 0x99,
    Madd213 = 0xa9,
    Madd231 = 0xb9,
    Msub132 = 0x9b,
    Msub213 = 0xab,
    Msub231 = 0xbb,
    Nmadd132 = 0x9d,
    Nmadd213 = 0xad,
    Nmadd231 = 0xbd,
    Nmsub132 = 0x9f,
    Nmsub213 = 0xaf,
    Nmsub231 = 0xbf,
}
