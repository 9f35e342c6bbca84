//! The kernel's page tables, and the `walk` and `paging` commands.

use crate::machine::{Machine, Size};
use bare::{csr, println};
use core::arch::asm;
use core::ptr::{addr_of, addr_of_mut};
use core::sync::atomic::{AtomicUsize, Ordering};

/// Where the user's one page is mapped.
pub const USER_CODE: usize = 0x4000_0000;
/// An address that no table maps.
pub const UNMAPPED: usize = 0x6000_0000;
/// A second mapping of RAM, high up, as real kernels have; this many bytes above the first.
const HIGH: usize = 0xffff_ffc0_0000_0000;

const V: usize = 1 << 0;
const R: usize = 1 << 1;
const W: usize = 1 << 2;
const X: usize = 1 << 3;
const U: usize = 1 << 4;
const A: usize = 1 << 6;
const D: usize = 1 << 7;
const FLAGS: &[u8; 8] = b"VRWXUGAD";

#[repr(C, align(4096))]
#[derive(Clone, Copy)]
struct Page([usize; 512]);

const EMPTY: Page = Page([0; 512]);
const POOL_PAGES: usize = 40;
static mut POOL: [Page; POOL_PAGES] = [EMPTY; POOL_PAGES];
static mut USED: usize = 0;
static mut USER: Page = EMPTY;
static SATP: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" {
    static _image_start: u8;
    static _text_end: u8;
    static _data_start: u8;
    static _image_end: u8;
}

/// Start and end of this kernel in memory.
pub fn image() -> (usize, usize) {
    (
        addr_of!(_image_start) as usize,
        addr_of!(_image_end) as usize,
    )
}

/// The user's page, as the kernel sees it.
pub fn user_page() -> *mut u8 {
    addr_of_mut!(USER).cast()
}

/// satp as the boot hart has set it.
pub fn satp() -> usize {
    SATP.load(Ordering::SeqCst)
}

/// Forgets cached translations.
pub fn fence() {
    // SAFETY: a fence.
    unsafe { asm!("sfence.vma") };
}

fn table() -> usize {
    // SAFETY: only the boot hart builds tables.
    unsafe {
        let used = addr_of!(USED).read();
        assert!(used < POOL_PAGES, "no pages left for page tables");
        addr_of_mut!(USED).write(used + 1);
        let page = addr_of_mut!(POOL[used]);
        page.write(EMPTY);
        page as usize
    }
}

/// A page table of 3, 4 or 5 levels.
struct Table {
    root: usize,
    levels: usize,
}

impl Table {
    /// Maps one page of 4 KiB (level 0), 2 MiB (1) or 1 GiB (2).
    fn map(&self, address: usize, physical: usize, flags: usize, level: usize) {
        let mut table = self.root;
        for at in (level + 1..self.levels).rev() {
            let entry = slot(table, address, at);
            // SAFETY: tables come from `table`.
            unsafe {
                if *entry & V == 0 {
                    *entry = self::table() >> 12 << 10 | V;
                }
                table = *entry >> 10 << 12;
            }
        }
        // SAFETY: as above.
        unsafe { *slot(table, address, level) = physical >> 12 << 10 | flags | V | A | D };
    }

    /// Maps a range to itself, by the largest pages that fit.
    fn map_range(&self, start: usize, end: usize, offset: usize, flags: usize) {
        let mut at = start;
        while at < end {
            let level = (0..3)
                .rev()
                .find(|l| at.is_multiple_of(4096 << (9 * l)) && at + (4096 << (9 * l)) <= end)
                .unwrap_or(0);
            self.map(at.wrapping_add(offset), at, flags, level);
            at += 4096 << (9 * level);
        }
    }
}

fn slot(table: usize, address: usize, level: usize) -> *mut usize {
    (table + 8 * (address >> (12 + 9 * level) & 511)) as *mut usize
}

/// Builds the tables of a scheme and turns it on; false if the hart does not have it.
fn activate(machine: &Machine, levels: usize) -> bool {
    csr::write!(satp, 0);
    // SAFETY: translation is off, so no table is in use.
    unsafe { addr_of_mut!(USED).write(0) };
    let table = Table {
        root: table(),
        levels,
    };
    let (start, end) = image();
    let (text_end, data_start) = (addr_of!(_text_end) as usize, addr_of!(_data_start) as usize);
    let ram_end = machine.ram.0 + machine.ram.1;
    table.map_range(0, 0x4000_0000, 0, R | W); // devices
    table.map_range(machine.ram.0, start, 0, R | W);
    table.map_range(start, text_end, 0, R | X);
    table.map_range(text_end, data_start, 0, R);
    table.map_range(data_start, end, 0, R | W);
    table.map_range(end, ram_end.max(end) & !4095, 0, R | W);
    table.map_range(
        machine.ram.0 & !0x3fff_ffff,
        ram_end.next_multiple_of(1 << 30),
        HIGH,
        R | W,
    );
    table.map(USER_CODE, user_page() as usize, R | W | X | U, 0);
    let satp = (levels + 5) << 60 | table.root >> 12;
    csr::write!(satp, satp);
    fence();
    // A write of an unsupported MODE leaves satp unchanged (privileged manual, "satp").
    let on = csr::read!(satp) == satp;
    if on {
        SATP.store(satp, Ordering::SeqCst);
    }
    on
}

/// Turns paging on with Sv39 at boot.
pub fn start(machine: &Machine) {
    assert!(activate(machine, 3), "this hart has no Sv39");
}

/// The `paging` command: shows or changes the scheme.
pub fn command(machine: &Machine, argument: &str) {
    let levels = match argument {
        "" => {
            println!(
                "satp is {:#x}: MODE {} (Sv{}), root table at {:#x}",
                satp(),
                satp() >> 60,
                9 * levels() + 12,
                satp() << 20 >> 8
            );
            println!("`paging sv39`, `paging sv48` and `paging sv57` change it.");
            return;
        }
        "sv39" => 3,
        "sv48" => 4,
        "sv57" => 5,
        _ => {
            println!("There are sv39, sv48 and sv57.");
            return;
        }
    };
    if activate(machine, levels) {
        println!("Now running with {levels} levels, satp {:#x}.", satp());
    } else {
        println!("This hart does not have {argument}; back to Sv39.");
        start(machine);
    }
}

fn levels() -> usize {
    (satp() >> 60) - 5
}

/// The `walk` command: what the hardware does to translate one address.
pub fn walk(argument: &str) {
    let digits = argument.trim_start_matches("0x").as_bytes();
    let address = digits.iter().try_fold(0usize, |n, &b| {
        Some(n << 4 | (b as char).to_digit(16)? as usize)
    });
    let (Some(address), false) = (address, digits.is_empty() || digits.len() > 16) else {
        println!(
            "usage: walk ADDRESS, in hexadecimal. Try {:#x} (this kernel), {:#x} (a user page),",
            image().0,
            USER_CODE
        );
        println!(
            "{:#x} (RAM again, high up), {:#x} (nothing).",
            HIGH + image().0,
            UNMAPPED
        );
        return;
    };
    let levels = levels();
    let bits = 12 + 9 * levels;
    println!(
        "Sv{bits}: {:#018x} is {} indexes of 9 bits and an offset of 12 bits.",
        address, levels
    );
    let sign = (address as isize) << (64 - bits) >> (64 - bits);
    if sign as usize != address {
        println!(
            "  Bits {bits} to 63 do not repeat bit {}: not canonical, a page fault before any walk.",
            bits - 1
        );
        return;
    }
    let mut table = satp() << 20 >> 8;
    println!("  satp holds the page number of the root table: {table:#x}");
    for level in (0..levels).rev() {
        let entry = slot(table, address, level);
        // SAFETY: tables are mapped to themselves.
        let pte = unsafe { entry.read_volatile() };
        println!(
            "  level {level}: entry {:>3} of table {table:#x}, at {:#x}",
            address >> (12 + 9 * level) & 511,
            entry as usize
        );
        let mut flags = [b'-'; 8];
        for (bit, flag) in flags
            .iter_mut()
            .enumerate()
            .filter(|(bit, _)| pte >> bit & 1 == 1)
        {
            *flag = FLAGS[bit];
        }
        println!(
            "           {pte:#018x}  {}",
            core::str::from_utf8(&flags).unwrap_or("")
        );
        if pte & V == 0 {
            println!("           V is clear: nothing is mapped here, a page fault.");
            return;
        }
        let physical = pte << 10 >> 20 << 12;
        if pte & (R | X) == 0 {
            println!("           no R, W or X: a pointer to the next table, {physical:#x}");
            table = physical;
            continue;
        }
        let size = 4096 << (9 * level);
        println!(
            "           a leaf: a page of {}, for {}",
            Size(size),
            if pte & U != 0 { "U-mode" } else { "S-mode" }
        );
        println!(
            "  page {physical:#x} + offset {:#x} = physical address {:#x}",
            address & (size - 1),
            physical | address & (size - 1)
        );
        return;
    }
}
