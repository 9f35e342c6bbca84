//! The memory that shadow page tables are made of: one block of hardware table pages.
//! One of the few modules with `unsafe`; everything it offers is bounds-checked and safe.

use alloc::boxed::Box;
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ringer_hart::{PAGE_SHIFT, PAGE_SIZE};
use ringer_isa::pte::Pte;

/// Entries in a table.
pub(crate) const ENTRIES: usize = 512;

/// Physical addresses have 56 bits.
pub(crate) const PHYSICAL_END: u64 = 1 << 56;

/// An address on the real machine's bus: what shadow entries hold.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct HostPhys(pub u64);

impl fmt::Debug for HostPhys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A table as the hardware reads it. Atomic, as the hardware may walk it at any time.
#[repr(C, align(4096))]
struct TablePage([AtomicU64; ENTRIES]);

const _: () = assert!(size_of::<TablePage>() as u64 == PAGE_SIZE);

enum Memory {
    Owned(Box<[TablePage]>),
    Lent(&'static [TablePage]),
}

/// A block of table pages, contiguous in physical memory, all of whose entries are 0 at first.
pub struct TablePool {
    memory: Memory,
    base: HostPhys,
}

impl TablePool {
    /// A pool of the `pages` pages at `start`, which the hardware reaches at `base`.
    ///
    /// # Safety
    /// The pages at `start`, which is aligned to 4096, are readable, writable and valid for the
    /// rest of the program, and nobody else reaches them but the hardware's table walker, as
    /// long as the pool or a shadow made of it exists.
    pub unsafe fn new(start: NonNull<u8>, base: HostPhys, pages: usize) -> Self {
        // SAFETY: the caller promises that these pages are valid and aligned; any content is an
        // integer, and the entries are atomics, which may change behind a shared reference.
        let memory = unsafe { core::slice::from_raw_parts(start.as_ptr().cast(), pages) };
        Self::cleared(Memory::Lent(memory), base)
    }

    /// A pool from the allocator. Its physical address is taken to be the pointer's value, as it
    /// is for a program that runs untranslated; elsewhere only a walk by software can use it.
    pub fn owned(pages: usize) -> Self {
        let memory: Box<[TablePage]> = (0..pages)
            .map(|_| TablePage([const { AtomicU64::new(0) }; ENTRIES]))
            .collect();
        let base = HostPhys(memory.as_ptr() as u64);
        Self::cleared(Memory::Owned(memory), base)
    }

    fn cleared(memory: Memory, base: HostPhys) -> Self {
        let pool = Self { memory, base };
        for page in pool.tables() {
            page.0.iter().for_each(|entry| entry.store(0, Relaxed));
        }
        pool
    }

    /// Whether entries can point to all of it.
    pub(crate) fn is_placed(&self) -> bool {
        let end = (self.len() as u64)
            .checked_mul(PAGE_SIZE)
            .and_then(|bytes| self.base.0.checked_add(bytes));
        self.base.0.is_multiple_of(PAGE_SIZE) && end.is_some_and(|end| end <= PHYSICAL_END)
    }

    #[inline]
    fn tables(&self) -> &[TablePage] {
        match &self.memory {
            Memory::Owned(pages) => pages,
            Memory::Lent(pages) => pages,
        }
    }

    /// How many pages there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.tables().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the first page is.
    pub fn base(&self) -> HostPhys {
        self.base
    }

    /// The entry that the hardware reads at this address, if it is in the pool.
    pub fn read(&self, at: HostPhys) -> Option<Pte> {
        let page = self.page_at(HostPhys(at.0 & !(PAGE_SIZE - 1)))?;
        let offset = at.0 & (PAGE_SIZE - 1);
        offset
            .is_multiple_of(8)
            .then(|| self.load(page, (offset / 8) as usize))
    }

    #[inline]
    pub(crate) fn phys(&self, page: usize) -> HostPhys {
        HostPhys(self.base.0 + ((page as u64) << PAGE_SHIFT))
    }

    /// The number of the page that starts at this address.
    #[inline]
    pub(crate) fn page_at(&self, phys: HostPhys) -> Option<usize> {
        let offset = phys.0.checked_sub(self.base.0)?;
        let page = usize::try_from(offset >> PAGE_SHIFT).ok()?;
        (offset.is_multiple_of(PAGE_SIZE) && page < self.len()).then_some(page)
    }

    #[inline]
    fn entry(&self, page: usize, index: usize) -> Option<&AtomicU64> {
        self.tables().get(page)?.0.get(index)
    }

    // Relaxed is enough in both: only one thread makes entries, and what the hardware's walker
    // sees is ordered by the fences that the shadow asks for, not by the memory model.

    #[inline]
    pub(crate) fn load(&self, page: usize, index: usize) -> Pte {
        Pte(self.entry(page, index).map_or(0, |e| e.load(Relaxed)))
    }

    #[inline]
    pub(crate) fn store(&self, page: usize, index: usize, entry: Pte) {
        if let Some(place) = self.entry(page, index) {
            place.store(entry.0, Relaxed);
        }
    }
}

impl fmt::Debug for TablePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TablePool")
            .field("base", &self.base)
            .field("pages", &self.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lent_memory_is_cleared_and_read_by_physical_address() {
        let block: &'static mut [TablePage] = Box::leak(
            (0..2)
                .map(|_| TablePage([const { AtomicU64::new(7) }; ENTRIES]))
                .collect(),
        );
        let start = NonNull::from(block).cast();
        // SAFETY: two whole pages, leaked, and reached by nobody else.
        let pool = unsafe { TablePool::new(start, HostPhys(0x8000_0000), 2) };
        assert_eq!(pool.read(HostPhys(0x8000_0ff8)), Some(Pte(0)));
        pool.store(1, 511, Pte(9));
        assert_eq!(pool.read(HostPhys(0x8000_1ff8)), Some(Pte(9)));
        for outside in [0, 0x7fff_fff8, 0x8000_2000, 0x8000_0004, u64::MAX - 7] {
            assert_eq!(pool.read(HostPhys(outside)), None, "{outside:#x}");
        }
        pool.store(2, 0, Pte(9));
        pool.store(0, 512, Pte(9));
        assert_eq!(pool.page_at(HostPhys(0x8000_1000)), Some(1));
        assert_eq!(pool.page_at(HostPhys(0x8000_1008)), None);
    }

    #[test]
    fn an_owned_pool_is_aligned() {
        let pool = TablePool::owned(3);
        assert_eq!(pool.base().0 % PAGE_SIZE, 0);
        assert_eq!(pool.phys(2).0, pool.base().0 + 2 * PAGE_SIZE);
        assert_eq!(pool.read(pool.phys(2)), Some(Pte(0)));
    }
}
