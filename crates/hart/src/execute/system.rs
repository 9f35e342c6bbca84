//! Zicsr, fences, cache-block operations, and the privileged instructions.

use ringer_isa::{Insn, Op};

use super::{Execution, Flow};
use crate::address::GuestVirt;
use crate::bus::Bus;
use crate::cause::{Cause, Exception};
use crate::csr::{CsrWrite, menvcfg, mstatus};
use crate::hart::{AddressFence, Effects, Exit, Hart};
use crate::memory::{CACHE_BLOCK, NoCache, TranslationCache};
use crate::mode::Privilege;
use crate::translate::Access;

/// `pause`: a fence of nothing before writes after (Zihintpause).
const PAUSE: u32 = 0x0100_000f;
/// `slli x0, x0, 0x1f`, which goes before the `ebreak` of a semihosting call.
const SEMIHOSTING_BEFORE: u32 = 0x01f0_1013;
/// `srai x0, x0, 7`, which goes after it.
const SEMIHOSTING_AFTER: u32 = 0x4070_5013;

impl Hart {
    pub(super) fn execute_system<B: Bus + ?Sized, T: TranslationCache>(
        &mut self,
        bus: &B,
        cache: &mut T,
        insn: &Insn,
        pc: u64,
    ) -> Execution {
        let illegal = || Exception::illegal(insn.bits);
        let mode = self.mode.privilege;
        match insn.op {
            Op::Csrrw => self.csr_instruction(bus, insn, Some(CsrWrite::all(self.xr(insn.rs1)))),
            Op::Csrrwi => self.csr_instruction(bus, insn, Some(CsrWrite::all(insn.rs1.into()))),
            Op::Csrrs => self.csr_bits(bus, insn, u64::MAX, self.xr(insn.rs1)),
            Op::Csrrc => self.csr_bits(bus, insn, 0, self.xr(insn.rs1)),
            Op::Csrrsi => self.csr_bits(bus, insn, u64::MAX, insn.rs1.into()),
            Op::Csrrci => self.csr_bits(bus, insn, 0, insn.rs1.into()),

            Op::Fence if insn.bits == PAUSE => Ok(Flow::Leave(Exit::Pause)),
            Op::Fence => {
                core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
                Ok(Flow::Next)
            }
            Op::FenceI => {
                self.counts.fences_i += 1;
                self.effects |= Effects::FENCE_I;
                Ok(Flow::End)
            }
            Op::SfenceVma | Op::SinvalVma => {
                let trapped = self.csrs.mstatus & mstatus::TVM != 0;
                if mode == Privilege::User || (mode == Privilege::Supervisor && trapped) {
                    return Err(illegal());
                }
                self.counts.fences_vma += 1;
                if self.effects.contains(Effects::FENCE_VMA) {
                    // The fence before has not been acted on, and only one can be told of.
                    self.effects |= Effects::FLUSH_TLB;
                }
                self.fence = AddressFence {
                    va: (insn.rs1 != 0).then(|| GuestVirt(self.xr(insn.rs1))),
                    asid: (insn.rs2 != 0).then(|| self.xr(insn.rs2) as u16),
                };
                self.effects |= Effects::FENCE_VMA;
                Ok(Flow::End)
            }
            // sinval.vma works at once, so these have nothing left to order.
            Op::SfenceWInval | Op::SfenceInvalIr => {
                if mode == Privilege::User {
                    return Err(illegal());
                }
                Ok(Flow::Next)
            }

            Op::Ecall => Err(Exception::new(
                match mode {
                    Privilege::User => Cause::EcallFromU,
                    Privilege::Supervisor => Cause::EcallFromS,
                    Privilege::Machine => Cause::EcallFromM,
                },
                0,
            )),
            Op::Ebreak => {
                if self.services.semihosting && insn.len == 4 && self.is_semihosting_call(bus, pc) {
                    self.pc = pc;
                    return Ok(Flow::Leave(Exit::Semihosting));
                }
                Err(Exception::new(Cause::Breakpoint, pc))
            }
            Op::Mret => self.mret().map(|()| Flow::Jump).ok_or_else(illegal),
            Op::Sret => self.sret().map(|()| Flow::Jump).ok_or_else(illegal),
            Op::Wfi => {
                // In U-mode wfi may not wait without bound (3.3.3), so it is illegal there.
                let timeout = self.csrs.mstatus & mstatus::TW != 0;
                if mode == Privilege::User || (mode == Privilege::Supervisor && timeout) {
                    return Err(illegal());
                }
                if self.wakes(bus) {
                    self.effects |= Effects::INTERRUPTS;
                    return Ok(Flow::End);
                }
                self.counts.waits += 1;
                Ok(Flow::Leave(Exit::Wait))
            }
            // Waiting for a reservation may end at any time (Zawrs): when the hart runs again.
            // With TW it would trap only after a wait in the hart itself, which there is none.
            Op::WrsNto | Op::WrsSto => Ok(Flow::Leave(Exit::Pause)),

            Op::CboZero => self.cbo_zero(bus, cache, insn),
            Op::CboClean | Op::CboFlush => self.cbo_manage(bus, insn, menvcfg::CBCFE),
            Op::CboInval => self.cbo_manage(bus, insn, menvcfg::CBIE),

            // May-be-operations do nothing but write zero (Zimop, Zcmop).
            Op::MopR | Op::MopRr => {
                self.set_x(insn.rd, 0);
                Ok(Flow::Next)
            }
            Op::CMop => Ok(Flow::Next),

            _ => Err(illegal()),
        }
    }

    fn csr_instruction<B: Bus + ?Sized>(
        &mut self,
        bus: &B,
        insn: &Insn,
        write: Option<CsrWrite>,
    ) -> Execution {
        self.counts.csr_accesses += 1;
        let old = self
            .csr(bus, insn.imm as u16 & 0xfff, write)
            .map_err(|_| Exception::illegal(insn.bits))?;
        self.set_x(insn.rd, old);
        Ok(self.after_access())
    }

    /// `csrrs` and `csrrc`: they write unless the operand is `x0` or the immediate 0, whatever
    /// the register holds (Zicsr 7.1).
    fn csr_bits<B: Bus + ?Sized>(
        &mut self,
        bus: &B,
        insn: &Insn,
        value: u64,
        mask: u64,
    ) -> Execution {
        let write = (insn.rs1 != 0).then_some(CsrWrite { value, mask });
        self.csr_instruction(bus, insn, write)
    }

    /// Whether the current mode may use the cache-block operations governed by `field` of the
    /// environment configurations (Zicbom 2.5.1).
    pub fn cache_blocks_enabled(&self, field: u64) -> bool {
        let machine = self.csrs.menvcfg & field != 0;
        let supervisor = self.csrs.senvcfg & field != 0;
        match self.mode.privilege {
            Privilege::Machine => true,
            Privilege::Supervisor => machine,
            Privilege::User => machine && supervisor,
        }
    }

    fn cbo_zero<B: Bus + ?Sized, T: TranslationCache>(
        &mut self,
        bus: &B,
        cache: &mut T,
        insn: &Insn,
    ) -> Execution {
        if !self.cache_blocks_enabled(menvcfg::CBZE) {
            return Err(Exception::illegal(insn.bits));
        }
        let named = self.xr(insn.rs1);
        let block = named & !(CACHE_BLOCK - 1);
        // A fault names the address in the register, not the block's start.
        let at_named = |fault: Exception| Exception {
            tval: named,
            ..fault
        };
        let phys = self
            .locate(bus, cache, block, CACHE_BLOCK, Access::Store)
            .map_err(at_named)?;
        bus.ram()
            .fill(phys, CACHE_BLOCK, 0)
            .ok_or_else(|| Exception::new(Cause::StoreAccess, named))?;
        Ok(Flow::Next)
    }

    /// `cbo.clean`, `cbo.flush` and `cbo.inval`: memory is always coherent here, so only the
    /// permissions matter, and that there is memory at all. A load's or a store's permission is enough; without either it is the
    /// store's fault (Zicbom 2.5.2).
    fn cbo_manage<B: Bus + ?Sized>(&mut self, bus: &B, insn: &Insn, field: u64) -> Execution {
        if !self.cache_blocks_enabled(field) {
            return Err(Exception::illegal(insn.bits));
        }
        let named = self.xr(insn.rs1);
        let block = named & !(CACHE_BLOCK - 1);
        let found = self.locate(bus, &mut NoCache, block, CACHE_BLOCK, Access::Load);
        let cause = match found {
            Ok(phys) if bus.ram().offset(phys, CACHE_BLOCK).is_some() => return Ok(Flow::Next),
            Err(fault) if fault.cause == Cause::LoadPage => Cause::StorePage,
            _ => Cause::StoreAccess,
        };
        Err(Exception::new(cause, named))
    }

    /// Whether the `ebreak` at `pc` stands in the semihosting sequence. What cannot be read is
    /// no such sequence.
    fn is_semihosting_call<B: Bus + ?Sized>(&mut self, bus: &B, pc: u64) -> bool {
        let mut instruction_at = |va: u64| {
            let here = core::mem::replace(&mut self.pc, va);
            let bits = self.fetch(bus, &mut NoCache);
            self.pc = here;
            bits.ok()
        };
        instruction_at(pc.wrapping_sub(4)) == Some(SEMIHOSTING_BEFORE)
            && instruction_at(pc.wrapping_add(4)) == Some(SEMIHOSTING_AFTER)
    }
}
