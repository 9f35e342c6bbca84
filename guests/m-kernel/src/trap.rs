//! Traps from user and kernel, the timer's ticks, and the way back to the user.

use crate::lock::Lock;
use crate::paging::TRAMPOLINE;
use crate::{cpu, disk, paging, plic, process, say, serial, start, system_call};
use bare::csr;
use core::sync::atomic::{AtomicUsize, Ordering};

const SPP: usize = 1 << 8;
const SPIE: usize = 1 << 5;
const INTERRUPT: usize = 1 << 63;
const SOFTWARE: usize = INTERRUPT | 1;
const TIMER: usize = INTERRUPT | 5;
const EXTERNAL: usize = INTERRUPT | 9;
const ECALL_U: usize = 8;

/// Guards waiting for a tick.
pub static TICK_LOCK: Lock = Lock::new();
/// Ticks of hart 0's timer.
pub static TICKS: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" {
    fn kernel_vector();
    fn user_vector();
    fn user_return();
}

/// What an interrupt was.
#[derive(PartialEq, Eq)]
enum Source {
    Timer,
    Device,
}

/// Takes traps in the kernel from now on, on this hart.
pub fn start_hart() {
    csr::write!(stvec, kernel_vector as *const () as usize);
}

extern "C" fn user_trap() -> ! {
    assert!(
        csr::read!(sstatus) & SPP == 0,
        "user_trap not from the user"
    );
    csr::write!(stvec, kernel_vector as *const () as usize);
    let process = process::current();
    process.frame().epc = csr::read!(sepc);
    let cause = csr::read!(scause);
    let mut source = None;
    if cause == ECALL_U {
        if process.killed() {
            process::exit(-1);
        }
        process.frame().epc += 4;
        // Interrupts change sepc, scause and sstatus; those have been read.
        cpu::interrupts_on();
        system_call::run(process);
    } else {
        source = interrupt(cause);
        if source.is_none() {
            say(format_args!(
                "m-kernel: process {} killed: scause {cause} sepc {:#x} stval {:#x}",
                process.inner().pid,
                csr::read!(sepc),
                csr::read!(stval)
            ));
            process::exit(process::KILLED_BY_TRAP - cause as i32);
        }
    }
    if process.killed() {
        process::exit(-1);
    }
    if source == Some(Source::Timer) {
        process::give_way();
    }
    return_to_user()
}

/// Leaves for the user by the trampoline.
pub fn return_to_user() -> ! {
    let process = process::current();
    cpu::interrupts_off();
    let in_trampoline =
        |f: unsafe extern "C" fn()| TRAMPOLINE + (f as usize - paging::trampoline());
    csr::write!(stvec, in_trampoline(user_vector));
    let frame = process.frame();
    frame.kernel_satp = csr::read!(satp);
    frame.kernel_sp = process.kernel_stack_top();
    frame.kernel_trap = user_trap as *const () as usize;
    frame.kernel_hart = cpu::id();
    csr::write!(sstatus, csr::read!(sstatus) & !SPP | SPIE);
    csr::write!(sepc, frame.epc);
    // SAFETY: the trampoline's code, with this signature.
    let leave: extern "C" fn(usize) -> ! =
        unsafe { core::mem::transmute(in_trampoline(user_return)) };
    leave(process.inner().table.satp())
}

#[unsafe(no_mangle)]
extern "C" fn kernel_trap() {
    let (epc, status, cause) = (csr::read!(sepc), csr::read!(sstatus), csr::read!(scause));
    assert!(
        status & SPP != 0 && !cpu::interrupts_are_on(),
        "kernel_trap not from the kernel"
    );
    let source = interrupt(cause);
    if source.is_none() {
        panic!(
            "trap in the kernel: scause {cause:#x} sepc {epc:#x} stval {:#x}",
            csr::read!(stval)
        );
    }
    if source == Some(Source::Timer) && cpu::process().is_some() {
        process::give_way();
    }
    // Others may have trapped meanwhile.
    csr::write!(sepc, epc);
    csr::write!(sstatus, status);
}

/// Serves an interrupt; None if it is none that is known.
fn interrupt(cause: usize) -> Option<Source> {
    match cause {
        EXTERNAL => {
            let source = plic::claim();
            match source {
                // Another hart was faster.
                0 => return Some(Source::Device),
                bare::uart::VIRT_UART_IRQ => serial::interrupt(),
                disk::IRQ => disk::interrupt(),
                _ => panic!("interrupt of unknown source {source}"),
            }
            plic::complete(source);
            Some(Source::Device)
        }
        TIMER => {
            tick();
            csr::write!(stimecmp, csr::read!(time) + start::INTERVAL);
            Some(Source::Timer)
        }
        SOFTWARE if start::timer_by_clint() => {
            tick();
            csr::write!(sip, csr::read!(sip) & !2);
            Some(Source::Timer)
        }
        _ => None,
    }
}

fn tick() {
    if cpu::id() == 0 {
        TICK_LOCK.acquire();
        TICKS.fetch_add(1, Ordering::Relaxed);
        process::wake(&raw const TICKS as usize);
        TICK_LOCK.release();
    }
}
