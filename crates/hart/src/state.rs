//! The saved state of a hart: numbered fields, every one checked on the way in.

use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::address::GuestPhys;
use crate::bus::Width;
use crate::counter::{CounterFile, Counts};
use crate::csr::{CsrWrite, Csrs};
use crate::extensions::Paging;
use crate::hart::{Effects, Hart, Reservation, Services};
use crate::mode::{Mode, Privilege};
use crate::persist::{self, PersistError};
use crate::pmp::{ENTRIES, Pmp};

const PART: &str = "a hart";

#[derive(Encode, Decode)]
struct HartState {
    #[n(0)]
    id: u64,
    #[n(1)]
    x: [u64; 32],
    #[n(2)]
    f: [u64; 32],
    #[n(3)]
    pc: u64,
    /// The nominal privilege's encoding.
    #[n(4)]
    privilege: u8,
    /// The CSRs in the order of [`plain_csrs`].
    #[n(5)]
    csrs: [u64; PLAIN],
    #[n(6)]
    counters: CounterFile,
    #[n(7)]
    pmp_config: [u8; ENTRIES],
    #[n(8)]
    pmp_address: [u64; ENTRIES],
    /// Address, value, log2 of the width.
    #[n(9)]
    reservation: Option<(u64, u64, u8)>,
    #[n(10)]
    counts: Counts,
    #[n(11)]
    sbi: bool,
    #[n(12)]
    semihosting: bool,
    /// Levels of page tables; 5 in states that older versions have written.
    #[n(13)]
    paging: Option<u8>,
}

/// How many CSRs are plain words.
const PLAIN: usize = 22;

/// The CSRs that are plain words, in the order in which they are saved. New ones go to the end,
/// into fields of their own.
fn plain_csrs(csrs: &mut Csrs) -> [&mut u64; PLAIN] {
    [
        &mut csrs.mstatus,
        &mut csrs.medeleg,
        &mut csrs.mideleg,
        &mut csrs.mie,
        &mut csrs.mip,
        &mut csrs.mtvec,
        &mut csrs.mcounteren,
        &mut csrs.mscratch,
        &mut csrs.mepc,
        &mut csrs.mcause,
        &mut csrs.mtval,
        &mut csrs.menvcfg,
        &mut csrs.stvec,
        &mut csrs.scounteren,
        &mut csrs.sscratch,
        &mut csrs.sepc,
        &mut csrs.scause,
        &mut csrs.stval,
        &mut csrs.senvcfg,
        &mut csrs.stimecmp,
        &mut csrs.satp,
        &mut csrs.fcsr,
    ]
}

fn saved_reservation(reservation: &Reservation) -> Option<(u64, u64, u8)> {
    let width = [Width::Word, Width::Double]
        .into_iter()
        .find(|width| width.bytes() == reservation.bytes)?;
    Some((reservation.addr.0, reservation.value, width as u8))
}

impl Hart {
    /// Writes down the whole hart.
    pub fn save(&self) -> Vec<u8> {
        let (config, address) = self.csrs.pmp.registers();
        let mut csrs = self.csrs.clone();
        persist::encode(&HartState {
            id: self.id as u64,
            x: self.x,
            f: self.f,
            pc: self.pc,
            privilege: self.mode.privilege as u8,
            csrs: plain_csrs(&mut csrs).map(|csr| *csr),
            counters: self.csrs.counters.clone(),
            pmp_config: *config,
            pmp_address: *address,
            reservation: saved_reservation(&self.reservation),
            counts: self.counts.clone(),
            sbi: self.services.sbi,
            semihosting: self.services.semihosting,
            paging: Some(self.paging as u8),
        })
    }

    /// Reads back what [`Hart::save`] wrote. CSRs come in through the same legalisation as the
    /// guest's own writes, so a forged state can hold nothing that a guest could not set up.
    pub fn restore(bytes: &[u8]) -> Result<Self, PersistError> {
        let damaged = |reason: &str| PersistError::Damaged {
            part: PART,
            reason: reason.into(),
        };
        let state: HartState = persist::decode(PART, bytes)?;
        let id = usize::try_from(state.id).map_err(|_| damaged("no such hart number"))?;
        let privilege = Privilege::from_bits(state.privilege.into())
            .ok_or_else(|| damaged("no such privilege mode"))?;

        let mut hart = Self::new(id, state.pc & !1);
        hart.x = state.x;
        hart.x[0] = 0;
        hart.f = state.f;
        hart.mode = Mode {
            privilege,
            virtualised: false,
        };
        hart.reservation = match state.reservation {
            None => Reservation::NONE,
            Some((addr, value, width)) => {
                let width = match width {
                    2 => Width::Word,
                    3 => Width::Double,
                    _ => return Err(damaged("no such reservation width")),
                };
                Reservation::new(GuestPhys(addr), width, value)
            }
        };
        let mut wanted = Csrs::default();
        for (csr, value) in plain_csrs(&mut wanted).into_iter().zip(state.csrs) {
            *csr = value;
        }
        hart.adopt_csrs(&wanted);
        hart.csrs.counters = state.counters;
        hart.csrs.counters.legalise();
        hart.csrs.pmp = Pmp::from_registers(state.pmp_config, state.pmp_address);
        if !state.counts.plausible() {
            return Err(damaged("counts beyond any hart's lifetime"));
        }
        hart.counts = state.counts;
        if let Some(levels) = state.paging {
            hart.paging = Paging::from_levels(levels).ok_or_else(|| damaged("no such paging"))?;
        }
        hart.services = Services {
            sbi: state.sbi,
            semihosting: state.semihosting,
        };
        hart.effects = Effects::all();
        Ok(hart)
    }

    /// Takes on the plain CSRs of `wanted`, each by its own rule.
    fn adopt_csrs(&mut self, wanted: &Csrs) {
        use ringer_isa::csr as number;

        let mode = core::mem::replace(&mut self.mode, Mode::M);
        let pairs = [
            (number::MENVCFG, wanted.menvcfg),
            (number::MSTATUS, wanted.mstatus),
            (number::MEDELEG, wanted.medeleg),
            (number::MIDELEG, wanted.mideleg),
            (number::MIE, wanted.mie),
            (number::MTVEC, wanted.mtvec),
            (number::MCOUNTEREN, wanted.mcounteren),
            (number::MSCRATCH, wanted.mscratch),
            (number::MEPC, wanted.mepc),
            (number::MCAUSE, wanted.mcause),
            (number::MTVAL, wanted.mtval),
            (number::STVEC, wanted.stvec),
            (number::SCOUNTEREN, wanted.scounteren),
            (number::SSCRATCH, wanted.sscratch),
            (number::SEPC, wanted.sepc),
            (number::SCAUSE, wanted.scause),
            (number::STVAL, wanted.stval),
            (number::SENVCFG, wanted.senvcfg),
            (number::STIMECMP, wanted.stimecmp),
            (number::SATP, wanted.satp),
        ];
        let nowhere = Nowhere::default();
        for (csr, value) in pairs {
            // None of these can be refused in M-mode.
            let _ = self.csr(&nowhere, csr, Some(CsrWrite::all(value)));
        }
        self.csrs.mip = wanted.mip & (crate::bus::irq::SEI | crate::bus::irq::STI);
        self.csrs.fcsr = wanted.fcsr & 0xff;
        self.mode = mode;
    }
}

/// A machine with nothing in it, around a hart that is being put together.
#[derive(Default)]
struct Nowhere {
    ram: crate::ram::Ram,
    lines: crate::bus::Lines,
}

impl crate::bus::Bus for Nowhere {
    fn ram(&self) -> &crate::ram::Ram {
        &self.ram
    }
    fn load(
        &self,
        _: crate::bus::HartId,
        _: GuestPhys,
        _: Width,
    ) -> Result<u64, crate::bus::BusFault> {
        Err(crate::bus::BusFault)
    }
    fn store(
        &self,
        _: crate::bus::HartId,
        _: GuestPhys,
        _: Width,
        _: u64,
    ) -> Result<(), crate::bus::BusFault> {
        Err(crate::bus::BusFault)
    }
    fn time(&self) -> u64 {
        0
    }
    fn lines(&self, _: crate::bus::HartId) -> &crate::bus::Lines {
        &self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csr::mstatus;

    #[test]
    fn what_is_saved_comes_back() {
        let mut hart = Hart::new(3, 0x8000_0000);
        hart.start_supervisor(0x8020_0000, 0x1234);
        for (register, value) in (1..).zip(&mut hart.x[1..]) {
            *value = register * 0x0101_0101;
        }
        hart.f[31] = u64::MAX;
        hart.csrs.satp = 8 << 60 | 5 << 44 | 0x8_0000;
        hart.csrs.mip = crate::bus::irq::STI;
        hart.csrs.mstatus |= mstatus::FS | mstatus::SUM;
        hart.csrs.fcsr = 0xff;
        let place = GuestPhys(0x8000_0040);
        hart.reservation = Reservation::new(place, Width::Double, 7);
        hart.counts.retired = 99;
        let saved = hart.save();
        let back = Hart::restore(&saved).unwrap();
        assert_eq!(back.save(), saved);
        assert_eq!(back.mode, Mode::S);
        assert_eq!(back.reservation.of(place, Width::Double), Some(7));
        assert_eq!(back.reservation.of(place, Width::Word), None);
        hart.reservation.bytes = 0;
        let back = Hart::restore(&hart.save()).unwrap();
        assert_eq!(back.reservation.of(place, Width::Double), None);
        assert_eq!(back.reservation.bytes, 0);
        assert_eq!(back.effects, Effects::all());
    }

    #[test]
    fn forged_states_hold_nothing_that_a_guest_could_not_set_up() {
        let mut hart = Hart::new(0, 1);
        hart.x[0] = 5;
        hart.csrs.mstatus = u64::MAX;
        hart.csrs.medeleg = u64::MAX;
        hart.csrs.satp = u64::MAX;
        hart.csrs.mepc = u64::MAX;
        hart.csrs.fcsr = u64::MAX;
        hart.csrs.mip = u64::MAX;
        hart.csrs.pmp = Pmp::from_registers([0xff; ENTRIES], [u64::MAX; ENTRIES]);
        let back = Hart::restore(&hart.save()).unwrap();
        assert_eq!((back.x[0], back.pc), (0, 0));
        assert_eq!(back.csrs.medeleg, 0xb3ff);
        assert_eq!(back.csrs.satp, 0);
        assert_eq!(back.csrs.mepc, u64::MAX - 1);
        assert_eq!(back.csrs.fcsr, 0xff);
        assert_eq!(
            back.csrs.mip,
            crate::bus::irq::SEI | crate::bus::irq::STI,
            "only the hart's own bits"
        );
        assert_eq!(back.csrs.mstatus & mstatus::UXL, 2 << mstatus::UXL_SHIFT);
        let write_only = Pmp::from_registers([2; ENTRIES], [0; ENTRIES]);
        assert_eq!(write_only.config_register(0), 0);
    }

    #[test]
    fn damaged_states_are_refused() {
        let saved = Hart::new(0, 0).save();
        assert!(Hart::restore(&[]).is_err());
        assert!(Hart::restore(&saved[..saved.len() - 1]).is_err());
        assert!(Hart::restore(&[saved.clone(), saved.clone()].concat()).is_err());
        let mut hart = Hart::new(0, 0);
        hart.counts.exceptions[2] = u64::MAX;
        assert!(Hart::restore(&hart.save()).is_err(), "would overflow");
    }
}
