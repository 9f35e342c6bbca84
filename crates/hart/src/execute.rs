//! What each instruction does: the one place, for `step` and for the predecoded loop alike.
//! Here are the integer instructions, loads, stores and branches; the rest is in the folder.

mod atomics;
mod bits;
mod float;
mod system;

use ringer_isa::{Class, Insn, Op};

use crate::bus::Bus;
use crate::cause::Exception;
use crate::float::{F16, F32, Float};
use crate::hart::{Exit, Hart};
use crate::memory::TranslationCache;

/// What comes after an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// The next one in memory.
    Next,
    /// The next one in memory, once the hart's effects are acted on.
    End,
    /// The one at `pc`, which has been set.
    Jump,
    /// The hart leaves the run loop; `pc` is as [`Exit`] says for each case.
    Leave(Exit),
    /// A trap: nothing of the instruction has happened, and the exception waits in the hart.
    /// (There, so that this type fits a register: the run loop is twice as fast for it.)
    Trap,
}

/// The result of one of the rarer instructions, before the exception is put aside.
type Execution = Result<Flow, Exception>;

/// Unwraps an access of `$hart`, or returns its trap.
macro_rules! attempt {
    ($hart:ident, $access:expr) => {
        match $access {
            Ok(value) => value,
            Err(exception) => return $hart.trapped(exception),
        }
    };
}

impl Hart {
    /// Executes the decoded instruction `insn`, which lies at `pc`. Registers and memory change;
    /// the caller moves `self.pc` on unless the flow is a jump, and counts the instruction.
    #[inline(always)]
    pub(crate) fn execute<B: Bus + ?Sized, T: TranslationCache>(
        &mut self,
        bus: &B,
        cache: &mut T,
        insn: &Insn,
        pc: u64,
    ) -> Flow {
        let a = self.xr(insn.rs1);
        let b = self.xr(insn.rs2);
        let imm = insn.imm as i64 as u64;
        let at = a.wrapping_add(imm); // of loads and stores
        let value = match insn.op {
            Op::Addi => at,
            Op::Add => a.wrapping_add(b),
            Op::Sub => a.wrapping_sub(b),
            Op::Lui => imm,
            Op::Auipc => pc.wrapping_add(imm),
            Op::Andi => a & imm,
            Op::Ori => a | imm,
            Op::Xori => a ^ imm,
            Op::And => a & b,
            Op::Or => a | b,
            Op::Xor => a ^ b,
            Op::Slli => a << (imm & 63),
            Op::Srli => a >> (imm & 63),
            Op::Srai => (a as i64 >> (imm & 63)) as u64,
            Op::Sll => a << (b & 63),
            Op::Srl => a >> (b & 63),
            Op::Sra => (a as i64 >> (b & 63)) as u64,
            Op::Slti => u64::from((a as i64) < imm as i64),
            Op::Sltiu => u64::from(a < imm),
            Op::Slt => u64::from((a as i64) < b as i64),
            Op::Sltu => u64::from(a < b),
            Op::Addiw => word(at),
            Op::Addw => word(a.wrapping_add(b)),
            Op::Subw => word(a.wrapping_sub(b)),
            Op::Slliw => word(a << (imm & 31)),
            Op::Srliw => word(u64::from(a as u32 >> (imm & 31))),
            Op::Sraiw => (a as i32 >> (imm & 31)) as u64,
            Op::Sllw => word(a << (b & 31)),
            Op::Srlw => word(u64::from(a as u32 >> (b & 31))),
            Op::Sraw => (a as i32 >> (b & 31)) as u64,

            Op::Mul => a.wrapping_mul(b),
            Op::Mulw => word(a.wrapping_mul(b)),
            Op::Mulh => ((i128::from(a as i64) * i128::from(b as i64)) >> 64) as u64,
            Op::Mulhu => ((u128::from(a) * u128::from(b)) >> 64) as u64,
            Op::Mulhsu => ((i128::from(a as i64).wrapping_mul(i128::from(b))) >> 64) as u64,
            Op::Div => divide(a as i64, b as i64) as u64,
            Op::Divu => a.checked_div(b).unwrap_or(u64::MAX),
            Op::Rem => remainder(a as i64, b as i64) as u64,
            Op::Remu => a.checked_rem(b).unwrap_or(a),
            Op::Divw => divide((a as i32).into(), (b as i32).into()) as i32 as u64,
            Op::Divuw => (a as u32).checked_div(b as u32).unwrap_or(u32::MAX) as i32 as u64,
            Op::Remw => remainder((a as i32).into(), (b as i32).into()) as i32 as u64,
            Op::Remuw => (a as u32).checked_rem(b as u32).unwrap_or(a as u32) as i32 as u64,

            Op::Sh1add => b.wrapping_add(a << 1),
            Op::Sh2add => b.wrapping_add(a << 2),
            Op::Sh3add => b.wrapping_add(a << 3),
            Op::AddUw => b.wrapping_add(a & 0xffff_ffff),
            Op::ZextH => a & 0xffff,
            Op::SextB => a as i8 as u64,
            Op::SextH => a as i16 as u64,
            Op::Andn => a & !b,
            Op::CzeroEqz => {
                if b == 0 {
                    0
                } else {
                    a
                }
            }
            Op::CzeroNez => {
                if b != 0 {
                    0
                } else {
                    a
                }
            }

            Op::Lb => {
                let loaded = attempt!(self, self.load::<u8, B, T>(bus, cache, at));
                self.set_x(insn.rd, loaded as i8 as u64);
                return self.after_access();
            }
            Op::Lh => {
                let loaded = attempt!(self, self.load::<u16, B, T>(bus, cache, at));
                self.set_x(insn.rd, loaded as i16 as u64);
                return self.after_access();
            }
            Op::Lw => {
                let loaded = attempt!(self, self.load::<u32, B, T>(bus, cache, at));
                self.set_x(insn.rd, loaded as i32 as u64);
                return self.after_access();
            }
            Op::Ld => {
                let loaded = attempt!(self, self.load::<u64, B, T>(bus, cache, at));
                self.set_x(insn.rd, loaded);
                return self.after_access();
            }
            Op::Lbu => {
                let loaded = attempt!(self, self.load::<u8, B, T>(bus, cache, at));
                self.set_x(insn.rd, loaded);
                return self.after_access();
            }
            Op::Lhu => {
                let loaded = attempt!(self, self.load::<u16, B, T>(bus, cache, at));
                self.set_x(insn.rd, loaded);
                return self.after_access();
            }
            Op::Lwu => {
                let loaded = attempt!(self, self.load::<u32, B, T>(bus, cache, at));
                self.set_x(insn.rd, loaded);
                return self.after_access();
            }

            Op::Sb => {
                attempt!(self, self.store::<u8, B, T>(bus, cache, at, b));
                return self.after_access();
            }
            Op::Sh => {
                attempt!(self, self.store::<u16, B, T>(bus, cache, at, b));
                return self.after_access();
            }
            Op::Sw => {
                attempt!(self, self.store::<u32, B, T>(bus, cache, at, b));
                return self.after_access();
            }
            Op::Sd => {
                attempt!(self, self.store::<u64, B, T>(bus, cache, at, b));
                return self.after_access();
            }

            Op::Beq => return self.branch(a == b, pc, imm),
            Op::Bne => return self.branch(a != b, pc, imm),
            Op::Blt => return self.branch((a as i64) < b as i64, pc, imm),
            Op::Bge => return self.branch(a as i64 >= b as i64, pc, imm),
            Op::Bltu => return self.branch(a < b, pc, imm),
            Op::Bgeu => return self.branch(a >= b, pc, imm),
            Op::Jal => {
                self.set_x(insn.rd, pc.wrapping_add(insn.len.into()));
                return self.branch(true, pc, imm);
            }
            Op::Jalr => {
                // Every even address is a legal target: IALIGN is 16.
                self.pc = at & !1;
                self.set_x(insn.rd, pc.wrapping_add(insn.len.into()));
                return Flow::Jump;
            }

            Op::Flw => {
                attempt!(self, self.float_enabled(insn));
                let bits = attempt!(self, self.load::<u32, B, T>(bus, cache, at));
                self.set_f(insn.rd, F32::from_bits(bits).to_box());
                return self.after_access();
            }
            Op::Fld => {
                attempt!(self, self.float_enabled(insn));
                let bits = attempt!(self, self.load::<u64, B, T>(bus, cache, at));
                self.set_f(insn.rd, bits);
                return self.after_access();
            }
            Op::Flh => {
                attempt!(self, self.float_enabled(insn));
                let bits = attempt!(self, self.load::<u16, B, T>(bus, cache, at));
                self.set_f(insn.rd, F16::from_bits(bits).to_box());
                return self.after_access();
            }
            Op::Fsw => {
                attempt!(self, self.float_enabled(insn));
                attempt!(
                    self,
                    self.store::<u32, B, T>(bus, cache, at, self.fr(insn.rs2))
                );
                return self.after_access();
            }
            Op::Fsd => {
                attempt!(self, self.float_enabled(insn));
                attempt!(
                    self,
                    self.store::<u64, B, T>(bus, cache, at, self.fr(insn.rs2))
                );
                return self.after_access();
            }
            Op::Fsh => {
                attempt!(self, self.float_enabled(insn));
                attempt!(
                    self,
                    self.store::<u16, B, T>(bus, cache, at, self.fr(insn.rs2))
                );
                return self.after_access();
            }

            _ => return self.execute_rest(bus, cache, insn, pc),
        };
        self.set_x(insn.rd, value);
        Flow::Next
    }

    /// The instructions that are rarer or longer: each group has its file.
    #[inline(never)]
    fn execute_rest<B: Bus + ?Sized, T: TranslationCache>(
        &mut self,
        bus: &B,
        cache: &mut T,
        insn: &Insn,
        pc: u64,
    ) -> Flow {
        let execution = match insn.op.class() {
            Class::Float => self.execute_float(insn),
            Class::Atomic => self.execute_atomic(bus, cache, insn),
            Class::Integer => {
                if let Some(value) = bits::evaluate(insn, self.xr(insn.rs1), self.xr(insn.rs2)) {
                    self.set_x(insn.rd, value);
                    return Flow::Next;
                }
                None
            }
            _ => None,
        };
        let execution = execution.unwrap_or_else(|| self.execute_system(bus, cache, insn, pc));
        match execution {
            Ok(flow) => flow,
            Err(exception) => self.trapped(exception),
        }
    }

    /// Leaves an exception to be taken.
    #[cold]
    pub(crate) fn trapped(&mut self, exception: Exception) -> Flow {
        self.exception = exception;
        Flow::Trap
    }

    /// A device may have been touched, which ends a block.
    #[inline(always)]
    pub(crate) fn after_access(&self) -> Flow {
        if self.effects.is_empty() {
            Flow::Next
        } else {
            Flow::End
        }
    }

    #[inline(always)]
    fn branch(&mut self, taken: bool, pc: u64, offset: u64) -> Flow {
        if taken {
            self.pc = pc.wrapping_add(offset);
            Flow::Jump
        } else {
            Flow::Next
        }
    }
}

/// The low 32 bits, sign-extended: the result of the `w` instructions.
#[inline(always)]
pub(crate) fn word(value: u64) -> u64 {
    value as i32 as u64
}

/// Division by zero yields all ones; the one overflow yields the dividend (M extension, 12.2).
#[inline(always)]
fn divide(a: i64, b: i64) -> i64 {
    if b == 0 { -1 } else { a.wrapping_div(b) }
}

#[inline(always)]
fn remainder(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { a.wrapping_rem(b) }
}
