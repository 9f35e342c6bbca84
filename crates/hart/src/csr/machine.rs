//! CSRs of M-mode (Privileged chapter 3).

use super::supervisor::legal_cbie;
use super::{
    CsrWrite, HPM_COUNTERS, INTERRUPTS, IllegalCsr, SUPERVISOR_INTERRUPTS, in_run, legal_epc,
    menvcfg, mstatus, number, update, update_tvec,
};
use crate::bus::{Bus, irq};
use crate::counter;
use crate::hart::{Effects, Hart};

/// RV64 with A, B, C, D, F, I, M, S, U. Nothing in it can be turned off.
pub const MISA: u64 = 2 << 62
    | 1 << 0 // A
    | 1 << 1 // B: Zba, Zbb and Zbs
    | 1 << 2 // C
    | 1 << 3 // D
    | 1 << 5 // F
    | 1 << 8 // I
    | 1 << 12 // M
    | 1 << 18 // S
    | 1 << 20; // U

/// Writable fields of `mstatus`. Endianness, UXL and SXL are fixed.
const MSTATUS: u64 = mstatus::SIE
    | mstatus::MIE
    | mstatus::SPIE
    | mstatus::MPIE
    | mstatus::SPP
    | mstatus::MPP
    | mstatus::FS
    | mstatus::MPRV
    | mstatus::SUM
    | mstatus::MXR
    | mstatus::TVM
    | mstatus::TW
    | mstatus::TSR;

/// Exceptions that can be delegated: all that can happen below M-mode.
const MEDELEG: u64 = 0xb3ff;

/// Fields of `menvcfg`.
const MENVCFG: u64 = menvcfg::FIOM
    | menvcfg::CBIE
    | menvcfg::CBCFE
    | menvcfg::CBZE
    | menvcfg::ADUE
    | menvcfg::PBMTE
    | menvcfg::STCE;

impl Hart {
    pub(super) fn machine_csr<B: Bus + ?Sized>(
        &mut self,
        bus: &B,
        csr: u16,
        write: Option<CsrWrite>,
    ) -> Result<u64, IllegalCsr> {
        let csrs = &mut self.csrs;
        Ok(match csr {
            number::MVENDORID | number::MARCHID | number::MIMPID | number::MCONFIGPTR => 0,
            number::MHARTID => self.id as u64,
            number::MSTATUS => {
                let old = self.mstatus_read();
                if let Some(write) = write {
                    self.write_mstatus(write, MSTATUS);
                }
                old
            }
            number::MISA => MISA,
            number::MEDELEG => update(&mut csrs.medeleg, write, |v| v & MEDELEG),
            number::MIDELEG => {
                self.effects |= Effects::INTERRUPTS;
                update(&mut csrs.mideleg, write, |v| v & SUPERVISOR_INTERRUPTS)
            }
            number::MIE => {
                self.effects |= Effects::INTERRUPTS;
                update(&mut csrs.mie, write, |v| v & INTERRUPTS)
            }
            number::MIP => {
                let old = self.interrupts_pending(bus);
                if let Some(write) = write {
                    self.write_interrupts_pending(bus, write, SUPERVISOR_INTERRUPTS);
                }
                old
            }
            number::MTVEC => update_tvec(&mut csrs.mtvec, write),
            number::MCOUNTEREN => update(&mut csrs.mcounteren, write, |v| v & 0xffff_ffff),
            number::MSCRATCH => update(&mut csrs.mscratch, write, |v| v),
            number::MEPC => update(&mut csrs.mepc, write, legal_epc),
            number::MCAUSE => update(&mut csrs.mcause, write, |v| v),
            number::MTVAL => update(&mut csrs.mtval, write, |v| v),
            number::MENVCFG => {
                let old = update(&mut csrs.menvcfg, write, |v| legal_cbie(v) & MENVCFG);
                if csrs.menvcfg != old {
                    // ADUE and PBMTE change what a walk yields, STCE what drives STIP.
                    self.effects |= Effects::FLUSH_TLB | Effects::INTERRUPTS;
                }
                if (old ^ csrs.menvcfg) & menvcfg::STCE != 0 {
                    csrs.mip &= !irq::STI;
                }
                old
            }
            number::MCYCLE => self.counter_write(counter::CYCLE, write),
            number::MINSTRET => self.counter_write(counter::INSTRET, write),
            number::MCOUNTINHIBIT => {
                let old = csrs.counters.inhibited();
                if let Some(write) = write {
                    csrs.counters.set_inhibited(write.onto(old), &self.counts);
                }
                old
            }
            // No triggers: tdata1.type of the only one there is says so (Sdtrig 5.7.2).
            number::TSELECT | number::TDATA1 | number::TDATA2 | number::TDATA3 => 0,
            _ => return self.machine_csr_runs(csr, write),
        })
    }

    /// The registers that come in runs: PMP and performance counters.
    fn machine_csr_runs(&mut self, csr: u16, write: Option<CsrWrite>) -> Result<u64, IllegalCsr> {
        if csr == number::PMPCFG0 || csr == number::PMPCFG0 + 2 {
            // On RV64 the even registers hold eight entries each.
            let first = usize::from(csr - number::PMPCFG0) * 4;
            let old = self.csrs.pmp.config_register(first);
            if let Some(write) = write {
                self.csrs.pmp.write_config_register(first, write.onto(old));
                self.effects |= Effects::FLUSH_TLB;
            }
            return Ok(old);
        }
        if let Some(index) = in_run(csr, number::PMPADDR0, crate::pmp::ENTRIES as u16) {
            let old = self.csrs.pmp.address_register(index);
            if let Some(write) = write {
                self.csrs.pmp.write_address_register(index, write.onto(old));
                self.effects |= Effects::FLUSH_TLB;
            }
            return Ok(old);
        }
        if let Some(index) = in_run(csr, number::MHPMCOUNTER3, HPM_COUNTERS) {
            return Ok(self.counter_write(index + 3, write));
        }
        if let Some(index) = in_run(csr, number::MHPMEVENT3, HPM_COUNTERS) {
            let old = self.csrs.counters.event(index + 3);
            if let Some(write) = write {
                self.csrs
                    .counters
                    .set_event(index + 3, write.onto(old), &self.counts);
            }
            return Ok(old);
        }
        Err(IllegalCsr)
    }

    fn counter_write(&mut self, index: usize, write: Option<CsrWrite>) -> u64 {
        let old = self.csrs.counters.read(index, &self.counts);
        if let Some(write) = write {
            self.csrs
                .counters
                .write(index, write.onto(old), &self.counts);
        }
        old
    }
}
