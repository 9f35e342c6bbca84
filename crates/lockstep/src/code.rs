//! A small assembler: guest code as bytes, put together by Rust functions.

use ringer_isa::{Insn, Op, encode};

/// Register numbers by their ABI names.
pub mod reg {
    #![allow(missing_docs)]
    pub const ZERO: u8 = 0;
    pub const RA: u8 = 1;
    pub const SP: u8 = 2;
    pub const T0: u8 = 5;
    pub const T1: u8 = 6;
    pub const T2: u8 = 7;
    pub const S0: u8 = 8;
    pub const S1: u8 = 9;
    pub const A0: u8 = 10;
    pub const A1: u8 = 11;
    pub const A2: u8 = 12;
    pub const A3: u8 = 13;
    pub const A4: u8 = 14;
    pub const A5: u8 = 15;
    pub const A6: u8 = 16;
    pub const A7: u8 = 17;
    pub const S2: u8 = 18;
    pub const T3: u8 = 28;
    pub const T4: u8 = 29;
    pub const T5: u8 = 30;
    pub const T6: u8 = 31;
}

/// An instruction with all operands zero.
pub const fn plain(op: Op) -> Insn {
    Insn {
        op,
        rd: 0,
        rs1: 0,
        rs2: 0,
        rs3: 0,
        rm: 0,
        len: 4,
        imm: 0,
        bits: 0,
    }
}

/// Code for one place in memory. Methods append; operands are in the order of the manual.
#[derive(Clone, Debug)]
pub struct Code {
    base: u64,
    bytes: Vec<u8>,
}

/// A jump whose target is not yet known.
#[derive(Debug)]
#[must_use = "a jump that never lands goes to itself"]
pub struct Forward {
    at: usize,
    insn: Insn,
}

impl Code {
    /// Code that will lie at `base`.
    pub const fn at(base: u64) -> Self {
        Self {
            base,
            bytes: Vec::new(),
        }
    }
    /// Where it lies.
    pub const fn base(&self) -> u64 {
        self.base
    }
    /// The bytes so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
    /// The address of what comes next.
    pub fn here(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }
    /// Appends an instruction. Operands that do not fit are a mistake of the test.
    #[track_caller]
    pub fn insn(&mut self, insn: Insn) -> &mut Self {
        let Some(bits) = encode(&insn) else {
            panic!("{insn:?} has no encoding");
        };
        if insn.len == 2 {
            self.half(bits as u16)
        } else {
            self.word(bits)
        }
    }
    /// Appends 32 bits as they are.
    pub fn word(&mut self, bits: u32) -> &mut Self {
        self.bytes.extend(bits.to_le_bytes());
        self
    }
    /// Appends 16 bits as they are.
    pub fn half(&mut self, bits: u16) -> &mut Self {
        self.bytes.extend(bits.to_le_bytes());
        self
    }
    /// Zeroes up to `address`.
    pub fn pad_to(&mut self, address: u64) -> &mut Self {
        assert!(address >= self.here(), "already past {address:#x}");
        self.bytes.resize((address - self.base) as usize, 0);
        self
    }
    /// `op` without operands.
    #[track_caller]
    pub fn op(&mut self, op: Op) -> &mut Self {
        self.insn(plain(op))
    }
    /// `op rd, rs1, rs2`.
    #[track_caller]
    pub fn r(&mut self, op: Op, rd: u8, rs1: u8, rs2: u8) -> &mut Self {
        self.insn(Insn {
            rd,
            rs1,
            rs2,
            ..plain(op)
        })
    }
    /// `op rd, rs1, imm`: register and immediate, loads, `jalr`.
    #[track_caller]
    pub fn i(&mut self, op: Op, rd: u8, rs1: u8, imm: i32) -> &mut Self {
        self.insn(Insn {
            rd,
            rs1,
            imm,
            ..plain(op)
        })
    }
    /// `op rs2, imm(rs1)`.
    #[track_caller]
    pub fn store(&mut self, op: Op, rs2: u8, rs1: u8, imm: i32) -> &mut Self {
        self.insn(Insn {
            rs1,
            rs2,
            imm,
            ..plain(op)
        })
    }
    /// `op rd, csr, rs1`; of the immediate forms `rs1` is the operand itself.
    #[track_caller]
    pub fn csr(&mut self, op: Op, rd: u8, csr: u16, rs1: u8) -> &mut Self {
        self.i(op, rd, rs1, csr.into())
    }
    /// `csrr rd, csr`.
    #[track_caller]
    pub fn csrr(&mut self, rd: u8, csr: u16) -> &mut Self {
        self.csr(Op::Csrrs, rd, csr, 0)
    }
    /// `csrw csr, rs1`.
    #[track_caller]
    pub fn csrw(&mut self, csr: u16, rs1: u8) -> &mut Self {
        self.csr(Op::Csrrw, 0, csr, rs1)
    }
    /// `csrw csr, value`, by way of `scratch`.
    #[track_caller]
    pub fn csr_set(&mut self, csr: u16, value: u64, scratch: u8) -> &mut Self {
        self.li(scratch, value).csrw(csr, scratch)
    }
    /// `li rd, value`: one to eight instructions.
    pub fn li(&mut self, rd: u8, value: u64) -> &mut Self {
        let low = (value as i64) << 52 >> 52;
        if value as i32 as u64 == value {
            let upper = (value as i32).wrapping_sub(low as i32);
            if upper != 0 {
                self.insn(Insn {
                    rd,
                    imm: upper,
                    ..plain(Op::Lui)
                });
            }
            if low != 0 || upper == 0 {
                // addiw, as the lui of 0x7ffff800 and up comes out negative.
                let (op, rs1) = if upper != 0 {
                    (Op::Addiw, rd)
                } else {
                    (Op::Addi, 0)
                };
                self.i(op, rd, rs1, low as i32);
            }
            return self;
        }
        let rest = (value as i64).wrapping_sub(low) >> 12;
        self.li(rd, rest as u64);
        self.i(Op::Slli, rd, rd, 12);
        if low != 0 {
            self.i(Op::Addi, rd, rd, low as i32);
        }
        self
    }
    /// `jal rd, target`.
    #[track_caller]
    pub fn jal(&mut self, rd: u8, target: u64) -> &mut Self {
        let imm = target.wrapping_sub(self.here()) as i32;
        self.insn(Insn {
            rd,
            imm,
            ..plain(Op::Jal)
        })
    }
    /// A conditional jump to a place already known.
    #[track_caller]
    pub fn branch(&mut self, op: Op, rs1: u8, rs2: u8, target: u64) -> &mut Self {
        let imm = target.wrapping_sub(self.here()) as i32;
        self.insn(Insn {
            rs1,
            rs2,
            imm,
            ..plain(op)
        })
    }
    /// A jump, conditional or not, to a place that [`Code::land`] will say.
    #[track_caller]
    pub fn forward(&mut self, op: Op, rs1: u8, rs2: u8) -> Forward {
        let insn = Insn {
            rs1,
            rs2,
            ..plain(op)
        };
        let at = self.bytes.len();
        self.insn(insn);
        Forward { at, insn }
    }
    /// The jump goes here.
    pub fn land(&mut self, jump: Forward) -> &mut Self {
        let insn = Insn {
            imm: (self.bytes.len() - jump.at) as i32,
            ..jump.insn
        };
        let bits = encode(&insn).expect("a jump that reaches");
        self.bytes[jump.at..jump.at + 4].copy_from_slice(&bits.to_le_bytes());
        self
    }
}
