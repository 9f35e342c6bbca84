//! System reset (SBI 2.0, 10).

use sbi_spec::binary::Error;
use sbi_spec::srst::{
    RESET_REASON_NO_REASON, RESET_REASON_SYSTEM_FAILURE, RESET_TYPE_COLD_REBOOT,
    RESET_TYPE_SHUTDOWN, RESET_TYPE_WARM_REBOOT, SYSTEM_RESET,
};

use super::{Answer, Call, Reply};
use crate::power::Shutdown;

/// What is reported for a guest that gives system failure as its reason to power off.
const SYSTEM_FAILURE: u16 = 1;

pub(super) fn answer(call: Call<'_>) -> Reply {
    if call.function as usize != SYSTEM_RESET {
        return Err(Error::NotSupported);
    }
    // Both are 32-bit numbers, in registers.
    let (Ok(kind), Ok(reason)) = (u32::try_from(call.args[0]), u32::try_from(call.args[1])) else {
        return Err(Error::InvalidParam);
    };
    // Reasons from 0xe0000000 on belong to implementations and vendors.
    let failed = match reason {
        RESET_REASON_NO_REASON | 0xe000_0000.. => false,
        RESET_REASON_SYSTEM_FAILURE => true,
        _ => return Err(Error::InvalidParam),
    };
    let shutdown = match kind {
        RESET_TYPE_SHUTDOWN if failed => Shutdown::Fail(SYSTEM_FAILURE),
        RESET_TYPE_SHUTDOWN => Shutdown::PowerOff,
        RESET_TYPE_COLD_REBOOT | RESET_TYPE_WARM_REBOOT => Shutdown::Reset,
        0xf000_0000.. => return Err(Error::NotSupported),
        _ => return Err(Error::InvalidParam),
    };
    call.board.power().request(shutdown);
    Ok(Answer::Down)
}
