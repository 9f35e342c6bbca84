//! The CSR instructions as macros, named as in the manual: `csr::read!(mstatus)`.
//!
//! The macros are safe to call so that kernel code stays readable; a CSR write that changes
//! translation or the trap vector is as dangerous here as in any kernel.

/// Reads a CSR, given by name or number.
#[macro_export]
macro_rules! read_csr {
    ($csr:tt) => {{
        let value: usize;
        // SAFETY: reading a CSR changes no memory that Rust knows of.
        unsafe { core::arch::asm!(concat!("csrr {0}, ", stringify!($csr)), out(reg) value) };
        value
    }};
}

/// Writes a CSR.
#[macro_export]
macro_rules! write_csr {
    ($csr:tt, $value:expr) => {{
        let value: usize = $value;
        // SAFETY: guest kernel code; see the module's note.
        unsafe { core::arch::asm!(concat!("csrw ", stringify!($csr), ", {0}"), in(reg) value) };
    }};
}

/// Writes a CSR and returns its old value.
#[macro_export]
macro_rules! swap_csr {
    ($csr:tt, $value:expr) => {{
        let value: usize = $value;
        let old: usize;
        // SAFETY: guest kernel code; see the module's note.
        unsafe {
            core::arch::asm!(concat!("csrrw {0}, ", stringify!($csr), ", {1}"), out(reg) old, in(reg) value)
        };
        old
    }};
}

/// Sets bits of a CSR.
#[macro_export]
macro_rules! set_csr {
    ($csr:tt, $bits:expr) => {{
        let bits: usize = $bits;
        // SAFETY: guest kernel code; see the module's note.
        unsafe { core::arch::asm!(concat!("csrs ", stringify!($csr), ", {0}"), in(reg) bits) };
    }};
}

/// Clears bits of a CSR.
#[macro_export]
macro_rules! clear_csr {
    ($csr:tt, $bits:expr) => {{
        let bits: usize = $bits;
        // SAFETY: guest kernel code; see the module's note.
        unsafe { core::arch::asm!(concat!("csrc ", stringify!($csr), ", {0}"), in(reg) bits) };
    }};
}

pub use crate::{
    clear_csr as clear, read_csr as read, set_csr as set, swap_csr as swap, write_csr as write,
};
