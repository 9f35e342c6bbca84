//! The status, and what turns on it: interrupts, SUM, the floating-point unit. In S-mode, writes
//! of `sstatus` are done inline unless an interrupt may have to be taken behind them.
//!
//! Interrupts are sampled after a write to the status. Inline code does not take any: it only
//! tells, by the same words that the definition reads, that there is none to take, and leaves the
//! instruction to the definition if it cannot tell.

use std::mem::offset_of;

use ringer_hart::csr::{SSTATUS_READ, SSTATUS_WRITE, mstatus};
use ringer_isa::Insn;

use super::Emitter;
use super::system::{Change, change, csr, is_immediate};
use crate::assembler::{Alu, Cell, Cond, Label, Mem, Reg, Scale, Shift, Unary, Width};
use crate::core_state::{CLOCK, FLOAT_ON, FLOAT_READY, FLOAT_TAKEN, NEAR, SPACE, TIMER, WIRES};
use crate::spaces::NearSpaces;

/// The status bits that say what an S-mode hart can reach beyond its mode and `satp`, and SUM.
pub(super) const FAR: u64 = mstatus::MPRV | mstatus::MXR;

// Tests of the status look at its lower half.
const _: () = assert!((SSTATUS_WRITE | FAR) >> 31 == 0);

impl Emitter<'_> {
    /// `rd` becomes the status with SD worked out.
    pub(super) fn read_status(&mut self, rd: u8, shown: u64) {
        if rd == 0 {
            return;
        }
        self.a.mov_rm(Width::W64, Reg::Rax, csr!(mstatus));
        // If FS, two bits, is dirty, one more carries into the bit above it, which is 0 before.
        const CARRY: u64 = mstatus::FS + (1 << mstatus::FS_SHIFT);
        let one_more = 1 << mstatus::FS_SHIFT;
        self.a
            .lea(Width::W32, Reg::Rdx, Mem::at(Reg::Rax, one_more));
        self.a.alu_ri(Alu::And, Width::W32, Reg::Rdx, CARRY as i32);
        let up = mstatus::SD.trailing_zeros() - CARRY.trailing_zeros();
        self.a.shift_ri(Shift::Shl, Width::W64, Reg::Rdx, up as u8);
        self.a.alu_rr(Alu::Or, Width::W64, Reg::Rax, Reg::Rdx);
        if shown != u64::MAX {
            self.a.mov_ri(Reg::Rdx, shown);
            self.a.alu_rr(Alu::And, Width::W64, Reg::Rax, Reg::Rdx);
        }
        self.set(rd, Reg::Rax);
    }

    /// Clears SIE, in S-mode.
    pub(super) fn interrupts_off(&mut self, insn: &Insn) {
        let done = self.a.label();
        let slow = self.definition_aside(done);
        self.expect_no_machine_interrupts(slow);
        self.count_csr_access();
        self.read_status(insn.rd, SSTATUS_READ);
        let others = !(mstatus::SIE as i32);
        self.a.alu_mi(Alu::And, Width::W64, csr!(mstatus), others);
        self.rejoin(done);
    }

    /// A write of `sstatus` in S-mode. Uses `rcx`.
    pub(super) fn write_status(&mut self, insn: &Insn) {
        self.save_floats();
        let done = self.a.label();
        let slow = self.definition_aside(done);
        let change = change(insn);
        let operand = match change {
            Change::Set | Change::Clear if is_immediate(insn) => insn.rs1.into(),
            _ => u64::MAX,
        };
        let fields = SSTATUS_WRITE & operand;

        // `rcx`: first the bits that differ afterwards, then the new status.
        if is_immediate(insn) {
            self.a.mov_ri(Reg::Rcx, insn.rs1.into());
        } else {
            self.copy(Reg::Rcx, insn.rs1);
        }
        self.a.mov_rm(Width::W64, Reg::Rax, csr!(mstatus));
        match change {
            Change::Set => {
                self.a.mov_rr(Width::W64, Reg::Rdx, Reg::Rax);
                self.a.unary(Unary::Not, Width::W64, Reg::Rdx);
                self.a.alu_rr(Alu::And, Width::W64, Reg::Rcx, Reg::Rdx);
            }
            Change::Clear => self.a.alu_rr(Alu::And, Width::W64, Reg::Rcx, Reg::Rax),
            Change::Write | Change::Nothing => {
                self.a.alu_rr(Alu::Xor, Width::W64, Reg::Rcx, Reg::Rax);
            }
        }
        self.a.alu_ri(Alu::And, Width::W32, Reg::Rcx, fields as i32);
        self.a.alu_rr(Alu::Xor, Width::W64, Reg::Rcx, Reg::Rax);

        let sets = change == Change::Set;
        if operand != u64::MAX && fields & mstatus::SIE != 0 {
            if sets {
                self.expect_no_interrupts(slow);
            } else {
                self.expect_no_machine_interrupts(slow);
            }
        } else {
            let (off, known) = (self.a.label(), self.a.label());
            self.a.test_ri(Width::W32, Reg::Rcx, mstatus::SIE as i32);
            self.a.jcc_short(Cond::E, off);
            self.expect_no_interrupts(slow);
            self.a.jmp_short(known);
            self.a.bind(off);
            self.expect_no_machine_interrupts(slow);
            self.a.bind(known);
        }
        if fields & (mstatus::SUM | mstatus::MXR) != 0 {
            self.go_to_space(slow);
        }
        self.count_csr_access();
        self.read_status(insn.rd, SSTATUS_READ);
        self.a.mov_mr(Width::W64, csr!(mstatus), Reg::Rcx);
        if fields & mstatus::FS != 0 {
            self.float_unit_changes();
        }
        self.rejoin(done);
    }

    /// Goes to the space for the status that is to be, in `rcx`, if it is another one: by SUM. If
    /// that is not known, or MXR has a say, to `slow`.
    fn go_to_space(&mut self, slow: Label) {
        let same = self.a.label();
        self.a.mov_rm(Width::W64, Reg::Rax, csr!(mstatus));
        self.a.mov_rr(Width::W32, Reg::Rdx, Reg::Rax);
        self.a.alu_rr(Alu::Xor, Width::W32, Reg::Rdx, Reg::Rcx);
        let reach = mstatus::SUM | mstatus::MXR;
        self.a.test_ri(Width::W32, Reg::Rdx, reach as i32);
        self.a.jcc_short(Cond::E, same);
        self.a.alu_rr(Alu::Or, Width::W32, Reg::Rax, Reg::Rcx);
        self.a.test_ri(Width::W32, Reg::Rax, FAR as i32);
        self.a.jcc(Cond::Ne, slow);
        self.a.mov_rr(Width::W32, Reg::Rax, Reg::Rcx);
        self.find_kernel_space(Reg::Rax, slow);
        self.a.mov_rr(Width::W64, SPACE, Reg::Rax);
        self.a.bind(same);
    }

    /// `status` becomes the space for it in S-mode; to `slow` if that is not known.
    pub(super) fn find_kernel_space(&mut self, status: Reg, slow: Label) {
        let sum = mstatus::SUM.trailing_zeros() as u8;
        self.a.shift_ri(Shift::Shr, Width::W32, status, sum);
        self.a.alu_ri(Alu::And, Width::W32, status, 1);
        let kernel = NEAR.disp + offset_of!(NearSpaces, kernel) as i32;
        let space = Mem::indexed(NEAR.base, status, Scale::X8, kernel);
        self.a.mov_rm(Width::W64, status, space);
        self.a.test_rr(Width::W64, status, status);
        self.a.jcc(Cond::E, slow);
    }

    /// To `slow` if an interrupt that belongs to M-mode is enabled: with SIE clear no other can be
    /// taken in S-mode. Then the definition does not even look at the clock.
    fn expect_no_machine_interrupts(&mut self, slow: Label) {
        self.a.mov_rm(Width::W64, Reg::Rax, csr!(mideleg));
        self.a.unary(Unary::Not, Width::W64, Reg::Rax);
        self.a.alu_rm(Alu::And, Width::W64, Reg::Rax, csr!(mie));
        self.a.jcc(Cond::Ne, slow);
    }

    /// To `slow` if any interrupt that is enabled by itself may be pending. Uses `rax` and `rdx`.
    pub(super) fn expect_no_interrupts(&mut self, slow: Label) {
        let at = |register| Mem::at(register, 0);
        self.a.mov_rm(Width::W64, Reg::Rax, WIRES);
        self.a.mov_rm(Width::W64, Reg::Rax, at(Reg::Rax));
        self.a.alu_rm(Alu::Or, Width::W64, Reg::Rax, csr!(mip));
        self.a.alu_rm(Alu::And, Width::W64, Reg::Rax, csr!(mie));
        self.a.jcc(Cond::Ne, slow);
        self.a.mov_rm(Width::W64, Reg::Rax, CLOCK);
        self.a.mov_rm(Width::W64, Reg::Rax, at(Reg::Rax));
        self.a
            .alu_rm(Alu::Cmp, Width::W64, Reg::Rax, csr!(stimecmp));
        self.a.jcc(Cond::Ae, slow);
        self.a.mov_rm(Width::W64, Reg::Rdx, TIMER);
        self.a.alu_rm(Alu::Cmp, Width::W64, Reg::Rax, at(Reg::Rdx));
        self.a.jcc(Cond::Ae, slow);
    }

    /// Makes up for a change of FS: the status is in `rcx`. The block asks again before its next
    /// floating-point instruction.
    fn float_unit_changes(&mut self) {
        let at_fs = mstatus::FS_SHIFT as u8;
        self.a.shift_ri(Shift::Shr, Width::W32, Reg::Rcx, at_fs);
        self.a.alu_ri(Alu::And, Width::W32, Reg::Rcx, 3);
        self.a.setcc(Cond::Ne, Reg::Rax);
        self.a.store(Cell::B, FLOAT_ON, Reg::Rax);
        // Dirty is all ones.
        self.a.alu_ri(Alu::Cmp, Width::W32, Reg::Rcx, 3);
        self.a.setcc(Cond::E, Reg::Rax);
        self.a.load_zx(Cell::B, Reg::Rdx, FLOAT_TAKEN);
        self.a.alu_rr(Alu::And, Width::W32, Reg::Rax, Reg::Rdx);
        self.a.store(Cell::B, FLOAT_READY, Reg::Rax);
        self.float_unit_expected = false;
        self.float_on_expected = false;
    }
}
