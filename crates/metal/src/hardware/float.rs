//! The real hart's floating-point registers, which hold one virtual hart's at a time.

use ringer_hart::Hart;
use ringer_isa::csr::mstatus;

use super::csr;

/// `mstatus.FS` = Clean: usable, and a change will show.
pub const CLEAN: u64 = 2 << mstatus::FS_SHIFT;

/// Whether this hart has a unit for numbers of 64 bits. Without one, the definition executes
/// what guests want of it.
pub fn is_there() -> bool {
    csr::write!("mstatus", CLEAN);
    let moved: u64;
    // SAFETY: where the instruction is missing, the trap goes on at `2`, with the trap CSRs
    // changed, which hold nothing while the monitor runs. The register holds nobody's value.
    unsafe {
        core::arch::asm!(
            ".option push",
            ".option arch, +d",
            "la {vector}, 2f",
            "csrrw {vector}, mtvec, {vector}",
            "mv {moved}, zero",
            "fmv.d.x f0, zero",
            "li {moved}, 1",
            ".balign 4",
            "2: csrw mtvec, {vector}",
            ".option pop",
            vector = out(reg) _,
            moved = out(reg) moved,
            options(nostack),
        );
    }
    moved != 0
}

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
