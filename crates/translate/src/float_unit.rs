//! The host's floating-point unit on the guest's behalf: rounding mode and flags change hands when
//! control passes between generated code and Rust that computes with floating-point numbers or
//! looks at the guest's flags. One of the few modules with `unsafe`.
//!
//! Rust assumes rounding to nearest and ignores the flags, so both must be put right.

use std::arch::asm;

use ringer_hart::csr::mstatus;

use crate::core_state::Core;

/// All exceptions masked, round to nearest, no flags.
const DEFAULT: u32 = 0x1f80;
/// The flags: invalid, denormal, division by zero, overflow, underflow, inexact.
pub const FLAGS: u32 = 0x3f;
/// Where the rounding mode is.
pub const ROUNDING: u32 = 13;

fn read() -> u32 {
    let mut value = 0u32;
    // SAFETY: stores the control word to the variable.
    unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut value, options(nostack, preserves_flags)) };
    value
}

fn write(value: u32) {
    // SAFETY: only flags, masked exceptions and rounding are set. Generated code is all that
    // runs with another rounding mode, by the pairs of calls below.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const value, options(nostack, preserves_flags)) };
}

/// The host's name for a RISC-V rounding mode, if it has it.
pub fn host_rounding(frm: u64) -> Option<u32> {
    Some(match frm {
        0 => 0, // nearest, ties to even
        1 => 3, // towards zero
        2 => 1, // down
        3 => 2, // up
        _ => return None,
    })
}

/// The host's flags as those of `fflags` (invalid, division by zero, overflow, underflow,
/// inexact, from bit 4 down).
fn guest_flags(mxcsr: u32) -> u64 {
    let bit = |host: u32, guest: u32| u64::from(mxcsr >> host & 1) << guest;
    bit(0, 4) | bit(2, 3) | bit(3, 2) | bit(4, 1) | bit(5, 0)
}

/// [`guest_flags`] of each set of the host's flags, for generated code.
pub fn guest_flags_table() -> [u8; FLAGS as usize + 1] {
    std::array::from_fn(|host| guest_flags(host as u32) as u8)
}

impl Core {
    /// The rounding mode in which generated code may run floating-point instructions now, if
    /// any: the unit is on and its state dirty.
    fn float_mode(&self) -> Option<u32> {
        let enabled = self.hart.csrs.mstatus & mstatus::FS == mstatus::FS;
        let rounding = host_rounding(self.hart.csrs.fcsr >> 5 & 7)?;
        enabled.then_some(rounding)
    }

    /// To be called before generated code runs.
    pub fn prepare_float(&mut self) {
        self.float_on = u8::from(self.hart.csrs.mstatus & mstatus::FS != 0);
        let mode = self.float_mode();
        self.float_ready = u8::from(mode.is_some());
        let Some(rounding) = mode else {
            return; // the unit may stay as it is: nobody uses it
        };
        if self.float_taken != 0 {
            if rounding == self.float_rounding {
                return; // generated code has the unit already
            }
            self.settle_float();
            self.float_ready = 1;
        }
        self.float_taken = 1;
        self.float_rounding = rounding;
        let wanted = DEFAULT | rounding << ROUNDING;
        if read() != wanted {
            write(wanted);
        }
    }

    /// To be called after generated code has run, before Rust code does that computes with
    /// floating-point numbers, or looks at the guest's flags.
    pub fn settle_float(&mut self) {
        if self.float_taken == 0 {
            return;
        }
        self.float_taken = 0;
        self.float_ready = 0;
        let now = read();
        if now & FLAGS != 0 {
            self.hart.csrs.fcsr |= guest_flags(now);
        }
        if now & !FLAGS != DEFAULT {
            write(DEFAULT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_rounding_change_hands() {
        let mut core = Core::new();
        core.prepare_float();
        assert_eq!(core.float_ready, 0, "the unit is off");
        core.hart.csrs.mstatus |= mstatus::FS;
        core.hart.csrs.fcsr = 3 << 5;
        core.prepare_float();
        assert_eq!(read() >> ROUNDING & 3, 2, "up");
        // SAFETY: divides 1 by 3 in a register.
        unsafe {
            asm!("divss {0}, {1}", inout(xmm_reg) 1.0f32 => _, in(xmm_reg) 3.0f32);
        }
        core.hart.csrs.mstatus &= !mstatus::FS;
        core.prepare_float();
        assert_eq!(core.float_ready, 0, "the unit is off again");
        core.hart.csrs.mstatus |= mstatus::FS;
        core.prepare_float();
        assert_eq!(core.float_ready, 1);
        core.settle_float();
        assert_eq!(read() & !FLAGS, DEFAULT);
        assert_eq!(core.hart.csrs.fcsr, 3 << 5 | 1, "inexact");
        core.hart.csrs.fcsr = 4 << 5;
        core.prepare_float();
        assert_eq!(core.float_ready, 0, "the host cannot round so");
    }
}
