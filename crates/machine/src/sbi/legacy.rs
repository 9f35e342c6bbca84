//! Legacy extensions (SBI 2.0, 5), which old kernels and small ones use. They return one value,
//! in `a0`, and name harts by a mask in the caller's memory.

use ringer_hart::bus::irq;
use ringer_hart::cause::Exception;
use ringer_hart::translate::Access;
use ringer_hart::{Bus, GuestVirt};
use sbi_spec::binary::SbiRet;
use sbi_spec::legacy::{
    LEGACY_CLEAR_IPI, LEGACY_CONSOLE_GETCHAR, LEGACY_CONSOLE_PUTCHAR, LEGACY_REMOTE_FENCE_I,
    LEGACY_REMOTE_SFENCE_VMA, LEGACY_REMOTE_SFENCE_VMA_ASID, LEGACY_SEND_IPI, LEGACY_SET_TIMER,
    LEGACY_SHUTDOWN,
};

use super::fence::{self, Fence};
use super::{Call, Outcome, Reply, ipi, target, timer};
use crate::power::Shutdown;

/// The last of them.
pub(super) const LAST: u64 = LEGACY_SHUTDOWN as u64;

/// -1, which says both "failed" and "no character".
const FAILED: u64 = u64::MAX;

pub(super) fn call(mut call: Call<'_>, id: u64) -> Outcome {
    let value = match id as usize {
        LEGACY_SET_TIMER => {
            timer::set(call.hart, call.args[0]);
            0
        }
        LEGACY_CONSOLE_PUTCHAR => {
            call.board.uart().write_through(&[call.args[0] as u8]);
            0
        }
        LEGACY_CONSOLE_GETCHAR => {
            let mut byte = [0];
            match call.board.uart().read_through(&mut byte) {
                0 => FAILED,
                _ => u64::from(byte[0]),
            }
        }
        LEGACY_CLEAR_IPI => {
            let lines = call.board.lines(call.hart.id);
            let was_pending = lines.pending() & irq::SSI != 0;
            lines.lower(irq::SSI);
            u64::from(was_pending)
        }
        LEGACY_SEND_IPI
        | LEGACY_REMOTE_FENCE_I
        | LEGACY_REMOTE_SFENCE_VMA
        | LEGACY_REMOTE_SFENCE_VMA_ASID => match mask(&mut call) {
            Ok((mask, base)) => single(match id as usize {
                LEGACY_SEND_IPI => ipi::send(&call, mask, base),
                LEGACY_REMOTE_FENCE_I => fence::send(&mut call, Fence::Instructions, mask, base),
                _ => fence::send(&mut call, Fence::Addresses, mask, base),
            }),
            // The caller's own mistake, taken as if it had loaded the mask itself.
            Err(exception) => {
                call.hart.raise(exception);
                return Outcome::Run;
            }
        },
        LEGACY_SHUTDOWN => {
            call.board.power().request(Shutdown::PowerOff);
            return Outcome::Down;
        }
        _ => SbiRet::<u64>::not_supported().error,
    };
    call.hart.x[10] = value;
    call.hart.return_from_call();
    Outcome::Run
}

fn single(reply: Reply) -> u64 {
    match reply {
        Ok(_) => 0,
        Err(error) => SbiRet::from(error).error,
    }
}

/// The hart mask at the virtual address in `a0`; none there means all harts.
fn mask(call: &mut Call<'_>) -> Result<(u64, u64), Exception> {
    let address = call.args[0];
    if address == 0 {
        return Ok((0, target::ALL));
    }
    let context = call.hart.data_context();
    let mut bytes = [0; 8];
    // Byte by byte, as it may cross into another page.
    for (offset, byte) in bytes.iter_mut().enumerate() {
        let va = GuestVirt(address).offset(offset as u64);
        let found = (call.hart).translate(call.board, va, Access::Load, &context)?;
        *byte = (call.board.ram())
            .load::<u8>(found.phys)
            .ok_or(Exception::new(Access::Load.access_fault(), va.0))?;
    }
    Ok((u64::from_le_bytes(bytes), 0))
}
