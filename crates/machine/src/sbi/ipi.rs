//! IPI extension (SBI 2.0, 7).

use ringer_hart::Bus;
use ringer_hart::bus::irq;
use sbi_spec::binary::Error;
use sbi_spec::spi::SEND_IPI;

use super::{Call, DONE, Reply, target};

pub(super) fn answer(call: Call<'_>) -> Reply {
    match call.function as usize {
        SEND_IPI => send(&call, call.args[0], call.args[1]),
        _ => Err(Error::NotSupported),
    }
}

pub(super) fn send(call: &Call<'_>, mask: u64, base: u64) -> Reply {
    for hart in target::harts(mask, base, call.board.harts())? {
        call.board.lines(hart).raise(irq::SSI);
    }
    DONE
}
