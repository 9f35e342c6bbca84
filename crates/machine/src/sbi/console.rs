//! Debug console (SBI 2.0, 12): the terminal behind the serial port.

use ringer_hart::{Bus, GuestPhys};
use sbi_spec::binary::Error;
use sbi_spec::dbcn::{CONSOLE_READ, CONSOLE_WRITE, CONSOLE_WRITE_BYTE};

use super::{Answer, Call, DONE, Reply};

/// The most that one call transfers; the guest calls again for the rest.
const CHUNK: usize = 1024;

pub(super) fn answer(call: Call<'_>) -> Reply {
    let uart = call.board.uart();
    let ram = call.board.ram();
    match call.function as usize {
        CONSOLE_WRITE => {
            let (at, len) = buffer(&call)?;
            let mut bytes = [0; CHUNK];
            let part = bytes.get_mut(..len).unwrap_or_default();
            ram.read(at, part).ok_or(Error::InvalidParam)?;
            uart.write_through(part);
            Ok(Answer::Value(len as u64))
        }
        CONSOLE_READ => {
            let (at, len) = buffer(&call)?;
            let mut bytes = [0; CHUNK];
            let count = uart.read_through(bytes.get_mut(..len).unwrap_or_default());
            let part = bytes.get(..count).unwrap_or_default();
            ram.write(at, part).ok_or(Error::InvalidParam)?;
            Ok(Answer::Value(count as u64))
        }
        CONSOLE_WRITE_BYTE => {
            uart.write_through(&[call.args[0] as u8]);
            DONE
        }
        _ => Err(Error::NotSupported),
    }
}

/// The guest's buffer, of which only the first [`CHUNK`] bytes are used; all of it must be RAM.
fn buffer(call: &Call<'_>) -> Result<(GuestPhys, usize), Error<u64>> {
    let [len, low, high, ..] = call.args;
    let at = GuestPhys(low);
    if len == 0 {
        return Ok((call.board.ram().base(), 0));
    }
    if high != 0 || call.board.ram().offset(at, len).is_none() {
        return Err(Error::InvalidParam);
    }
    Ok((at, len.min(CHUNK as u64) as usize))
}
