//! M-mode: hands everything to S-mode, arms the timer, and leaves for good.

use bare::csr;
use core::ptr::addr_of_mut;

/// Timer ticks between interrupts: 10 ms.
pub const INTERVAL: usize = 100_000;

const MPP: usize = 3 << 11;
const MPP_S: usize = 1 << 11;
const MTIE: usize = 1 << 7;
const STIE: usize = 1 << 5;
const SUPERVISOR_INTERRUPTS: usize = 1 << 9 | 1 << 5 | 1 << 1;
const MTIMECMP: usize = 0x200_4000;
const MTIME: usize = 0x200_bff8;

unsafe extern "C" {
    #[link_name = "TIMER_BY_CLINT"]
    static BY_CLINT: bool;
    fn machine_timer_vector();
}

/// Scratch of the M-mode timer vector, for each hart.
static mut TIMER_SCRATCH: [[usize; 5]; crate::cpu::MOST] = [[0; 5]; crate::cpu::MOST];

/// Whether the timer is the CLINT's.
pub fn timer_by_clint() -> bool {
    // SAFETY: a constant of the program.
    unsafe { BY_CLINT }
}

/// The timer's name.
pub fn timer_name() -> &'static str {
    if timer_by_clint() {
        "CLINT"
    } else {
        "stimecmp"
    }
}

#[unsafe(no_mangle)]
extern "C" fn start(hart: usize, tree: usize) {
    if hart == 0 {
        crate::command_line::read(tree);
    }
    csr::write!(mstatus, csr::read!(mstatus) & !MPP | MPP_S);
    csr::write!(mepc, crate::main as *const () as usize);
    csr::write!(satp, 0);
    csr::write!(medeleg, 0xffff);
    csr::write!(mideleg, 0xffff);
    csr::write!(sie, csr::read!(sie) | SUPERVISOR_INTERRUPTS);
    csr::write!(pmpaddr0, 0x3f_ffff_ffff_ffff);
    csr::write!(pmpcfg0, 0xf);
    if timer_by_clint() {
        arm_clint(hart)
    } else {
        arm_stimecmp()
    }
    // SAFETY: tp is this hart's number from now on; mret leaves for `main`.
    unsafe { core::arch::asm!("mv tp, {0}", "mret", in(reg) hart, options(noreturn)) };
}

fn arm_stimecmp() {
    csr::write!(mie, csr::read!(mie) | STIE);
    csr::write!(menvcfg, csr::read!(menvcfg) | 1 << 63);
    csr::write!(mcounteren, csr::read!(mcounteren) | 2);
    csr::write!(stimecmp, csr::read!(time) + INTERVAL);
}

fn arm_clint(hart: usize) {
    let compare = MTIMECMP + 8 * hart;
    // SAFETY: CLINT registers, and this hart's scratch.
    unsafe {
        (compare as *mut usize).write_volatile((MTIME as *const usize).read_volatile() + INTERVAL);
        let scratch = addr_of_mut!(TIMER_SCRATCH[hart]);
        scratch.write_volatile([0, 0, 0, compare, INTERVAL]);
        csr::write!(mscratch, scratch as usize);
    }
    csr::write!(mtvec, machine_timer_vector as *const () as usize);
    // Not `mstatus.MIE`: below M-mode the timer interrupts anyway (privileged manual 3.1.6.1), and
    // before the mret it would overwrite the mepc and MPP that lead to `main`.
    csr::write!(mie, csr::read!(mie) | MTIE);
}
