//! Pages that the definition has used lately on a virtual hart's behalf: a look into a small
//! table instead of a walk through the shadow's.

use core::cell::Cell;

use alloc::boxed::Box;

use ringer_hart::PAGE_SIZE;
use ringer_hart::memory::TranslationCache;
use ringer_hart::translate::{Access, Translation};
use ringer_shadow::{HostFence, Shadow};

use crate::virtual_hart;

/// Pages remembered, a power of two.
const PAGES: usize = 64;
/// Slots of roots, a power of two.
const ROOTS: u64 = virtual_hart::ROOTS as u64;
const _: () = assert!(ROOTS.is_power_of_two());

#[derive(Clone, Copy, Default)]
struct Page {
    /// The page's address, with the kind of access in the low bits.
    tag: u64,
    /// In which state this holds: the root, and what was forgotten before.
    state: u64,
    /// From its address to its offset in RAM.
    delta: u64,
}

/// The table.
pub struct Pages {
    pages: Box<[Cell<Page>]>,
    state: u64,
}

impl Default for Pages {
    fn default() -> Self {
        Self {
            pages: (0..PAGES).map(|_| Cell::default()).collect(),
            state: ROOTS,
        }
    }
}

impl Pages {
    /// What the shadow asks of whoever remembers what its tables said, as it does of the real
    /// hart. What a table gains needs nothing.
    pub fn heed(&mut self, fence: HostFence) {
        if fence != HostFence::None {
            self.state += ROOTS;
        }
    }

    /// The root in this slot is live now.
    pub fn select(&mut self, slot: usize) {
        self.state = self.state & !(ROOTS - 1) | slot as u64 & (ROOTS - 1);
    }

    /// Another number for another root, and if something was forgotten.
    pub fn state(&self) -> u64 {
        self.state
    }

    /// The table in front of `shadow`'s live root.
    pub fn before<'a>(&'a self, shadow: &'a Shadow) -> Near<'a> {
        Near {
            pages: self,
            shadow,
        }
    }
}

/// The table, and behind it the live root.
pub struct Near<'a> {
    pages: &'a Pages,
    shadow: &'a Shadow,
}

impl TranslationCache for Near<'_> {
    #[inline]
    fn find(&self, access: Access, va: u64, bytes: u64) -> Option<u64> {
        if va & (bytes - 1) != 0 {
            return None;
        }
        let start = va & !(PAGE_SIZE - 1);
        let kind = match access {
            Access::Fetch => 1,
            Access::Load => 2,
            Access::Store => 3,
        };
        let index = ((va / PAGE_SIZE) ^ (kind << 4)) as usize & (PAGES - 1);
        let place = self.pages.pages.get(index)?;
        let known = place.get();
        if known.tag == start | kind && known.state == self.pages.state {
            return Some(va.wrapping_add(known.delta));
        }
        let offset = self.shadow.live_root().find(access, start, 1)?;
        place.set(Page {
            tag: start | kind,
            state: self.pages.state,
            delta: offset.wrapping_sub(start),
        });
        Some(offset + (va - start))
    }

    fn fill(&mut self, _: Access, _: u64, _: u64, _: &Translation) {
        // The shadow is filled by faults of the real hart, when the guest runs there again.
    }
}
