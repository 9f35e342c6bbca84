//! Page tables of generated programs: the image where it is and as U-mode's alias, and regions
//! of random entries of every size.

use ringer_isa::pte;

use super::dice::Dice;
use super::layout;

const ROOT57: u64 = layout::TABLES;
const ROOT48: u64 = layout::TABLES + 0x1000;
const ROOT39: u64 = layout::TABLES + 0x2000;
const MIDDLE: u64 = layout::TABLES + 0x3000;
const SMALL: u64 = layout::TABLES + 0x4000;

/// A page without memory behind it.
const NOTHING: u64 = 0x30_0000_0000;

/// V, R, W, X, A and D.
const OPEN: u64 = 0xcf;
const USER: u64 = 1 << 4;

/// A value for `satp`.
pub fn root(dice: &mut Dice) -> u64 {
    let asid = dice.below(4) << 44;
    match dice.below(8) {
        0 | 1 => 0,
        2..5 => 8 << 60 | asid | ROOT39 >> 12,
        5 | 6 => 9 << 60 | asid | ROOT48 >> 12,
        _ => 10 << 60 | asid | ROOT57 >> 12,
    }
}

/// All tables, one after the other.
pub fn generate(dice: &mut Dice) -> Vec<u8> {
    let mut words = vec![0u64; ((layout::IMAGE_END - layout::TABLES) / 8) as usize];
    let mut set = |table: u64, index: u64, entry: u64| {
        words[((table - layout::TABLES) / 8 + index) as usize] = entry;
    };
    let pointer = |table: u64| table >> 12 << 10 | 1;
    let gigabyte = |va: u64| va >> 30 & 0x1ff;
    set(ROOT57, 0, pointer(ROOT48));
    set(ROOT48, 0, pointer(ROOT39));
    set(ROOT39, 0, pointer(MIDDLE));
    let image = layout::BASE >> 12 << 10 | OPEN;
    set(ROOT39, gigabyte(layout::BASE), image);
    let alias = layout::BASE + layout::USER_ALIAS;
    set(ROOT39, gigabyte(alias), image | USER);
    for index in 0..layout::LARGE_COUNT {
        let entry = leaf(dice, layout::BASE, 1 << 18);
        set(ROOT39, gigabyte(layout::LARGE_PAGES) + index, entry);
    }
    // The top of the address space, which Sv39 alone can reach.
    set(ROOT39, 511, leaf(dice, layout::BASE, 1 << 18));

    let middle = layout::SMALL_PAGES >> 21 & 0x1ff;
    set(MIDDLE, middle, pointer(SMALL));
    for index in 0..layout::MIDDLE_COUNT {
        set(MIDDLE, middle + 1 + index, leaf(dice, layout::FAR, 1 << 9));
    }
    for index in 0..layout::SMALL_COUNT {
        let page = match dice.below(10) {
            0 | 1 => layout::CALLED,
            2 => NOTHING,
            _ => layout::DATA + dice.below(layout::DATA_PAGES) * 0x1000,
        };
        let mut entry = leaf(dice, page, 1);
        if page == NOTHING {
            // QEMU does an atomic's read, which fails here, before it asks whether the page may
            // be written and sets D: so there is nothing to ask and to set.
            entry |= pte::Pte::W | pte::Pte::D;
        }
        set(SMALL, index, entry);
    }
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A leaf entry for `pages` pages at `phys`, in some way wrong in many cases.
fn leaf(dice: &mut Dice, phys: u64, pages: u64) -> u64 {
    let mut page = phys >> 12;
    if pages > 1 && dice.chance(10) {
        page |= 1 << dice.below(u64::from(pages.ilog2()));
    }
    let mut flags = match dice.below(10) {
        0 => dice.bits() & 0xff,
        1 => 0xdf,
        2 => OPEN,
        _ => (dice.bits() | dice.bits()) & 0xfe | 1,
    };
    flags |= dice.below(4) << 8;
    let high = match dice.below(12) {
        0 => 1 << 61,
        1 => 2 << 61,
        2 => dice.below(0x400) << 54,
        3 | 4 => {
            // Never 64 KiB of code, which must not be written.
            if phys >= layout::DATA && dice.chance(80) {
                page = page & !0xf | 8;
            }
            // QEMU sets A and D before it finds a NAPOT size to be reserved.
            flags |= pte::Pte::A | pte::Pte::D;
            1 << 63
        }
        _ => 0,
    };
    high | page << 10 | flags
}
