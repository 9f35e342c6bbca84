//! `cbo.zero`. The other cache-block operations only check, and are left to the definition.

use std::mem::offset_of;

use ringer_hart::csr::{Csrs, menvcfg};
use ringer_hart::memory::CACHE_BLOCK;
use ringer_hart::{Hart, Privilege};
use ringer_isa::{Insn, Op};

use super::Emitter;
use super::float_registers::SCRATCH;
use super::memory::Kind;
use crate::assembler::{Alu, Bitwise, Cond, Mem, Reg, Width};
use crate::core_state::hart_field;

/// The byte with CBZE in each environment configuration, which have it in the same place.
const MENVCFG: Mem = hart_field(offset_of!(Hart, csrs) + offset_of!(Csrs, menvcfg));
const SENVCFG: Mem = hart_field(offset_of!(Hart, csrs) + offset_of!(Csrs, senvcfg));
const CBZE: u8 = menvcfg::CBZE as u8;
const _: () = assert!(CBZE as u64 == menvcfg::CBZE);

impl Emitter<'_> {
    /// Emits `insn` if it is `cbo.zero`.
    pub(super) fn cache_block(&mut self, insn: &Insn) -> bool {
        if insn.op != Op::CboZero {
            return false;
        }
        let done = self.a.label();
        let slow = self.definition_aside(done);
        let enables: &[Mem] = match self.privilege {
            Privilege::Machine => &[],
            Privilege::Supervisor => &[MENVCFG],
            Privilege::User => &[MENVCFG, SENVCFG],
        };
        for enable in enables {
            self.a.test_mi8(*enable, CBZE);
            self.a.jcc(Cond::E, slow);
        }
        self.copy(Reg::Rax, insn.rs1);
        self.a
            .alu_ri(Alu::And, Width::W64, Reg::Rax, -(CACHE_BLOCK as i32));
        self.check_address(Kind::Store, CACHE_BLOCK as i32, slow);
        self.host_address(Kind::Store);
        self.a.bitwise_rr(Bitwise::Xor, SCRATCH, SCRATCH);
        for part in (0..CACHE_BLOCK as i32).step_by(16) {
            self.a.mova_store(Mem::at(Reg::Rax, part), SCRATCH);
        }
        self.rejoin(done);
        true
    }
}
