//! The real harts' stacks: how deep they have been used, and a part at the end of each that
//! nobody may touch, so that a stack that overflows traps. start.s fills them with a pattern.

use core::arch::asm;

use super::{MAX_CPUS, protection};

/// What start.s has put where nothing was stored yet.
const UNUSED: u64 = 0x5ca1_ab1e_5ca1_ab1e;
/// Bytes of a stack.
const SIZE: usize = 1 << 17;
/// Bytes at its end that are closed: more than any function takes at once, so that none reaches
/// over them.
const CLOSED: usize = 1 << 15;
/// Bytes that a hart can use.
pub const USABLE: usize = SIZE - CLOSED;

unsafe extern "C" {
    static _stacks: u8;
}

/// Closes the end of the stack of the hart that this runs on.
pub fn close_the_end() {
    let pointer: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mv {}, sp", out(reg) pointer, options(nomem, nostack)) };
    let first = &raw const _stacks as usize;
    protection::close(
        (first + (pointer - first) / SIZE * SIZE) as u64,
        CLOSED as u64,
    );
}

/// Whether `address` is in a part that was closed.
pub fn is_closed(address: u64) -> bool {
    let first = &raw const _stacks as u64;
    let (size, closed) = (SIZE as u64, CLOSED as u64);
    (first..first + MAX_CPUS as u64 * size).contains(&address) && (address - first) % size < closed
}

/// The most bytes that the stack of this number, in the order in which harts came, has held.
pub fn deepest(stack: usize) -> usize {
    let top = &raw const _stacks as usize + (stack.min(MAX_CPUS - 1) + 1) * SIZE;
    // SAFETY: these are words of a stack. Its hart may write them meanwhile: that is why they are
    // read as if they were a device's.
    let unused = |word: &usize| unsafe { (*word as *const u64).read_volatile() } == UNUSED;
    let mut used = (top - USABLE..top).step_by(8).skip_while(unused);
    used.next().map_or(0, |word| top - word)
}
