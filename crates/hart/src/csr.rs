//! The CSR file: one read-modify-write entry, `Hart::csr`, for all six CSR instructions, for
//! trapped CSR accesses on bare metal and for debuggers.

mod machine;
mod supervisor;
mod user;

pub use ringer_isa::csr::{mcause, menvcfg, mstatus, satp};
pub use supervisor::{SSTATUS_READ, SSTATUS_WRITE};

use ringer_isa::csr as number;

use crate::bus::{Bus, irq};
use crate::counter::CounterFile;
use crate::hart::{Effects, Hart};
use crate::mode::Privilege;
use crate::pmp::Pmp;

/// A write to a CSR: the bits of `value` under `mask` go in, the others stay.
///
/// `csrrw` has all bits in its mask, `csrrs` the operand with all ones as the value, `csrrc`
/// the operand with all zeroes. An instruction that must not write passes no `CsrWrite`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CsrWrite {
    /// The new bits.
    pub value: u64,
    /// Which bits are written.
    pub mask: u64,
}

impl CsrWrite {
    /// Writes the whole register.
    pub const fn all(value: u64) -> Self {
        Self {
            value,
            mask: u64::MAX,
        }
    }
    /// What a register that held `old` is asked to hold.
    #[inline]
    pub const fn onto(self, old: u64) -> u64 {
        old & !self.mask | self.value & self.mask
    }
}

/// The CSR does not exist, is read-only, or is out of reach of the current mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IllegalCsr;

/// Interrupts that belong to S-mode once delegated: the writable bits of `mideleg`.
pub(crate) const SUPERVISOR_INTERRUPTS: u64 = irq::SSI | irq::STI | irq::SEI;
/// The writable bits of `mie`.
pub(crate) const INTERRUPTS: u64 = SUPERVISOR_INTERRUPTS | irq::MSI | irq::MTI | irq::MEI;

/// The registers behind the CSRs, as they are; the rules are in `Hart::csr`.
#[derive(Clone, Debug)]
pub struct Csrs {
    /// `mstatus`; SD is worked out on reading.
    pub mstatus: u64,
    /// `medeleg`.
    pub medeleg: u64,
    /// `mideleg`.
    pub mideleg: u64,
    /// `mie`.
    pub mie: u64,
    /// The bits of `mip` that are the hart's own: SEIP and STIP as written by M-mode.
    pub mip: u64,
    /// `mtvec`.
    pub mtvec: u64,
    /// `mcounteren`.
    pub mcounteren: u64,
    /// `mscratch`.
    pub mscratch: u64,
    /// `mepc`.
    pub mepc: u64,
    /// `mcause`.
    pub mcause: u64,
    /// `mtval`.
    pub mtval: u64,
    /// `menvcfg`.
    pub menvcfg: u64,
    /// `stvec`.
    pub stvec: u64,
    /// `scounteren`.
    pub scounteren: u64,
    /// `sscratch`.
    pub sscratch: u64,
    /// `sepc`.
    pub sepc: u64,
    /// `scause`.
    pub scause: u64,
    /// `stval`.
    pub stval: u64,
    /// `senvcfg`.
    pub senvcfg: u64,
    /// `stimecmp`.
    pub stimecmp: u64,
    /// `satp`.
    pub satp: u64,
    /// `fcsr`: rounding mode and accrued flags.
    pub fcsr: u64,
    /// Counters and their events.
    pub counters: CounterFile,
    /// Physical memory protection.
    pub pmp: Pmp,
}

impl Default for Csrs {
    /// The state at reset. Where the manual leaves it open: ADUE is set, so that kernels which
    /// never touch A and D bits (xv6) run as they do on QEMU.
    fn default() -> Self {
        Self {
            mstatus: 2 << mstatus::UXL_SHIFT | 2 << mstatus::SXL_SHIFT,
            medeleg: 0,
            mideleg: 0,
            mie: 0,
            mip: 0,
            mtvec: 0,
            mcounteren: 0,
            mscratch: 0,
            mepc: 0,
            mcause: 0,
            mtval: 0,
            menvcfg: menvcfg::ADUE,
            stvec: 0,
            scounteren: 0,
            sscratch: 0,
            sepc: 0,
            scause: 0,
            stval: 0,
            senvcfg: 0,
            stimecmp: u64::MAX,
            satp: 0,
            fcsr: 0,
            counters: CounterFile::default(),
            pmp: Pmp::default(),
        }
    }
}

impl Hart {
    /// Reads CSR `csr` and, if asked, writes it; returns the old value. The current mode's
    /// rights are checked, and every side effect happens here.
    pub fn csr<B: Bus + ?Sized>(
        &mut self,
        bus: &B,
        csr: u16,
        write: Option<CsrWrite>,
    ) -> Result<u64, IllegalCsr> {
        // Bits 9:8 name the lowest privilege, bits 11:10 read-only registers (2.1).
        if u16::from(self.mode.privilege as u8) < csr >> 8 & 3 {
            return Err(IllegalCsr);
        }
        if write.is_some() && csr >> 10 == 3 {
            return Err(IllegalCsr);
        }
        match csr >> 8 & 3 {
            0 => self.user_csr(bus, csr, write),
            1 => self.supervisor_csr(bus, csr, write),
            3 => self.machine_csr(bus, csr, write),
            _ => Err(IllegalCsr), // hypervisor and VS registers: no H yet
        }
    }

    /// Reads a CSR as M-mode would, for debuggers and saved-state viewers.
    pub fn peek_csr<B: Bus + ?Sized>(&mut self, bus: &B, csr: u16) -> Result<u64, IllegalCsr> {
        let mode = core::mem::replace(&mut self.mode, crate::mode::Mode::M);
        let value = self.csr(bus, csr, None);
        self.mode = mode;
        value
    }

    /// `mip` as a read shows it: the wires, the timers, and the bits M-mode has set.
    pub fn interrupts_pending<B: Bus + ?Sized>(&self, bus: &B) -> u64 {
        self.interrupts_pending_at(bus, bus.time())
    }

    /// As [`Hart::interrupts_pending`], with the timers as of `time`.
    pub(crate) fn interrupts_pending_at<B: Bus + ?Sized>(&self, bus: &B, time: u64) -> u64 {
        let lines = bus.lines(self.id);
        let mut pending = lines.pending() | self.csrs.mip;
        if time >= lines.mtimecmp() {
            pending |= irq::MTI;
        }
        if self.csrs.menvcfg & menvcfg::STCE != 0 {
            pending &= !irq::STI;
            if time >= self.csrs.stimecmp {
                pending |= irq::STI;
            }
        }
        pending
    }

    /// Writes the software-writable bits of `mip` under `allowed`.
    fn write_interrupts_pending<B: Bus + ?Sized>(
        &mut self,
        bus: &B,
        write: CsrWrite,
        mut allowed: u64,
    ) {
        if self.csrs.menvcfg & menvcfg::STCE != 0 {
            allowed &= !irq::STI; // then STIP only tells of stimecmp
        }
        let (set, clear) = (
            write.value & write.mask & allowed,
            !write.value & write.mask & allowed,
        );
        // SSIP is shared with other harts' IPIs, hence on the wires; SEIP and STIP are kept
        // apart from their wires, and reads show both together (3.1.9).
        let lines = bus.lines(self.id);
        if set & irq::SSI != 0 {
            lines.raise(irq::SSI);
        }
        if clear & irq::SSI != 0 {
            lines.lower(irq::SSI);
        }
        let own = irq::SEI | irq::STI;
        self.csrs.mip = (self.csrs.mip | set & own) & !(clear & own);
        self.effects |= Effects::INTERRUPTS;
    }

    /// `mstatus` with SD worked out.
    pub(crate) fn mstatus_read(&self) -> u64 {
        let status = self.csrs.mstatus;
        // VS joins once there is V.
        if status & mstatus::FS == mstatus::FS {
            status | mstatus::SD
        } else {
            status
        }
    }

    /// Writes the fields of `mstatus` under `fields`, legalising each.
    fn write_mstatus(&mut self, write: CsrWrite, fields: u64) {
        let old = self.csrs.mstatus;
        let mut new = old & !fields | write.onto(old) & fields;
        if Privilege::from_bits((new & mstatus::MPP) >> mstatus::MPP_SHIFT).is_none() {
            new &= !mstatus::MPP; // 2 is no mode: the lowest one instead
        }
        self.csrs.mstatus = new;
        self.effects |= Effects::CONTEXT | Effects::INTERRUPTS;
    }

    /// Whether the counter with this number in `mcounteren` may be read in the current mode.
    pub fn counter_enabled(&self, index: u32) -> bool {
        let machine = self.csrs.mcounteren >> index & 1 != 0;
        let supervisor = self.csrs.scounteren >> index & 1 != 0;
        match self.mode.privilege {
            Privilege::Machine => true,
            Privilege::Supervisor => machine,
            Privilege::User => machine && supervisor,
        }
    }
}

/// Writes a trap vector: the mode is direct or vectored. A reserved one leaves the mode as it
/// was (any choice is legal; this is the golden model's).
fn update_tvec(register: &mut u64, write: Option<CsrWrite>) -> u64 {
    let mode = *register & 3;
    update(register, write, |value| match value & 3 {
        0 | 1 => value,
        _ => value & !3 | mode,
    })
}

/// `xepc`: instructions start at even addresses.
fn legal_epc(value: u64) -> u64 {
    value & !1
}

/// Applies a write to a plain register through `legal`.
fn update(register: &mut u64, write: Option<CsrWrite>, legal: impl FnOnce(u64) -> u64) -> u64 {
    let old = *register;
    if let Some(write) = write {
        *register = legal(write.onto(old));
    }
    old
}

/// The `index` of a CSR in a run of `len` registers from `first`.
fn in_run(csr: u16, first: u16, len: u16) -> Option<usize> {
    (first..first + len)
        .contains(&csr)
        .then(|| usize::from(csr - first))
}

/// Counters 3 to 31 in the runs `hpmcounter3…`, `mhpmcounter3…`, `mhpmevent3…`.
const HPM_COUNTERS: u16 = 29;

const _: () = assert!(number::HPMCOUNTER3 == 0xc03 && number::MHPMCOUNTER3 == 0xb03);
