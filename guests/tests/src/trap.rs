//! Capturing traps, and running code in S- and U-mode.

use bare::csr;
use bare::trap::Frame;
use core::arch::asm;
use core::ptr::{addr_of, addr_of_mut};

/// Exception codes (privileged manual, table of mcause values).
pub mod cause {
    #![allow(missing_docs)]
    pub const FETCH_ACCESS: usize = 1;
    pub const ILLEGAL: usize = 2;
    pub const BREAKPOINT: usize = 3;
    pub const LOAD_MISALIGNED: usize = 4;
    pub const LOAD_ACCESS: usize = 5;
    pub const STORE_MISALIGNED: usize = 6;
    pub const STORE_ACCESS: usize = 7;
    pub const ECALL_U: usize = 8;
    pub const ECALL_S: usize = 9;
    pub const ECALL_M: usize = 11;
    pub const FETCH_PAGE: usize = 12;
    pub const LOAD_PAGE: usize = 13;
    pub const STORE_PAGE: usize = 15;
    pub const INTERRUPT: usize = 1 << 63;
}

/// The mode that took a trap or shall run something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// User.
    U,
    /// Supervisor.
    S,
    /// Machine.
    M,
}

impl Mode {
    /// mstatus.MPP for this mode.
    pub fn mpp(self) -> usize {
        match self {
            Mode::U => 0,
            Mode::S => 1 << 11,
            Mode::M => 3 << 11,
        }
    }
}

/// What a trap handler saw.
#[derive(Clone, Copy, Debug)]
pub struct Trap {
    /// xcause.
    pub cause: usize,
    /// xepc.
    pub epc: usize,
    /// xtval.
    pub tval: usize,
    /// xstatus in the handler.
    pub status: usize,
    /// The mode whose handler ran.
    pub taken_in: Mode,
}

const LEAVE: usize = 0x6c65_6176;
const MPP: usize = 3 << 11;
const MPRV: usize = 1 << 17;

/// Only hart 0 probes; the others take part in the SMP tests alone.
static mut LAST: Option<Trap> = None;
static mut ON_INTERRUPT: fn(usize) = |_| {};

unsafe extern "C" {
    fn run_below(f: extern "C" fn(usize) -> usize, argument: usize, mpp: usize) -> usize;
    fn come_back();
    fn supervisor_vector();
    fn machine_vector();
}

/// The harness's S-mode trap vector, for stvec.
pub fn supervisor_vector_address() -> usize {
    supervisor_vector as *const () as usize
}

/// The harness's M-mode trap vector, which mtvec holds unless a test changes it.
pub fn machine_vector_address() -> usize {
    machine_vector as *const () as usize
}

/// Runs `f` in a lower mode.
pub fn run_in(mode: Mode, f: extern "C" fn(usize) -> usize, argument: usize) -> usize {
    // SAFETY: the assembly keeps the calling convention.
    unsafe { run_below(f, argument, mode.mpp()) }
}

/// Calls `handler` with xcause for every interrupt from now on (any mode, any hart).
pub fn on_interrupt(handler: fn(usize)) {
    // SAFETY: set before interrupts are enabled.
    unsafe { addr_of_mut!(ON_INTERRUPT).write_volatile(handler) };
}

/// Takes the trap captured last.
pub fn take() -> Option<Trap> {
    // SAFETY: only hart 0 probes, and a handler runs to its end before its caller goes on.
    unsafe {
        let last = addr_of!(LAST).read_volatile();
        addr_of_mut!(LAST).write_volatile(None);
        last
    }
}

/// Runs `f` and says whether it trapped. A trapping instruction is skipped, a jump into the wild
/// returns to its caller.
pub fn attempt(f: impl FnOnce()) -> Option<Trap> {
    take();
    f();
    take()
}

fn capture(frame: &mut Frame, trap: Trap) -> usize {
    // SAFETY: as in `take`.
    unsafe { addr_of_mut!(LAST).write_volatile(Some(trap)) };
    frame.resume(trap.cause, trap.epc)
}

#[unsafe(no_mangle)]
extern "C" fn on_machine_trap(frame: &mut Frame) {
    let trap = Trap {
        cause: csr::read!(mcause),
        epc: csr::read!(mepc),
        tval: csr::read!(mtval),
        status: csr::read!(mstatus),
        taken_in: Mode::M,
    };
    if trap.cause & cause::INTERRUPT != 0 {
        // SAFETY: set before interrupts were enabled.
        unsafe { addr_of!(ON_INTERRUPT).read_volatile()(trap.cause) };
        return;
    }
    if matches!(trap.cause, cause::ECALL_S | cause::ECALL_U) && frame.x[17] == LEAVE {
        csr::write!(mepc, come_back as *const () as usize);
        csr::set!(mstatus, MPP);
        return;
    }
    // A probe under MPRV must not leave it set: the code after it would read the wrong memory.
    csr::clear!(mstatus, MPRV);
    csr::write!(mepc, capture(frame, trap));
}

#[unsafe(no_mangle)]
extern "C" fn on_supervisor_trap(frame: &mut Frame) {
    let trap = Trap {
        cause: csr::read!(scause),
        epc: csr::read!(sepc),
        tval: csr::read!(stval),
        status: csr::read!(sstatus),
        taken_in: Mode::S,
    };
    if trap.cause & cause::INTERRUPT != 0 {
        // SAFETY: set before interrupts were enabled.
        unsafe { addr_of!(ON_INTERRUPT).read_volatile()(trap.cause) };
        return;
    }
    csr::write!(sepc, capture(frame, trap));
}

/// Loads a doubleword by one `ld`.
pub fn load(address: usize) -> usize {
    let value;
    // SAFETY: a probe; a fault is captured.
    unsafe { asm!("ld {0}, 0({1})", out(reg) value, in(reg) address) };
    value
}

/// Loads a byte by one `lbu`.
pub fn load_byte(address: usize) -> usize {
    let value;
    // SAFETY: a probe; a fault is captured.
    unsafe { asm!("lbu {0}, 0({1})", out(reg) value, in(reg) address) };
    value
}

/// Stores a doubleword by one `sd`; the test owns what is there.
pub fn store(address: usize, value: usize) {
    // SAFETY: a probe; a fault is captured.
    unsafe { asm!("sd {0}, 0({1})", in(reg) value, in(reg) address) };
}

/// Calls the code at `address`, which returns at once.
pub fn fetch(address: usize) {
    // SAFETY: a probe; a fault is captured and returns here. Only ra changes.
    unsafe { asm!("jalr ra, 0({0})", in(reg) address, clobber_abi("C")) };
}
