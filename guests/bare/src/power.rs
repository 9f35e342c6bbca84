//! The virt board's test device (syscon): ends the machine with a verdict.

/// Where the test device sits on the virt board.
pub const TEST_DEVICE: usize = 0x10_0000;

const PASS: u32 = 0x5555;
const FAIL: u32 = 0x3333;
const RESET: u32 = 0x7777;

/// Powers off; the monitor exits with success.
pub fn pass() -> ! {
    finish(PASS)
}

/// Powers off; the monitor exits with `code`.
pub fn fail(code: u16) -> ! {
    finish(u32::from(code) << 16 | FAIL)
}

/// Resets the machine.
pub fn reset() -> ! {
    finish(RESET)
}

fn finish(value: u32) -> ! {
    // SAFETY: a device register, not memory.
    unsafe { (TEST_DEVICE as *mut u32).write_volatile(value) };
    loop {
        // SAFETY: waits; the machine is going down.
        unsafe { core::arch::asm!("wfi") };
    }
}
