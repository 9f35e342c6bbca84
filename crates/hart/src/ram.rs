//! Guest RAM: one contiguous range of guest-physical memory, backed by host memory.
//! Guests' harts write it while others read, so it is reached by atomics, never by `&[u8]`.
//!
//! One of the few modules with `unsafe`; everything it offers is bounds-checked and safe.

use core::ptr::NonNull;
use core::sync::atomic::{
    AtomicU8, AtomicU16, AtomicU32, AtomicU64,
    Ordering::{self, Relaxed, SeqCst},
};

use spin::Once;

use crate::address::{GuestPhys, PAGE_SIZE};
use crate::code_pages::CodePages;
use crate::host_pages::HostPages;

/// Guest RAM. Made with [`Ram::zeroed`], it owns the host memory; made with [`Ram::new`], whoever
/// did that keeps the memory alive and unmoved.
#[derive(Debug)]
pub struct Ram {
    host: NonNull<u8>,
    base: GuestPhys,
    len: u64,
    code: Once<CodePages>,
    /// Keeps the memory at `host`, unless somebody else does.
    _owned: Option<HostPages>,
}

/// There is no RAM as asked for: the host has not enough memory, or it would not start and end
/// at a page's border.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no memory for {len} bytes of RAM at {:#x}", base.0)]
pub struct NoRam {
    base: GuestPhys,
    len: u64,
}

// SAFETY: all access through `Ram` is atomic (or byte-wise atomic) on memory that lives as long
// as the `Ram`: by the contract of `new`, or because it owns it; any thread may give that back.
// The rest of it is `Send` and `Sync` by itself.
unsafe impl Send for Ram {}
// SAFETY: as above.
unsafe impl Sync for Ram {}

mod sealed {
    pub trait Sealed {}
}

/// An integer that RAM can hold: `u8`, `u16`, `u32`, `u64`.
pub trait Cell: Copy + Eq + sealed::Sealed + Into<u64> + 'static {
    /// Bytes in it.
    const BYTES: u64;
    /// The low bits of `value`.
    fn truncate(value: u64) -> Self;
    #[doc(hidden)]
    unsafe fn load(at: *mut u8, order: Ordering) -> Self;
    #[doc(hidden)]
    unsafe fn store(at: *mut u8, value: Self, order: Ordering);
    #[doc(hidden)]
    unsafe fn compare_exchange(at: *mut u8, current: Self, new: Self) -> Result<Self, Self>;
}

macro_rules! cell {
    ($int:ty, $atomic:ty) => {
        impl sealed::Sealed for $int {}
        impl Cell for $int {
            const BYTES: u64 = size_of::<$int>() as u64;
            #[inline(always)]
            fn truncate(value: u64) -> Self {
                value as $int
            }
            #[inline(always)]
            unsafe fn load(at: *mut u8, order: Ordering) -> Self {
                // SAFETY: the caller passes a valid, aligned place in guest RAM.
                unsafe { <$atomic>::from_ptr(at.cast()) }.load(order)
            }
            #[inline(always)]
            unsafe fn store(at: *mut u8, value: Self, order: Ordering) {
                // SAFETY: as in `load`.
                unsafe { <$atomic>::from_ptr(at.cast()) }.store(value, order)
            }
            #[inline(always)]
            unsafe fn compare_exchange(
                at: *mut u8,
                current: Self,
                new: Self,
            ) -> Result<Self, Self> {
                // SAFETY: as in `load`.
                unsafe { <$atomic>::from_ptr(at.cast()) }
                    .compare_exchange(current, new, SeqCst, SeqCst)
            }
        }
    };
}
cell!(u8, AtomicU8);
cell!(u16, AtomicU16);
cell!(u32, AtomicU32);
cell!(u64, AtomicU64);

/// A page of RAM, as a page table is: to be read, many entries at a time.
#[derive(Clone, Copy, Debug)]
pub struct RamTable<'a>(&'a [AtomicU64; TABLE_ENTRIES]);

const TABLE_ENTRIES: usize = (PAGE_SIZE / 8) as usize;

impl RamTable<'_> {
    /// The entry with this number, modulo how many there are.
    #[inline(always)]
    pub fn entry(&self, index: usize) -> u64 {
        self.0[index % TABLE_ENTRIES].load(Relaxed)
    }

    /// Whether these words stand there, the first one at `index`, modulo how many entries there
    /// are; not if they reach beyond the page.
    #[inline(always)]
    pub fn holds(&self, index: usize, words: &[u64]) -> bool {
        let Some(there) =
            (self.0.get(index % TABLE_ENTRIES..)).and_then(|rest| rest.get(..words.len()))
        else {
            return false;
        };
        // They mostly do, so all are looked at, without a branch for each.
        let ((there, rest), (words, rest_of_words)) = (there.as_chunks(), words.as_chunks());
        let mut different = 0;
        for ([a, b, c, d], [e, f, g, h]) in there.iter().zip(words) {
            different |= a.load(Relaxed) ^ e | b.load(Relaxed) ^ f;
            different |= c.load(Relaxed) ^ g | d.load(Relaxed) ^ h;
        }
        for (there, word) in rest.iter().zip(rest_of_words) {
            different |= there.load(Relaxed) ^ word;
        }
        different == 0
    }
}

impl Ram {
    /// No RAM at all.
    #[expect(
        clippy::declare_interior_mutable_const,
        reason = "a starting value, as `AtomicU64::new(0)` is one: each use is a RAM of its own"
    )]
    pub const NONE: Self = Self {
        host: NonNull::dangling(),
        base: GuestPhys(0),
        len: 0,
        code: Once::new(),
        _owned: None,
    };

    /// RAM at `base` of `len` bytes, backed by the host memory at `host`.
    ///
    /// # Safety
    /// `host` points to `len` bytes, both aligned to 4096, readable and writable, valid and
    /// reached only through this `Ram` (or other atomics) for as long as it lives.
    pub const unsafe fn new(host: NonNull<u8>, base: GuestPhys, len: u64) -> Self {
        Self {
            host,
            base,
            len,
            code: Once::new(),
            _owned: None,
        }
    }
    /// RAM at `base` of `len` bytes, not none and both multiples of the page size, that are all
    /// zero. The host memory comes from the allocator and is given back with the `Ram`.
    pub fn zeroed(base: GuestPhys, len: u64) -> Result<Self, NoRam> {
        let refuse = NoRam { base, len };
        if !base.0.is_multiple_of(PAGE_SIZE) {
            return Err(refuse);
        }
        let pages = HostPages::new(len).ok_or(refuse)?;
        Ok(Self {
            host: pages.start(),
            base,
            len,
            code: Once::new(),
            _owned: Some(pages),
        })
    }
    /// Watches pages that hold translated code from now on: whatever changes RAM notes it there.
    ///
    /// First called while nothing else writes this RAM, or else a change that is just under way
    /// goes unnoticed. What stores by way of an engine's cache ([`Ram::store_at`]) may not be
    /// noted: when a hart has run under an engine whose cache does not watch, as the
    /// interpreter's does not, all translations must be forgotten.
    pub fn watch_code(&self) -> &CodePages {
        self.code.call_once(|| CodePages::new(self.len))
    }
    /// The pages that hold translated code, if they are watched.
    #[inline]
    pub fn code_pages(&self) -> Option<&CodePages> {
        self.code.get()
    }
    /// Notes that `len` bytes from `offset` were changed. The methods here do that themselves,
    /// except for [`Ram::store_at`]; whoever changes the host memory in another way calls it
    /// after the change.
    #[inline]
    pub fn note_change(&self, offset: u64, len: u64) {
        if let Some(code) = self.code.get() {
            code.note(offset, len);
        }
    }
    /// Where RAM starts.
    #[inline(always)]
    pub const fn base(&self) -> GuestPhys {
        self.base
    }
    /// How many bytes it has.
    #[inline(always)]
    pub const fn len(&self) -> u64 {
        self.len
    }
    /// Whether there is no RAM at all.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// The host address of the first byte, for engines that map it.
    pub const fn host(&self) -> NonNull<u8> {
        self.host
    }
    /// The offset from the base, if all `bytes` from `addr` are RAM.
    #[inline(always)]
    pub const fn offset(&self, addr: GuestPhys, bytes: u64) -> Option<u64> {
        let offset = addr.0.wrapping_sub(self.base.0);
        if offset < self.len && bytes <= self.len - offset {
            Some(offset)
        } else {
            None
        }
    }
    #[inline(always)]
    fn cell<T: Cell>(&self, offset: u64) -> Option<*mut u8> {
        // `len` is a multiple of 4096, so an aligned cell that starts inside ends inside.
        if offset & (T::BYTES - 1) == 0 && offset < self.len {
            // SAFETY: the offset is inside the host memory.
            Some(unsafe { self.host.as_ptr().add(offset as usize) })
        } else {
            None
        }
    }
    /// Reads an aligned integer at `offset` from the base; `None` if it is not all in RAM or
    /// not aligned.
    #[inline(always)]
    pub fn load_at<T: Cell>(&self, offset: u64) -> Option<T> {
        // SAFETY: `cell` has checked place and alignment.
        self.cell::<T>(offset)
            .map(|at| unsafe { T::load(at, Relaxed) })
    }
    /// Writes an aligned integer at `offset` from the base, and notes no change.
    ///
    /// Only for a place that a hart has found in its
    /// [`TranslationCache`](crate::memory::TranslationCache): the cache that answered is
    /// responsible for the note. All others use [`Ram::store`].
    #[inline(always)]
    pub fn store_at<T: Cell>(&self, offset: u64, value: T) -> Option<()> {
        // SAFETY: `cell` has checked place and alignment.
        self.cell::<T>(offset)
            .map(|at| unsafe { T::store(at, value, Relaxed) })
    }
    /// Replaces `current` by `new` in one atomic step. `Ok` and `Err` hold what was there.
    #[inline]
    pub fn compare_exchange_at<T: Cell>(
        &self,
        offset: u64,
        current: T,
        new: T,
    ) -> Option<Result<T, T>> {
        // SAFETY: `cell` has checked place and alignment.
        let done = self
            .cell::<T>(offset)
            .map(|at| unsafe { T::compare_exchange(at, current, new) });
        if let Some(Ok(_)) = done
            && let Some(code) = self.code.get()
        {
            code.note_exchanged(offset, T::BYTES);
        }
        done
    }
    /// Reads an aligned integer at a guest-physical address.
    #[inline]
    pub fn load<T: Cell>(&self, addr: GuestPhys) -> Option<T> {
        self.load_at(addr.0.wrapping_sub(self.base.0))
    }
    /// The page that starts at a guest-physical address, to be read; `None` if it is no RAM or
    /// no page starts there.
    #[inline]
    pub fn table(&self, addr: GuestPhys) -> Option<RamTable<'_>> {
        let offset = self.offset(addr, PAGE_SIZE)?;
        let start = offset
            .is_multiple_of(PAGE_SIZE)
            .then(|| self.cell::<u64>(offset))??;
        // SAFETY: `offset` has checked that the whole page is inside the host memory, which is
        // aligned and lives as long as `self`; it is reached by atomics only.
        Some(RamTable(unsafe { &*start.cast() }))
    }
    /// Writes an aligned integer at a guest-physical address.
    #[inline]
    pub fn store<T: Cell>(&self, addr: GuestPhys, value: T) -> Option<()> {
        let offset = addr.0.wrapping_sub(self.base.0);
        self.store_at(offset, value)?;
        self.note_change(offset, T::BYTES);
        Some(())
    }
    /// As [`Ram::compare_exchange_at`], at a guest-physical address.
    pub fn compare_exchange<T: Cell>(
        &self,
        addr: GuestPhys,
        current: T,
        new: T,
    ) -> Option<Result<T, T>> {
        self.compare_exchange_at(addr.0.wrapping_sub(self.base.0), current, new)
    }
    /// Copies out of RAM, of any length and alignment; `None`, and nothing read, if it is not
    /// all in RAM.
    pub fn read(&self, addr: GuestPhys, into: &mut [u8]) -> Option<()> {
        let mut offset = self.offset(addr, into.len() as u64)?;
        let mut rest = into;
        while !rest.is_empty() {
            if offset & 7 == 0 && rest.len() >= 8 {
                let (head, tail) = rest.split_at_mut(8);
                head.copy_from_slice(&self.load_at::<u64>(offset)?.to_le_bytes());
                offset += 8;
                rest = tail;
            } else {
                let (head, tail) = rest.split_at_mut(1);
                head[0] = self.load_at::<u8>(offset)?;
                offset += 1;
                rest = tail;
            }
        }
        Some(())
    }
    /// Copies into RAM, of any length and alignment; `None`, and nothing written, if it is not
    /// all in RAM.
    pub fn write(&self, addr: GuestPhys, from: &[u8]) -> Option<()> {
        let len = from.len() as u64;
        let offset = self.offset(addr, len)?;
        let written = self.copy_in(offset, from);
        self.note_change(offset, len);
        written
    }
    /// Fills a range with one byte; `None`, and nothing written, if it is not all in RAM.
    pub fn fill(&self, addr: GuestPhys, len: u64, byte: u8) -> Option<()> {
        let offset = self.offset(addr, len)?;
        let chunk = [byte; 512];
        let mut done = 0;
        while done < len {
            let part = (len - done).min(512);
            self.copy_in(offset + done, chunk.get(..part as usize)?)?;
            done += part;
        }
        self.note_change(offset, len);
        Some(())
    }
    fn copy_in(&self, offset: u64, from: &[u8]) -> Option<()> {
        // SAFETY: any eight bytes are an integer.
        let (head, words, tail) = unsafe { from.align_to::<u64>() };
        // Whole kernels are copied so, by hosts that cannot load a misaligned word at once too.
        if words.is_empty() || (offset + head.len() as u64) & 7 != 0 {
            return self.copy_bytes(offset, from);
        }
        self.copy_bytes(offset, head)?;
        let mut next = offset + head.len() as u64;
        for word in words {
            self.store_at(next, u64::from_le_bytes(word.to_ne_bytes()))?;
            next += 8;
        }
        self.copy_bytes(next, tail)
    }
    fn copy_bytes(&self, mut offset: u64, from: &[u8]) -> Option<()> {
        let mut rest = from;
        while let Some((&first, tail)) = rest.split_first() {
            if offset & 7 == 0
                && let Some((head, tail)) = rest.split_first_chunk::<8>()
            {
                self.store_at::<u64>(offset, u64::from_le_bytes(*head))?;
                offset += 8;
                rest = tail;
            } else {
                self.store_at::<u8>(offset, first)?;
                offset += 1;
                rest = tail;
            }
        }
        Some(())
    }
}

impl Default for Ram {
    fn default() -> Self {
        Self::NONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const BASE: GuestPhys = GuestPhys(0x8000_0000);
    const PAGES: u64 = 8;

    fn at(page: u64) -> GuestPhys {
        BASE.offset(page * PAGE_SIZE)
    }

    #[test]
    fn words_of_a_page_are_compared_all_of_them() {
        let ram = Ram::zeroed(BASE, 2 * PAGE_SIZE).unwrap();
        let words: Vec<u64> = (1..=512).map(|word: u64| word << 40 | word).collect();
        for (index, word) in (0..).zip(&words) {
            ram.store(BASE.offset(8 * index), *word).unwrap();
        }
        let page = ram.table(BASE).unwrap();
        for first in [0, 1, 3, 500, 511] {
            for len in 0..=12 {
                let part: Vec<u64> = words
                    .iter()
                    .cycle()
                    .skip(first)
                    .take(len)
                    .copied()
                    .collect();
                if first + len > 512 {
                    assert!(!page.holds(first, &part), "{first} {len}");
                    continue;
                }
                assert!(page.holds(first, &part), "{first} {len}");
                assert!(page.holds(first + 512, &part), "{first} {len}");
                for wrong in 0..len {
                    for bit in [0, 63] {
                        let mut other = part.clone();
                        other[wrong] ^= 1 << bit;
                        assert!(!page.holds(first, &other), "{first} {len} {wrong}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_written_is_there_however_it_is_aligned() {
        let source: Vec<u8> = (1..=80).collect();
        for from in 0..9 {
            for to in 0..9 {
                for len in 0..40 {
                    let ram = Ram::zeroed(BASE, PAGE_SIZE).unwrap();
                    let part = &source[from..from + len];
                    ram.write(BASE.offset(to), part).unwrap();
                    let mut all = [0; 64];
                    ram.read(BASE, &mut all).unwrap();
                    let (before, rest) = all.split_at(to as usize);
                    let (written, after) = rest.split_at(len);
                    assert_eq!(written, part, "{from} {to} {len}");
                    assert!(before.iter().chain(after).all(|byte| *byte == 0));
                }
            }
        }
    }

    #[test]
    fn a_page_is_read_as_a_table() {
        let ram = Ram::zeroed(BASE, PAGES * PAGE_SIZE).unwrap();
        ram.store(at(7).offset(511 * 8), 9_u64).unwrap();
        let table = ram.table(at(7)).unwrap();
        assert_eq!((table.entry(511), table.entry(510)), (9, 0));
        for outside in [
            at(8),
            at(7).offset(8),
            GuestPhys(0),
            GuestPhys(u64::MAX - 4095),
        ] {
            assert!(ram.table(outside).is_none(), "{outside}");
        }
    }

    #[test]
    fn owned_ram_is_zeroed_aligned_and_as_asked_for() {
        let ram = Ram::zeroed(BASE, 3 * PAGE_SIZE).unwrap();
        assert_eq!(ram.host().as_ptr() as u64 % PAGE_SIZE, 0);
        assert_eq!((ram.base(), ram.len()), (BASE, 3 * PAGE_SIZE));
        let mut content = [1; 3 * PAGE_SIZE as usize];
        ram.read(BASE, &mut content).unwrap();
        assert_eq!(content, [0; 3 * PAGE_SIZE as usize]);

        for (base, len) in [
            (BASE, 0),
            (BASE, PAGE_SIZE + 1),
            (BASE.offset(8), PAGE_SIZE),
            (BASE, 1 << 63),
            (BASE, u64::MAX - PAGE_SIZE + 1),
        ] {
            assert_eq!(Ram::zeroed(base, len).unwrap_err(), NoRam { base, len });
        }
    }

    /// The pages that are noted when `change` is made to RAM that holds code everywhere.
    fn noted(change: impl FnOnce(&Ram)) -> Vec<u64> {
        let ram = Ram::zeroed(BASE, PAGES * PAGE_SIZE).unwrap();
        assert!(ram.code_pages().is_none());
        (0..PAGES).for_each(|page| ram.watch_code().mark(page));
        change(&ram);
        let mut seen = Vec::new();
        ram.code_pages()
            .unwrap()
            .take_changed(|page| seen.push(page));
        seen
    }

    #[test]
    fn every_change_is_noted() {
        assert_eq!(noted(|ram| ram.store(at(2), 1_u64).unwrap()), [2]);
        let last_byte = GuestPhys(at(4).0 - 1);
        assert_eq!(noted(|ram| ram.store(last_byte, 1_u8).unwrap()), [3]);
        assert_eq!(noted(|ram| ram.write(last_byte, &[1; 2]).unwrap()), [3, 4]);
        let long = PAGE_SIZE * 2 + 1;
        assert_eq!(noted(|ram| ram.fill(at(5), long, 7).unwrap()), [5, 6, 7]);
        assert_eq!(noted(|ram| ram.note_change(PAGE_SIZE, 1)), [1]);
        let exchange = |ram: &Ram| {
            assert_eq!(ram.compare_exchange(at(1), 0_u32, 5), Some(Ok(0)));
            assert_eq!(
                ram.compare_exchange_at(6 * PAGE_SIZE, 0_u16, 5),
                Some(Ok(0))
            );
        };
        assert_eq!(noted(exchange), [1, 6]);
    }

    #[test]
    fn what_changes_nothing_is_not_noted() {
        let nothing: [fn(&Ram); 6] = [
            |ram| assert_eq!(ram.compare_exchange(at(1), 3_u32, 5), Some(Err(0))),
            |ram| assert_eq!(ram.write(at(PAGES - 1), &[1; 4097]), None),
            |ram| assert_eq!(ram.fill(at(1), PAGES * PAGE_SIZE, 1), None),
            |ram| assert_eq!(ram.store(at(PAGES), 1_u8), None),
            |ram| assert_eq!(ram.store(at(1).offset(1), 1_u16), None),
            |ram| assert_eq!(ram.write(at(1), &[]), Some(())),
        ];
        for (number, change) in nothing.into_iter().enumerate() {
            assert_eq!(noted(change), [], "{number}");
        }
        // Whoever found the place in a cache answers for it.
        assert_eq!(noted(|ram| ram.store_at(PAGE_SIZE, 1_u8).unwrap()), []);
    }
}
