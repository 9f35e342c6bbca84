//! Every device's registers: reads and writes of any width at any place.

use arbitrary::{Arbitrary, Unstructured};
use ringer_hart::{Bus, GuestPhys, Width};
use ringer_machine::memory_map::{self, virtio_slot};

use crate::machine;

#[derive(Arbitrary)]
enum Action {
    Load {
        device: u8,
        offset: u16,
        width: u8,
    },
    Store {
        device: u8,
        offset: u16,
        width: u8,
        value: u64,
    },
    Far {
        offset: u32,
        width: u8,
        value: u64,
    },
    Poll,
    Reset,
}

fn width(code: u8) -> Width {
    match code & 3 {
        0 => Width::Byte,
        1 => Width::Half,
        2 => Width::Word,
        _ => Width::Double,
    }
}

fn base(device: u8) -> u64 {
    let bases = [
        memory_map::ROM.base.0,
        memory_map::SYSCON.base.0,
        memory_map::RTC.base.0,
        memory_map::ACLINT.base.0,
        memory_map::PLIC.base.0,
        memory_map::UART.base.0,
    ];
    let index = usize::from(device) % (bases.len() + 8);
    match bases.get(index) {
        Some(base) => *base,
        None => virtio_slot(index - bases.len()).base.0,
    }
}

/// Takes the bytes as accesses to a fresh board.
pub fn run(data: &[u8]) {
    let (_memory, _ram, board) = machine::board();
    let mut input = Unstructured::new(data);
    while !input.is_empty() {
        let Ok(action) = Action::arbitrary(&mut input) else {
            return;
        };
        // A refusal is an answer.
        match action {
            Action::Load {
                device,
                offset,
                width: w,
            } => {
                let _ = board.load(0, GuestPhys(base(device) + u64::from(offset)), width(w));
            }
            Action::Store {
                device,
                offset,
                width: w,
                value,
            } => {
                let at = GuestPhys(base(device) + u64::from(offset));
                let _ = board.store(0, at, width(w), value);
            }
            Action::Far {
                offset,
                width: w,
                value,
            } => {
                let _ = board.load(1, GuestPhys(offset.into()), width(w));
                let _ = board.store(1, GuestPhys(offset.into()), width(w), value);
            }
            Action::Poll => board.poll(),
            Action::Reset => board.reset(),
        }
    }
}
