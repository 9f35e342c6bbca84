//! Zeroed, page-aligned host memory for a [`Ram`](crate::Ram) that owns it, from the allocator.
//! One of the few modules with `unsafe`.

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::ptr::NonNull;

use crate::address::PAGE_SIZE;

/// Whole pages, given back when dropped.
#[derive(Debug)]
pub(crate) struct HostPages {
    start: NonNull<u8>,
    layout: Layout,
}

impl HostPages {
    /// As many bytes, all zero; `None` if these are not some whole pages, or if there is no
    /// memory.
    pub fn new(len: u64) -> Option<Self> {
        if len == 0 || !len.is_multiple_of(PAGE_SIZE) {
            return None;
        }
        let layout =
            Layout::from_size_align(usize::try_from(len).ok()?, PAGE_SIZE as usize).ok()?;
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Self { start, layout })
    }
    /// The first byte, aligned to a page.
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }
}

impl Drop for HostPages {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and given back nowhere else.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}
