//! What every bare guest needs: CSR access, the UART of the virt board, and power-off.
#![no_std]

pub mod csr;
pub mod power;
pub mod uart;
