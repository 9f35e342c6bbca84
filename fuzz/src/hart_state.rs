//! The saved state of a hart: what is accepted must run, and save to the same again.

use ringer_hart::Hart;

use crate::machine;

/// Restores a hart from the bytes and runs it for a while.
pub fn run(data: &[u8]) {
    let Ok(mut hart) = Hart::restore(data) else {
        return;
    };
    let again = Hart::restore(&hart.save()).expect("a hart's own state");
    assert_eq!(again.save(), hart.save());
    let (_memory, _ram, board) = machine::board();
    hart.id %= board.harts();
    for _ in 0..200 {
        hart.take_interrupt(&board);
        hart.step(&board);
        hart.take_effects();
    }
}
