//! The trap handler, and the `trap` command: takes traps of several kinds and shows what the
//! hardware reports.

use crate::{machine::Machine, paging, timer};
use bare::trap::Frame;
use bare::{csr, print, println};
use core::arch::asm;
use core::ptr::{addr_of, addr_of_mut};

/// What a trap left in the CSRs.
#[derive(Clone, Copy)]
pub struct Trap {
    cause: usize,
    epc: usize,
    tval: usize,
    from_user: bool,
}

const INTERRUPT: usize = 1 << 63;
const TIMER: usize = INTERRUPT | 5;
const ECALL_U: usize = 8;
const SPP: usize = 1 << 8;

/// Set while a trap is wanted; a trap at any other time is a bug of the demo, and says so.
static mut EXPECTED: bool = false;
static mut LAST: Option<Trap> = None;

unsafe extern "C" {
    fn visit_user(entry: usize, stack: usize) -> usize;
    fn visit_over();
}

/// The name of an exception or interrupt.
pub fn name(cause: usize) -> &'static str {
    match cause {
        0 => "instruction address misaligned",
        1 => "instruction access fault",
        2 => "illegal instruction",
        3 => "breakpoint",
        4 => "load address misaligned",
        5 => "load access fault",
        6 => "store/AMO address misaligned",
        7 => "store/AMO access fault",
        ECALL_U => "environment call from U-mode",
        9 => "environment call from S-mode",
        12 => "instruction page fault",
        13 => "load page fault",
        15 => "store/AMO page fault",
        TIMER => "supervisor timer interrupt",
        _ => "another cause",
    }
}

#[unsafe(no_mangle)]
extern "C" fn on_trap(frame: &mut Frame) {
    let trap = Trap {
        cause: csr::read!(scause),
        epc: csr::read!(sepc),
        tval: csr::read!(stval),
        from_user: csr::read!(sstatus) & SPP == 0,
    };
    if trap.cause == TIMER {
        timer::on_interrupt();
        return;
    }
    // SAFETY: only the boot hart takes exceptions; the handler runs to its end first.
    let expected = unsafe { addr_of!(EXPECTED).read_volatile() };
    if !expected {
        panic!(
            "unexpected trap: {} at {:#x}, stval {:#x}",
            name(trap.cause),
            trap.epc,
            trap.tval
        );
    }
    // SAFETY: as above.
    unsafe { addr_of_mut!(LAST).write_volatile(Some(trap)) };
    if trap.from_user {
        // Every trap ends the visit: go on in S-mode behind `visit_user`, on the kernel's stack.
        frame.x[2] = core::ptr::from_ref(frame).addr() + size_of::<Frame>();
        csr::write!(sepc, visit_over as *const () as usize);
        csr::set!(sstatus, SPP);
        return;
    }
    csr::write!(sepc, frame.resume(trap.cause, trap.epc));
}

/// Runs something that may trap; a trapping instruction is skipped.
pub fn attempt(f: impl FnOnce()) -> Option<Trap> {
    // SAFETY: the boot hart alone; the handler reads these between the writes.
    unsafe {
        addr_of_mut!(LAST).write_volatile(None);
        addr_of_mut!(EXPECTED).write_volatile(true);
        f();
        addr_of_mut!(EXPECTED).write_volatile(false);
        addr_of!(LAST).read_volatile()
    }
}

fn show(what: &str, why: &str, got: Option<Trap>) {
    println!("\n\x1b[1m{what}\x1b[0m");
    let Some(trap) = got else {
        println!("  no trap was taken!");
        return;
    };
    println!("  scause {:#18x}  {}", trap.cause, name(trap.cause));
    println!(
        "  sepc   {:#18x}  the instruction that trapped, in {}-mode",
        trap.epc,
        if trap.from_user { 'U' } else { 'S' }
    );
    println!("  stval  {:#18x}  {why}", trap.tval);
}

// What U-mode runs: small pieces of position-independent code, copied to the user page.
core::arch::global_asm!(
    ".section .rodata",
    ".balign 4",
    ".option push",
    ".option norvc",
    "user_ecall: li a0, 42; li a7, 0; ecall",
    "user_csr: csrr a0, sstatus",
    "user_load: ld a0, 0(a1)",
    "user_end:",
    ".option pop",
    ".text",
);

unsafe extern "C" {
    static user_ecall: u8;
    static user_csr: u8;
    static user_load: u8;
    static user_end: u8;
}

/// The `trap` command.
pub fn command(_: &Machine) {
    println!(
        "A trap stops the program, notes in CSRs what happened, and jumps to the address in stvec."
    );
    println!(
        "Here stvec is {:#x}; the handler writes down the CSRs and skips the instruction.",
        csr::read!(stvec)
    );
    // SAFETY: these trap.
    unsafe {
        show(
            "An illegal instruction: writing the read-only counter `cycle`",
            "the instruction itself",
            attempt(|| {
                asm!("csrw cycle, zero");
            }),
        );
        show(
            "A load through a pointer to an unmapped page",
            "the address that is not mapped",
            attempt(|| {
                asm!("ld {0}, 0({1})", out(reg) _, in(reg) paging::UNMAPPED + 0x18);
            }),
        );
        show(
            "A store to the kernel's own code, which its page table maps read-execute",
            "the address that was written to",
            attempt(|| {
                asm!("sd zero, 0({0})", in(reg) command as *const () as usize & !7);
            }),
        );
        show(
            "A jump into the middle of nowhere",
            "the address that was jumped to",
            attempt(|| {
                asm!("jalr ra, 0({0})", in(reg) paging::UNMAPPED, clobber_abi("C"));
            }),
        );
        show(
            "An `ebreak`",
            "zero, or the address again",
            attempt(|| asm!("ebreak")),
        );
    }
    // SAFETY: the user page is ours, and the code fits (a few dozen bytes).
    unsafe {
        let code = addr_of!(user_ecall);
        let length = addr_of!(user_end) as usize - code as usize;
        core::ptr::copy_nonoverlapping(code, paging::user_page(), length);
        asm!("fence.i");
        let at = |label: *const u8| paging::USER_CODE + (label as usize - code as usize);
        let stack = paging::USER_CODE + 4096;
        let mut answer = 0;
        let got = attempt(|| answer = visit_user(at(code), stack));
        show(
            "U-mode: an ecall, the way a program asks its kernel for something",
            "zero",
            got,
        );
        println!("  a0 was {answer}: arguments travel in registers");
        show(
            "U-mode: reading a supervisor CSR",
            "the instruction itself",
            attempt(|| {
                visit_user(at(addr_of!(user_csr)), stack);
            }),
        );
        show(
            "U-mode: reading kernel memory, whose pages lack the U bit",
            "the address that was read",
            attempt(|| {
                // a1 still holds the stack's top in U-mode; the byte after the page is not the user's.
                visit_user(at(addr_of!(user_load)), stack);
            }),
        );
    }
    print!("\n");
}
