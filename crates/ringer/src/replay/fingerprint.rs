//! Checksums of a machine's state, by which a replay is compared with what was recorded.

use std::ops::Deref;

use ringer_hart::counter::{CounterFile, Counts};
use ringer_hart::persist::Persist;
use ringer_hart::{Bus, PAGE_SIZE};

use super::tape::Fingerprint;
use crate::runner::{Seat, Vm};

/// Of the harts and the time: quickly made.
pub fn of_harts<S: Deref<Target = Seat>>(vm: &Vm, seats: &[S]) -> Fingerprint {
    let (instructions, sum) = harts(vm, seats);
    Fingerprint {
        instructions,
        sum: sum.finalize(),
    }
}

/// Of all: memory and devices, too.
pub fn of_machine<S: Deref<Target = Seat>>(vm: &Vm, seats: &[S]) -> Fingerprint {
    let (instructions, mut sum) = harts(vm, seats);
    let board = &vm.machine.board;
    sum.update(&board.save());
    if let Some(sbi) = &vm.sbi {
        sum.update(&sbi.save());
    }
    let ram = board.ram();
    let mut page = [0; PAGE_SIZE as usize];
    for number in 0..ram.len() / PAGE_SIZE {
        let at = ram.base().offset(number * PAGE_SIZE);
        // Pages that were never touched are zero, like many others.
        if ram.read(at, &mut page).is_some() && page.iter().any(|byte| *byte != 0) {
            sum.update(&number.to_le_bytes());
            sum.update(&page);
        }
    }
    Fingerprint {
        instructions,
        sum: sum.finalize(),
    }
}

fn harts<S: Deref<Target = Seat>>(vm: &Vm, seats: &[S]) -> (u64, crc32fast::Hasher) {
    let mut sum = crc32fast::Hasher::new();
    let mut instructions = 0_u64;
    sum.update(&vm.machine.board.time().to_le_bytes());
    for seat in seats {
        let mut hart = seat.hart.clone();
        instructions = instructions.wrapping_add(hart.counts.retired);
        // How often an engine had to walk page tables, say, is its own matter.
        hart.counts = Counts {
            retired: hart.counts.retired,
            ..Counts::default()
        };
        hart.csrs.counters = CounterFile::default();
        sum.update(&hart.save());
        sum.update(&[seat.activity as u8]);
    }
    (instructions, sum)
}
