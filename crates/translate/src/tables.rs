//! The tables that generated code looks into, in memory of their own. They are large and mostly
//! untouched, so that pages of guest memory hardly ever compete for a place: the host backs only
//! the parts that are used. One of the few modules with `unsafe`.

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};

/// Pages remembered for loads, and as many for stores, by their address modulo 4 GiB.
pub const PAGES: usize = 1 << 20;
/// Jump targets remembered (direct-mapped).
pub const JUMPS: usize = 1 << 13;

/// Where a page lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Page {
    /// Its virtual address.
    pub tag: u64,
    /// What has to be added to an address in it to get the host's.
    pub delta: u64,
}

/// A table of pages, by their address modulo 4 GiB. Tags and deltas are apart, so that bits 12 to
/// 31 of an address are the index, without a shift for the size of an entry.
#[repr(C)]
#[derive(Debug)]
pub struct PageTable {
    /// [`Page::tag`].
    pub tags: [u64; PAGES],
    /// [`Page::delta`].
    pub deltas: [u64; PAGES],
}

impl PageTable {
    /// The entry at `slot`.
    pub fn get(&self, slot: usize) -> Page {
        Page {
            tag: self.tags[slot],
            delta: self.deltas[slot],
        }
    }
    /// Puts an entry at `slot`.
    pub fn set(&mut self, slot: usize, page: Page) {
        self.tags[slot] = page.tag;
        self.deltas[slot] = page.delta;
    }
}

/// Where the code for a jump target is.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Jump {
    /// The target.
    pub pc: u64,
    /// Its code.
    pub code: u64,
}

/// The tables of one space. All zero is empty, but for the first entries.
#[repr(C)]
#[derive(Debug)]
pub struct Tables {
    /// For loads.
    pub load: PageTable,
    /// For stores.
    pub store: PageTable,
    /// For jumps.
    pub jumps: [Jump; JUMPS],
}

/// Tables in a mapping of their own.
#[derive(Debug)]
pub struct MappedTables(NonNull<Tables>);

// SAFETY: the mapping belongs to this value alone, and holds plain numbers.
unsafe impl Send for MappedTables {}

impl MappedTables {
    /// Tables that are all zero.
    pub fn new() -> Result<Self, Errno> {
        let len = size_of::<Tables>();
        // SAFETY: a new private mapping at an address that the kernel picks touches nothing
        // that exists.
        let start = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }?;
        // Large pages would back what is never used.
        // SAFETY: the range is the mapping just made; the advice does not change its content.
        let _ = unsafe { rustix::mm::madvise(start, len, Advice::LinuxNoHugepage) };
        NonNull::new(start.cast()).map(Self).ok_or(Errno::NOMEM)
    }

    /// Makes everything zero and gives the memory back to the host.
    pub fn release(&mut self) {
        // SAFETY: the mapping is this value's; private anonymous memory reads as zero then.
        let _ = unsafe {
            rustix::mm::madvise(
                self.0.as_ptr().cast(),
                size_of::<Tables>(),
                Advice::LinuxDontNeed,
            )
        };
    }

    /// Their address, for generated code.
    pub fn address(&mut self) -> *mut Tables {
        self.0.as_ptr()
    }
}

impl Deref for MappedTables {
    type Target = Tables;
    fn deref(&self) -> &Tables {
        // SAFETY: mapped, aligned to a page, and any bytes are valid numbers. Generated code
        // only reads it, while no reference is in use.
        unsafe { self.0.as_ref() }
    }
}

impl DerefMut for MappedTables {
    fn deref_mut(&mut self) -> &mut Tables {
        // SAFETY: as above; `&mut self` is the only way to write.
        unsafe { self.0.as_mut() }
    }
}

impl Drop for MappedTables {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length, and nobody else knows of it.
        let _ = unsafe { rustix::mm::munmap(self.0.as_ptr().cast(), size_of::<Tables>()) };
    }
}
