//! Calls to the firmware below (SBI 2.0). Under `ringer demo` the monitor itself answers.

use core::arch::asm;

/// An SBI error code.
pub type Error = isize;

const BASE: usize = 0x10;
const TIMER: usize = 0x5449_4d45;
const HART_STATE: usize = 0x48_534d;
const RESET: usize = 0x5352_5354;

fn call(extension: usize, function: usize, arguments: [usize; 3]) -> Result<usize, Error> {
    let (error, value): (isize, usize);
    // SAFETY: SBI keeps all registers but a0 and a1.
    unsafe {
        asm!("ecall",
            inlateout("a0") arguments[0] => error, inlateout("a1") arguments[1] => value,
            in("a2") arguments[2], in("a6") function, in("a7") extension)
    };
    if error == 0 { Ok(value) } else { Err(error) }
}

/// The specification's version as (major, minor).
pub fn version() -> (usize, usize) {
    let version = call(BASE, 0, [0; 3]).unwrap_or(0);
    (version >> 24 & 0x7f, version & 0xff_ffff)
}

/// The implementation's name.
pub fn implementation() -> &'static str {
    match call(BASE, 1, [0; 3]) {
        Ok(0) => "Berkeley Boot Loader",
        Ok(1) => "OpenSBI",
        Ok(3) => "KVM",
        Ok(4) => "RustSBI",
        _ => "another implementation",
    }
}

/// Asks for a timer interrupt when `time` reaches `deadline`.
pub fn set_timer(deadline: usize) -> Result<usize, Error> {
    call(TIMER, 0, [deadline, 0, 0])
}

/// Starts a hart at `entry` with a0 = its id and a1 = `opaque`.
pub fn start_hart(hart: usize, entry: usize, opaque: usize) -> Result<usize, Error> {
    call(HART_STATE, 0, [hart, entry, opaque])
}

/// Stops the calling hart.
pub fn stop_this_hart() -> Result<usize, Error> {
    call(HART_STATE, 1, [0; 3])
}

/// A hart's state, in words.
pub fn hart_state(hart: usize) -> &'static str {
    match call(HART_STATE, 2, [hart, 0, 0]) {
        Ok(0) => "started",
        Ok(1) => "stopped",
        Ok(2) => "start pending",
        Ok(3) => "stop pending",
        Ok(_) => "suspended",
        Err(_) => "no such hart",
    }
}

/// Powers the machine off, or resets it.
pub fn reset(reboot: bool) -> Error {
    call(RESET, 0, [usize::from(reboot), 0, 0])
        .err()
        .unwrap_or(0)
}
