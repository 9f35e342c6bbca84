//! A kernel that starts in M-mode and does what xv6-riscv does, in the same order: the test that
//! unmodified kernels of this kind run. It knows the virt board's addresses and reads nothing of the
//! device tree but its command line, by which a benchmark can be asked for.
//!
//! Like xv6 it never sets the A and D bits of a page-table entry, takes virtio features without
//! VERSION_1, turns interrupts off by sstatus around every lock, and fences with plain `sfence.vma`.
#![no_std]

pub mod command_line;
pub mod cpu;
pub mod disk;
pub mod lock;
pub mod pages;
pub mod paging;
pub mod plic;
pub mod process;
pub mod serial;
pub mod start;
pub mod system_call;
pub mod trap;
pub mod user;

use core::sync::atomic::{AtomicBool, Ordering};

core::arch::global_asm!(include_str!("kernel.s"));

/// The size of a page.
pub const PAGE: usize = 4096;

static STARTED: AtomicBool = AtomicBool::new(false);

/// Where every hart arrives in S-mode, without translation.
pub extern "C" fn main() -> ! {
    if cpu::id() == 0 {
        serial::start();
        say(format_args!(
            "m-kernel: booting, timer by {}",
            start::timer_name()
        ));
        pages::start();
        paging::start();
        paging::enter_kernel();
        process::start();
        trap::start_hart();
        plic::start();
        plic::start_hart();
        disk::start();
        process::start_first();
        STARTED.store(true, Ordering::SeqCst);
    } else {
        while !STARTED.load(Ordering::SeqCst) {
            core::hint::spin_loop();
        }
        say(format_args!("m-kernel: hart {} starting", cpu::id()));
        paging::enter_kernel();
        trap::start_hart();
        plic::start_hart();
    }
    process::schedule()
}

/// Prints a line from the kernel. Interrupts are off meanwhile, as the line holds a lock.
pub fn say(line: core::fmt::Arguments) {
    cpu::push_off();
    bare::println!("{line}");
    cpu::pop_off();
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    bare::csr::clear!(sstatus, 2);
    bare::uart::break_lock();
    bare::println!("m-kernel: {info}");
    bare::power::fail(3)
}
