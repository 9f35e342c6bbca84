//! What programs did that is easy to get wrong: to be sure that they do it.

use ringer_hart::csr::mstatus;
use ringer_hart::{Hart, PAGE_SIZE};
use ringer_isa::{Class, Insn, Op};

/// Places of an instruction since the last jump that are told apart.
const POSITIONS: usize = 16;

/// Counts of such things.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// Instructions by their rounding mode; with the floating-point unit on.
    rounding: [u64; 8],
    /// The same of those with the dynamic mode, by what that was.
    dynamic_rounding: [u64; 8],
    /// Misaligned loads inside a page, by the logarithm of their size; loads across pages;
    /// stores.
    misaligned: [[[u64; 4]; 2]; 2],
    /// Traps, by how many instructions were executed since the last jump.
    traps: [u64; POSITIONS],
    /// So many, now.
    position: usize,
}

/// What was known before an instruction was executed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before {
    insn: Insn,
    pc: u64,
    address: u64,
    retired: u64,
}

impl Before {
    pub fn new(hart: &Hart, insn: Insn) -> Self {
        let base = hart.x.get(usize::from(insn.rs1)).copied().unwrap_or(0);
        Self {
            insn,
            pc: hart.pc,
            address: base.wrapping_add_signed(insn.imm.into()),
            retired: hart.counts.retired,
        }
    }
}

/// The logarithm of the size of a plain load or store.
fn size(op: Op) -> Option<usize> {
    Some(match op {
        Op::Lh | Op::Lhu | Op::Sh | Op::Flh | Op::Fsh => 1,
        Op::Lw | Op::Lwu | Op::Sw | Op::Flw | Op::Fsw => 2,
        Op::Ld | Op::Sd | Op::Fld | Op::Fsd => 3,
        _ => return None,
    })
}

impl Coverage {
    /// Notes the instruction that `hart` has just executed, or tried to.
    pub(crate) fn note(&mut self, before: Before, hart: &Hart) {
        let Before {
            insn, pc, address, ..
        } = before;
        let done = hart.counts.retired != before.retired;
        if insn.op.format().has_rounding_mode() && hart.csrs.mstatus & mstatus::FS != 0 {
            let count = |counts: &mut [u64; 8], mode: u64| counts[mode as usize & 7] += 1;
            count(&mut self.rounding, insn.rm.into());
            if insn.rm == 7 {
                count(&mut self.dynamic_rounding, hart.csrs.fcsr >> 5);
            }
        }
        if done
            && let Some(log) = size(insn.op)
            && address & ((1 << log) - 1) != 0
        {
            let crosses = address % PAGE_SIZE + (1 << log) > PAGE_SIZE;
            let stores = insn.op.class() == Class::Store;
            self.misaligned[usize::from(stores)][usize::from(crosses)][log] += 1;
        }
        if !done && let Some(count) = self.traps.get_mut(self.position) {
            *count += 1;
        }
        let falls_through = hart.pc == pc.wrapping_add(insn.len.into());
        self.position = if falls_through { self.position + 1 } else { 0 };
    }

    /// Adds what another run did.
    pub fn add(&mut self, other: &Self) {
        let add = |to: &mut [u64], from: &[u64]| {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        };
        add(&mut self.rounding, &other.rounding);
        add(&mut self.dynamic_rounding, &other.dynamic_rounding);
        add(&mut self.traps, &other.traps);
        for (to, from) in
            (self.misaligned.as_flattened_mut().iter_mut()).zip(other.misaligned.as_flattened())
        {
            add(to, from);
        }
    }

    /// Panics unless each of these things was done more than `times` times.
    pub fn expect_all(&self, times: u64) {
        println!("{self:?}");
        for mode in 0..8 {
            assert!(self.rounding[mode] > times, "rounding mode {mode}");
            assert!(self.dynamic_rounding[mode] > times, "frm {mode}");
        }
        for (what, by_crossing) in ["loads", "stores"].iter().zip(&self.misaligned) {
            for (how, by_size) in ["in a page", "across pages"].iter().zip(by_crossing) {
                for (log, count) in by_size.iter().enumerate().skip(1) {
                    let bytes = 1 << log;
                    assert!(*count > times, "misaligned {what} of {bytes} bytes {how}");
                }
            }
        }
        for (position, count) in self.traps.iter().enumerate() {
            assert!(
                *count > times,
                "traps {position} instructions behind a jump"
            );
        }
    }
}
