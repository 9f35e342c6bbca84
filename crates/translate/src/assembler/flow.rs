//! Jumps, calls, the stack, and what fills the gaps between instructions.

use super::encode::{Immediate, Opcode, Rex};
use super::{AssembleError, Assembler, Cond, FieldSize, Fixup, Label, Mem, Reg};

/// No-operations of 1 to 9 bytes, as Intel's manual recommends them.
const NOPS: [&[u8]; 9] = [
    &[0x90],
    &[0x66, 0x90],
    &[0x0f, 0x1f, 0x00],
    &[0x0f, 0x1f, 0x40, 0x00],
    &[0x0f, 0x1f, 0x44, 0x00, 0x00],
    &[0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],
    &[0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00],
    &[0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
    &[0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
];

/// The jumps whose target is a distance.
#[derive(Clone, Copy)]
enum Jump {
    Always,
    If(Cond),
    Call,
}

impl Jump {
    /// Length of the opcode before a distance of 32 bits.
    #[inline]
    fn opcode_len(self) -> usize {
        match self {
            Self::Always | Self::Call => 1,
            Self::If(_) => 2,
        }
    }
}

impl Assembler {
    /// A jump by a distance of 32 bits, counted from its end. Returns the offset of the distance.
    #[inline]
    fn long_jump(&mut self, jump: Jump, distance: i32) -> usize {
        self.emit(|w| {
            match jump {
                Jump::Always => w.byte(0xe9),
                Jump::Call => w.byte(0xe8),
                Jump::If(cond) => {
                    w.byte(0x0f);
                    w.byte(0x80 | cond as u8);
                }
            }
            w.word(distance);
        });
        self.end - 4
    }

    /// A jump by a distance of 8 bits, counted from its end. Returns the offset of the distance.
    #[inline]
    fn short_jump(&mut self, cond: Option<Cond>, distance: i8) -> usize {
        self.emit(|w| {
            w.byte(cond.map_or(0xeb, |cond| 0x70 | cond as u8));
            w.byte(distance as u8);
        });
        self.end - 1
    }

    #[inline]
    fn refer(&mut self, at: usize, label: Label, size: FieldSize) {
        self.fixups.push(Fixup { at, label, size });
    }

    #[inline]
    fn jump(&mut self, cond: Option<Cond>, label: Label) {
        if let Some(place) = self.offset_of(label)
            && let Ok(distance) = i8::try_from(place as i64 - (self.end + 2) as i64)
        {
            self.short_jump(cond, distance);
            return;
        }
        let at = self.long_jump(cond.map_or(Jump::Always, Jump::If), 0);
        self.refer(at, label, FieldSize::Word);
    }

    #[inline]
    fn jump_to(&mut self, jump: Jump, target: u64) {
        let next = self.address().wrapping_add(jump.opcode_len() as u64 + 4);
        match i32::try_from(target.wrapping_sub(next) as i64) {
            Ok(distance) => {
                self.long_jump(jump, distance);
            }
            Err(_) => {
                let at = self.long_jump(jump, 0);
                self.mistake(AssembleError::OutOfReach { at });
            }
        }
    }

    #[inline]
    fn patchable(&mut self, jump: Jump) -> usize {
        let field = self.address().wrapping_add(jump.opcode_len() as u64);
        self.nop((field.wrapping_neg() & 3) as usize);
        self.long_jump(jump, 0)
    }

    /// Conditional jump to a label: of the short form if the label is near and already bound.
    #[inline]
    pub fn jcc(&mut self, cond: Cond, label: Label) {
        self.jump(Some(cond), label);
    }

    /// Jump to a label: of the short form if the label is near and already bound.
    #[inline]
    pub fn jmp(&mut self, label: Label) {
        self.jump(None, label);
    }

    /// Call of a label.
    #[inline]
    pub fn call(&mut self, label: Label) {
        let at = self.long_jump(Jump::Call, 0);
        self.refer(at, label, FieldSize::Word);
    }

    /// Conditional jump to a label that is known to be near.
    #[inline]
    pub fn jcc_short(&mut self, cond: Cond, label: Label) {
        let at = self.short_jump(Some(cond), 0);
        self.refer(at, label, FieldSize::Byte);
    }

    /// Jump to a label that is known to be near.
    #[inline]
    pub fn jmp_short(&mut self, label: Label) {
        let at = self.short_jump(None, 0);
        self.refer(at, label, FieldSize::Byte);
    }

    /// `d` becomes the run-time address of a label.
    #[inline]
    pub fn lea_label(&mut self, d: Reg, label: Label) {
        self.emit(|w| {
            w.byte(0x48 | (d.number() >> 3) << 2);
            w.byte(0x8d);
            // Base 5 without displacement: relative to the next instruction.
            w.byte((d.number() & 7) << 3 | 5);
            w.word(0);
        });
        self.refer(self.end - 4, label, FieldSize::Word);
    }

    /// Conditional jump to an address within 2 GiB.
    #[inline]
    pub fn jcc_to(&mut self, cond: Cond, address: u64) {
        self.jump_to(Jump::If(cond), address);
    }

    /// Jump to an address within 2 GiB.
    #[inline]
    pub fn jmp_to(&mut self, address: u64) {
        self.jump_to(Jump::Always, address);
    }

    /// Call of an address within 2 GiB.
    #[inline]
    pub fn call_to(&mut self, address: u64) {
        self.jump_to(Jump::Call, address);
    }

    /// Jump whose distance can be written atomically while the code runs: four bytes, aligned at
    /// run time. At first it leads to the next instruction. Returns the offset of the distance.
    #[inline]
    pub fn jmp_patchable(&mut self) -> usize {
        self.patchable(Jump::Always)
    }

    /// The same as [`Assembler::jmp_patchable`] for a conditional jump.
    #[inline]
    pub fn jcc_patchable(&mut self, cond: Cond) -> usize {
        self.patchable(Jump::If(cond))
    }

    /// The same as [`Assembler::jmp_patchable`] for a call.
    #[inline]
    pub fn call_patchable(&mut self) -> usize {
        self.patchable(Jump::Call)
    }

    /// Jump to the address in a register.
    #[inline]
    pub fn jmp_r(&mut self, target: Reg) {
        self.legacy(Opcode::plain(0xff), Rex::Spare, 4, target, Immediate::None);
    }

    /// Jump to the address in memory.
    #[inline]
    pub fn jmp_m(&mut self, target: Mem) {
        self.legacy(Opcode::plain(0xff), Rex::Spare, 4, target, Immediate::None);
    }

    /// Call of the address in a register.
    #[inline]
    pub fn call_r(&mut self, target: Reg) {
        self.legacy(Opcode::plain(0xff), Rex::Spare, 2, target, Immediate::None);
    }

    /// Call of the address in memory.
    #[inline]
    pub fn call_m(&mut self, target: Mem) {
        self.legacy(Opcode::plain(0xff), Rex::Spare, 2, target, Immediate::None);
    }

    /// Return.
    #[inline]
    pub fn ret(&mut self) {
        self.emit(|w| w.byte(0xc3));
    }

    /// Push of a register.
    #[inline]
    pub fn push_r(&mut self, s: Reg) {
        self.in_opcode(false, 0x50, Rex::Spare, s);
    }

    /// Pop into a register.
    #[inline]
    pub fn pop_r(&mut self, d: Reg) {
        self.in_opcode(false, 0x58, Rex::Spare, d);
    }

    /// `len` bytes that do nothing, in as few instructions as possible.
    #[inline]
    pub fn nop(&mut self, mut len: usize) {
        while len != 0 {
            let part = len.min(NOPS.len());
            let bytes = NOPS.get(part - 1).copied().unwrap_or_default();
            self.emit(|w| bytes.iter().for_each(|&byte| w.byte(byte)));
            len -= part;
        }
    }

    /// Nothing is done up to a run-time address that is a multiple of `alignment`.
    #[inline]
    pub fn align(&mut self, alignment: usize) {
        let beyond = self.address() % alignment.max(1) as u64;
        if beyond != 0 {
            self.nop(alignment - beyond as usize);
        }
    }
}
