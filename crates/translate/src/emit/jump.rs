//! Branches, jumps, calls and returns.
//!
//! Within its page a block jumps straight to another, once they are linked. To any other address
//! it looks into the space's table of jumps. A call also leaves a guess on the host's stack: the
//! guest address to return to, and by the host's own `call` where to go on then. A return that
//! finds its address there is the host's `ret`, which the processor predicts.

use ringer_isa::Op;

use super::aside::Aside;
use super::block::is_in_page;
use super::{Emitter, Turn};
use crate::assembler::{Alu, Cond, Mem, Reg, Scale, Width};
use crate::core_state::{LEFT, PAGE, SPACE, STACK, home, x};
use crate::tables::{JUMPS, Tables};

/// The registers that calls leave their return address in (unprivileged 2.5.1).
fn is_link(register: u8) -> bool {
    register == 1 || register == 5
}

/// What the flags of a comparison say when the branch is taken.
pub(super) fn taken(op: Op) -> Cond {
    match op {
        Op::Beq => Cond::E,
        Op::Bne => Cond::Ne,
        Op::Blt => Cond::L,
        Op::Bge => Cond::Ge,
        Op::Bltu => Cond::B,
        _ => Cond::Ae,
    }
}

impl Emitter<'_> {
    /// A conditional jump.
    pub(super) fn branch(&mut self) {
        let step = self.current();
        let insn = step.insn;
        let cond = taken(insn.op);
        let target = step.target();
        let uncounted = self.uncounted() - 1;
        if uncounted == 0 {
            match self.loop_registers.take() {
                Some(registers) => self.repeat_loop(&registers),
                None => self.save_floats(),
            }
        }
        self.compare(insn.rs1, insn.rs2);
        if uncounted == 0 && is_in_page(target) {
            if target == i64::from(self.first) {
                match self.turn {
                    None => self.a.jcc(cond, self.near),
                    Some(turn) => self.next_turn(cond, turn),
                }
                return;
            }
            let site = self.a.jcc_patchable(cond);
            self.leads_to(site, target);
            return;
        }
        let label = self.a.label();
        self.a.jcc(cond, label);
        self.aside.push(Aside::Taken {
            label,
            uncounted,
            target,
            unsaved: self.floats.unsaved(),
            flags_to: self.flags_to_save(),
        });
    }

    /// The loop's next turn, if the flags say so.
    fn next_turn(&mut self, cond: Cond, turn: Turn) {
        let over = self.a.label();
        self.a.jcc(cond.inverted(), over);
        self.a.alu_ri(Alu::Sub, Width::W64, LEFT, self.count as i32);
        self.a.jcc(Cond::Ae, turn.begin);
        self.a.jmp(turn.budget);
        self.a.bind(over);
    }

    /// Sets the flags by comparing two integer registers. Leaves `rax` alone.
    pub(super) fn compare(&mut self, rs1: u8, rs2: u8) {
        match (home(rs1), home(rs2)) {
            (Some(a), Some(b)) => self.a.alu_rr(Alu::Cmp, Width::W64, a, b),
            (Some(a), None) if rs2 == 0 => self.a.test_rr(Width::W64, a, a),
            // The place of `x0` holds 0 like any other.
            (None, None) if rs2 == 0 => {
                self.a.alu_mi(Alu::Cmp, Width::W64, x(rs1), 0);
            }
            (Some(a), None) => self.a.alu_rm(Alu::Cmp, Width::W64, a, x(rs2)),
            (None, Some(b)) => self.a.alu_mr(Alu::Cmp, Width::W64, x(rs1), b),
            (None, None) => {
                self.a.mov_rm(Width::W64, Reg::Rdx, x(rs1));
                self.a.alu_rm(Alu::Cmp, Width::W64, Reg::Rdx, x(rs2));
            }
        }
    }

    /// An unconditional jump; it ends the block.
    pub(super) fn jump(&mut self) {
        self.save_floats();
        let step = self.current();
        let insn = step.insn;
        if insn.op == Op::Jal {
            let target = step.target();
            if insn.rd == 0 {
                return self.go_to(target);
            }
            self.address_of(Reg::Rax, i32::from(step.end()));
            self.set(insn.rd, Reg::Rax);
            if !is_link(insn.rd) {
                return self.go_to(target);
            }
            self.a.push_r(Reg::Rax);
            if is_in_page(target) {
                let site = self.a.call_patchable();
                self.leads_to(site, target);
            } else {
                self.address_of(Reg::Rax, target as i32);
                let code = self.look_up_jump();
                self.a.call_m(code);
            }
            return self.returned();
        }

        let from = self.value(insn.rs1, Reg::Rax);
        let returns = insn.rd == 0 && is_link(insn.rs1) && insn.imm == 0;
        if from != Reg::Rax || insn.imm != 0 {
            self.a.lea(Width::W64, Reg::Rax, Mem::at(from, insn.imm));
        }
        if returns {
            // The guess is at an even address, so an odd one does not match.
            self.a
                .alu_rm(Alu::Cmp, Width::W64, Reg::Rax, Mem::at(Reg::Rsp, 8));
            let other = self.a.label();
            self.a.jcc_short(Cond::Ne, other);
            self.a.ret();
            self.a.bind(other);
            self.a.mov_rm(Width::W64, Reg::Rsp, STACK);
        }
        self.a.alu_ri(Alu::And, Width::W64, Reg::Rax, -2);
        if insn.rd != 0 {
            self.address_of(Reg::Rdx, i32::from(step.end()));
            self.set(insn.rd, Reg::Rdx);
        }
        if is_link(insn.rd) {
            self.a.push_r(Reg::Rdx);
            let code = self.look_up_jump();
            self.a.call_m(code);
            return self.returned();
        }
        self.far_jump();
    }

    /// Behind a call: the guest has returned to the next instruction, whose address is on top
    /// of the stack.
    fn returned(&mut self) {
        let next = i64::from(self.current().end());
        self.a.pop_r(Reg::Rax);
        if is_in_page(next) {
            self.a.alu_ri(Alu::And, Width::W64, Reg::Rax, -0x1000);
            self.a.mov_mr(Width::W64, PAGE, Reg::Rax);
            self.go_to(next);
        } else {
            self.far_jump();
        }
    }

    /// The jump at `site` leads to this place in the page, once it is linked.
    fn leads_to(&mut self, site: usize, target: i64) {
        self.aside.push(Aside::Unlinked {
            site,
            target: target as u16,
        });
    }

    /// Goes on at this place, counted from the start of the page.
    pub(super) fn go_to(&mut self, target: i64) {
        if is_in_page(target) {
            if target == i64::from(self.first) {
                return self.a.jmp(self.near);
            }
            let site = self.a.jmp_patchable();
            self.leads_to(site, target);
        } else {
            self.address_of(Reg::Rax, target as i32);
            self.far_jump();
        }
    }

    /// Jumps to the guest address in `rax`.
    pub(super) fn far_jump(&mut self) {
        let code = self.look_up_jump();
        self.a.jmp_m(code);
    }

    /// Looks for the guest address in `rax` in the table of jumps; leaves generated code if it
    /// is not there. Returns where the code's address is.
    fn look_up_jump(&mut self) -> Mem {
        let table = std::mem::offset_of!(Tables, jumps) as i32;
        self.a.mov_rr(Width::W32, Reg::Rcx, Reg::Rax);
        self.a
            .shift_ri(crate::assembler::Shift::Shr, Width::W32, Reg::Rcx, 12);
        self.a.alu_rr(Alu::Xor, Width::W32, Reg::Rcx, Reg::Rax);
        // Twice the index, since bit 0 of an address is 0; an entry has 16 bytes.
        self.a
            .alu_ri(Alu::And, Width::W32, Reg::Rcx, (JUMPS as i32 - 1) * 2);
        let entry = |distance| Mem::indexed(SPACE, Reg::Rcx, Scale::X8, table + distance);
        self.a.alu_rm(Alu::Cmp, Width::W64, Reg::Rax, entry(0));
        self.a.jcc_to(Cond::Ne, self.thunks.exit_jump);
        entry(8)
    }
}
