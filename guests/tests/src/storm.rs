//! Storms: work for a monitor, as much of it as a guest can make, from any number of harts at once.

use crate::paging::{self, Page, fence, leaf, pte};
use crate::smp;
use crate::trap::{self, Mode, run_in};
use bare::csr;
use core::arch::asm;
use core::ptr::addr_of_mut;

const MIE: usize = 1 << 3;
const MSIE: usize = 1 << 3;
const STIE: usize = 1 << 5;
const MTIE: usize = 1 << 7;
const MTIMECMP: usize = 0x200_4000;
const STCE: usize = 1 << 63;
const SV39: usize = 8 << 60;

/// Roots for each hart: more than a monitor keeps shadows of.
const ROOTS: usize = 40;
static mut TABLES: [[Page; ROOTS]; smp::MAX_HARTS] =
    [[const { Page::EMPTY }; ROOTS]; smp::MAX_HARTS];

fn set_timer(ticks: usize) {
    let hart = csr::read!(mhartid);
    // SAFETY: this hart's timer.
    unsafe { ((MTIMECMP + 8 * hart) as *mut usize).write_volatile(ticks) };
}

/// Ends the interruption by whatever interrupted.
fn quiet(cause: usize) {
    match cause & 0xff {
        3 => smp::set_software_interrupt(csr::read!(mhartid), false),
        5 => csr::write!(stimecmp, usize::MAX),
        7 => set_timer(usize::MAX),
        _ => csr::write!(mie, 0),
    }
}

/// Before any storm, on one hart.
pub fn prepare() {
    trap::on_interrupt(quiet);
}

/// Takes the interrupts of `sources` while `raise` makes them.
fn interrupted(sources: usize, raise: impl Fn()) {
    csr::write!(mie, sources);
    csr::set!(mstatus, MIE);
    raise();
    csr::clear!(mstatus, MIE);
    csr::write!(mie, 0);
}

extern "C" fn call_up(rounds: usize) -> usize {
    for _ in 0..rounds {
        // SAFETY: nobody's call; the handler goes on behind it. It keeps all registers.
        unsafe { asm!("li a7, 0", "ecall", "ebreak", out("a7") _) };
    }
    rounds
}

/// Exceptions of many kinds.
pub fn traps(rounds: usize) {
    for _ in 0..rounds {
        // SAFETY: each traps, and the handler goes on behind it.
        unsafe { asm!("unimp", "ebreak", "csrw cycle, zero", "li a7, 0", "ecall", out("a7") _) };
        trap::load(0);
        trap::store(usize::MAX - 7, 0);
        trap::fetch(0x40);
    }
    run_in(Mode::S, call_up, rounds);
    run_in(Mode::U, call_up, rounds);
}

/// Interrupts to all harts of `mask`.
pub fn calls(rounds: usize, mask: usize) {
    interrupted(MSIE, || {
        for _ in 0..rounds {
            for hart in (0..smp::MAX_HARTS).filter(|hart| mask >> hart & 1 == 1) {
                smp::set_software_interrupt(hart, true);
            }
        }
    });
}

/// Timers in the past, now, and soon; both of them.
pub fn timers(rounds: usize) {
    csr::set!(menvcfg, STCE);
    interrupted(MTIE | STIE, || {
        for round in 0..rounds {
            let now = csr::read!(time);
            for at in [0, now, now.wrapping_sub(1), now + 1, now + round % 100] {
                set_timer(at);
                csr::write!(stimecmp, at);
            }
        }
    });
    set_timer(usize::MAX);
}

/// Waits that end at once, and some that do not.
pub fn waits(rounds: usize) {
    csr::write!(mie, MTIE);
    for round in 0..rounds {
        set_timer(csr::read!(time) + round % 50);
        // SAFETY: the timer ends it; with MIE clear, no trap is taken.
        unsafe { asm!("wfi") };
    }
    csr::write!(mie, 0);
    set_timer(usize::MAX);
}

/// A table that has a view of all memory in entry 2, `data` in entry 511, and itself in all others:
/// some 260,000 addresses of one page, and three levels without an end.
fn endless_table(root: *mut Page, data: usize) {
    let root = root.cast::<usize>();
    let address = root as usize;
    for index in 0..512 {
        let entry = match index {
            2 => leaf(0x8000_0000, pte::RWX | pte::READY),
            511 => leaf(data, pte::R | pte::W | pte::READY),
            _ => leaf(address, pte::V),
        };
        // SAFETY: this hart's own table.
        unsafe { root.add(index).write_volatile(entry) };
    }
}

/// The address by which an endless table leads to its data, by these two entries.
fn alias(first: usize, second: usize) -> usize {
    // Entry 2 is no table; the upper half of addresses is not used.
    let first = 3 + first % 250;
    let second = 3 + second % 500;
    first << 30 | second << 21 | 511 << 12
}

/// In S-mode: all harts' tables in turn, `rounds` addresses. How many of them led astray.
extern "C" fn wander(rounds: usize) -> usize {
    let hart = sscratch();
    let mut wrong = 0;
    for round in 0..rounds {
        // SAFETY: this hart's own tables; nothing refers into them.
        let root = unsafe { addr_of_mut!(TABLES[hart][round % ROOTS]) } as usize;
        let satp = SV39 | (round % 7) << 44 | root >> 12;
        csr::write!(satp, satp);
        if round % 5 == 0 {
            fence();
        } else {
            // Seven ASIDs for forty tables: what was there is void.
            // SAFETY: a fence.
            unsafe { asm!("sfence.vma zero, {0}", in(reg) round % 7) };
        }
        let at = alias(round * 7, round * 13) as *mut usize;
        // SAFETY: it leads to the data page, which is the root table's own: its entry 0, which is
        // a pointer to the table itself.
        wrong += usize::from(unsafe { at.read_volatile() } != leaf(root, pte::V));
    }
    csr::write!(satp, 0);
    wrong
}

fn sscratch() -> usize {
    csr::read!(sscratch)
}

/// In S-mode: `rounds` addresses of one table, read and written. How many led astray.
extern "C" fn roam(rounds: usize) -> usize {
    let hart = sscratch();
    // SAFETY: as in `wander`.
    let root = unsafe { addr_of_mut!(TABLES[hart][0]) } as usize;
    csr::write!(satp, SV39 | root >> 12);
    fence();
    let mut wrong = 0;
    for round in 0..rounds {
        let at = alias(round / 500, round) as *mut usize;
        // SAFETY: as in `wander`; what is written is what is there.
        unsafe {
            let found = at.read_volatile();
            at.write_volatile(leaf(root, pte::V));
            wrong += usize::from(found != leaf(root, pte::V));
        }
    }
    csr::write!(satp, 0);
    wrong
}

/// Many address spaces in turn, then many pages of one. Returns how many accesses led astray.
pub fn spaces(rounds: usize) -> usize {
    let hart = csr::read!(mhartid);
    csr::write!(sscratch, hart);
    for number in 0..ROOTS {
        // SAFETY: this hart's own tables.
        let root = unsafe { addr_of_mut!(TABLES[hart][number]) };
        endless_table(root, root as usize);
    }
    run_in(Mode::S, wander, rounds) + run_in(Mode::S, roam, rounds)
}

/// Fences of every kind, in M-mode.
pub fn fences(rounds: usize) {
    for round in 0..rounds {
        // SAFETY: fences.
        unsafe {
            asm!("sfence.vma", "sfence.vma {0}, zero", "sfence.vma zero, {0}", "sfence.vma {0}, {0}",
                "fence.i", "fence", in(reg) round << 12)
        };
    }
}

/// All of them, on this hart, which is one of `mask`. Returns how much went wrong.
pub fn all(rounds: usize, mask: usize) -> usize {
    paging::open_pmp();
    traps(rounds);
    calls(rounds, mask);
    timers(rounds);
    waits(rounds);
    fences(rounds);
    spaces(8 * rounds)
}
