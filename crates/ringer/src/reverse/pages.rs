//! RAM as it was at several moments, in little space: a copy as of the last one, and for each the
//! pages that were different then.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use ringer_hart::{PAGE_SIZE, Ram};

const PAGE: usize = PAGE_SIZE as usize;

/// A page's content; none for all zeroes.
type Content = Option<Box<[u8; PAGE]>>;

/// Pages as they were at a moment, of those that had changed by the next.
pub type Older = HashMap<u64, Content>;

/// RAM as of the last moment, without pages of zeroes.
#[derive(Default)]
pub struct Mirror {
    pages: HashMap<u64, Box<[u8; PAGE]>>,
    /// Says which pages the host has given memory to; the others are zero.
    pagemap: Option<File>,
}

impl Mirror {
    /// As of a moment at which nothing was remembered yet.
    pub fn new() -> Self {
        Self {
            pages: HashMap::new(),
            // Without it all pages are looked at, which takes longer.
            pagemap: File::open("/proc/self/pagemap").ok(),
        }
    }
    /// Takes the present as the last moment; returns what was different at the one before.
    pub fn advance(&mut self, ram: &Ram) -> Older {
        let mut older = Older::new();
        self.for_each(ram, |pages, number, now| {
            let before = pages.get(&number);
            let zero = now.iter().all(|byte| *byte == 0);
            if zero && before.is_none() || before.is_some_and(|before| **before == *now) {
                return;
            }
            let before = if zero {
                pages.remove(&number)
            } else {
                pages.insert(number, Box::new(*now))
            };
            older.insert(number, before);
        });
        older
    }
    /// Makes RAM and the mirror what they were at an older moment: what was different at it, at the
    /// one after it and so on, up to the last, in this order.
    pub fn go_back(&mut self, ram: &Ram, older: impl IntoIterator<Item = Older>) {
        let mut different = Older::new();
        for pages in older {
            for (number, content) in pages {
                different.entry(number).or_insert(content);
            }
        }
        for (number, content) in different {
            match content {
                Some(content) => self.pages.insert(number, content),
                None => self.pages.remove(&number),
            };
        }
        const ZERO: [u8; PAGE] = [0; PAGE];
        self.for_each(ram, |pages, number, now| {
            let wanted = pages.get(&number).map_or(&ZERO, |page| &**page);
            if wanted != now {
                // It is a page of RAM, which was just read.
                let _ = ram.write(ram.base().offset(number * PAGE_SIZE), wanted);
            }
        });
    }
    /// Calls `look` for every page that may not be zero, now or in the mirror.
    fn for_each(
        &mut self,
        ram: &Ram,
        mut look: impl FnMut(&mut HashMap<u64, Box<[u8; PAGE]>>, u64, &[u8; PAGE]),
    ) {
        /// Pages whose entries in the page map are read at once.
        const STRIDE: u64 = 512;
        let first = ram.host().as_ptr() as u64 / PAGE_SIZE;
        let count = ram.len() / PAGE_SIZE;
        let mut page = [0; PAGE];
        for start in (0..count).step_by(STRIDE as usize) {
            let mut entries = [0xff; 8 * STRIDE as usize];
            if let Some(pagemap) = &self.pagemap
                && pagemap
                    .read_exact_at(&mut entries, (first + start) * 8)
                    .is_err()
            {
                entries.fill(0xff);
            }
            for (number, entry) in (start..count).zip(entries.as_chunks::<8>().0) {
                // In memory, or swapped out.
                let is_there = u64::from_le_bytes(*entry) >> 62 != 0;
                if !is_there && !self.pages.contains_key(&number) {
                    continue;
                }
                let at = ram.base().offset(number * PAGE_SIZE);
                if ram.read(at, &mut page).is_some() {
                    look(&mut self.pages, number, &page);
                }
            }
        }
    }
}

/// What was different at a moment when the one after it is forgotten.
pub fn join(mut older: Older, next: Older) -> Older {
    for (number, content) in next {
        older.entry(number).or_insert(content);
    }
    older
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringer_hart::GuestPhys;

    #[test]
    fn ram_goes_back_to_every_moment() {
        const BASE: GuestPhys = GuestPhys(0x8000_0000);
        let ram = Ram::zeroed(BASE, 64 * PAGE_SIZE).unwrap();
        let all = || {
            let mut bytes = vec![0; 64 * PAGE];
            ram.read(BASE, &mut bytes).unwrap();
            bytes
        };
        let mut random = 1_u64;
        let mut change = |pages: u64| {
            for _ in 0..pages {
                random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(7);
                let at = BASE.offset(random >> 40 & (64 * PAGE_SIZE - 8) & !7);
                // Also back to zero.
                ram.store::<u64>(at, random >> 20 & 1).unwrap();
            }
        };
        let mut mirror = Mirror::new();
        let mut moments = Vec::new();
        for _ in 0..20 {
            change(9);
            let older = mirror.advance(&ram);
            if let Some((_, last)) = moments.last_mut() {
                *last = older;
            }
            moments.push((all(), Older::new()));
        }
        // One in the middle is forgotten.
        let (_, next) = moments.remove(7);
        let before = std::mem::take(&mut moments[6].1);
        moments[6].1 = join(before, next);
        while let Some(keep) = moments.len().checked_sub(3) {
            change(20);
            let later = moments.split_off(keep + 1);
            let here = std::mem::take(&mut moments[keep].1);
            let older = std::iter::once(here).chain(later.into_iter().map(|(_, older)| older));
            mirror.go_back(&ram, older);
            assert!(all() == moments[keep].0, "{keep}");
        }
    }
}
