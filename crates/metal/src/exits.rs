//! What brought guests back into the monitor, counted by cause.

use core::fmt;

use alloc::vec::Vec;

use ringer_isa::{Insn, Op};

/// Why a guest left the real hart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Why {
    /// The monitor's timer: a slice or a virtual timer.
    Timer,
    /// A call from another hart.
    Call,
    /// A device of the monitor.
    Device,
    /// A page that the shadow tables did not have yet.
    Fill,
    /// A page fault or access fault for the guest.
    Fault,
    /// An access to a device.
    Access,
    /// An environment call.
    Ecall,
    /// First use of the floating-point unit in a slice.
    Float,
    /// A CSR instruction.
    Csr(u16),
    /// `sret` or `mret`.
    Return,
    /// `sfence.vma` and its relatives.
    Fence,
    /// `wfi`.
    Wait,
    /// Any other instruction that the real hart does not execute for the guest.
    Instruction,
    /// An instruction executed by the definition since loads and fetches go different ways
    /// (`MPRV`).
    Stepped,
}

const KINDS: usize = 14;

impl Why {
    /// That this instruction is one for the definition.
    pub fn emulating(insn: &Insn) -> Self {
        match insn.op {
            Op::Csrrw | Op::Csrrs | Op::Csrrc | Op::Csrrwi | Op::Csrrsi | Op::Csrrci => {
                Self::Csr(insn.imm as u16 & 0xfff)
            }
            Op::Mret | Op::Sret => Self::Return,
            Op::SfenceVma | Op::SinvalVma | Op::SfenceWInval | Op::SfenceInvalIr => Self::Fence,
            Op::Wfi => Self::Wait,
            _ => Self::Instruction,
        }
    }
    fn index(self) -> usize {
        match self {
            Self::Timer => 0,
            Self::Call => 1,
            Self::Device => 2,
            Self::Fill => 3,
            Self::Fault => 4,
            Self::Access => 5,
            Self::Ecall => 6,
            Self::Float => 7,
            Self::Csr(_) => 8,
            Self::Return => 9,
            Self::Fence => 10,
            Self::Wait => 11,
            Self::Instruction => 12,
            Self::Stepped => 13,
        }
    }
}

const NAMES: [&str; KINDS] = [
    "timer",
    "call from another hart",
    "device interrupt",
    "shadow fill",
    "fault for the guest",
    "device access",
    "ecall",
    "float unit",
    "CSR",
    "sret, mret",
    "sfence.vma",
    "wfi",
    "other instruction",
    "stepped (MPRV)",
];

/// Counts of exits.
#[derive(Clone, Debug)]
pub struct Exits {
    by_kind: [u64; KINDS],
    /// Instructions that the monitor took for exits of each kind.
    cost: [u64; KINDS],
    latest: usize,
    by_csr: Vec<(u16, u64)>,
}

impl Default for Exits {
    fn default() -> Self {
        Self {
            by_kind: [0; KINDS],
            cost: [0; KINDS],
            latest: 0,
            by_csr: Vec::new(),
        }
    }
}

impl Exits {
    /// Counts one.
    pub fn count(&mut self, why: Why) {
        self.latest = why.index();
        if let Some(count) = self.by_kind.get_mut(self.latest) {
            *count += 1;
        }
        if let Why::Csr(number) = why {
            match self.by_csr.iter().position(|(csr, _)| *csr == number) {
                Some(index) => {
                    if let Some((_, count)) = self.by_csr.get_mut(index) {
                        *count += 1;
                    }
                    // The busiest come to the front, and are found at once.
                    if index > 0 {
                        self.by_csr.swap(index - 1, index);
                    }
                }
                // There are 4096 CSRs, so this ends.
                None => self.by_csr.push((number, 1)),
            }
        }
    }
    /// The monitor took so many instructions for the exit counted last.
    pub fn charge(&mut self, instructions: u64) {
        if let Some(cost) = self.cost.get_mut(self.latest) {
            *cost = cost.wrapping_add(instructions);
        }
    }
    /// Adds those of another hart.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.by_kind.iter_mut().zip(other.by_kind) {
            *count += more;
        }
        for (cost, more) in self.cost.iter_mut().zip(other.cost) {
            *cost = cost.wrapping_add(more);
        }
        for (csr, more) in &other.by_csr {
            match self.by_csr.iter_mut().find(|(known, _)| known == csr) {
                Some((_, count)) => *count += more,
                None => self.by_csr.push((*csr, *more)),
            }
        }
    }
    /// All of them.
    pub fn total(&self) -> u64 {
        self.by_kind.iter().sum()
    }
}

impl fmt::Display for Exits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {:>12} exits", self.total())?;
        let mut kinds: Vec<_> = (self.by_kind.iter().zip(self.cost).zip(NAMES)).collect();
        kinds.sort_by_key(|((count, _), _)| core::cmp::Reverse(**count));
        for ((count, cost), name) in kinds.into_iter().filter(|((count, _), _)| **count > 0) {
            let each = cost / count;
            writeln!(f, "  {count:>12} {name}, {each} instructions each")?;
            if name == NAMES[Why::Csr(0).index()] {
                let mut csrs = self.by_csr.clone();
                csrs.sort_by_key(|(_, count)| core::cmp::Reverse(*count));
                for (csr, count) in csrs.into_iter().take(8) {
                    match ringer_isa::csr::name(csr) {
                        Some(name) => writeln!(f, "  {count:>16} {name}")?,
                        None => writeln!(f, "  {count:>16} {csr:#x}")?,
                    }
                }
            }
        }
        Ok(())
    }
}
