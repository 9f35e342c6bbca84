//! CSR instructions: which are done inline, plain words, and the floating-point flags. The
//! status is in `status.rs`. What has other effects is left to the definition, and so is what is
//! out of reach of the block's privilege.

use std::mem::offset_of;

use ringer_hart::counter::Counts;
use ringer_hart::csr::{SSTATUS_READ, mstatus};
use ringer_hart::{Hart, Privilege};
use ringer_isa::csr as number;
use ringer_isa::{Insn, Op};

use super::Emitter;
use crate::assembler::{Alu, Cell, Cond, Mem, Reg, Scale, Shift, Unary, Width};
use crate::core_state::{GUEST_FLAGS, MXCSR, hart_field};
use crate::float_unit::FLAGS;

/// A CSR's place in the hart.
macro_rules! csr {
    ($field:ident) => {
        crate::core_state::hart_field(
            std::mem::offset_of!(ringer_hart::Hart, csrs)
                + std::mem::offset_of!(ringer_hart::csr::Csrs, $field),
        )
    };
}
pub(super) use csr;

const CSR_ACCESSES: Mem = hart_field(offset_of!(Hart, counts) + offset_of!(Counts, csr_accesses));
/// The bits of `fcsr` that are flags.
const FFLAGS: i32 = 0x1f;

/// What an instruction does to its CSR.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    Write,
    Set,
    Clear,
}

/// What is done inline.
#[derive(Clone, Copy)]
enum Do {
    /// Any access to a register that is a word in the hart; an `epc` is always even.
    Plain { place: Mem, even: bool },
    /// A read of the status, in which these bits show.
    ReadStatus { shown: u64 },
    /// `csrrci rd, sstatus, SIE`.
    InterruptsOff,
    /// Any other write of `sstatus`.
    WriteStatus,
    /// Any access to `fflags`.
    FloatFlags,
    /// A read of `frm`.
    ReadRounding,
    /// A read of `fcsr`.
    ReadFloat,
}

/// What `insn`, of a CSR, does to it.
pub(super) fn change(insn: &Insn) -> Change {
    match insn.op {
        Op::Csrrw | Op::Csrrwi => Change::Write,
        // Of no bits it is no write (Zicsr 7.1).
        _ if insn.rs1 == 0 => Change::Nothing,
        Op::Csrrs | Op::Csrrsi => Change::Set,
        _ => Change::Clear,
    }
}

/// Whether its operand is in the instruction.
pub(super) fn is_immediate(insn: &Insn) -> bool {
    matches!(insn.op, Op::Csrrwi | Op::Csrrsi | Op::Csrrci)
}

/// What there is to do for a CSR instruction, if it can be done inline.
fn operation(insn: &Insn, privilege: Privilege) -> Option<Do> {
    let csr = insn.imm as u16 & 0xfff;
    // Bits 9:8 name the lowest privilege (Privileged 2.1).
    if (privilege as u16) < csr >> 8 & 3 {
        return None;
    }
    let plain = |place| Do::Plain { place, even: false };
    let even = |place| Do::Plain { place, even: true };
    let change = change(insn);
    Some(match csr {
        number::SSCRATCH => plain(csr!(sscratch)),
        number::SEPC => even(csr!(sepc)),
        number::SCAUSE => plain(csr!(scause)),
        number::STVAL => plain(csr!(stval)),
        number::MSCRATCH => plain(csr!(mscratch)),
        number::MEPC => even(csr!(mepc)),
        number::MCAUSE => plain(csr!(mcause)),
        number::MTVAL => plain(csr!(mtval)),
        number::SSTATUS if change == Change::Nothing => Do::ReadStatus {
            shown: SSTATUS_READ,
        },
        number::MSTATUS if change == Change::Nothing => Do::ReadStatus { shown: u64::MAX },
        number::SSTATUS
            if insn.op == Op::Csrrci
                && u64::from(insn.rs1) == mstatus::SIE
                && privilege == Privilege::Supervisor =>
        {
            Do::InterruptsOff
        }
        number::SSTATUS if privilege == Privilege::Supervisor => Do::WriteStatus,
        number::FFLAGS => Do::FloatFlags,
        number::FRM if change == Change::Nothing => Do::ReadRounding,
        number::FCSR if change == Change::Nothing => Do::ReadFloat,
        _ => return None,
    })
}

/// Whether what the hart can reach, and `rcx`, are the same after a CSR instruction. Those that
/// need the floating-point unit ask for it first, and might skip the opening of a window.
pub(super) fn keeps_windows(insn: &Insn, privilege: Privilege) -> bool {
    matches!(
        operation(insn, privilege),
        Some(Do::Plain { .. } | Do::ReadStatus { .. } | Do::InterruptsOff)
    )
}

impl Emitter<'_> {
    /// Emits `insn`, which is of a CSR, if it can be done inline.
    pub(super) fn csr_instruction(&mut self, insn: &Insn) -> bool {
        let Some(operation) = operation(insn, self.privilege) else {
            return false;
        };
        match operation {
            Do::Plain { place, even } => self.plain_csr(insn, place, even),
            Do::ReadStatus { shown } => {
                self.count_csr_access();
                self.read_status(insn.rd, shown);
            }
            Do::InterruptsOff => self.interrupts_off(insn),
            Do::WriteStatus => self.write_status(insn),
            Do::FloatFlags => self.float_flags(insn),
            Do::ReadRounding => {
                self.expect_float_unit();
                self.count_csr_access();
                let to = self.result(insn.rd);
                self.a.mov_rm(Width::W64, to, csr!(fcsr));
                self.a.shift_ri(Shift::Shr, Width::W64, to, 5);
                self.set(insn.rd, to);
            }
            Do::ReadFloat => {
                self.expect_float_unit();
                self.count_csr_access();
                self.a.stmxcsr(MXCSR);
                self.load_float_state();
                self.set(insn.rd, Reg::Rax);
            }
        }
        true
    }

    pub(super) fn count_csr_access(&mut self) {
        self.a.alu_mi(Alu::Add, Width::W64, CSR_ACCESSES, 1);
    }

    fn plain_csr(&mut self, insn: &Insn, place: Mem, even: bool) {
        self.count_csr_access();
        let change = change(insn);
        if insn.rd != 0 || matches!(change, Change::Set | Change::Clear) {
            self.a.mov_rm(Width::W64, Reg::Rax, place);
        }
        if change != Change::Nothing {
            self.changed(insn, change);
            if even {
                self.a.alu_ri(Alu::And, Width::W64, Reg::Rdx, -2);
            }
            self.a.mov_mr(Width::W64, place, Reg::Rdx);
        }
        self.set(insn.rd, Reg::Rax);
    }

    /// `rdx` becomes what the CSR is to hold, which held `rax`.
    fn changed(&mut self, insn: &Insn, change: Change) {
        if is_immediate(insn) {
            self.a.mov_ri(Reg::Rdx, insn.rs1.into());
        } else {
            self.copy(Reg::Rdx, insn.rs1);
        }
        match change {
            Change::Nothing | Change::Write => {}
            Change::Set => self.a.alu_rr(Alu::Or, Width::W64, Reg::Rdx, Reg::Rax),
            Change::Clear => {
                self.a.unary(Unary::Not, Width::W64, Reg::Rdx);
                self.a.alu_rr(Alu::And, Width::W64, Reg::Rdx, Reg::Rax);
            }
        }
    }

    /// `fflags`: a part is in `fcsr`, a part in the host's flags.
    fn float_flags(&mut self, insn: &Insn) {
        self.expect_float_unit();
        self.count_csr_access();
        let change = change(insn);
        if change == Change::Nothing {
            if !self.unseen_flags() {
                self.read_float_flags(insn.rd);
                self.comparison_between();
            }
            return;
        }
        self.a.stmxcsr(MXCSR);
        if insn.rd != 0 || matches!(change, Change::Set | Change::Clear) {
            self.load_float_state();
            self.a.alu_ri(Alu::And, Width::W32, Reg::Rax, FFLAGS);
        }
        self.changed(insn, change);
        self.set(insn.rd, Reg::Rax);
        self.a.alu_ri(Alu::And, Width::W32, Reg::Rdx, FFLAGS);
        self.a.alu_mi(Alu::And, Width::W64, csr!(fcsr), !FFLAGS);
        self.a.alu_mr(Alu::Or, Width::W64, csr!(fcsr), Reg::Rdx);
        // Flags of the host that are to be set anyway may stay: to clear them takes long.
        let clear = self.a.label();
        self.load_host_flags();
        self.a.alu_rr(Alu::Or, Width::W32, Reg::Rax, Reg::Rdx);
        self.a.alu_rr(Alu::Cmp, Width::W32, Reg::Rax, Reg::Rdx);
        self.a.jcc_short(Cond::E, clear);
        self.a.alu_mi(Alu::And, Width::W32, MXCSR, !(FLAGS as i32));
        self.a.ldmxcsr(MXCSR);
        self.a.bind(clear);
    }

    /// `rd` becomes the flags. Leaves out what the counters count.
    pub(super) fn read_float_flags(&mut self, rd: u8) {
        self.a.stmxcsr(MXCSR);
        self.load_float_state();
        self.a.alu_ri(Alu::And, Width::W32, Reg::Rax, FFLAGS);
        self.set(rd, Reg::Rax);
    }

    /// `rax` becomes what the host's flags in [`MXCSR`] are to the guest.
    fn load_host_flags(&mut self) {
        self.a.load_zx(Cell::B, Reg::Rax, MXCSR);
        self.a.alu_ri(Alu::And, Width::W32, Reg::Rax, FLAGS as i32);
        let flags = Mem::indexed(GUEST_FLAGS.base, Reg::Rax, Scale::X1, GUEST_FLAGS.disp);
        self.a.load_zx(Cell::B, Reg::Rax, flags);
    }

    /// `rax` becomes `fcsr` with the host's flags, which are in [`MXCSR`].
    fn load_float_state(&mut self) {
        self.load_host_flags();
        self.a.alu_rm(Alu::Or, Width::W64, Reg::Rax, csr!(fcsr));
    }
}
