//! Sv39 page tables: the kernel's, and those of processes. A and D are left to the hardware.

use crate::{PAGE, pages, plic, process};
use bare::csr;
use core::arch::asm;
use core::ptr::addr_of;
use core::sync::atomic::{AtomicUsize, Ordering};

/// One beyond the highest address the kernel uses; a bit less than Sv39 has, to need no sign extension.
pub const TOP: usize = 1 << 38;
/// The trampoline's page, in all tables.
pub const TRAMPOLINE: usize = TOP - PAGE;
/// A process's trap frame, below it.
pub const TRAP_FRAME: usize = TRAMPOLINE - PAGE;

/// Valid.
pub const V: usize = 1 << 0;
/// Readable.
pub const R: usize = 1 << 1;
/// Writable.
pub const W: usize = 1 << 2;
/// Executable.
pub const X: usize = 1 << 3;
/// For U-mode.
pub const U: usize = 1 << 4;

static KERNEL: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" {
    static _trampoline: u8;
    static _text_end: u8;
}

/// A page table, by the address of its root.
#[derive(Clone, Copy)]
pub struct Table(pub usize);

impl Table {
    /// An empty table.
    pub fn new() -> Option<Table> {
        pages::allocate().map(Table)
    }

    /// satp for this table.
    pub fn satp(self) -> usize {
        8 << 60 | self.0 >> 12
    }

    /// The place of the last-level entry for an address, with tables made on the way if asked for.
    fn entry(self, address: usize, make: bool) -> Option<*mut usize> {
        if address >= TOP {
            return None;
        }
        let mut table = self.0;
        for level in [2, 1] {
            let entry = (table + 8 * (address >> (12 + 9 * level) & 511)) as *mut usize;
            // SAFETY: tables are pages of ours, mapped to themselves.
            unsafe {
                if *entry & V == 0 {
                    if !make {
                        return None;
                    }
                    *entry = pages::allocate()? >> 12 << 10 | V;
                }
                table = *entry >> 10 << 12;
            }
        }
        Some((table + 8 * (address >> 12 & 511)) as *mut usize)
    }

    /// Maps pages; false if there is no memory for tables.
    pub fn map(self, address: usize, physical: usize, size: usize, flags: usize) -> bool {
        for offset in (0..size).step_by(PAGE) {
            let Some(entry) = self.entry(address + offset, true) else {
                return false;
            };
            // SAFETY: an entry of ours.
            unsafe {
                assert!(*entry & V == 0, "{:#x} mapped twice", address + offset);
                *entry = (physical + offset) >> 12 << 10 | flags | V;
            }
        }
        true
    }

    /// The frame and flags of a mapped page.
    pub fn lookup(self, address: usize) -> Option<(usize, usize)> {
        let entry = self.entry(address, false)?;
        // SAFETY: an entry of ours; the hardware may set A and D meanwhile.
        let entry = unsafe { entry.read_volatile() };
        (entry & V != 0).then_some((entry >> 10 << 12, entry & 0x3ff))
    }

    /// Unmaps a page if it is mapped, and frees its frame if told to.
    pub fn unmap(self, address: usize, free: bool) {
        if let Some((frame, _)) = self.lookup(address) {
            if let Some(entry) = self.entry(address, false) {
                // SAFETY: an entry of ours.
                unsafe { *entry = 0 };
            }
            if free {
                pages::free(frame);
            }
        }
    }

    /// Takes U from a page, which makes it a guard.
    pub fn make_guard(self, address: usize) {
        if let Some(entry) = self.entry(address, false) {
            // SAFETY: an entry of ours.
            unsafe { *entry &= !U };
        }
    }

    /// Frees a process's table with the pages below `size`.
    pub fn free(self, size: usize) {
        self.unmap(TRAMPOLINE, false);
        self.unmap(TRAP_FRAME, false);
        for address in (0..size).step_by(PAGE) {
            self.unmap(address, true);
        }
        free_tables(self.0, 2);
    }

    /// Copies a process's pages below `size` into `to`; false if memory runs out.
    pub fn copy(self, to: Table, size: usize) -> bool {
        for address in (0..size).step_by(PAGE) {
            let Some((frame, flags)) = self.lookup(address) else {
                continue;
            };
            let Some(page) = pages::allocate() else {
                return false;
            };
            // SAFETY: two pages of ours.
            unsafe { core::ptr::copy_nonoverlapping(frame as *const u8, page as *mut u8, PAGE) };
            if !to.map(address, page, PAGE, flags & (R | W | X | U)) {
                pages::free(page);
                return false;
            }
        }
        true
    }

    /// Calls `f` with each piece of a user's range as the kernel sees it; false if the user may not
    /// reach a part of it.
    pub fn each_piece(
        self,
        address: usize,
        length: usize,
        needed: usize,
        mut f: impl FnMut(usize, usize),
    ) -> bool {
        let Some(end) = address.checked_add(length) else {
            return false;
        };
        let mut at = address;
        while at < end {
            let Some((frame, _)) = self
                .lookup(at)
                .filter(|(_, flags)| flags & (needed | U) == needed | U)
            else {
                return false;
            };
            let piece = (PAGE - at % PAGE).min(end - at);
            f(frame + at % PAGE, piece);
            at += piece;
        }
        true
    }
}

fn free_tables(table: usize, level: usize) {
    for index in 0..512 {
        // SAFETY: a table that is in use no longer.
        let entry = unsafe { ((table + 8 * index) as *const usize).read() };
        if entry & V != 0 {
            assert!(
                level > 0 && entry & (R | W | X) == 0,
                "a page is left in a table that is freed"
            );
            free_tables(entry >> 10 << 12, level - 1);
        }
    }
    pages::free(table);
}

/// Builds the kernel's table.
pub fn start() {
    let table = Table::new().expect("memory is empty");
    let text_end = addr_of!(_text_end) as usize;
    let parts = [
        (0x10_0000, PAGE, R | W), // test device
        (bare::uart::VIRT_UART, PAGE, R | W),
        (crate::disk::BASE, PAGE, R | W),
        (plic::BASE, 0x400_0000, R | W),
        (0x8000_0000, text_end - 0x8000_0000, R | X),
        (text_end, pages::RAM_END - text_end, R | W),
    ];
    for (start, size, flags) in parts {
        assert!(
            table.map(start, start, size, flags),
            "no memory for the kernel's table"
        );
    }
    assert!(
        table.map(TRAMPOLINE, addr_of!(_trampoline) as usize, PAGE, R | X),
        "no memory for the trampoline"
    );
    process::map_stacks(table);
    KERNEL.store(table.satp(), Ordering::SeqCst);
}

/// satp of the kernel.
pub fn kernel_satp() -> usize {
    KERNEL.load(Ordering::SeqCst)
}

/// Turns translation on, on this hart.
pub fn enter_kernel() {
    fence();
    csr::write!(satp, kernel_satp());
    fence();
}

fn fence() {
    // SAFETY: a fence.
    unsafe { asm!("sfence.vma zero, zero") };
}

/// The trampoline's physical page.
pub fn trampoline() -> usize {
    addr_of!(_trampoline) as usize
}
