//! CSRs of S-mode (Privileged chapter 12), most of them views of machine registers.

use super::{CsrWrite, IllegalCsr, legal_epc, menvcfg, mstatus, number, satp, update, update_tvec};
use crate::bus::{Bus, irq};
use crate::hart::{Effects, Hart};
use crate::mode::Privilege;

/// The fields of `mstatus` that `sstatus` shows.
pub const SSTATUS_READ: u64 = SSTATUS_WRITE | mstatus::UXL | mstatus::SD;
/// The fields of `mstatus` that `sstatus` can write.
pub const SSTATUS_WRITE: u64 =
    mstatus::SIE | mstatus::SPIE | mstatus::SPP | mstatus::FS | mstatus::SUM | mstatus::MXR;
/// `senvcfg` fields; PMM comes with the pointer-masking extension.
const SENVCFG: u64 = menvcfg::FIOM | menvcfg::CBIE | menvcfg::CBCFE | menvcfg::CBZE;

impl Hart {
    pub(super) fn supervisor_csr<B: Bus + ?Sized>(
        &mut self,
        bus: &B,
        csr: u16,
        write: Option<CsrWrite>,
    ) -> Result<u64, IllegalCsr> {
        let in_supervisor = self.mode.privilege == Privilege::Supervisor;
        match csr {
            number::SSTATUS => {
                let old = self.mstatus_read() & SSTATUS_READ;
                if let Some(write) = write {
                    self.write_mstatus(write, SSTATUS_WRITE);
                }
                Ok(old)
            }
            number::SIE => {
                let delegated = self.csrs.mideleg;
                let old = self.csrs.mie & delegated;
                if let Some(write) = write {
                    let new = write.onto(old) & delegated;
                    self.csrs.mie = self.csrs.mie & !delegated | new;
                    self.effects |= Effects::INTERRUPTS;
                }
                Ok(old)
            }
            number::SIP => {
                let delegated = self.csrs.mideleg;
                let old = self.interrupts_pending(bus) & delegated;
                if let Some(write) = write {
                    self.write_interrupts_pending(bus, write, irq::SSI & delegated);
                }
                Ok(old)
            }
            number::STVEC => Ok(update_tvec(&mut self.csrs.stvec, write)),
            number::SCOUNTEREN => Ok(update(&mut self.csrs.scounteren, write, |v| {
                v & 0xffff_ffff
            })),
            number::SENVCFG => Ok(update(&mut self.csrs.senvcfg, write, |v| {
                legal_cbie(v) & SENVCFG
            })),
            number::SSCRATCH => Ok(update(&mut self.csrs.sscratch, write, |v| v)),
            number::SEPC => Ok(update(&mut self.csrs.sepc, write, legal_epc)),
            number::SCAUSE => Ok(update(&mut self.csrs.scause, write, |v| v)),
            number::STVAL => Ok(update(&mut self.csrs.stval, write, |v| v)),
            number::STIMECMP => {
                // Below M-mode it takes both STCE and the right to read time (Sstc 2.2).
                let enabled = self.csrs.menvcfg & menvcfg::STCE != 0 && self.counter_enabled(1);
                if self.mode.privilege != Privilege::Machine && !enabled {
                    return Err(IllegalCsr);
                }
                if write.is_some() {
                    self.effects |= Effects::INTERRUPTS;
                }
                Ok(update(&mut self.csrs.stimecmp, write, |v| v))
            }
            number::SATP => {
                if in_supervisor && self.csrs.mstatus & mstatus::TVM != 0 {
                    return Err(IllegalCsr);
                }
                let old = self.csrs.satp;
                if let Some(write) = write {
                    let new = write.onto(old);
                    // A write with an unsupported mode changes nothing at all (12.1.11).
                    if self.paging.takes(new >> satp::MODE_SHIFT) {
                        self.csrs.satp = new;
                        self.effects |= Effects::CONTEXT;
                    }
                }
                Ok(old)
            }
            _ => Err(IllegalCsr),
        }
    }
}

/// CBIE value 2 is reserved: such a write leaves the field at 0.
pub(super) fn legal_cbie(value: u64) -> u64 {
    if value & menvcfg::CBIE == 2 << menvcfg::CBIE_SHIFT {
        value & !menvcfg::CBIE
    } else {
        value
    }
}
