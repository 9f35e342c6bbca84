//! Integer instructions on registers: the base set, M's multiplications, Zba, Zbb, Zbs, Zicond.

use ringer_isa::{Insn, Op};

use super::Emitter;
use super::float_registers::{SCRATCH, SECOND_SCRATCH};
use crate::assembler::{Alu, Bitwise, Cell, Cond, Mem, Reg, Scale, Shift, Unary, Width};
use crate::core_state::{home, x};

/// What an operand is to x86: a register or a place in the core.
#[derive(Clone, Copy)]
enum Operand {
    Register(Reg),
    Core(Mem),
    Zero,
}

fn operand(register: u8) -> Operand {
    match home(register) {
        Some(home) => Operand::Register(home),
        None if register == 0 => Operand::Zero,
        None => Operand::Core(x(register)),
    }
}

impl Emitter<'_> {
    /// Emits `insn` if it is one of these. False if it is for the definition.
    pub(super) fn integer(&mut self, insn: &Insn) -> bool {
        use Width::{W32, W64};

        if insn.rd == 0 {
            // It only writes a register that cannot be written; all of them are legal.
            return is_inline(insn.op, self.features);
        }
        let (rd, rs1, rs2, imm) = (insn.rd, insn.rs1, insn.rs2, insn.imm);
        let shift = imm as u8;
        match insn.op {
            Op::Lui => self.constant(rd, imm as i64 as u64),
            Op::Auipc => {
                let at = i32::from(self.current().at);
                self.address_of(Reg::Rax, imm.wrapping_add(at));
                self.set(rd, Reg::Rax);
            }
            Op::Addi => self.add_immediate(rd, rs1, imm),
            Op::Addiw => self.add_word_immediate(rd, rs1, imm),
            Op::Andi if imm == 0xff => self.extend_zero(rd, rs1, Cell::B),
            Op::Andi => self.with_immediate(Alu::And, rd, rs1, imm),
            Op::Ori => self.with_immediate(Alu::Or, rd, rs1, imm),
            Op::Xori if imm == -1 => {
                let to = self.result(rd);
                self.copy(to, rs1);
                self.a.unary(Unary::Not, W64, to);
                self.set(rd, to);
            }
            Op::Xori => self.with_immediate(Alu::Xor, rd, rs1, imm),
            Op::Slti => self.set_if(rd, rs1, imm, Cond::L),
            Op::Sltiu if imm == 1 => {
                self.compare(rs1, 0);
                self.flag(rd, Cond::E);
            }
            Op::Sltiu => self.set_if(rd, rs1, imm, Cond::B),
            Op::Slt => {
                self.compare(rs1, rs2);
                self.flag(rd, Cond::L);
            }
            Op::Sltu if rs1 == 0 => {
                self.compare(rs2, 0);
                self.flag(rd, Cond::Ne);
            }
            Op::Sltu => {
                self.compare(rs1, rs2);
                self.flag(rd, Cond::B);
            }

            Op::Add => self.add(rd, rs1, rs2),
            Op::Sub => self.combine(Alu::Sub, W64, rd, rs1, rs2),
            Op::And => self.combine(Alu::And, W64, rd, rs1, rs2),
            Op::Or => self.combine(Alu::Or, W64, rd, rs1, rs2),
            Op::Xor => self.combine(Alu::Xor, W64, rd, rs1, rs2),
            Op::Addw => self.combine(Alu::Add, W32, rd, rs1, rs2),
            Op::Subw => self.combine(Alu::Sub, W32, rd, rs1, rs2),

            Op::Slli => self.shift_immediate(Shift::Shl, W64, rd, rs1, shift),
            Op::Srli => self.shift_immediate(Shift::Shr, W64, rd, rs1, shift),
            Op::Srai => self.shift_immediate(Shift::Sar, W64, rd, rs1, shift),
            Op::Slliw => self.shift_immediate(Shift::Shl, W32, rd, rs1, shift),
            Op::Srliw => self.shift_immediate(Shift::Shr, W32, rd, rs1, shift),
            Op::Sraiw => self.shift_immediate(Shift::Sar, W32, rd, rs1, shift),
            Op::Rori => self.shift_immediate(Shift::Ror, W64, rd, rs1, shift),
            Op::Roriw => self.shift_immediate(Shift::Ror, W32, rd, rs1, shift),
            Op::Sll => self.shift_register(Shift::Shl, W64, rd, rs1, rs2),
            Op::Srl => self.shift_register(Shift::Shr, W64, rd, rs1, rs2),
            Op::Sra => self.shift_register(Shift::Sar, W64, rd, rs1, rs2),
            Op::Sllw => self.shift_register(Shift::Shl, W32, rd, rs1, rs2),
            Op::Srlw => self.shift_register(Shift::Shr, W32, rd, rs1, rs2),
            Op::Sraw => self.shift_register(Shift::Sar, W32, rd, rs1, rs2),
            Op::Rol => self.shift_by_cl(Shift::Rol, W64, rd, rs1, rs2),
            Op::Ror => self.shift_by_cl(Shift::Ror, W64, rd, rs1, rs2),
            Op::Rolw => self.shift_by_cl(Shift::Rol, W32, rd, rs1, rs2),
            Op::Rorw => self.shift_by_cl(Shift::Ror, W32, rd, rs1, rs2),

            Op::Mul => self.multiply(W64, rd, rs1, rs2),
            Op::Mulw => self.multiply(W32, rd, rs1, rs2),
            Op::Mulh => self.multiply_high(Unary::Imul, rd, rs1, rs2),
            Op::Mulhu => self.multiply_high(Unary::Mul, rd, rs1, rs2),
            Op::Mulhsu => self.multiply_high_mixed(rd, rs1, rs2),
            Op::Div
            | Op::Divu
            | Op::Rem
            | Op::Remu
            | Op::Divw
            | Op::Divuw
            | Op::Remw
            | Op::Remuw => self.divide(insn),

            Op::Sh1add => self.shift_add(Scale::X2, rd, rs1, rs2, false),
            Op::Sh2add => self.shift_add(Scale::X4, rd, rs1, rs2, false),
            Op::Sh3add => self.shift_add(Scale::X8, rd, rs1, rs2, false),
            Op::AddUw => self.shift_add(Scale::X1, rd, rs1, rs2, true),
            Op::Sh1addUw => self.shift_add(Scale::X2, rd, rs1, rs2, true),
            Op::Sh2addUw => self.shift_add(Scale::X4, rd, rs1, rs2, true),
            Op::Sh3addUw => self.shift_add(Scale::X8, rd, rs1, rs2, true),
            Op::SlliUw => {
                let from = self.value(rs1, Reg::Rax);
                let to = self.result(rd);
                self.a.zx_rr(Cell::W, to, from);
                self.a.shift_ri(Shift::Shl, W64, to, shift & 63);
                self.set(rd, to);
            }

            Op::Andn if self.features.bmi1 => {
                let a = self.value(rs1, Reg::Rax);
                let b = self.value(rs2, Reg::Rdx);
                let to = self.result(rd);
                self.a.andn(W64, to, b, a);
                self.set(rd, to);
            }
            Op::Andn => self.with_inverted(Alu::And, rd, rs1, rs2),
            Op::Orn => self.with_inverted(Alu::Or, rd, rs1, rs2),
            Op::Xnor => self.with_inverted(Alu::Xor, rd, rs1, rs2),
            Op::Max => self.select(Cond::L, rd, rs1, rs2),
            Op::Min => self.select(Cond::G, rd, rs1, rs2),
            Op::Maxu => self.select(Cond::B, rd, rs1, rs2),
            Op::Minu => self.select(Cond::A, rd, rs1, rs2),
            Op::SextB => self.extend_sign(rd, rs1, Cell::B),
            Op::SextH => self.extend_sign(rd, rs1, Cell::H),
            Op::ZextH => self.extend_zero(rd, rs1, Cell::H),
            Op::Rev8 => {
                let to = self.result(rd);
                self.copy(to, rs1);
                self.a.bswap(W64, to);
                self.set(rd, to);
            }
            Op::OrcB => self.or_combine(rd, rs1),
            Op::Clz | Op::Clzw if self.features.lzcnt => {
                let width = if insn.op == Op::Clz { W64 } else { W32 };
                let from = self.value(rs1, Reg::Rax);
                let to = self.result(rd);
                self.a.lzcnt(width, to, from);
                self.set(rd, to);
            }
            Op::Ctz | Op::Ctzw if self.features.bmi1 => {
                let width = if insn.op == Op::Ctz { W64 } else { W32 };
                let from = self.value(rs1, Reg::Rax);
                let to = self.result(rd);
                self.a.tzcnt(width, to, from);
                self.set(rd, to);
            }
            Op::Cpop | Op::Cpopw if self.features.popcnt => {
                let width = if insn.op == Op::Cpop { W64 } else { W32 };
                let from = self.value(rs1, Reg::Rax);
                let to = self.result(rd);
                self.a.popcnt(width, to, from);
                self.set(rd, to);
            }

            Op::Bset | Op::Bclr | Op::Binv => {
                let bit = self.value(rs2, Reg::Rdx);
                let to = if home(rd) == Some(bit) {
                    Reg::Rax
                } else {
                    self.result(rd)
                };
                self.copy(to, rs1);
                match insn.op {
                    Op::Bset => self.a.bts_rr(W64, to, bit),
                    Op::Bclr => self.a.btr_rr(W64, to, bit),
                    _ => self.a.btc_rr(W64, to, bit),
                }
                self.set(rd, to);
            }
            Op::Bseti | Op::Bclri | Op::Binvi => {
                let to = self.result(rd);
                self.copy(to, rs1);
                match insn.op {
                    Op::Bseti => self.a.bts_ri(W64, to, shift & 63),
                    Op::Bclri => self.a.btr_ri(W64, to, shift & 63),
                    _ => self.a.btc_ri(W64, to, shift & 63),
                }
                self.set(rd, to);
            }
            Op::Bext => {
                let a = self.value(rs1, Reg::Rax);
                let bit = self.value(rs2, Reg::Rdx);
                self.a.bt_rr(W64, a, bit);
                self.flag(rd, Cond::B);
            }
            Op::Bexti => {
                let a = self.value(rs1, Reg::Rax);
                self.a.bt_ri(W64, a, shift & 63);
                self.flag(rd, Cond::B);
            }

            Op::CzeroEqz => self.zero_if(Cond::E, rd, rs1, rs2),
            Op::CzeroNez => self.zero_if(Cond::Ne, rd, rs1, rs2),
            _ => return false,
        }
        true
    }

    /// A shift to the left and back to the right: compilers extend narrow values so.
    pub(super) fn shift_pair(&mut self, insn: &Insn) -> bool {
        let (left, Some(next)) = (insn.imm as u8 & 63, self.next()) else {
            return false;
        };
        let second = next.insn;
        let same = second.rd == insn.rd && second.rs1 == insn.rd && insn.rd != 0;
        if insn.op != Op::Slli || !same {
            return false;
        }
        let right = second.imm as u8 & 63;
        let cell = match left {
            32 => Cell::W,
            48 => Cell::H,
            56 => Cell::B,
            _ => return false,
        };
        match second.op {
            Op::Srli if left == right => self.extend_zero(insn.rd, insn.rs1, cell),
            Op::Srai if left == right => self.extend_sign(insn.rd, insn.rs1, cell),
            Op::Srli if left == 32 && right < left => {
                // An unsigned word, shifted: an index becomes a distance.
                let to = self.result(insn.rd);
                let from = self.value(insn.rs1, to);
                self.a.zx_rr(Cell::W, to, from);
                self.a.shift_ri(Shift::Shl, Width::W64, to, left - right);
                self.set(insn.rd, to);
            }
            _ => return false,
        }
        self.index += 1;
        true
    }

    fn constant(&mut self, rd: u8, value: u64) {
        if self.diverted {
            return self.a.mov_ri(Reg::Rax, value);
        }
        match home(rd) {
            Some(to) => self.a.mov_ri(to, value),
            None => match i32::try_from(value as i64) {
                Ok(value) => self.a.mov_mi(Width::W64, x(rd), value),
                Err(_) => {
                    self.a.mov_ri(Reg::Rax, value);
                    self.a.mov_mr(Width::W64, x(rd), Reg::Rax);
                }
            },
        }
    }

    fn add_immediate(&mut self, rd: u8, rs1: u8, imm: i32) {
        if rs1 == 0 {
            return self.constant(rd, imm as i64 as u64);
        }
        match (home(rd), home(rs1)) {
            _ if self.diverted => {
                self.copy(Reg::Rax, rs1);
                if imm != 0 {
                    self.a.alu_ri(Alu::Add, Width::W64, Reg::Rax, imm);
                }
            }
            (Some(to), Some(from)) if to == from => {
                if imm != 0 {
                    self.a.alu_ri(Alu::Add, Width::W64, to, imm);
                }
            }
            (Some(to), Some(from)) if imm == 0 => self.a.mov_rr(Width::W64, to, from),
            (Some(to), Some(from)) => self.a.lea(Width::W64, to, Mem::at(from, imm)),
            (None, None) if rd == rs1 => {
                if imm != 0 {
                    self.a.alu_mi(Alu::Add, Width::W64, x(rd), imm);
                }
            }
            _ => {
                let to = self.result(rd);
                let from = self.value(rs1, to);
                if imm == 0 {
                    return self.set(rd, from);
                }
                if from == to {
                    self.a.alu_ri(Alu::Add, Width::W64, to, imm);
                } else {
                    self.a.lea(Width::W64, to, Mem::at(from, imm));
                }
                self.set(rd, to);
            }
        }
    }

    fn add_word_immediate(&mut self, rd: u8, rs1: u8, imm: i32) {
        if imm == 0 {
            return self.extend_sign(rd, rs1, Cell::W);
        }
        let from = self.value(rs1, Reg::Rax);
        let to = self.result(rd);
        if from == to {
            self.a.alu_ri(Alu::Add, Width::W32, to, imm);
        } else {
            self.a.lea(Width::W32, to, Mem::at(from, imm));
        }
        self.a.sx_rr(Cell::W, to, to);
        self.set(rd, to);
    }

    fn with_immediate(&mut self, op: Alu, rd: u8, rs1: u8, imm: i32) {
        if rd == rs1 && home(rd).is_none() && !self.diverted {
            return self.a.alu_mi(op, Width::W64, x(rd), imm);
        }
        let to = self.result(rd);
        self.copy(to, rs1);
        self.a.alu_ri(op, Width::W64, to, imm);
        self.set(rd, to);
    }

    fn set_if(&mut self, rd: u8, rs1: u8, imm: i32, cond: Cond) {
        match operand(rs1) {
            Operand::Register(a) if imm == 0 && cond == Cond::L => {
                self.a.test_rr(Width::W64, a, a);
            }
            Operand::Register(a) => self.a.alu_ri(Alu::Cmp, Width::W64, a, imm),
            Operand::Core(place) => self.a.alu_mi(Alu::Cmp, Width::W64, place, imm),
            Operand::Zero => {
                self.a.mov_ri(Reg::Rax, 0);
                self.a.alu_ri(Alu::Cmp, Width::W64, Reg::Rax, imm);
            }
        }
        self.flag(rd, cond);
    }

    /// `rd` becomes 1 if the flags say `cond`, else 0.
    pub(super) fn flag(&mut self, rd: u8, cond: Cond) {
        let to = self.result(rd);
        // A move leaves the flags alone.
        self.a.mov_ri(to, 0);
        self.a.setcc(cond, to);
        self.set(rd, to);
    }

    fn add(&mut self, rd: u8, rs1: u8, rs2: u8) {
        if rs2 == 0 {
            return self.add_immediate(rd, rs1, 0);
        }
        if rs1 == 0 {
            return self.add_immediate(rd, rs2, 0);
        }
        if let (Some(a), Some(b)) = (home(rs1), home(rs2)) {
            let to = self.result(rd);
            if to != a && to != b {
                self.a.lea(Width::W64, to, Mem::indexed(a, b, Scale::X1, 0));
                return self.set(rd, to);
            }
        }
        self.combine(Alu::Add, Width::W64, rd, rs1, rs2);
    }

    /// `rd = rs1 op rs2`; of 32 bits the result is sign-extended.
    fn combine(&mut self, op: Alu, width: Width, rd: u8, rs1: u8, rs2: u8) {
        let (mut first, mut second) = (rs1, rs2);
        let mut to = self.result(rd);
        let over = !self.diverted && home(second) == home(rd) && home(first) != home(rd);
        if home(rd).is_some() && over {
            if op == Alu::Sub {
                to = Reg::Rax;
            } else {
                std::mem::swap(&mut first, &mut second);
            }
        }
        self.copy(to, first);
        match operand(second) {
            Operand::Register(b) => self.a.alu_rr(op, width, to, b),
            Operand::Core(place) => self.a.alu_rm(op, width, to, place),
            Operand::Zero if op == Alu::And => self.a.mov_ri(to, 0),
            Operand::Zero => {}
        }
        if width == Width::W32 {
            self.a.sx_rr(Cell::W, to, to);
        }
        self.set(rd, to);
    }

    fn with_inverted(&mut self, op: Alu, rd: u8, rs1: u8, rs2: u8) {
        self.copy(Reg::Rax, rs2);
        self.a.unary(Unary::Not, Width::W64, Reg::Rax);
        match operand(rs1) {
            Operand::Register(a) => self.a.alu_rr(op, Width::W64, Reg::Rax, a),
            Operand::Core(place) => self.a.alu_rm(op, Width::W64, Reg::Rax, place),
            Operand::Zero => self.a.alu_ri(op, Width::W64, Reg::Rax, 0),
        }
        self.set(rd, Reg::Rax);
    }

    fn shift_immediate(&mut self, shift: Shift, width: Width, rd: u8, rs1: u8, by: u8) {
        let to = self.result(rd);
        self.copy(to, rs1);
        if by != 0 {
            self.a.shift_ri(shift, width, to, by);
        }
        if width == Width::W32 {
            self.a.sx_rr(Cell::W, to, to);
        }
        self.set(rd, to);
    }

    fn shift_register(&mut self, shift: Shift, width: Width, rd: u8, rs1: u8, rs2: u8) {
        if !self.features.bmi2 {
            return self.shift_by_cl(shift, width, rd, rs1, rs2);
        }
        let a = self.value(rs1, Reg::Rax);
        let count = self.value(rs2, Reg::Rdx);
        let to = self.result(rd);
        self.a.shiftx(shift, width, to, a, count);
        if width == Width::W32 {
            self.a.sx_rr(Cell::W, to, to);
        }
        self.set(rd, to);
    }

    fn shift_by_cl(&mut self, shift: Shift, width: Width, rd: u8, rs1: u8, rs2: u8) {
        self.copy(Reg::Rcx, rs2);
        self.copy(Reg::Rax, rs1);
        self.a.shift_rcl(shift, width, Reg::Rax);
        if width == Width::W32 {
            self.a.sx_rr(Cell::W, Reg::Rax, Reg::Rax);
        }
        self.set(rd, Reg::Rax);
    }

    fn multiply(&mut self, width: Width, rd: u8, rs1: u8, rs2: u8) {
        let (mut first, mut second) = (rs1, rs2);
        if home(rd).is_some() && home(second) == home(rd) {
            std::mem::swap(&mut first, &mut second);
        }
        let to = self.result(rd);
        self.copy(to, first);
        match operand(second) {
            Operand::Register(b) => self.a.imul_rr(width, to, b),
            Operand::Core(place) => self.a.imul_rm(width, to, place),
            Operand::Zero => self.a.mov_ri(to, 0),
        }
        if width == Width::W32 {
            self.a.sx_rr(Cell::W, to, to);
        }
        self.set(rd, to);
    }

    /// Bits 64 to 127 of a product: x86 leaves them in `rdx`.
    fn multiply_high(&mut self, op: Unary, rd: u8, rs1: u8, rs2: u8) {
        self.copy(Reg::Rax, rs1);
        let b = self.value(rs2, Reg::Rdx);
        self.a.unary(op, Width::W64, b);
        self.set(rd, Reg::Rdx);
    }

    /// Signed times unsigned: the unsigned product, less the second factor if the first is
    /// negative.
    fn multiply_high_mixed(&mut self, rd: u8, rs1: u8, rs2: u8) {
        self.copy(Reg::Rax, rs1);
        let b = self.value(rs2, Reg::Rdx);
        self.a.unary(Unary::Mul, Width::W64, b);
        self.copy(Reg::Rax, rs1);
        self.a.shift_ri(Shift::Sar, Width::W64, Reg::Rax, 63);
        match operand(rs2) {
            Operand::Register(b) => self.a.alu_rr(Alu::And, Width::W64, Reg::Rax, b),
            Operand::Core(place) => self.a.alu_rm(Alu::And, Width::W64, Reg::Rax, place),
            Operand::Zero => self.a.mov_ri(Reg::Rax, 0),
        }
        self.a.alu_rr(Alu::Sub, Width::W64, Reg::Rdx, Reg::Rax);
        self.set(rd, Reg::Rdx);
    }

    fn shift_add(&mut self, scale: Scale, rd: u8, rs1: u8, rs2: u8, word: bool) {
        let mut index = self.value(rs1, Reg::Rax);
        if word {
            self.a.zx_rr(Cell::W, Reg::Rax, index);
            index = Reg::Rax;
        }
        let base = self.value(rs2, Reg::Rdx);
        let to = self.result(rd);
        self.a
            .lea(Width::W64, to, Mem::indexed(base, index, scale, 0));
        self.set(rd, to);
    }

    /// `rd` becomes `rs2` if comparing `rs1` with it says `cond`, else `rs1`.
    fn select(&mut self, cond: Cond, rd: u8, rs1: u8, rs2: u8) {
        self.copy(Reg::Rax, rs1);
        let b = self.value(rs2, Reg::Rdx);
        self.a.alu_rr(Alu::Cmp, Width::W64, Reg::Rax, b);
        self.a.cmov(cond, Width::W64, Reg::Rax, b);
        self.set(rd, Reg::Rax);
    }

    /// `rd` becomes 0 if `rs2` compared with 0 says `cond`, else `rs1`.
    fn zero_if(&mut self, cond: Cond, rd: u8, rs1: u8, rs2: u8) {
        self.copy(Reg::Rax, rs1);
        self.a.mov_ri(Reg::Rdx, 0);
        match operand(rs2) {
            Operand::Register(b) => self.a.test_rr(Width::W64, b, b),
            Operand::Core(place) => self.a.alu_mi(Alu::Cmp, Width::W64, place, 0),
            Operand::Zero => self.a.test_rr(Width::W64, Reg::Rdx, Reg::Rdx),
        }
        self.a.cmov(cond, Width::W64, Reg::Rax, Reg::Rdx);
        self.set(rd, Reg::Rax);
    }

    /// Each byte of `rd` becomes all ones, but zero where that of `rs1` is.
    fn or_combine(&mut self, rd: u8, rs1: u8) {
        let from = self.value(rs1, Reg::Rax);
        let to = self.result(rd);
        self.a.movq_xr(SCRATCH, from);
        self.a
            .bitwise_rr(Bitwise::Xor, SECOND_SCRATCH, SECOND_SCRATCH);
        self.a.pcmpeqb(SCRATCH, SECOND_SCRATCH);
        self.a.movq_rx(to, SCRATCH);
        self.a.unary(Unary::Not, Width::W64, to);
        self.set(rd, to);
    }

    fn extend_sign(&mut self, rd: u8, rs1: u8, cell: Cell) {
        let to = self.result(rd);
        match operand(rs1) {
            Operand::Register(from) => self.a.sx_rr(cell, to, from),
            Operand::Core(place) => self.a.load_sx(cell, to, place),
            Operand::Zero => self.a.mov_ri(to, 0),
        }
        self.set(rd, to);
    }

    fn extend_zero(&mut self, rd: u8, rs1: u8, cell: Cell) {
        let to = self.result(rd);
        match operand(rs1) {
            Operand::Register(from) => self.a.zx_rr(cell, to, from),
            Operand::Core(place) => self.a.load_zx(cell, to, place),
            Operand::Zero => self.a.mov_ri(to, 0),
        }
        self.set(rd, to);
    }
}

/// Whether [`Emitter::integer`] knows the instruction. Those it does not know may be illegal.
fn is_inline(op: Op, features: &crate::features::Features) -> bool {
    use ringer_isa::Extension;

    match op {
        Op::Clz | Op::Clzw => features.lzcnt,
        Op::Ctz | Op::Ctzw => features.bmi1,
        Op::Cpop | Op::Cpopw => features.popcnt,
        _ => matches!(
            op.extension(),
            Extension::I
                | Extension::M
                | Extension::Zba
                | Extension::Zbb
                | Extension::Zbs
                | Extension::Zicond
        ),
    }
}
