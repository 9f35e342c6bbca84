//! Timer extension (SBI 2.0, 6): the kernel's timer is `stimecmp`, whoever writes it.

use ringer_hart::Hart;
use ringer_hart::hart::Effects;
use sbi_spec::binary::Error;
use sbi_spec::time::SET_TIMER;

use super::{Call, DONE, Reply};

pub(super) fn answer(call: Call<'_>) -> Reply {
    match call.function as usize {
        SET_TIMER => {
            set(call.hart, call.args[0]);
            DONE
        }
        _ => Err(Error::NotSupported),
    }
}

/// Sets the time of the next timer interrupt, and takes back one that is pending.
pub(super) fn set(hart: &mut Hart, ticks: u64) {
    hart.csrs.stimecmp = ticks;
    hart.effects |= Effects::INTERRUPTS;
}
