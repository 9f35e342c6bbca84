//! CSRs that U-mode can reach: floating point, and the counters that it is allowed to see.

use super::{CsrWrite, HPM_COUNTERS, IllegalCsr, in_run, mstatus, number};
use crate::bus::Bus;
use crate::counter;
use crate::hart::Hart;

impl Hart {
    pub(super) fn user_csr<B: Bus + ?Sized>(
        &mut self,
        bus: &B,
        csr: u16,
        write: Option<CsrWrite>,
    ) -> Result<u64, IllegalCsr> {
        match csr {
            number::FFLAGS => self.float_csr(write, 0, 0x1f),
            number::FRM => self.float_csr(write, 5, 0x7),
            number::FCSR => self.float_csr(write, 0, 0xff),
            number::CYCLE => self.counter_csr(counter::CYCLE),
            number::INSTRET => self.counter_csr(counter::INSTRET),
            number::TIME if self.counter_enabled(1) => Ok(bus.time()),
            _ => match in_run(csr, number::HPMCOUNTER3, HPM_COUNTERS) {
                Some(index) => self.counter_csr(index + 3),
                None => Err(IllegalCsr),
            },
        }
    }

    /// A field of `fcsr`, `shift` bits up; reachable only while the FPU is on.
    fn float_csr(
        &mut self,
        write: Option<CsrWrite>,
        shift: u32,
        mask: u64,
    ) -> Result<u64, IllegalCsr> {
        if self.csrs.mstatus & mstatus::FS == 0 {
            return Err(IllegalCsr);
        }
        let old = self.csrs.fcsr >> shift & mask;
        if let Some(write) = write {
            let new = write.onto(old) & mask;
            self.csrs.fcsr = self.csrs.fcsr & !(mask << shift) | new << shift;
            self.csrs.mstatus |= mstatus::FS;
        }
        Ok(old)
    }

    fn counter_csr(&self, index: usize) -> Result<u64, IllegalCsr> {
        if self.counter_enabled(index as u32) {
            Ok(self.csrs.counters.read(index, &self.counts))
        } else {
            Err(IllegalCsr)
        }
    }
}
