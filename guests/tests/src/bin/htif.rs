//! The way of the RISC-V test suites: output and exit by the word `tohost`, and a signature between
//! two symbols. Uses no UART and no test device.
#![no_std]
#![no_main]

use core::ptr::{addr_of, addr_of_mut};
use tests as _;

/// Device and command of an HTIF request lie above its payload.
const CONSOLE_WRITE: u64 = 1 << 56 | 1 << 48;
const EXIT: u64 = 1;

#[unsafe(no_mangle)]
#[unsafe(link_section = ".tohost")]
static mut tohost: u64 = 0;

#[unsafe(no_mangle)]
#[unsafe(link_section = ".tohost")]
static mut fromhost: u64 = 0;

core::arch::global_asm!(
    ".data",
    ".balign 16",
    ".global begin_signature",
    "begin_signature: .word 0, 0, 0, 0",
    ".global end_signature",
    "end_signature:",
    ".text",
);

unsafe extern "C" {
    static mut begin_signature: [u32; 4];
}

fn request(word: u64) {
    // SAFETY: the host takes the word by setting it to zero, and answers in fromhost.
    unsafe {
        while addr_of!(tohost).read_volatile() != 0 {
            addr_of_mut!(fromhost).write_volatile(0);
        }
        addr_of_mut!(tohost).write_volatile(word);
    }
}

#[unsafe(no_mangle)]
extern "C" fn first_hart() -> ! {
    for byte in b"PASS htif\n" {
        request(CONSOLE_WRITE | u64::from(*byte));
    }
    // SAFETY: ours.
    unsafe {
        addr_of_mut!(begin_signature).write_volatile([0x0123_4567, 0xdead_beef, 0, 0xffff_ffff])
    };
    // The payload of an exit is the code, shifted by one: code 0 here.
    request(EXIT);
    loop {
        core::hint::spin_loop();
    }
}
