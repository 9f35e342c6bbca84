//! What can be wrong with assembled code.

use super::Label;
use crate::insn::Insn;

/// The first mistake in assembled code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AsmError {
    /// An operand does not fit its field, or is a register of the wrong kind.
    #[error("the operands of `{}` at {at:#x} do not fit", insn.op.mnemonic())]
    Operands {
        /// Its address.
        at: u64,
        /// The instruction.
        insn: Insn,
    },
    /// A label was used but never bound, or is another assembler's.
    #[error("label {} is never bound", label.0)]
    Unbound {
        /// Which label.
        label: Label,
    },
    /// A label was bound a second time.
    #[error("label {} is bound again at {at:#x}", label.0)]
    BoundTwice {
        /// Which label.
        label: Label,
        /// Where the second time.
        at: u64,
    },
    /// A jump does not reach its label, or the distance is odd.
    #[error("the instruction at {at:#x} cannot reach {target:#x}")]
    TooFar {
        /// The address of the instruction.
        at: u64,
        /// The address of the label.
        target: u64,
    },
    /// No multiple of the alignment follows.
    #[error("the code at {at:#x} cannot be aligned to {alignment}")]
    Alignment {
        /// The address of what should be aligned.
        at: u64,
        /// What was asked for.
        alignment: u64,
    },
    /// There is code already at the address to pad up to.
    #[error("the code is at {at:#x}, past {address:#x}")]
    Past {
        /// The address of what comes next.
        at: u64,
        /// What was asked for.
        address: u64,
    },
}
