//! Code that changes: after `fence.i` the new instructions run, wherever they lie.
#![no_std]
#![no_main]

use core::arch::asm;
use tests::trap::{Mode, run_in};
use tests::{Checks, bare_test, paging};

bare_test!("self_modify", run);

/// `c.jr ra`.
const RETURN: u16 = 0x8082;

/// `addi a0, zero, value`.
fn load_immediate(value: usize) -> u32 {
    (value as u32) << 20 | 10 << 7 | 0x13
}

/// `c.li a0, value`.
fn load_immediate_short(value: usize) -> u16 {
    0x4501 | (value as u16 & 31) << 2
}

fn put(at: usize, halfword: u16) {
    // SAFETY: our pages.
    unsafe { (at as *mut u16).write_volatile(halfword) };
}

fn put_instruction(at: usize, instruction: u32) {
    put(at, instruction as u16);
    put(at + 2, (instruction >> 16) as u16);
}

fn fence() {
    // SAFETY: makes the new code visible.
    unsafe { asm!("fence.i") };
}

fn call(at: usize) -> usize {
    // SAFETY: the code there sets a0 and returns.
    let code: extern "C" fn() -> usize = unsafe { core::mem::transmute(at) };
    code()
}

fn run(t: &mut Checks) {
    let (first, second) = (paging::page(), paging::page());
    assert!(second == first + 4096);
    // In the middle of a page, and as an instruction half on each of two pages.
    for at in [first, first + 0x102, second - 2] {
        for round in 0..200 {
            put_instruction(at, load_immediate(round));
            put(at + 4, RETURN);
            fence();
            t.eq("a new constant", call(at), round);
            t.eq("and again", call(at), round);
        }
    }
    // Only the second half, on the second page, changes.
    for round in 0..50 {
        put((second - 2) + 2, (load_immediate(round) >> 16) as u16);
        fence();
        t.eq("a new second half", call(second - 2), round);
    }
    // The same place, as two compressed instructions and as one long one.
    for round in 0..30 {
        put(first + 8, load_immediate_short(round % 16));
        put(first + 10, RETURN);
        fence();
        t.eq("compressed", call(first + 8), round % 16);
        put_instruction(first + 8, load_immediate(round + 1000));
        put(first + 12, RETURN);
        fence();
        t.eq("long", call(first + 8), round + 1000);
    }
    loop_changes_itself(t, first + 64);
    privileged_code_changes(t, first + 256, 0x300, 8, Mode::M);
    paging::open_pmp();
    privileged_code_changes(t, first + 512, 0x100, 2, Mode::S);
}

/// A CSR instruction.
fn csr(operation: u32, rd: u32, number: u32, rs1: u32) -> u32 {
    number << 20 | rs1 << 15 | operation << 12 | rd << 7 | 0x73
}

extern "C" fn call_often(at: usize) -> usize {
    (0..20).map(|_| call(at)).sum()
}

/// Reads the status register and goes on in the middle of the code at `at`.
extern "C" fn call_middle_as_machine(at: usize) -> usize {
    let status: usize;
    // SAFETY: reading.
    unsafe { asm!("csrr {}, mstatus", out(reg) status) };
    // SAFETY: the code there writes it back, sets a0 and returns.
    let code: extern "C" fn(usize, usize) -> usize = unsafe { core::mem::transmute(at + 8) };
    code(0, status)
}

/// The same in S-mode.
extern "C" fn call_middle_as_supervisor(at: usize) -> usize {
    let status: usize;
    // SAFETY: reading.
    unsafe { asm!("csrr {}, sstatus", out(reg) status) };
    // SAFETY: the code there writes it back, sets a0 and returns.
    let code: extern "C" fn(usize, usize) -> usize = unsafe { core::mem::transmute(at + 8) };
    code(0, status)
}

/// Code that turns interrupts off and on again, used so often that a monitor makes something else
/// of it. It must do what memory says, from any instruction on, and read as it was written.
fn privileged_code_changes(t: &mut Checks, at: usize, status: u32, enable: u32, mode: Mode) {
    const A1: u32 = 11;
    let words = |value| {
        [
            csr(2, A1, status, 0),
            csr(7, 0, status, enable),
            load_immediate(value),
            csr(1, 0, status, A1),
        ]
    };
    let middle = match mode {
        Mode::M => call_middle_as_machine,
        _ => call_middle_as_supervisor,
    };
    for round in 0..100 {
        for (index, word) in words(round).into_iter().enumerate() {
            put_instruction(at + 4 * index, word);
        }
        put(at + 16, RETURN);
        fence();
        t.eq("called often", run_in(mode, call_often, at), 20 * round);
        // One instruction changes.
        put_instruction(at + 8, load_immediate(round + 7));
        fence();
        t.eq("changed", run_in(mode, call_often, at), 20 * (round + 7));
        t.eq("from the middle", run_in(mode, middle, at), round + 7);
        for (index, word) in words(round + 7).into_iter().enumerate() {
            // SAFETY: our page.
            let read = unsafe { ((at + 4 * index) as *const u32).read_volatile() };
            t.eq("what is read", read as usize, word as usize);
        }
    }
}

/// A loop whose body is rewritten by itself, with a fence in each round.
fn loop_changes_itself(t: &mut Checks, at: usize) {
    put_instruction(at, load_immediate(1));
    put(at + 4, RETURN);
    fence();
    let mut sum = 0;
    for round in 1..=100 {
        sum += call(at);
        put_instruction(at, load_immediate(round + 1));
        fence();
    }
    t.eq("the sum of what each round ran", sum, 5050);
}
