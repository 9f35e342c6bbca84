//! A guest's privileged code rewritten, so that one trap serves many privileged instructions: a
//! stretch of it becomes code of the monitor's own, in which ordinary instructions are as they
//! were and the frequent CSR instructions work on values in memory.
//!
//! Such code runs in the real M-mode with `mstatus.MPRV` set and MPP = U: its loads and stores go
//! by the guest's shadow page tables and under the PMP as if it ran in U-mode, while it is
//! fetched from the monitor's memory, where no guest can see it. All registers hold what the
//! guest's hold. So a load that faults is a precise trap, and [`Stretch::place`] says where in
//! the guest's code.
//!
//! Where more than one register is needed, `mscratch` gives one in exchange (it points to the
//! [`Frame`]), and the real `sscratch`, which nobody uses, keeps another. MPP = M switches
//! translation off; `mret` switches it on again and jumps, with all registers in place.
//!
//! Here is only what becomes of instructions. Which privileged ones are done in place, and when
//! they are left to the definition, is in `window.rs`; nothing here decides what they do.

mod dispatcher;
mod frame;
mod stretch;
mod window;
mod writer;

#[cfg(test)]
mod tests;

pub use dispatcher::Dispatcher;
pub use frame::{Frame, NOWHERE};
pub use stretch::{LONGEST, Place, Stretch, StretchWriter};
pub use window::{Values, Window};
pub use writer::CLOSED;
