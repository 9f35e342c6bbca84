//! Remote fences (SBI 2.0, 8). A fence drops all that the target has cached: more than asked
//! for, never less.

use ringer_hart::Bus;
use ringer_hart::bus::request;
use ringer_hart::hart::Effects;
use sbi_spec::binary::Error;
use sbi_spec::rfnc::{REMOTE_FENCE_I, REMOTE_SFENCE_VMA, REMOTE_SFENCE_VMA_ASID};

use super::{Call, DONE, Reply, target};

#[derive(Clone, Copy)]
pub(super) enum Fence {
    Instructions,
    Addresses,
}

pub(super) fn answer(mut call: Call<'_>) -> Reply {
    let fence = match call.function as usize {
        REMOTE_FENCE_I => Fence::Instructions,
        REMOTE_SFENCE_VMA | REMOTE_SFENCE_VMA_ASID => Fence::Addresses,
        // The fences of the H extension, which the harts do not have.
        _ => return Err(Error::NotSupported),
    };
    let [mask, base, ..] = call.args;
    send(&mut call, fence, mask, base)
}

/// Fences the harts in `mask` from `base` on, and returns when no hart uses what it had cached
/// before.
pub(super) fn send(call: &mut Call<'_>, fence: Fence, mask: u64, base: u64) -> Reply {
    let targets = || target::harts(mask, base, call.board.harts());
    let (bit, effect) = match fence {
        Fence::Instructions => (request::FENCE_I, Effects::FENCE_I),
        Fence::Addresses => (request::FENCE_VMA, Effects::FLUSH_TLB),
    };
    let own = call.hart.id;
    let mut fence_self = false;
    for hart in targets()? {
        if hart == own {
            fence_self = true;
        } else {
            call.board.lines(hart).request(bit);
        }
    }
    for hart in targets()? {
        if hart != own
            && let Some(control) = call.sbi.harts.get(hart)
        {
            let lines = call.board.lines(hart);
            control.wait_for(|| lines.requests() & bit == 0);
        }
    }
    if fence_self {
        call.hart.effects |= effect;
    }
    DONE
}
