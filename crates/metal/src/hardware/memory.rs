//! The real machine's memory: what the monitor occupies, and what it shares out.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};

use ringer_hart::{GuestPhys, PAGE_SIZE, Ram};
use ringer_machine::memory_map::Span;
use ringer_metal::free_memory::FreeMemory;
use ringer_shadow::{HostPhys, TablePool};
use talc::TalcLock;
use talc::source::Manual;

use super::platform::Platform;

#[global_allocator]
static HEAP: TalcLock<spin::Mutex<()>, Manual> = TalcLock::new(Manual);

/// Guest RAM starts at a multiple of this, so that large pages map it.
const RAM_ALIGN: u64 = 2 << 20;

unsafe extern "C" {
    static _image_start: u8;
    static _image_end: u8;
}

/// All memory of the machine that has no owner yet. What is taken is never given back.
pub struct PhysicalMemory(FreeMemory);

impl PhysicalMemory {
    /// The memory of `platform` beside the monitor and the device tree.
    ///
    /// # Panics
    /// If it is asked for a second time: there is only one.
    pub fn of(platform: &Platform) -> Self {
        static ASKED: AtomicBool = AtomicBool::new(false);
        assert!(!ASKED.swap(true, Ordering::Relaxed), "memory has one owner");
        let mut free = FreeMemory::default();
        platform
            .memory
            .iter()
            .flatten()
            .for_each(|span| free.add(*span));
        let start = &raw const _image_start as u64;
        let end = &raw const _image_end as u64;
        free.reserve(Span::new(start, end - start));
        free.reserve(platform.device_tree);
        Self(free)
    }
    /// How much there is in one piece.
    pub fn largest(&self) -> u64 {
        self.0.largest()
    }
    /// How much there is.
    pub fn total(&self) -> u64 {
        self.0.total()
    }
    /// What somebody has loaded at `span` before the monitor started; `None` if there is no
    /// memory there, or it is taken.
    pub fn loaded(&mut self, span: Span) -> Option<&'static [u8]> {
        let before = self.0.total();
        self.0.reserve(span);
        if span.len == 0 || before - self.0.total() != span.len {
            return None;
        }
        // SAFETY: it was free memory up to now, so it is memory, and nobody gets it any more.
        Some(unsafe { core::slice::from_raw_parts(span.base.0 as *const u8, span.len as usize) })
    }
    /// Makes the monitor's heap of `len` bytes.
    pub fn make_heap(&mut self, len: u64) -> Option<()> {
        let span = self.0.take(len, PAGE_SIZE)?;
        // SAFETY: it is memory that was taken for this alone.
        unsafe { HEAP.lock().claim(span.base.0 as *mut u8, span.len as usize) }.map(|_| ())
    }
    /// Room of `len` bytes, or less if there is not as much in one piece.
    pub fn room(&mut self, len: u64) -> &'static mut [u8] {
        let largest = self.0.largest() / PAGE_SIZE * PAGE_SIZE;
        let Some(span) = self.0.take(len.min(largest), PAGE_SIZE) else {
            return &mut [];
        };
        // SAFETY: it is memory that was taken for this alone; bytes have no bad values.
        unsafe { core::slice::from_raw_parts_mut(span.base.0 as *mut u8, span.len as usize) }
    }
    /// RAM for a guest that sees it at `base`.
    pub fn guest_ram(&mut self, base: GuestPhys, len: u64) -> Option<Ram> {
        let span = self.0.take(len, RAM_ALIGN)?;
        let host = NonNull::new(span.base.0 as *mut u8)?;
        // SAFETY: it is whole pages of memory that were taken for this alone.
        Some(unsafe { Ram::new(host, base, span.len) })
    }
    /// Shadow tables for several virtual harts, side by side, of `pages` pages each.
    pub fn table_pools(
        &mut self,
        harts: usize,
        pages: usize,
    ) -> Option<impl Iterator<Item = TablePool> + use<>> {
        let len = pages as u64 * PAGE_SIZE;
        let span = self.0.take(len * harts as u64, PAGE_SIZE)?;
        let first = NonNull::new(span.base.0 as *mut u8)?;
        Some((0..harts).map(move |hart| {
            let offset = hart as u64 * len;
            let base = HostPhys(span.base.0 + offset);
            // SAFETY: these pages are part of memory that was taken for this alone, each for
            // one pool; the monitor runs untranslated, so a pointer is a physical address.
            unsafe { TablePool::new(first.byte_add(offset as usize), base, pages) }
        }))
    }
}
