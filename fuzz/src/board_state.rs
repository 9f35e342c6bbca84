//! The saved state of a board: damaged or forged, it is refused or harmless.

use ringer_hart::persist::Persist;
use ringer_hart::{Bus, GuestPhys, Width};
use ringer_machine::memory_map::virtio_slot;

use crate::machine;

/// Damages a true state as the bytes say, restores it, and pokes the devices.
pub fn run(data: &[u8]) {
    let (_memory, ram, board) = machine::board();
    let mut state = board.save();
    let raw = data.first().is_some_and(|first| first & 1 == 0);
    if raw {
        state = data.get(1..).unwrap_or_default().to_vec();
    } else {
        for patch in data.get(1..).unwrap_or_default().chunks_exact(3) {
            let at = usize::from(u16::from_le_bytes([patch[0], patch[1]])) % state.len();
            state[at] = patch[2];
        }
    }
    ram.write(ram.base(), data);
    // A refusal is an answer; after either the board must still work.
    let _ = board.restore(&state);
    board.poll();
    for slot in 0..8 {
        for offset in (0..0x120).step_by(4) {
            let at = GuestPhys(virtio_slot(slot).base.0 + offset);
            let _ = board.load(0, at, Width::Word);
        }
        let notify = GuestPhys(virtio_slot(slot).base.0 + 0x50);
        let _ = board.store(0, notify, Width::Word, 0);
    }
    let saved = board.save();
    board.restore(&saved).expect("a board's own state");
}
