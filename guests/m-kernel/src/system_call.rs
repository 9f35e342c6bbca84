//! What processes may ask for, by `ecall` with the number in a7.

use crate::paging::{R, W};
use crate::process::{self, A0, A7, Process};
use crate::{cpu, disk, pages, serial, trap};
use core::sync::atomic::Ordering;

/// The numbers.
pub mod number {
    #![allow(missing_docs)]
    pub const FORK: usize = 1;
    pub const EXIT: usize = 2;
    pub const WAIT: usize = 3;
    pub const WRITE: usize = 4;
    pub const GETPID: usize = 5;
    pub const SLEEP: usize = 6;
    pub const SBRK: usize = 7;
    pub const KILL: usize = 8;
    pub const EXEC: usize = 9;
    pub const DISK_READ: usize = 10;
    pub const DISK_WRITE: usize = 11;
    pub const UPTIME: usize = 12;
    pub const POWEROFF: usize = 13;
    pub const HAS_DISK: usize = 14;
    pub const FREE_PAGES: usize = 15;
    pub const HART: usize = 16;
}

/// Serves the call of `process`; the result goes to a0.
pub fn run(process: &'static Process) {
    let frame = process.frame();
    let (call, a, b) = (
        *frame.register(A7),
        *frame.register(A0),
        *frame.register(A0 + 1),
    );
    let result = match call {
        number::FORK => process::fork(),
        number::EXIT => process::exit(a as i32),
        number::WAIT => process::wait(a),
        number::WRITE => write(process, a, b),
        number::GETPID => process.inner().pid as isize,
        number::SLEEP => sleep(process, a),
        number::SBRK => process::grow(a as isize),
        number::KILL => process::kill(a),
        number::EXEC => process::exec(a, b),
        number::DISK_READ => transfer(process, a, b, false),
        number::DISK_WRITE => transfer(process, a, b, true),
        number::UPTIME => trap::TICKS.load(Ordering::Relaxed) as isize,
        number::POWEROFF => power_off(a),
        number::HAS_DISK => disk::present() as isize,
        number::FREE_PAGES => pages::count() as isize,
        number::HART => {
            cpu::push_off();
            let hart = cpu::id();
            cpu::pop_off();
            hart as isize
        }
        _ => -1,
    };
    *process.frame().register(A0) = result as usize;
}

fn write(process: &Process, address: usize, length: usize) -> isize {
    let table = process.inner().table;
    let written = table.each_piece(address, length, R, |at, length| {
        for i in 0..length {
            // SAFETY: the user's page, through the kernel's mapping.
            serial::write(unsafe { ((at + i) as *const u8).read_volatile() });
        }
    });
    if written { length as isize } else { -1 }
}

fn sleep(process: &Process, ticks: usize) -> isize {
    trap::TICK_LOCK.acquire();
    let start = trap::TICKS.load(Ordering::Relaxed);
    while trap::TICKS.load(Ordering::Relaxed) - start < ticks {
        if process.killed() {
            trap::TICK_LOCK.release();
            return -1;
        }
        process::sleep(&raw const trap::TICKS as usize, &trap::TICK_LOCK);
    }
    trap::TICK_LOCK.release();
    0
}

/// By a page of the kernel's, since a user's block may lie on two.
fn transfer(process: &Process, block: usize, address: usize, to_disk: bool) -> isize {
    let Some(page) = disk::present().then(pages::allocate).flatten() else {
        return -1;
    };
    let copy = |to_user: bool| {
        let mut done = 0;
        process.inner().table.each_piece(
            address,
            disk::BLOCK,
            if to_user { W } else { R },
            |at, length| {
                let ours = page + done;
                let (from, to) = if to_user { (ours, at) } else { (at, ours) };
                // SAFETY: the user's page and ours.
                unsafe { core::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, length) };
                done += length;
            },
        )
    };
    let done = (!to_disk || copy(false))
        && disk::transfer(block, page, to_disk)
        && (to_disk || copy(true));
    pages::free(page);
    if done { 0 } else { -1 }
}

fn power_off(code: usize) -> isize {
    serial::flush();
    if code == 0 {
        bare::power::pass()
    } else {
        bare::power::fail(code as u16)
    }
}
