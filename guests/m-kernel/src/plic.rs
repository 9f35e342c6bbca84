//! The PLIC, by the virt board's addresses: UART and first virtio device to every hart's S-mode.

use crate::cpu;

/// Its base.
pub const BASE: usize = 0xc00_0000;

fn register(offset: usize) -> *mut u32 {
    (BASE + offset) as *mut u32
}

/// Gives both sources a priority.
pub fn start() {
    // SAFETY: PLIC registers.
    unsafe {
        register(4 * bare::uart::VIRT_UART_IRQ).write_volatile(1);
        register(4 * crate::disk::IRQ).write_volatile(1);
    }
}

/// Enables both sources for this hart's S-mode.
pub fn start_hart() {
    let hart = cpu::id();
    // SAFETY: PLIC registers.
    unsafe {
        register(0x2080 + 0x100 * hart)
            .write_volatile(1 << bare::uart::VIRT_UART_IRQ | 1 << crate::disk::IRQ);
        register(0x20_1000 + 0x2000 * hart).write_volatile(0);
    }
}

/// Takes the pending source, or zero.
pub fn claim() -> usize {
    // SAFETY: a PLIC register.
    unsafe { register(0x20_1004 + 0x2000 * cpu::id()).read_volatile() as usize }
}

/// Says that a source has been served.
pub fn complete(source: usize) {
    // SAFETY: a PLIC register.
    unsafe { register(0x20_1004 + 0x2000 * cpu::id()).write_volatile(source as u32) }
}
