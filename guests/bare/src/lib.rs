//! What every bare guest needs: CSR access, trap frames, the UART of the virt board, virtio
//! registers, and power-off.
#![no_std]

pub mod csr;
pub mod power;
pub mod trap;
pub mod uart;
pub mod virtio;
