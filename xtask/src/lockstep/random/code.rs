//! Emitting instructions of a generated program.

use ringer_isa::{Insn, Op, encode};

/// Registers of generated code. What handlers use is never random.
pub mod register {
    /// The last of the registers with random contents.
    pub const LAST_RANDOM: u8 = 26;
    /// The counter of a loop; random elsewhere.
    pub const LOOP: u8 = 27;
    /// Free for handlers and glue.
    pub const SCRATCH: u8 = 28;
    /// Free for handlers and glue.
    pub const OTHER: u8 = 29;
    /// Points to what handlers keep.
    pub const KEPT: u8 = 30;
    /// Where to go on after a jump into nothing; 0 asks for the end.
    pub const RECOVERY: u8 = 31;
}

/// An instruction with these operands, 4 bytes long.
pub fn insn(op: Op, rd: u8, rs1: u8, rs2: u8, imm: i32) -> Insn {
    Insn {
        op,
        rd,
        rs1,
        rs2,
        rs3: 0,
        rm: 0,
        len: 4,
        imm,
        bits: 0,
    }
}

/// Code being put together at an address.
pub struct Code {
    base: u64,
    bytes: Vec<u8>,
}

/// A place to be filled in when its target is known.
#[must_use]
pub struct Hole {
    at: usize,
    /// The instruction without its immediate; for [`Code::address`], the second of the pair.
    insn: Insn,
    pair: bool,
}

impl Code {
    /// Nothing yet, at `base`.
    pub fn new(base: u64) -> Self {
        Self {
            base,
            bytes: Vec::new(),
        }
    }

    /// What has been emitted.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The address of the next instruction.
    pub fn here(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// One instruction; `false` if its operands cannot be encoded.
    pub fn push(&mut self, insn: &Insn) -> bool {
        match encode(insn) {
            Some(bits) if insn.len == 2 => self.raw(&(bits as u16).to_le_bytes()),
            Some(bits) => self.raw(&bits.to_le_bytes()),
            None => return false,
        }
        true
    }

    /// One instruction whose operands are known to fit.
    pub fn op(&mut self, op: Op, rd: u8, rs1: u8, rs2: u8, imm: i32) {
        let fits = self.push(&insn(op, rd, rs1, rs2, imm));
        assert!(fits, "operands of {op:?} do not fit");
    }

    /// `rd = csr`.
    pub fn read_csr(&mut self, rd: u8, csr: u16) {
        self.op(Op::Csrrs, rd, 0, 0, csr.into());
    }

    /// `csr = rs`.
    pub fn write_csr(&mut self, csr: u16, rs: u8) {
        self.op(Op::Csrrw, 0, rs, 0, csr.into());
    }

    /// Loads a constant, in as many instructions as it takes.
    pub fn constant(&mut self, rd: u8, value: u64) {
        let signed = value as i64;
        if (-2048..2048).contains(&signed) {
            return self.op(Op::Addi, rd, 0, 0, signed as i32);
        }
        let low = (signed << 52 >> 52) as i32;
        if let Ok(word) = i32::try_from(signed) {
            self.op(Op::Lui, rd, 0, 0, word.wrapping_sub(low));
            if low != 0 {
                self.op(Op::Addiw, rd, rd, 0, low);
            }
            return;
        }
        let rest = signed.wrapping_sub(low.into()) >> 12;
        let zeroes = rest.trailing_zeros().min(51);
        self.constant(rd, (rest >> zeroes) as u64);
        self.op(Op::Slli, rd, rd, 0, (12 + zeroes) as i32);
        if low != 0 {
            self.op(Op::Addi, rd, rd, 0, low);
        }
    }

    /// `rd = target`, relative to the program counter.
    pub fn address(&mut self, rd: u8, target: u64) {
        let hole = self.address_later(rd);
        self.fill(hole, target);
    }

    /// `rd = …`, relative to the program counter, to be filled in.
    pub fn address_later(&mut self, rd: u8) -> Hole {
        let at = self.bytes.len();
        self.op(Op::Auipc, rd, 0, 0, 0);
        self.op(Op::Addi, rd, rd, 0, 0);
        Hole {
            at,
            insn: insn(Op::Addi, rd, rd, 0, 0),
            pair: true,
        }
    }

    /// A branch or jump to be filled in.
    pub fn jump_later(&mut self, op: Op, rd: u8, rs1: u8, rs2: u8) -> Hole {
        let at = self.bytes.len();
        self.op(op, rd, rs1, rs2, 0);
        Hole {
            at,
            insn: insn(op, rd, rs1, rs2, 0),
            pair: false,
        }
    }

    /// Makes `hole` lead to `target`.
    pub fn fill(&mut self, hole: Hole, target: u64) {
        let distance = target.wrapping_sub(self.base + hole.at as u64) as i32;
        if hole.pair {
            let low = distance << 20 >> 20;
            let rd = hole.insn.rd;
            self.patch(hole.at, &insn(Op::Auipc, rd, 0, 0, distance - low));
            self.patch(hole.at + 4, &insn(Op::Addi, rd, rd, 0, low));
        } else {
            self.patch(
                hole.at,
                &Insn {
                    imm: distance,
                    ..hole.insn
                },
            );
        }
    }

    fn patch(&mut self, at: usize, insn: &Insn) {
        let bits = encode(insn).expect("generated code stays in reach");
        self.bytes[at..at + 4].copy_from_slice(&bits.to_le_bytes());
    }
}
