//! The real hart's floating-point registers, which hold one virtual hart's at a time.

use ringer_hart::Hart;
use ringer_isa::csr::mstatus;

use super::csr;

/// `mstatus.FS` = Clean: usable, and a change will show.
pub const CLEAN: u64 = 2 << mstatus::FS_SHIFT;

unsafe extern "C" {
    fn load_float(from: *const u64, fcsr: u64);
    fn save_float(to: *mut u64) -> u64;
}

/// Puts `hart`'s registers into the unit.
pub fn load(hart: &Hart) {
    csr::write!("mstatus", CLEAN);
    // SAFETY: FS is on, and the array has 32 doublewords. The monitor's own code is compiled
    // without floating-point registers, so nobody misses the old values.
    unsafe { load_float(hart.f.as_ptr(), hart.csrs.fcsr) };
}

/// Takes `hart`'s registers out of the unit.
pub fn save(hart: &mut Hart) {
    csr::write!("mstatus", CLEAN);
    // SAFETY: as in `load`.
    hart.csrs.fcsr = unsafe { save_float(hart.f.as_mut_ptr()) };
}
