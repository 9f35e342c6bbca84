//! The way into the kernel and back: `ecall` from U-mode into S-mode, and `sret` to U-mode. Inline
//! only if nothing stands against it; else the definition, which also finds the spaces that are
//! gone to here.

use std::mem::offset_of;

use ringer_hart::cause::Cause;
use ringer_hart::counter::Counts;
use ringer_hart::csr::mstatus;
use ringer_hart::hart::Reservation;
use ringer_hart::{Hart, Mode, Privilege};
use ringer_isa::Op;

use super::Emitter;
use super::status::FAR;
use super::system::csr;
use crate::assembler::{Alu, Cell, Cond, Mem, Reg, Shift, Width};
use crate::core_state::{HORIZON, NEAR, SPACE, STACK, hart_field};
use crate::spaces::NearSpaces;

const MODE: Mem = hart_field(offset_of!(Hart, mode) + offset_of!(Mode, privilege));
const CALL: Cause = Cause::EcallFromU;
const CALLS: Mem =
    hart_field(offset_of!(Hart, counts) + offset_of!(Counts, exceptions) + 8 * CALL as usize);
const USER_SPACE: Mem = Mem::at(NEAR.base, NEAR.disp + offset_of!(NearSpaces, user) as i32);
/// From SIE to SPIE.
const PREVIOUS: u8 = (mstatus::SPIE.trailing_zeros() - mstatus::SIE.trailing_zeros()) as u8;

impl Emitter<'_> {
    /// Emits an `ecall` or `sret`, if it is one that may be done inline. Uses `rcx`.
    pub(super) fn crossing(&mut self) -> bool {
        let cross = match (self.current().insn.op, self.privilege) {
            (Op::Ecall, Privilege::User) => Self::call_kernel,
            (Op::Sret, Privilege::Supervisor) => Self::return_to_user,
            _ => return false,
        };
        self.save_floats();
        cross(self);
        true
    }

    /// A trap into S-mode, as [`Hart::raise`] takes it.
    fn call_kernel(&mut self) {
        let done = self.a.label();
        let slow = self.definition_aside(done);
        self.a.mov_rm(Width::W64, Reg::Rdx, csr!(medeleg));
        self.a.test_ri(Width::W32, Reg::Rdx, 1 << CALL as i32);
        self.a.jcc(Cond::E, slow);
        self.a.mov_rm(Width::W64, Reg::Rax, csr!(mstatus));
        self.a.test_ri(Width::W32, Reg::Rax, FAR as i32);
        self.a.jcc(Cond::Ne, slow);
        self.a.mov_rr(Width::W32, Reg::Rcx, Reg::Rax);
        self.find_kernel_space(Reg::Rcx, slow);

        self.a.mov_rr(Width::W32, Reg::Rdx, Reg::Rax);
        let changed = mstatus::SIE | mstatus::SPIE | mstatus::SPP;
        self.a
            .alu_ri(Alu::And, Width::W64, Reg::Rax, !(changed as i32));
        self.a
            .alu_ri(Alu::And, Width::W32, Reg::Rdx, mstatus::SIE as i32);
        self.a.shift_ri(Shift::Shl, Width::W32, Reg::Rdx, PREVIOUS);
        self.a.alu_rr(Alu::Or, Width::W64, Reg::Rax, Reg::Rdx);
        self.a.mov_mi(Width::W64, csr!(scause), CALL as i32);
        self.a.mov_mi(Width::W64, csr!(stval), 0);
        self.address_of(Reg::Rdx, self.current().at.into());
        self.a.mov_mr(Width::W64, csr!(sepc), Reg::Rdx);
        self.a.alu_mi(Alu::Add, Width::W64, CALLS, 1);
        // It does not retire.
        self.a.alu_mi(Alu::Sub, Width::W64, HORIZON, 1);
        self.cross(Privilege::Supervisor);
        self.a.mov_rm(Width::W64, Reg::Rax, csr!(stvec));
        self.a.alu_ri(Alu::And, Width::W64, Reg::Rax, -4);
        self.far_jump();
        self.rejoin(done);
    }

    /// A trap return to U-mode, as `Hart::sret` does it. Interrupts are sampled behind it.
    fn return_to_user(&mut self) {
        let done = self.a.label();
        let slow = self.definition_aside(done);
        self.a.mov_rm(Width::W64, Reg::Rcx, USER_SPACE);
        self.a.test_rr(Width::W64, Reg::Rcx, Reg::Rcx);
        self.a.jcc(Cond::E, slow);
        self.expect_no_interrupts(slow);
        self.a.mov_rm(Width::W64, Reg::Rax, csr!(mstatus));
        let against = FAR | mstatus::TSR | mstatus::SPP;
        self.a.test_ri(Width::W32, Reg::Rax, against as i32);
        self.a.jcc(Cond::Ne, slow);

        self.a.mov_rr(Width::W32, Reg::Rdx, Reg::Rax);
        self.a
            .alu_ri(Alu::And, Width::W64, Reg::Rax, !(mstatus::SIE as i32));
        self.a.shift_ri(Shift::Shr, Width::W32, Reg::Rdx, PREVIOUS);
        self.a
            .alu_ri(Alu::And, Width::W32, Reg::Rdx, mstatus::SIE as i32);
        self.a
            .alu_ri(Alu::Or, Width::W32, Reg::Rdx, mstatus::SPIE as i32);
        self.a.alu_rr(Alu::Or, Width::W64, Reg::Rax, Reg::Rdx);
        self.cross(Privilege::User);
        self.a.mov_rm(Width::W64, Reg::Rax, csr!(sepc));
        self.far_jump();
        self.rejoin(done);
    }

    /// What both have in common: the status, in `rax`, the space, in `rcx`, the mode, and what
    /// does not outlive a change of it.
    fn cross(&mut self, to: Privilege) {
        self.a.mov_mr(Width::W64, csr!(mstatus), Reg::Rax);
        self.a.mov_rr(Width::W64, SPACE, Reg::Rcx);
        self.a.store_i(Cell::B, MODE, to as i32);
        for word in [
            offset_of!(Reservation, bytes),
            offset_of!(Reservation, addr),
            offset_of!(Reservation, value),
        ] {
            let place = hart_field(offset_of!(Hart, reservation) + word);
            self.a.mov_mi(Width::W64, place, 0);
        }
        self.a.mov_rm(Width::W64, Reg::Rsp, STACK);
    }
}
