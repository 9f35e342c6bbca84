//! The programs that run in U-mode: the first process, and the tests it starts.
//!
//! They are part of the kernel's image but run at other addresses, in processes that have nothing
//! else mapped. So all they use lies in the section `.user`: functions by attribute, texts by
//! `text!`; memory is used by volatile accesses (others may become calls of memcpy), and there are
//! no tables of addresses and no panics. What breaks this rule page-faults at once.

use crate::PAGE;
use crate::disk::BLOCK;
use crate::process::KILLED_BY_TRAP;
use crate::system_call::number;
use core::arch::asm;

/// A text in the section `.user`.
macro_rules! text {
    ($text:literal) => {{
        #[unsafe(link_section = ".user.text_data")]
        static TEXT: [u8; $text.len()] = *$text;
        &TEXT
    }};
}

/// A user program.
type Program = extern "C" fn(usize) -> !;

/// The status of a process that was killed by another.
const KILLED: i32 = -1;
/// The status of a process that the kernel ended for a load that page-faults.
const LOAD_FAULT: i32 = KILLED_BY_TRAP - 13;

#[inline(always)]
fn call(number: usize, a: usize, b: usize) -> isize {
    let result;
    // SAFETY: the kernel keeps all registers but a0.
    unsafe { asm!("ecall", inlateout("a0") a => result, in("a1") b, in("a7") number) };
    result
}

#[inline(always)]
fn exit(status: usize) -> ! {
    loop {
        call(number::EXIT, status, 0);
    }
}

#[inline(always)]
fn load(address: usize) -> u8 {
    // SAFETY: user memory; a fault ends the process, as the test wants.
    unsafe { (address as *const u8).read_volatile() }
}

#[inline(always)]
fn store(address: usize, value: u8) {
    // SAFETY: as above.
    unsafe { (address as *mut u8).write_volatile(value) }
}

#[inline(always)]
fn print(text: &[u8]) {
    call(number::WRITE, text.as_ptr() as usize, text.len());
}

/// Ends the program with a status that says which check failed.
#[inline(always)]
fn check(number: usize, holds: bool) {
    if !holds {
        exit(number);
    }
}

/// Waits for any child; gives its pid and status.
#[inline(always)]
fn wait() -> (isize, i32) {
    let mut status = i32::MIN;
    let pid = call(number::WAIT, &raw mut status as usize, 0);
    // SAFETY: the kernel has written it.
    (pid, unsafe { (&raw const status).read_volatile() })
}

/// The first process: runs every test as a program of its own.
#[unsafe(link_section = ".user.text")]
pub extern "C" fn init(_: usize) -> ! {
    print(text!(b"m-kernel: the first process runs in U-mode\n"));
    let free = call(number::FREE_PAGES, 0, 0);
    let mut failed = 0;
    failed += test(text!(b"system calls"), system_calls);
    failed += test(text!(b"registers"), registers);
    failed += test(text!(b"fork and wait"), forks);
    failed += test(text!(b"memory"), memory);
    failed += test(text!(b"faults"), faults);
    failed += test(text!(b"preemption"), preemption);
    failed += test(text!(b"full process table"), crowd);
    if call(number::HAS_DISK, 0, 0) == 1 {
        failed += test(text!(b"disk"), disk);
    }
    if call(number::FREE_PAGES, 0, 0) != free {
        print(text!(b"m-kernel: FAIL: pages were lost\n"));
        failed += 1;
    }
    if failed == 0 {
        print(text!(b"m-kernel: all tests passed\n"));
    }
    loop {
        call(number::POWEROFF, failed, 0);
    }
}

/// The first process of a benchmark: so many null system calls.
#[unsafe(link_section = ".user.text")]
pub extern "C" fn getpid_loop(calls: usize) -> ! {
    let mut left = calls;
    while left > 0 {
        call(number::GETPID, 0, 0);
        left -= 1;
    }
    print(text!(b"m-kernel: all calls made\n"));
    loop {
        call(number::POWEROFF, 0, 0);
    }
}

/// Runs a test; gives the number of failures.
#[unsafe(link_section = ".user.text")]
#[inline(never)]
fn test(name: &[u8], program: Program) -> usize {
    if call(number::FORK, 0, 0) == 0 {
        call(number::EXEC, program as usize, 4711);
        exit(99);
    }
    let (_, status) = wait();
    print(text!(b"m-kernel: test "));
    print(name);
    if status == 0 {
        print(text!(b": ok\n"));
        return 0;
    }
    print(text!(b": FAIL, check "));
    if status < 0 {
        print(text!(b"none: it was killed"));
    } else {
        let number = status as usize;
        print(&[b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]);
    }
    print(text!(b"\n"));
    1
}

#[unsafe(link_section = ".user.text")]
extern "C" fn system_calls(argument: usize) -> ! {
    check(1, argument == 4711);
    let pid = call(number::GETPID, 0, 0);
    check(2, pid > 1 && call(number::GETPID, 0, 0) == pid);
    check(3, call(999, 0, 0) == -1);
    check(4, call(number::WRITE, 0x8000_0000, 8) == -1);
    check(5, call(number::WRITE, usize::MAX - 3, 8) == -1);
    check(6, call(number::WAIT, 0, 0) == -1);
    check(7, call(number::KILL, 99_999, 0) == -1);
    let start = call(number::UPTIME, 0, 0);
    check(8, call(number::SLEEP, 3, 0) == 0);
    check(9, call(number::UPTIME, 0, 0) - start >= 3);
    check(10, call(number::HART, 0, 0) < 8);
    exit(0)
}

/// All registers survive preemption: each holds a value of its own while time passes.
#[unsafe(link_section = ".user.text")]
extern "C" fn registers(_: usize) -> ! {
    let until = call(number::UPTIME, 0, 0) + 10;
    let wrong: usize;
    // SAFETY: changes what it declares; s0 and s1 are saved on the stack, gp and tp are nobody's.
    unsafe {
        asm!(
            "addi sp, sp, -16", "sd s0, 0(sp)", "sd s1, 8(sp)",
            "li ra, 101", "li gp, 103", "li tp, 104", "li t0, 105", "li t1, 106", "li t2, 107",
            "li s0, 108", "li s1, 109", "li a2, 112", "li a3, 113", "li a5, 115", "li a6, 116",
            "li s2, 118", "li s3, 119", "li s4, 120", "li s5, 121", "li s6, 122", "li s7, 123",
            "li s8, 124", "li s9, 125", "li s10, 126", "li s11, 127", "li t3, 128", "li t4, 129",
            "li t5, 130", "li t6, 131",
            "1: li a7, 12", "ecall", "li a7, 20000", "2: addi a7, a7, -1", "bnez a7, 2b", "blt a0, a1, 1b",
            // Their sum, each with a weight by way of shifting the sum.
            "li a0, 0",
            "add a0, a0, ra", "slli a0, a0, 1", "add a0, a0, gp", "slli a0, a0, 1", "add a0, a0, tp", "slli a0, a0, 1",
            "add a0, a0, t0", "slli a0, a0, 1", "add a0, a0, t1", "slli a0, a0, 1", "add a0, a0, t2", "slli a0, a0, 1",
            "add a0, a0, s0", "slli a0, a0, 1", "add a0, a0, s1", "slli a0, a0, 1", "add a0, a0, a2", "slli a0, a0, 1",
            "add a0, a0, a3", "slli a0, a0, 1", "add a0, a0, a5", "slli a0, a0, 1", "add a0, a0, a6", "slli a0, a0, 1",
            "add a0, a0, s2", "slli a0, a0, 1", "add a0, a0, s3", "slli a0, a0, 1", "add a0, a0, s4", "slli a0, a0, 1",
            "add a0, a0, s5", "slli a0, a0, 1", "add a0, a0, s6", "slli a0, a0, 1", "add a0, a0, s7", "slli a0, a0, 1",
            "add a0, a0, s8", "slli a0, a0, 1", "add a0, a0, s9", "slli a0, a0, 1", "add a0, a0, s10", "slli a0, a0, 1",
            "add a0, a0, s11", "slli a0, a0, 1", "add a0, a0, t3", "slli a0, a0, 1", "add a0, a0, t4", "slli a0, a0, 1",
            "add a0, a0, t5", "slli a0, a0, 1", "add a0, a0, t6",
            "ld s0, 0(sp)", "ld s1, 8(sp)", "addi sp, sp, 16",
            inlateout("a0") 0usize => wrong, in("a1") until,
            out("ra") _, out("t0") _, out("t1") _, out("t2") _, out("a2") _, out("a3") _, out("a5") _, out("a6") _,
            out("a7") _, out("s2") _, out("s3") _, out("s4") _, out("s5") _, out("s6") _, out("s7") _, out("s8") _,
            out("s9") _, out("s10") _, out("s11") _, out("t3") _, out("t4") _, out("t5") _, out("t6") _,
        )
    };
    check(1, wrong == WEIGHTED_SUM);
    exit(0)
}

/// What `registers` adds up, computed by the compiler.
const WEIGHTED_SUM: usize = {
    let values = [
        101, 103, 104, 105, 106, 107, 108, 109, 112, 113, 115, 116, 118, 119, 120, 121, 122, 123,
        124, 125, 126, 127, 128, 129, 130, 131,
    ];
    let (mut sum, mut i) = (0, 0);
    while i < values.len() {
        sum = sum * 2 + values[i];
        i += 1;
    }
    sum
};

#[unsafe(link_section = ".user.text")]
extern "C" fn forks(_: usize) -> ! {
    for round in 0..12 {
        for child in 0..5 {
            let pid = call(number::FORK, 0, 0);
            check(1, pid >= 0);
            if pid == 0 {
                exit(round * 5 + child + 1);
            }
        }
        let mut sum = 0;
        for _ in 0..5 {
            let (pid, status) = wait();
            check(2, pid > 0);
            sum += status as usize;
        }
        check(3, sum == round * 25 + 15);
        check(4, wait().0 == -1);
    }
    // A chain: each ends with one more than its child.
    let mut depth = 0;
    while depth < 8 {
        if call(number::FORK, 0, 0) != 0 {
            let (_, status) = wait();
            if depth == 0 {
                check(5, status == 8);
                exit(0);
            }
            exit(status as usize + 1);
        }
        depth += 1;
    }
    exit(1)
}

#[inline(always)]
fn pattern(address: usize, seed: usize) -> u8 {
    (address.wrapping_mul(31) >> 3).wrapping_add(seed) as u8
}

/// A stride that is no power of two, so that all parts of pages are met.
const STRIDE: usize = 57;

#[inline(always)]
fn fill(start: usize, size: usize, seed: usize) {
    let mut at = start;
    while at < start + size {
        store(at, pattern(at, seed));
        at += STRIDE;
    }
}

#[inline(always)]
fn holds(start: usize, size: usize, seed: usize) -> bool {
    let mut at = start;
    while at < start + size {
        if load(at) != pattern(at, seed) {
            return false;
        }
        at += STRIDE;
    }
    true
}

#[unsafe(link_section = ".user.text")]
extern "C" fn memory(_: usize) -> ! {
    let size = 64 * PAGE;
    let start = call(number::SBRK, size, 0);
    check(
        1,
        start > 0 && call(number::SBRK, 0, 0) == start + size as isize,
    );
    let start = start as usize;
    let mut at = start;
    while at < start + size {
        check(2, load(at) == 0);
        at += STRIDE;
    }
    fill(start, size, 1);
    if call(number::FORK, 0, 0) == 0 {
        check(3, holds(start, size, 1));
        fill(start, size, 2);
        check(4, holds(start, size, 2));
        // Shrink, and grow again: the pages are new.
        check(
            5,
            call(number::SBRK, (size / 2).wrapping_neg(), 0) == (start + size) as isize,
        );
        check(
            6,
            call(number::SBRK, size / 2, 0) == (start + size / 2) as isize,
        );
        check(
            7,
            holds(start, size / 2, 2) && load(start + size / 2) == 0 && load(start + size - 1) == 0,
        );
        exit(0);
    }
    check(8, wait().1 == 0);
    check(9, holds(start, size, 1));
    // What was given back is gone.
    if call(number::FORK, 0, 0) == 0 {
        call(number::SBRK, size.wrapping_neg(), 0);
        load(start + PAGE);
        exit(0);
    }
    check(10, wait().1 == LOAD_FAULT);
    exit(0)
}

/// Does something forbidden in a child, which must end for this cause.
#[inline(always)]
fn forbidden(number: usize, cause: i32, act: impl FnOnce()) {
    if call(number::FORK, 0, 0) == 0 {
        act();
        exit(0);
    }
    check(number, wait().1 == KILLED_BY_TRAP - cause);
}

#[unsafe(link_section = ".user.text")]
extern "C" fn faults(argument: usize) -> ! {
    let stack = &raw const argument as usize / PAGE * PAGE;
    forbidden(1, 13, || _ = load(0x8000_0000));
    forbidden(2, 15, || store(0x1000_0000, b'!'));
    forbidden(3, 15, || store(faults as *const () as usize, 0));
    // The guard below the stack: mapped, but not for the user. So is the trap frame.
    forbidden(4, 13, || _ = load(stack - PAGE / 2));
    forbidden(5, 15, || store((1 << 38) - 2 * PAGE, 0));
    forbidden(6, 13, || _ = load(1 << 38));
    forbidden(7, 13, || _ = load(1 << 63 | 8));
    // SAFETY: these trap.
    unsafe {
        forbidden(8, 12, || asm!("jr {0}", in(reg) 0x7000_0000));
        forbidden(9, 12, || asm!("jr {0}", in(reg) stack));
        forbidden(10, 2, || asm!("csrw sstatus, zero"));
        forbidden(11, 2, || asm!(".2byte 0"));
        forbidden(12, 2, || asm!("sret"));
        forbidden(13, 3, || asm!("ebreak"));
    }
    exit(0)
}

/// Processes that never give way run beside others, and can be killed.
#[unsafe(link_section = ".user.text")]
extern "C" fn preemption(_: usize) -> ! {
    let mut spinners = 0;
    let mut first = 0;
    while spinners < 4 {
        let pid = call(number::FORK, 0, 0);
        if pid == 0 {
            let mut n = 0usize;
            loop {
                n = n.wrapping_add(1);
                // SAFETY: keeps the loop; no instruction.
                unsafe { asm!("/* {0} */", in(reg) n) };
            }
        }
        if spinners == 0 {
            first = pid;
        }
        spinners += 1;
    }
    let start = call(number::UPTIME, 0, 0);
    check(1, call(number::SLEEP, 5, 0) == 0);
    check(2, call(number::UPTIME, 0, 0) - start >= 5);
    // Their pids follow each other, as nobody else forks.
    let mut pid = first;
    while pid < first + 4 {
        check(3, call(number::KILL, pid as usize, 0) == 0);
        check(4, wait().1 == KILLED);
        pid += 1;
    }
    exit(0)
}

#[unsafe(link_section = ".user.text")]
extern "C" fn crowd(_: usize) -> ! {
    let mut count = 0;
    loop {
        let pid = call(number::FORK, 0, 0);
        if pid == 0 {
            call(number::SLEEP, 2, 0);
            exit(5);
        }
        if pid < 0 {
            break;
        }
        count += 1;
    }
    check(1, count == 62); // 64 slots, less the first process and this one
    while count > 0 {
        check(2, wait().1 == 5);
        count -= 1;
    }
    check(3, wait().0 == -1);
    exit(0)
}

/// Several processes write and read blocks of their own at the same time.
#[unsafe(link_section = ".user.text")]
extern "C" fn disk(_: usize) -> ! {
    let start = call(number::SBRK, 4 * PAGE, 0) as usize;
    // On two pages, and not aligned.
    let buffer = start.next_multiple_of(PAGE) + PAGE - 500;
    let mut child = 0;
    while child < 3 {
        if call(number::FORK, 0, 0) == 0 {
            let mut block = child * 8;
            while block < child * 8 + 8 {
                fill(buffer, BLOCK, block + 3);
                check(1, call(number::DISK_WRITE, block, buffer) == 0);
                block += 1;
            }
            while block > child * 8 {
                block -= 1;
                fill(buffer, BLOCK, 0);
                check(2, call(number::DISK_READ, block, buffer) == 0);
                check(3, holds(buffer, BLOCK, block + 3));
            }
            exit(0);
        }
        child += 1;
    }
    while child > 0 {
        check(4, wait().1 == 0);
        child -= 1;
    }
    let mut block = 0;
    while block < 24 {
        check(5, call(number::DISK_READ, block, buffer) == 0);
        check(6, holds(buffer, BLOCK, block + 3));
        block += 1;
    }
    // Far beyond its end; and to memory that is not the user's.
    check(7, call(number::DISK_READ, usize::MAX >> 12, buffer) == -1);
    check(8, call(number::DISK_READ, 0, 0x8000_0000) == -1);
    exit(0)
}
