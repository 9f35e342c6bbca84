//! The two forms in which x86 instructions are encoded, legacy and VEX (Intel's manual, volume
//! 2, chapter 2). Everything here writes the bytes in place, without a detour.

use super::{AssembleError, Assembler, Mem, Reg, Width, Xmm};

/// Space that is made before an instruction is written; none is longer than 15 bytes.
const ROOM: usize = 16;

/// How much the buffer grows by.
const GROWTH: usize = 4096;

/// The mandatory prefix of an opcode; its number is what VEX encodes it as.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Prefix {
    None = 0,
    P66 = 1,
    Pf3 = 2,
    Pf2 = 3,
}

/// The opcode map; its number is what VEX encodes it as.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq)]
enum Map {
    Plain = 0,
    M0f = 1,
    M0f38 = 2,
    M0f3a = 3,
}

/// An opcode, with its map and mandatory prefix.
#[derive(Clone, Copy)]
pub(super) struct Opcode {
    prefix: Prefix,
    map: Map,
    code: u8,
}

impl Opcode {
    const fn new(map: Map, code: u8) -> Self {
        Self {
            prefix: Prefix::None,
            map,
            code,
        }
    }
    /// `code`
    pub(super) const fn plain(code: u8) -> Self {
        Self::new(Map::Plain, code)
    }
    /// `0f code`
    pub(super) const fn m0f(code: u8) -> Self {
        Self::new(Map::M0f, code)
    }
    /// `0f 38 code`
    pub(super) const fn m0f38(code: u8) -> Self {
        Self::new(Map::M0f38, code)
    }
    /// `0f 3a code`
    pub(super) const fn m0f3a(code: u8) -> Self {
        Self::new(Map::M0f3a, code)
    }
    /// The next opcode in the same map.
    pub(super) const fn next(self) -> Self {
        Self {
            code: self.code + 1,
            ..self
        }
    }
    /// The same with a prefix.
    pub(super) const fn with(self, prefix: Prefix) -> Self {
        Self { prefix, ..self }
    }
}

/// What the REX prefix is for, beside the upper registers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rex {
    /// Nothing: it is left out if it can be.
    Spare,
    /// The operation is of 64 bits.
    Wide,
    /// A byte operand is `spl`, `bpl`, `sil` or `dil`; without a REX prefix, their numbers mean
    /// `ah` to `bh`.
    LowByte,
}

impl Rex {
    /// For an instruction that uses the low byte of this register.
    #[inline]
    pub(super) const fn for_byte(register: Reg) -> Self {
        match register {
            Reg::Rsp | Reg::Rbp | Reg::Rsi | Reg::Rdi => Self::LowByte,
            _ => Self::Spare,
        }
    }
}

impl From<Width> for Rex {
    #[inline]
    fn from(width: Width) -> Self {
        match width {
            Width::W32 => Self::Spare,
            Width::W64 => Self::Wide,
        }
    }
}

/// The operand that may be in memory.
#[derive(Clone, Copy)]
pub(super) enum Operand {
    Register(u8),
    Memory(Mem),
}

impl From<Reg> for Operand {
    #[inline]
    fn from(register: Reg) -> Self {
        Self::Register(register.number())
    }
}

impl From<Xmm> for Operand {
    #[inline]
    fn from(register: Xmm) -> Self {
        Self::Register(register.0)
    }
}

impl From<Mem> for Operand {
    #[inline]
    fn from(mem: Mem) -> Self {
        Self::Memory(mem)
    }
}

impl Operand {
    /// Bit 3 of the register number that goes into the B bit, and of the index that goes into X.
    #[inline]
    fn high_bits(&self) -> (u8, u8) {
        match self {
            Self::Register(register) => (register >> 3 & 1, 0),
            Self::Memory(mem) => (
                mem.base.number() >> 3,
                mem.index.map_or(0, |(index, _)| index.number() >> 3),
            ),
        }
    }
}

/// What follows the operands.
#[derive(Clone, Copy)]
pub(super) enum Immediate {
    None,
    Byte(u8),
    Half(u16),
    Word(i32),
}

/// One instruction while it is written.
pub(super) struct Writer<'a> {
    room: &'a mut [u8; ROOM],
    len: usize,
}

impl Writer<'_> {
    #[inline]
    pub(super) fn byte(&mut self, byte: u8) {
        // Never more than `ROOM`; the mask says so to the compiler.
        self.room[self.len % ROOM] = byte;
        self.len += 1;
    }

    #[inline]
    fn bytes<const N: usize>(&mut self, bytes: [u8; N]) {
        if let Some(place) = self.room.get_mut(self.len..self.len + N) {
            place.copy_from_slice(&bytes);
            self.len += N;
        }
    }

    #[inline]
    pub(super) fn word(&mut self, word: i32) {
        self.bytes(word.to_le_bytes());
    }

    #[inline]
    pub(super) fn double(&mut self, double: u64) {
        self.bytes(double.to_le_bytes());
    }

    #[inline]
    pub(super) fn immediate(&mut self, immediate: Immediate) {
        match immediate {
            Immediate::None => {}
            Immediate::Byte(value) => self.byte(value),
            Immediate::Half(value) => self.bytes(value.to_le_bytes()),
            Immediate::Word(value) => self.word(value),
        }
    }

    /// The ModRM byte, and what it says will follow.
    #[inline]
    fn operands(&mut self, reg: u8, operand: &Operand) {
        let reg = (reg & 7) << 3;
        match operand {
            Operand::Register(register) => self.byte(0xc0 | reg | register & 7),
            Operand::Memory(mem) => self.memory(reg, mem),
        }
    }

    #[inline]
    fn memory(&mut self, reg: u8, mem: &Mem) {
        const SIB_FOLLOWS: u8 = 4;
        const NO_INDEX: u8 = 4 << 3;
        let base = mem.base.number() & 7;
        let short = i8::try_from(mem.disp);
        // `rbp` and `r13` without displacement are the encoding of something else.
        let mode = match short {
            Ok(0) if base != 5 => 0,
            Ok(_) => 0x40,
            Err(_) => 0x80,
        };
        match mem.index {
            Some((index, scale)) => {
                self.byte(mode | reg | SIB_FOLLOWS);
                self.byte((scale as u8) << 6 | (index.number() & 7) << 3 | base);
            }
            // `rsp` and `r12` have the number that says that a SIB byte follows.
            None if base == SIB_FOLLOWS => {
                self.byte(mode | reg | SIB_FOLLOWS);
                self.byte(NO_INDEX | base);
            }
            None => self.byte(mode | reg | base),
        }
        match short {
            Ok(_) if mode == 0 => {}
            Ok(short) => self.byte(short as u8),
            Err(_) => self.word(mem.disp),
        }
    }
}

impl Assembler {
    /// Writes one instruction of at most 15 bytes.
    #[inline]
    pub(super) fn emit(&mut self, write: impl FnOnce(&mut Writer<'_>)) {
        if self.bytes.len() < self.end + ROOM {
            self.grow();
        }
        let rest = self.bytes.get_mut(self.end..);
        if let Some(room) = rest.and_then(<[u8]>::first_chunk_mut) {
            let mut writer = Writer { room, len: 0 };
            write(&mut writer);
            self.end += writer.len;
        }
    }

    #[cold]
    fn grow(&mut self) {
        let len = (self.bytes.len() * 2).max(GROWTH);
        self.bytes.resize(len, 0);
    }

    /// The index's number is the encoding of no index.
    #[inline]
    fn check(&mut self, operand: &Operand) {
        if let Operand::Memory(Mem {
            index: Some((Reg::Rsp, _)),
            ..
        }) = operand
        {
            self.mistake(AssembleError::StackPointerAsIndex);
        }
    }

    /// An instruction in the legacy form; `reg` is a register, or more of the opcode.
    #[inline]
    pub(super) fn legacy(
        &mut self,
        opcode: Opcode,
        rex: impl Into<Rex>,
        reg: u8,
        operand: impl Into<Operand>,
        immediate: Immediate,
    ) {
        self.legacy_form(opcode, rex.into(), reg, &operand.into(), immediate);
    }

    fn legacy_form(
        &mut self,
        opcode: Opcode,
        rex: Rex,
        reg: u8,
        operand: &Operand,
        immediate: Immediate,
    ) {
        self.check(operand);
        self.emit(|w| {
            match opcode.prefix {
                Prefix::None => {}
                Prefix::P66 => w.byte(0x66),
                Prefix::Pf3 => w.byte(0xf3),
                Prefix::Pf2 => w.byte(0xf2),
            }
            let (b, x) = operand.high_bits();
            let bits = u8::from(rex == Rex::Wide) << 3 | (reg >> 3 & 1) << 2 | x << 1 | b;
            if bits != 0 || rex == Rex::LowByte {
                w.byte(0x40 | bits);
            }
            match opcode.map {
                Map::Plain => {}
                Map::M0f => w.byte(0x0f),
                Map::M0f38 => {
                    w.byte(0x0f);
                    w.byte(0x38);
                }
                Map::M0f3a => {
                    w.byte(0x0f);
                    w.byte(0x3a);
                }
            }
            w.byte(opcode.code);
            w.operands(reg, operand);
            w.immediate(immediate);
        });
    }

    /// An instruction whose opcode holds the register's number, and nothing follows it.
    #[inline]
    pub(super) fn in_opcode(&mut self, map_0f: bool, code: u8, rex: Rex, register: Reg) {
        self.emit(|w| {
            let bits = u8::from(rex == Rex::Wide) << 3 | register.number() >> 3;
            if bits != 0 {
                w.byte(0x40 | bits);
            }
            if map_0f {
                w.byte(0x0f);
            }
            w.byte(code | register.number() & 7);
        });
    }

    /// An instruction in the VEX form, of scalars or of 128 bits.
    #[inline]
    pub(super) fn vex(
        &mut self,
        opcode: Opcode,
        wide: bool,
        reg: u8,
        second: u8,
        operand: impl Into<Operand>,
        immediate: Immediate,
    ) {
        self.vex_form(opcode, wide, reg, second, &operand.into(), immediate);
    }

    fn vex_form(
        &mut self,
        opcode: Opcode,
        wide: bool,
        reg: u8,
        second: u8,
        operand: &Operand,
        immediate: Immediate,
    ) {
        self.check(operand);
        self.emit(|w| {
            // The bits that extend register numbers are inverted in this form.
            let (b, x) = operand.high_bits();
            let no_r = (!reg & 8) << 4;
            let low = (!second & 15) << 3 | opcode.prefix as u8;
            if opcode.map == Map::M0f && !wide && b == 0 && x == 0 {
                w.byte(0xc5);
                w.byte(no_r | low);
            } else {
                w.byte(0xc4);
                w.byte(no_r | (x ^ 1) << 6 | (b ^ 1) << 5 | opcode.map as u8);
                w.byte(u8::from(wide) << 7 | low);
            }
            w.byte(opcode.code);
            w.operands(reg, operand);
            w.immediate(immediate);
        });
    }
}
