//! Integer instructions: moves, arithmetic, shifts, bits, and atomic memory operations.

use super::encode::{Immediate, Opcode, Prefix, Rex};
use super::{Alu, AssembleError, Assembler, Cell, Cond, Mem, Reg, Shift, Unary, Width};

/// Bit tests; the number is the one in the opcode's extension.
#[repr(u8)]
#[derive(Clone, Copy)]
enum BitTest {
    Test = 4,
    Set = 5,
    Reset = 6,
    Complement = 7,
}

/// The immediate of arithmetic in its shorter form, if it has one.
#[inline]
fn short(value: i32) -> Option<Immediate> {
    i8::try_from(value)
        .ok()
        .map(|short| Immediate::Byte(short as u8))
}

/// Moves.
impl Assembler {
    /// `d = s`
    #[inline]
    pub fn mov_rr(&mut self, width: Width, d: Reg, s: Reg) {
        self.legacy(Opcode::plain(0x89), width, s.number(), d, Immediate::None);
    }

    /// `d = value`, all 64 bits, in the shortest way that leaves the flags alone.
    #[inline]
    pub fn mov_ri(&mut self, d: Reg, value: u64) {
        if value <= u32::MAX.into() {
            self.in_opcode(false, 0xb8, Rex::Spare, d);
            self.emit(|w| w.word(value as i32));
        } else if let Ok(value) = i32::try_from(value as i64) {
            let immediate = Immediate::Word(value);
            self.legacy(Opcode::plain(0xc7), Rex::Wide, 0, d, immediate);
        } else {
            self.in_opcode(false, 0xb8, Rex::Wide, d);
            self.emit(|w| w.double(value));
        }
    }

    /// Load.
    #[inline]
    pub fn mov_rm(&mut self, width: Width, d: Reg, s: Mem) {
        self.legacy(Opcode::plain(0x8b), width, d.number(), s, Immediate::None);
    }

    /// Store.
    #[inline]
    pub fn mov_mr(&mut self, width: Width, d: Mem, s: Reg) {
        self.legacy(Opcode::plain(0x89), width, s.number(), d, Immediate::None);
    }

    /// Store of a constant, sign-extended if the store is of 64 bits.
    #[inline]
    pub fn mov_mi(&mut self, width: Width, d: Mem, value: i32) {
        self.legacy(Opcode::plain(0xc7), width, 0, d, Immediate::Word(value));
    }

    /// Load, zero-extended to 64 bits.
    #[inline]
    pub fn load_zx(&mut self, cell: Cell, d: Reg, s: Mem) {
        let (opcode, rex) = match cell {
            Cell::B => (Opcode::m0f(0xb6), Rex::Spare),
            Cell::H => (Opcode::m0f(0xb7), Rex::Spare),
            Cell::W => (Opcode::plain(0x8b), Rex::Spare),
            Cell::D => (Opcode::plain(0x8b), Rex::Wide),
        };
        self.legacy(opcode, rex, d.number(), s, Immediate::None);
    }

    /// Load, sign-extended to 64 bits.
    #[inline]
    pub fn load_sx(&mut self, cell: Cell, d: Reg, s: Mem) {
        let opcode = sign_extension(cell);
        self.legacy(opcode, Rex::Wide, d.number(), s, Immediate::None);
    }

    /// Store of the low part of a register.
    #[inline]
    pub fn store(&mut self, cell: Cell, d: Mem, s: Reg) {
        self.cell_mr(Opcode::plain(0x88), cell, d, s);
    }

    /// Store of a constant: cut off to the cell, or sign-extended if that is of 64 bits.
    #[inline]
    pub fn store_i(&mut self, cell: Cell, d: Mem, value: i32) {
        let long = Opcode::plain(0xc7);
        match cell {
            Cell::B => {
                let immediate = Immediate::Byte(value as u8);
                self.legacy(Opcode::plain(0xc6), Rex::Spare, 0, d, immediate);
            }
            Cell::H => {
                let immediate = Immediate::Half(value as u16);
                self.legacy(long.with(Prefix::P66), Rex::Spare, 0, d, immediate);
            }
            Cell::W => self.legacy(long, Rex::Spare, 0, d, Immediate::Word(value)),
            Cell::D => self.legacy(long, Rex::Wide, 0, d, Immediate::Word(value)),
        }
    }

    /// `d` becomes the low part of `s`, zero-extended to 64 bits.
    #[inline]
    pub fn zx_rr(&mut self, cell: Cell, d: Reg, s: Reg) {
        let (opcode, rex) = match cell {
            Cell::B => (Opcode::m0f(0xb6), Rex::for_byte(s)),
            Cell::H => (Opcode::m0f(0xb7), Rex::Spare),
            Cell::W => return self.mov_rr(Width::W32, d, s),
            Cell::D => return self.mov_rr(Width::W64, d, s),
        };
        self.legacy(opcode, rex, d.number(), s, Immediate::None);
    }

    /// `d` becomes the low part of `s`, sign-extended to 64 bits.
    #[inline]
    pub fn sx_rr(&mut self, cell: Cell, d: Reg, s: Reg) {
        if cell == Cell::D {
            return self.mov_rr(Width::W64, d, s);
        }
        let opcode = sign_extension(cell);
        self.legacy(opcode, Rex::Wide, d.number(), s, Immediate::None);
    }

    /// `d` becomes the address of `s`.
    #[inline]
    pub fn lea(&mut self, width: Width, d: Reg, s: Mem) {
        self.legacy(Opcode::plain(0x8d), width, d.number(), s, Immediate::None);
    }

    /// `d` becomes 1 or 0 in its low byte; the other bits stay.
    #[inline]
    pub fn setcc(&mut self, cond: Cond, d: Reg) {
        let opcode = Opcode::m0f(0x90 | cond as u8);
        self.legacy(opcode, Rex::for_byte(d), 0, d, Immediate::None);
    }

    /// `d = s` if the condition holds. One of 32 bits clears the upper half of `d` in any case.
    #[inline]
    pub fn cmov(&mut self, cond: Cond, width: Width, d: Reg, s: Reg) {
        let opcode = Opcode::m0f(0x40 | cond as u8);
        self.legacy(opcode, width, d.number(), s, Immediate::None);
    }

    /// The same from memory, which is read in any case.
    #[inline]
    pub fn cmov_m(&mut self, cond: Cond, width: Width, d: Reg, s: Mem) {
        let opcode = Opcode::m0f(0x40 | cond as u8);
        self.legacy(opcode, width, d.number(), s, Immediate::None);
    }
}

/// The load or move of a part that extends its sign.
#[inline]
fn sign_extension(cell: Cell) -> Opcode {
    match cell {
        Cell::B => Opcode::m0f(0xbe),
        Cell::H => Opcode::m0f(0xbf),
        Cell::W => Opcode::plain(0x63),
        Cell::D => Opcode::plain(0x8b),
    }
}

/// Arithmetic.
impl Assembler {
    /// `d = d op s`
    #[inline]
    pub fn alu_rr(&mut self, op: Alu, width: Width, d: Reg, s: Reg) {
        let opcode = Opcode::plain((op as u8) << 3 | 1);
        self.legacy(opcode, width, s.number(), d, Immediate::None);
    }

    /// `d = d op value`
    #[inline]
    pub fn alu_ri(&mut self, op: Alu, width: Width, d: Reg, value: i32) {
        if let Some(immediate) = short(value) {
            self.legacy(Opcode::plain(0x83), width, op as u8, d, immediate);
        } else if d == Reg::Rax {
            self.accumulator((op as u8) << 3 | 5, width, value);
        } else {
            let immediate = Immediate::Word(value);
            self.legacy(Opcode::plain(0x81), width, op as u8, d, immediate);
        }
    }

    /// The form for `rax` and a constant of 32 bits.
    #[inline]
    fn accumulator(&mut self, code: u8, width: Width, value: i32) {
        self.emit(|w| {
            if width == Width::W64 {
                w.byte(0x48);
            }
            w.byte(code);
            w.word(value);
        });
    }

    /// `d = d op s`, from memory
    #[inline]
    pub fn alu_rm(&mut self, op: Alu, width: Width, d: Reg, s: Mem) {
        let opcode = Opcode::plain((op as u8) << 3 | 3);
        self.legacy(opcode, width, d.number(), s, Immediate::None);
    }

    /// `d = d op s`, in memory
    #[inline]
    pub fn alu_mr(&mut self, op: Alu, width: Width, d: Mem, s: Reg) {
        let opcode = Opcode::plain((op as u8) << 3 | 1);
        self.legacy(opcode, width, s.number(), d, Immediate::None);
    }

    /// `d = d op value`, in memory
    #[inline]
    pub fn alu_mi(&mut self, op: Alu, width: Width, d: Mem, value: i32) {
        match short(value) {
            Some(immediate) => self.legacy(Opcode::plain(0x83), width, op as u8, d, immediate),
            None => {
                let immediate = Immediate::Word(value);
                self.legacy(Opcode::plain(0x81), width, op as u8, d, immediate);
            }
        }
    }

    #[inline]
    fn alu_mi8(&mut self, op: Alu, d: Mem, value: u8) {
        let immediate = Immediate::Byte(value);
        self.legacy(Opcode::plain(0x80), Rex::Spare, op as u8, d, immediate);
    }

    /// Compares a byte in memory.
    #[inline]
    pub fn cmp_mi8(&mut self, a: Mem, value: i8) {
        self.alu_mi8(Alu::Cmp, a, value as u8);
    }

    /// Sets the flags by the conjunction with a byte in memory.
    #[inline]
    pub fn test_mi8(&mut self, a: Mem, value: u8) {
        let immediate = Immediate::Byte(value);
        self.legacy(Opcode::plain(0xf6), Rex::Spare, 0, a, immediate);
    }

    /// Sets the flags by the conjunction of two registers.
    #[inline]
    pub fn test_rr(&mut self, width: Width, a: Reg, b: Reg) {
        self.legacy(Opcode::plain(0x85), width, b.number(), a, Immediate::None);
    }

    /// Sets the flags by the conjunction with a constant.
    #[inline]
    pub fn test_ri(&mut self, width: Width, a: Reg, value: i32) {
        if a == Reg::Rax {
            self.accumulator(0xa9, width, value);
        } else {
            let immediate = Immediate::Word(value);
            self.legacy(Opcode::plain(0xf7), width, 0, a, immediate);
        }
    }

    /// One-operand arithmetic.
    #[inline]
    pub fn unary(&mut self, op: Unary, width: Width, r: Reg) {
        self.legacy(Opcode::plain(0xf7), width, op as u8, r, Immediate::None);
    }

    /// `d = d * s`, the low half of the product
    #[inline]
    pub fn imul_rr(&mut self, width: Width, d: Reg, s: Reg) {
        self.legacy(Opcode::m0f(0xaf), width, d.number(), s, Immediate::None);
    }

    /// `d = d * s`, from memory
    #[inline]
    pub fn imul_rm(&mut self, width: Width, d: Reg, s: Mem) {
        self.legacy(Opcode::m0f(0xaf), width, d.number(), s, Immediate::None);
    }

    /// Extends the sign of `rax` into `rdx`.
    #[inline]
    pub fn cqo(&mut self) {
        self.emit(|w| {
            w.byte(0x48);
            w.byte(0x99);
        });
    }

    /// Extends the sign of `eax` into `edx`.
    #[inline]
    pub fn cdq(&mut self) {
        self.emit(|w| w.byte(0x99));
    }
}

/// Shifts and bits.
impl Assembler {
    /// Shift by a constant.
    #[inline]
    pub fn shift_ri(&mut self, op: Shift, width: Width, d: Reg, count: u8) {
        let (code, immediate) = match count {
            1 => (0xd1, Immediate::None),
            _ => (0xc1, Immediate::Byte(count)),
        };
        self.legacy(Opcode::plain(code), width, op as u8, d, immediate);
    }

    /// Shift by `cl`.
    #[inline]
    pub fn shift_rcl(&mut self, op: Shift, width: Width, d: Reg) {
        self.legacy(Opcode::plain(0xd3), width, op as u8, d, Immediate::None);
    }

    /// `d = s op count`, the flags stay (BMI2). There are no rotations in this form.
    #[inline]
    pub fn shiftx(&mut self, op: Shift, width: Width, d: Reg, s: Reg, count: Reg) {
        let prefix = match op {
            Shift::Shl => Prefix::P66,
            Shift::Shr => Prefix::Pf2,
            Shift::Sar => Prefix::Pf3,
            Shift::Rol | Shift::Ror => return self.mistake(AssembleError::NoSuchShift),
        };
        let opcode = Opcode::m0f38(0xf7).with(prefix);
        let wide = width == Width::W64;
        self.vex(opcode, wide, d.number(), count.number(), s, Immediate::None);
    }

    /// `d` becomes `s` rotated to the right, the flags stay (BMI2).
    #[inline]
    pub fn rorx(&mut self, width: Width, d: Reg, s: Reg, count: u8) {
        let opcode = Opcode::m0f3a(0xf0).with(Prefix::Pf2);
        let immediate = Immediate::Byte(count);
        self.vex(opcode, width == Width::W64, d.number(), 0, s, immediate);
    }

    #[inline]
    fn bit_ri(&mut self, op: BitTest, width: Width, r: Reg, bit: u8) {
        let immediate = Immediate::Byte(bit);
        self.legacy(Opcode::m0f(0xba), width, op as u8, r, immediate);
    }

    #[inline]
    fn bit_rr(&mut self, op: BitTest, width: Width, r: Reg, bit: Reg) {
        let opcode = Opcode::m0f(0x83 | (op as u8) << 3);
        self.legacy(opcode, width, bit.number(), r, Immediate::None);
    }

    /// The carry becomes a bit.
    #[inline]
    pub fn bt_ri(&mut self, width: Width, r: Reg, bit: u8) {
        self.bit_ri(BitTest::Test, width, r, bit);
    }

    /// The carry becomes a bit, which is set then.
    #[inline]
    pub fn bts_ri(&mut self, width: Width, r: Reg, bit: u8) {
        self.bit_ri(BitTest::Set, width, r, bit);
    }

    /// The carry becomes a bit, which is cleared then.
    #[inline]
    pub fn btr_ri(&mut self, width: Width, r: Reg, bit: u8) {
        self.bit_ri(BitTest::Reset, width, r, bit);
    }

    /// The carry becomes a bit, which is inverted then.
    #[inline]
    pub fn btc_ri(&mut self, width: Width, r: Reg, bit: u8) {
        self.bit_ri(BitTest::Complement, width, r, bit);
    }

    /// The carry becomes a bit, whose number counts modulo the width.
    #[inline]
    pub fn bt_rr(&mut self, width: Width, r: Reg, bit: Reg) {
        self.bit_rr(BitTest::Test, width, r, bit);
    }

    /// The same, and the bit is set then.
    #[inline]
    pub fn bts_rr(&mut self, width: Width, r: Reg, bit: Reg) {
        self.bit_rr(BitTest::Set, width, r, bit);
    }

    /// The same, and the bit is cleared then.
    #[inline]
    pub fn btr_rr(&mut self, width: Width, r: Reg, bit: Reg) {
        self.bit_rr(BitTest::Reset, width, r, bit);
    }

    /// The same, and the bit is inverted then.
    #[inline]
    pub fn btc_rr(&mut self, width: Width, r: Reg, bit: Reg) {
        self.bit_rr(BitTest::Complement, width, r, bit);
    }

    #[inline]
    fn count(&mut self, code: u8, width: Width, d: Reg, s: Reg) {
        let opcode = Opcode::m0f(code).with(Prefix::Pf3);
        self.legacy(opcode, width, d.number(), s, Immediate::None);
    }

    /// `d` becomes the number of leading zeros.
    #[inline]
    pub fn lzcnt(&mut self, width: Width, d: Reg, s: Reg) {
        self.count(0xbd, width, d, s);
    }

    /// `d` becomes the number of trailing zeros (BMI1).
    #[inline]
    pub fn tzcnt(&mut self, width: Width, d: Reg, s: Reg) {
        self.count(0xbc, width, d, s);
    }

    /// `d` becomes the number of ones.
    #[inline]
    pub fn popcnt(&mut self, width: Width, d: Reg, s: Reg) {
        self.count(0xb8, width, d, s);
    }

    /// `d = !inverted & b` (BMI1)
    #[inline]
    pub fn andn(&mut self, width: Width, d: Reg, inverted: Reg, b: Reg) {
        let wide = width == Width::W64;
        let opcode = Opcode::m0f38(0xf2);
        self.vex(
            opcode,
            wide,
            d.number(),
            inverted.number(),
            b,
            Immediate::None,
        );
    }

    /// Turns the bytes around.
    #[inline]
    pub fn bswap(&mut self, width: Width, r: Reg) {
        self.in_opcode(true, 0xc8, width.into(), r);
    }
}

/// Memory that other processors see.
impl Assembler {
    /// An instruction on a cell and a register, whose opcode for bytes is one less than that for
    /// the other sizes.
    #[inline]
    fn cell_mr(&mut self, byte: Opcode, cell: Cell, d: Mem, s: Reg) {
        let (opcode, rex) = match cell {
            Cell::B => (byte, Rex::for_byte(s)),
            Cell::H => (byte.next().with(Prefix::P66), Rex::Spare),
            Cell::W => (byte.next(), Rex::Spare),
            Cell::D => (byte.next(), Rex::Wide),
        };
        self.legacy(opcode, rex, s.number(), d, Immediate::None);
    }

    #[inline]
    fn lock(&mut self, lock: bool) {
        if lock {
            self.emit(|w| w.byte(0xf0));
        }
    }

    /// Exchanges memory and register; always atomic.
    #[inline]
    pub fn xchg_mr(&mut self, cell: Cell, d: Mem, s: Reg) {
        self.cell_mr(Opcode::plain(0x86), cell, d, s);
    }

    /// Adds the register to memory; the register becomes what was there.
    #[inline]
    pub fn xadd_mr(&mut self, lock: bool, cell: Cell, d: Mem, s: Reg) {
        self.lock(lock);
        self.cell_mr(Opcode::m0f(0xc0), cell, d, s);
    }

    /// Stores the register if memory holds what `rax` does; else `rax` becomes what it holds.
    #[inline]
    pub fn cmpxchg_mr(&mut self, lock: bool, cell: Cell, d: Mem, s: Reg) {
        self.lock(lock);
        self.cell_mr(Opcode::m0f(0xb0), cell, d, s);
    }

    /// `d |= value`, in memory, in one step. All loads and stores before are done before any that
    /// follow, as with `mfence`, which takes longer.
    #[inline]
    pub fn lock_or_mi(&mut self, width: Width, d: Mem, value: i32) {
        self.lock(true);
        self.alu_mi(Alu::Or, width, d, value);
    }
}
