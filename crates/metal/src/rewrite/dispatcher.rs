//! The one piece of code by which rewritten code goes on: to other rewritten code that the frame
//! knows of, or back to the monitor.

use core::mem::offset_of;

use alloc::vec::Vec;

use ringer_isa::asm::register::{T0, T1, T2, T3, ZERO};
use ringer_isa::csr;

use super::frame::{Frame, SLOTS, Slot};
use super::writer::{Steps, Writer, field};

/// Where its entries are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dispatcher {
    /// To the guest's code at `t1`, wherever it is.
    pub go: u64,
    /// To the monitor: the instruction at `t1` is for the definition.
    pub define: u64,
    /// The instruction that traps when the guest goes on where no rewritten code is known, or
    /// has gone on for long enough.
    pub left: u64,
    /// The instruction that traps when the definition is asked for.
    pub asked: u64,
    /// What all code is made of.
    pub(super) steps: Steps,
}

impl Dispatcher {
    /// The code for address `at`.
    pub fn write(at: u64) -> Option<(Self, Vec<u8>)> {
        const SLOT_SIZE: u32 = size_of::<Slot>().trailing_zeros();
        const SLOTS_AT: i32 = offset_of!(Frame, slots) as i32;
        let steps = Steps::new()?;
        let mut code = Writer::new(at, &steps);
        let out = code.asm.label();
        let go = code.asm.here();
        code.take_more();
        code.asm.ld(T2, field!(retired), T0);
        code.asm.ld(T3, field!(limit), T0);
        code.asm.bltu(T3, T2, out);
        code.unless_interrupted(T2, out);
        // `Frame::slot_of`
        code.asm.srli(T2, T1, 1);
        code.asm.andi(T2, T2, SLOTS as i32 - 1);
        code.asm.slli(T2, T2, SLOT_SIZE as i32);
        code.asm.add(T2, T2, T0);
        code.asm.ld(T3, SLOTS_AT, T2);
        code.asm.bne(T3, T1, out);
        code.asm.ld(T3, SLOTS_AT + 8, T2);
        code.asm.csrrw(ZERO, csr::MEPC, T3);
        // Any number but 0.
        code.asm.sd(T0, SLOTS_AT + 16, T2);
        code.give_more_back();
        code.give_back();
        code.asm.mret();

        code.asm.bind(out);
        code.give_more_back();
        let left = leave(&mut code);
        let define = code.asm.here();
        let asked = leave(&mut code);
        let code = code.finish()?;
        let entries = Self {
            go,
            define,
            left,
            asked,
            steps,
        };
        Some((entries, code))
    }
}

/// Back to the monitor; gives the instruction that traps.
fn leave(code: &mut Writer<'_>) -> u64 {
    code.asm.sd(T1, field!(next), T0);
    code.give_back();
    let trap = code.asm.here();
    code.asm.ebreak();
    trap
}
