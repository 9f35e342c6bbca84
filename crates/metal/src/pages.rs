//! Pages that the definition has used lately on a virtual hart's behalf: a look into a small
//! table instead of a walk through the shadow's.

use core::cell::Cell;

use alloc::boxed::Box;

use ringer_hart::PAGE_SIZE;
use ringer_hart::memory::TranslationCache;
use ringer_hart::translate::{Access, Translation};
use ringer_shadow::Shadow;

/// Pages remembered, a power of two.
const PAGES: usize = 64;

#[derive(Clone, Copy, Default)]
struct Page {
    /// The page's address, with the kind of access in the low bits.
    tag: u64,
    /// In which state of the virtual hart this holds.
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
            state: 1,
        }
    }
}

impl Pages {
    /// The virtual hart's conditions or its shadow have changed.
    pub fn forget(&mut self) {
        self.state += 1;
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
