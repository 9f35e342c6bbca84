//! The translator: x86-64 host code from RISC-V guest code.
//! Empty on hosts that are not x86-64 Linux.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub mod assembler;
