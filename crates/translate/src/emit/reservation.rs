//! `lr` and `sc`: as in the definition, a reservation is a place and what was there, and `sc`
//! exchanges that for the new value if it still is.

use std::mem::offset_of;

use ringer_hart::Hart;
use ringer_hart::counter::Counts;
use ringer_hart::hart::Reservation;
use ringer_isa::{Insn, Op};

use super::Emitter;
use super::memory::Kind;
use crate::assembler::{Alu, Cell, Cond, Label, Mem, Reg, Width};
use crate::core_state::{RAM_DISTANCE, hart_field};

/// The `aq` bit in an atomic's `rm`.
const ACQUIRE: u8 = 2;
/// The `rl` bit.
const RELEASE: u8 = 1;

const BYTES: Mem = field(offset_of!(Reservation, bytes));
const ADDR: Mem = field(offset_of!(Reservation, addr));
const VALUE: Mem = field(offset_of!(Reservation, value));
const FAILED_SC: Mem = hart_field(offset_of!(Hart, counts) + offset_of!(Counts, failed_sc));

const fn field(offset: usize) -> Mem {
    hart_field(offset_of!(Hart, reservation) + offset)
}

impl Emitter<'_> {
    /// Emits `insn` if it is `lr` or `sc`. Uses `rcx`.
    pub(super) fn reservation(&mut self, insn: &Insn) -> bool {
        match insn.op {
            Op::LrW => self.load_reserved(insn, Cell::W, 4),
            Op::LrD => self.load_reserved(insn, Cell::D, 8),
            Op::ScW => self.store_conditional(insn, Cell::W, 4),
            Op::ScD => self.store_conditional(insn, Cell::D, 8),
            _ => return false,
        }
        true
    }

    /// `rax` becomes the place in host memory, else it goes to `slow`.
    fn reach_reservation(&mut self, kind: Kind, insn: &Insn, bytes: i32, slow: Label) {
        self.check(kind, insn.rs1, 0, bytes, slow);
        // Misaligned ones trap.
        self.a.test_ri(Width::W32, Reg::Rax, bytes - 1);
        self.a.jcc(Cond::Ne, slow);
        self.host_address(kind);
    }

    fn load_reserved(&mut self, insn: &Insn, cell: Cell, bytes: i32) {
        let done = self.a.label();
        let slow = self.definition_aside(done);
        self.reach_reservation(Kind::Load, insn, bytes, slow);
        if insn.rm & RELEASE != 0 {
            self.order_memory();
        }
        self.a.load_zx(cell, Reg::Rdx, Mem::at(Reg::Rax, 0));
        if insn.rm & ACQUIRE != 0 {
            self.order_memory();
        }
        self.a.alu_rm(Alu::Add, Width::W64, Reg::Rax, RAM_DISTANCE);
        self.a.mov_mi(Width::W64, BYTES, bytes);
        self.a.mov_mr(Width::W64, ADDR, Reg::Rax);
        self.a.mov_mr(Width::W64, VALUE, Reg::Rdx);
        if cell == Cell::W {
            self.a.sx_rr(cell, Reg::Rdx, Reg::Rdx);
        }
        self.set(insn.rd, Reg::Rdx);
        self.rejoin(done);
    }

    fn store_conditional(&mut self, insn: &Insn, cell: Cell, bytes: i32) {
        let (done, failed, out) = (self.a.label(), self.a.label(), self.a.label());
        let slow = self.definition_aside(done);
        self.reach_reservation(Kind::Store, insn, bytes, slow);
        self.a.mov_rr(Width::W64, Reg::Rcx, Reg::Rax);
        self.a.alu_rm(Alu::Add, Width::W64, Reg::Rax, RAM_DISTANCE);
        self.a.alu_mi(Alu::Cmp, Width::W64, BYTES, bytes);
        // It is used up in any case; moves leave the flags alone.
        self.a.mov_mi(Width::W64, BYTES, 0);
        self.a.jcc_short(Cond::Ne, failed);
        self.a.alu_rm(Alu::Cmp, Width::W64, Reg::Rax, ADDR);
        self.a.jcc_short(Cond::Ne, failed);
        self.a.mov_rm(Width::W64, Reg::Rax, VALUE);
        self.copy(Reg::Rdx, insn.rs2);
        let locked = self.features.parallel;
        self.a
            .cmpxchg_mr(locked, cell, Mem::at(Reg::Rcx, 0), Reg::Rdx);
        self.a.jcc_short(Cond::Ne, failed);
        self.a.mov_ri(Reg::Rax, 0);
        self.a.jmp_short(out);
        self.a.bind(failed);
        self.a.alu_mi(Alu::Add, Width::W64, FAILED_SC, 1);
        self.a.mov_ri(Reg::Rax, 1);
        self.a.bind(out);
        self.set(insn.rd, Reg::Rax);
        self.rejoin(done);
    }
}
