//! Where everything in a generated program is.

use ringer_machine::memory_map::RAM_BASE;

/// The start of the image; execution begins here, in M-mode.
pub const BASE: u64 = RAM_BASE.0;
/// The trap handler of M-mode.
pub const MACHINE_HANDLER: u64 = BASE + 0x400;
/// The trap handler of S-mode.
pub const SUPERVISOR_HANDLER: u64 = BASE + 0x800;
/// Where every program ends.
pub const END: u64 = BASE + 0xc00;
/// The generated code.
pub const BODY: u64 = BASE + 0x1000;
/// A page of code to be reached by strange addresses.
pub const CALLED: u64 = BASE + 0x7000;
/// The end of what is executed.
pub const CODE_END: u64 = BASE + 0x8000;
/// Initial registers: 32 integer ones, 32 floating-point ones.
pub const REGISTERS: u64 = BASE + 0x8000;
/// What handlers keep: the next place in the log, its end; the same for S-mode.
pub const KEPT: u64 = BASE + 0x8400;
/// What traps M-mode saw.
pub const MACHINE_LOG: u64 = BASE + 0x9000;
/// What traps S-mode saw.
pub const SUPERVISOR_LOG: u64 = BASE + 0xb000;
/// Bytes in each log: four words a trap.
pub const LOG_LEN: u64 = 0x1800;
/// Pages of random data, aligned to 64 KiB.
pub const DATA: u64 = BASE + 0x1_0000;
/// How many of them.
pub const DATA_PAGES: u64 = 16;
/// Page tables: roots of Sv57, Sv48, Sv39, then the level of 2 MiB, then that of 4 KiB.
pub const TABLES: u64 = BASE + 0x2_0000;
/// The end of the image.
pub const IMAGE_END: u64 = BASE + 0x2_5000;
/// RAM that superpages lead to.
pub const FAR: u64 = BASE + 0x20_0000;
/// How much of it is used.
pub const FAR_LEN: u64 = 0x1_0000;

/// Virtual addresses with random small pages. No device is there.
pub const SMALL_PAGES: u64 = 0x2800_0000;
/// How many.
pub const SMALL_COUNT: u64 = 64;
/// Virtual addresses with random pages of 2 MiB, after the table of small ones.
pub const MIDDLE_PAGES: u64 = SMALL_PAGES + 0x20_0000;
/// How many.
pub const MIDDLE_COUNT: u64 = 8;
/// Virtual addresses with random pages of 1 GiB.
pub const LARGE_PAGES: u64 = 0x1_0000_0000;
/// How many.
pub const LARGE_COUNT: u64 = 4;
/// The image as U-mode sees it is so much higher.
pub const USER_ALIAS: u64 = 0x4000_0000;
