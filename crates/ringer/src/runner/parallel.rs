//! One hart on a thread of its own, in real time.

use ringer_hart::Bus;

use super::seat::Turn;
use super::{Vm, sit};

/// Instructions between two looks at the timers.
const SLICE: u64 = 50_000;
/// As [`SLICE`], when a test program's requests are found by looking at its memory.
const SLICE_WITH_HTIF: u64 = 2_000;

/// Runs `hart` until the machine ends.
pub fn run(vm: &Vm, hart: usize) {
    let (Some(seat), Some(parker)) = (vm.seats.get(hart), vm.machine.parkers.get(hart)) else {
        return;
    };
    let lines = vm.machine.board.lines(hart);
    let slice = if vm.htif.is_some() {
        SLICE_WITH_HTIF
    } else {
        SLICE
    };
    while vm.gate.pass() {
        let mut seat = sit(seat);
        while !vm.gate.is_closed() {
            match seat.turn(vm, slice) {
                Turn::Ran(_) => {}
                // With more harts than CPUs, the one waited for may be waiting for this CPU.
                Turn::Spins(_) => std::thread::yield_now(),
                Turn::Idle(timer) => {
                    let deadline = timer.map(|ticks| vm.machine.instant_of(ticks));
                    parker.park(deadline, || lines.has_requests() || vm.gate.is_closed());
                }
                // Whatever is asked of it waits, too.
                Turn::Held => parker.park(None, || vm.gate.is_closed()),
            }
        }
    }
}
