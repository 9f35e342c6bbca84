//! Output and exit by semihosting: `ebreak` between two shifts that do nothing.
#![no_std]
#![no_main]

use core::arch::asm;
use tests as _;

const WRITE0: usize = 0x04;
const EXIT: usize = 0x18;
const APPLICATION_EXIT: usize = 0x2_0026;

fn call(operation: usize, argument: usize) -> usize {
    let result;
    // SAFETY: the three instructions must be uncompressed and on one page.
    unsafe {
        asm!(".option push", ".option norvc", ".balign 16",
            "slli zero, zero, 0x1f", "ebreak", "srai zero, zero, 7", ".option pop",
            inlateout("a0") operation => result, in("a1") argument)
    };
    result
}

#[unsafe(no_mangle)]
extern "C" fn first_hart() -> ! {
    call(WRITE0, c"PASS semihosting\n".as_ptr() as usize);
    let exit = [APPLICATION_EXIT, 0];
    call(EXIT, exit.as_ptr() as usize);
    // Without semihosting the ebreak traps, and comes here.
    bare::println!("FAIL semihosting: the exit call returned");
    bare::power::fail(1)
}
