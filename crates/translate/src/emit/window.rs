//! Windows: several accesses by way of one base register, checked all at once.
//!
//! Programs reach the fields of a structure, or of their stack frame, at fixed distances from a
//! register. The first such access in a block checks that everything from the lowest to the
//! highest of them lies in one page that may be accessed; `rcx` then holds its place in host
//! memory, and the others are one host instruction each. If the check fails, the stretch is
//! executed from a copy in which every access is checked for itself. Where the base register only
//! moves on by a constant meanwhile, as pointers into arrays do, the window stays where it is.

use ringer_hart::Privilege;
use ringer_isa::{Class, Format, Insn, Op};

use super::block::Step;
use super::{Emitter, system};
use crate::features::Features;

/// Bytes that a window may span: more would cross pages too often.
const WIDEST: i32 = 512;

/// A window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// The base register.
    pub base: u8,
    /// The lowest distance from what it holds at first, and the end of the highest access.
    pub low: i32,
    /// As above.
    pub high: i32,
    /// Whether stores are allowed too.
    pub stores: bool,
    /// The first and the last instruction that belong to it.
    pub first: usize,
    /// As above.
    pub last: usize,
}

impl Window {
    /// How far the base register has moved when instruction `index` is executed.
    pub fn moved(&self, steps: &[Step], index: usize) -> i32 {
        let before = steps.get(self.first..index).unwrap_or_default();
        before
            .iter()
            .filter_map(|step| step_of(&step.insn, self.base))
            .sum()
    }
}

/// By how much the instruction moves the register on, if that is all it does.
fn step_of(insn: &Insn, register: u8) -> Option<i32> {
    (insn.op == Op::Addi && insn.rd == register && insn.rs1 == register).then_some(insn.imm)
}

/// The size of a plain load or store; `None` for all other instructions.
pub fn bytes(op: Op) -> Option<i32> {
    Some(match op {
        Op::Lb | Op::Lbu | Op::Sb => 1,
        Op::Lh | Op::Lhu | Op::Sh | Op::Flh | Op::Fsh => 2,
        Op::Lw | Op::Lwu | Op::Sw | Op::Flw | Op::Fsw => 4,
        Op::Ld | Op::Sd | Op::Fld | Op::Fsd => 8,
        _ => return None,
    })
}

/// Whether a window does not outlive the instruction, or `rcx` its code.
fn clobbers(insn: &Insn, features: &Features, privilege: Privilege) -> bool {
    match insn.op {
        Op::Sll | Op::Srl | Op::Sra | Op::Sllw | Op::Srlw | Op::Sraw => !features.bmi2,
        Op::Rol | Op::Ror | Op::Rolw | Op::Rorw => true,
        Op::Div | Op::Divu | Op::Rem | Op::Remu => true,
        Op::Divw | Op::Divuw | Op::Remw | Op::Remuw => true,
        // Most CSRs may change what the hart can reach.
        op if op.class() == Class::Csr => !system::keeps_windows(insn, privilege),
        op => matches!(op.class(), Class::Atomic | Class::Jump | Class::System),
    }
}

fn is_store(op: Op) -> bool {
    op.class() == Class::Store
}

impl Emitter<'_> {
    /// The window that begins with the current instruction, if it is worth one.
    pub(super) fn window_from_here(&self) -> Option<Window> {
        plan(
            self.steps,
            self.index,
            |insn| clobbers(insn, self.features, self.privilege),
            |insn| {
                let stores = insn.op.format() == Format::FloatStore;
                self.float_unit_expected
                    || !insn.op.is_float()
                    || (stores && self.float_on_expected)
            },
        )
    }
}

/// `is_ready`: the block has made sure of the floating-point unit, if the instruction needs it.
/// Before that no window goes beyond it: the other way would skip the check.
fn plan(
    steps: &[Step],
    first: usize,
    clobbers: impl Fn(&Insn) -> bool,
    is_ready: impl Fn(&Insn) -> bool,
) -> Option<Window> {
    let start = steps.get(first)?;
    let base = start.insn.rs1;
    let mut low = start.insn.imm;
    let mut high = low + bytes(start.insn.op)?;
    // A page that is only read must not be asked for stores that may never happen.
    let stores = is_store(start.insn.op) || {
        let straight = steps[first..].iter().take_while(|step| {
            step.insn.op.class() != Class::Branch && !step.followed && !clobbers(&step.insn)
        });
        let mut found = false;
        for step in straight {
            if is_store(step.insn.op) && step.insn.rs1 == base && bytes(step.insn.op).is_some() {
                found = true;
                break;
            }
            if writes(&step.insn, base) && step_of(&step.insn, base).is_none() {
                break;
            }
        }
        found
    };
    let mut last = first;
    let mut moved = 0;
    for (index, step) in steps.iter().enumerate().skip(first) {
        let insn = &step.insn;
        if step.followed || (index > first && (!is_ready(insn) || clobbers(insn))) {
            break;
        }
        if let Some(size) = bytes(insn.op)
            && insn.rs1 == base
            && (stores || !is_store(insn.op))
        {
            let distance = insn.imm + moved;
            let (lower, higher) = (low.min(distance), high.max(distance + size));
            if higher - lower <= WIDEST {
                (low, high, last) = (lower, higher, index);
            }
        }
        match step_of(insn, base) {
            Some(step) => moved += step,
            None if writes(insn, base) => break,
            None => {}
        }
    }
    (last > first).then_some(Window {
        base,
        low,
        high,
        stores,
        first,
        last,
    })
}

/// Whether the instruction writes this integer register, for certain or maybe.
pub(super) fn writes(insn: &Insn, register: u8) -> bool {
    insn.rd == register && !insn.op.format().writes_float() && !is_store(insn.op)
}
