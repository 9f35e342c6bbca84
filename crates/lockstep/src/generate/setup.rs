//! The state in which a program's hart starts.

use ringer_hart::csr::{CsrWrite, menvcfg, mstatus};
use ringer_hart::hart::Services;
use ringer_hart::{Hart, Mode};
use ringer_isa::asm::register::{RA, T0};
use ringer_isa::csr as number;

use super::items::POINTERS;
use super::tables::{self, Spaces};
use super::{MACHINE_HANDLER, RAM, RAM_LEN, SUPERVISOR_HANDLER, USED, USED_PAGES};
use crate::machine::Machine;
use crate::random::Random;

/// The PMP entry that opens all memory; those before it make exceptions.
pub(super) const OPEN_ENTRY: u64 = 7;

pub(super) fn hart(r: &mut Random, spaces: &Spaces) -> Hart {
    let mut hart = Hart::new(0, tables::code_address(r) & !0xfff | super::HEAD);
    for register in hart.x.iter_mut().skip(1) {
        *register = r.number();
    }
    for register in POINTERS {
        hart.x[usize::from(register)] = tables::data_address(r, spaces);
    }
    for register in [RA.0, T0.0] {
        hart.x[usize::from(register)] = tables::code_address(r);
    }
    for register in &mut hart.f {
        *register = float(r);
    }
    let nowhere = Machine::new(RAM, RAM_LEN, 1);
    for (csr, value) in csrs(r, spaces) {
        hart.csr(&nowhere, csr, Some(CsrWrite::all(value)))
            .expect("M-mode may write these");
    }
    // Directly, as the floating-point unit may be off.
    hart.csrs.fcsr = or_any(r, &[0, 0x20, 0x9f]) & 0xff;
    hart.mode = r.pick(&[Mode::M, Mode::S, Mode::S, Mode::U, Mode::U]);
    hart.services = Services {
        sbi: r.one_in(4),
        semihosting: r.one_in(2),
    };
    hart
}

/// A floating-point register: a double, a boxed narrower number, or anything.
fn float(r: &mut Random) -> u64 {
    match r.below(6) {
        0 => (r.below(2000) as f64 - 1000.0).to_bits(),
        1 => r
            .pick(&[0.0, -0.0, 1.0, f64::INFINITY, f64::NAN, 5e-324])
            .to_bits(),
        2 => u64::from(r.bits() as u32) | !0xffff_ffff,
        3 => u64::from((r.below(200) as f32).to_bits()) | !0xffff_ffff,
        4 => r.bits() | !0xffff,
        _ => r.bits(),
    }
}

fn csrs(r: &mut Random, spaces: &Spaces) -> Vec<(u16, u64)> {
    let mut csrs = vec![
        (number::MTVEC, MACHINE_HANDLER | r.below(2)),
        (number::STVEC, SUPERVISOR_HANDLER | r.below(2)),
        (number::MENVCFG, environment(r)),
        (number::SENVCFG, environment(r)),
        (number::MSTATUS, status(r)),
        (number::MEDELEG, delegation(r)),
        (number::MIDELEG, or_any(r, &[0, 0x222])),
        (number::MIE, or_any(r, &[0, 0xaaa])),
        (number::MCOUNTEREN, or_any(r, &[7, u64::MAX])),
        (number::SCOUNTEREN, or_any(r, &[7, u64::MAX])),
        (number::SATP, spaces.satp(r)),
        (number::STIMECMP, or_any(r, &[20, 100, 300])),
        (number::MCOUNTINHIBIT, or_any(r, &[0])),
    ];
    for counter in 0..4 {
        csrs.push((number::MHPMEVENT3 + counter, event(r)));
    }
    for entry in 0..OPEN_ENTRY {
        csrs.push((
            number::PMPADDR0 + entry as u16,
            protected_address(r, spaces),
        ));
    }
    csrs.push((number::PMPADDR0 + OPEN_ENTRY as u16, u64::MAX));
    csrs.push((number::PMPCFG0, protection(r)));
    csrs
}

/// One of `usual`, or random bits.
fn or_any(r: &mut Random, usual: &[u64]) -> u64 {
    if r.one_in(3) { r.bits() } else { r.pick(usual) }
}

/// For `menvcfg` and `senvcfg`.
pub(super) fn environment(r: &mut Random) -> u64 {
    let usual = menvcfg::ADUE | menvcfg::PBMTE | menvcfg::STCE | menvcfg::CBIE | 0xc1;
    if r.one_in(2) {
        usual
    } else {
        usual & r.bits() | r.bits() & menvcfg::CBIE
    }
}

/// For `mstatus`. The floating-point unit is mostly on.
pub(super) fn status(r: &mut Random) -> u64 {
    let mut status = r.bits() & r.bits();
    if !r.one_in(8) {
        status |= r.pick(&[1, 2, 3]) << mstatus::FS_SHIFT;
    }
    for rare in [mstatus::TVM, mstatus::TSR, mstatus::TW, mstatus::MPRV] {
        if !r.one_in(4) {
            status &= !rare;
        }
    }
    status
}

/// For `medeleg`. Access faults of fetches are M-mode's: S-mode's handler may be the one that
/// cannot be fetched.
pub(super) fn delegation(r: &mut Random) -> u64 {
    r.pick(&[0, 0xb1fd, 0xb3fd, 0xb100]) & if r.one_in(3) { r.bits() } else { u64::MAX }
}

/// For `mhpmevent`: all but walks, which an engine with a cache has fewer of.
pub(super) fn event(r: &mut Random) -> u64 {
    r.pick(&[0, 1, 2, 3, 4, 6, 7, 8, 9, 10])
}

/// For `pmpcfg0`: the last entry opens everything; each before may take something away.
pub(super) fn protection(r: &mut Random) -> u64 {
    let mut value = 0x1f << (8 * OPEN_ENTRY);
    if r.one_in(2) {
        return value;
    }
    for entry in 0..OPEN_ENTRY {
        if r.one_in(3) {
            let kind = r.below(4) << 3;
            let lock = if r.one_in(8) { 0x80 } else { 0 };
            value |= (r.below(8) | kind | lock) << (8 * entry);
        }
    }
    value
}

/// For `pmpaddr`: a place in code and data, mostly data; of any size up to 16 KiB. TOR entries
/// reach back to the entry before, wherever that is: that also covers tables and handlers.
pub(super) fn protected_address(r: &mut Random, spaces: &Spaces) -> u64 {
    let offset = if r.one_in(4) {
        r.below(USED_PAGES * 0x1000)
    } else {
        0x1000 * spaces.data_page(r) + r.below(0x1000)
    };
    let size = if r.one_in(2) { 10 } else { r.below(12) };
    let aligned = (USED + offset) >> 2 & !((1 << size) - 1);
    aligned | ((1u64 << size) >> 1).saturating_sub(1)
}
