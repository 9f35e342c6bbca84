//! Guest RAM on a host with an operating system: anonymous memory that is only backed where
//! the guest has touched it, or pages of a saved machine's file that become the guest's own when
//! it writes to them. One of the few modules with `unsafe`.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;
use std::sync::Arc;

use ringer_hart::{GuestPhys, Ram};
use ringer_machine::backend::MemoryBackend;
use rustix::mm::{Advice, MapFlags, ProtFlags};

use crate::size::Size;

/// Why there is no memory for a guest.
#[derive(Debug, thiserror::Error)]
#[error(
    "this computer does not give {size} for the guest's RAM ({reason}); ask for less with --memory"
)]
pub struct MemoryError {
    size: Size,
    reason: rustix::io::Errno,
}

/// A mapping, given back at the end.
#[derive(Debug)]
pub struct HostMemory {
    start: NonNull<u8>,
    len: usize,
    /// What the kernel knows of this process's pages. Opened beforehand: later this process may
    /// have given up its rights.
    pagemap: Option<File>,
}

// SAFETY: the mapping belongs to the process, not to a thread; it is only reached by atomics
// (through `Ram`) and by `madvise`.
unsafe impl Send for HostMemory {}
// SAFETY: as above.
unsafe impl Sync for HostMemory {}

impl HostMemory {
    /// Maps `len` bytes, a multiple of the page size, that read as zero.
    pub fn new(len: u64) -> Result<Arc<Self>, MemoryError> {
        let refuse = |reason| MemoryError {
            size: Size(len),
            reason,
        };
        let bytes = usize::try_from(len).map_err(|_| refuse(rustix::io::Errno::NOMEM))?;
        // SAFETY: a new private mapping at an address that the kernel picks touches nothing
        // that exists.
        let start = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }
        .map_err(refuse)?;
        let start =
            NonNull::new(start.cast::<u8>()).ok_or_else(|| refuse(rustix::io::Errno::NOMEM))?;
        let memory = Self {
            start,
            len: bytes,
            pagemap: File::open("/proc/self/pagemap").ok(),
        };
        // Large pages make the host's own translation cheaper; a kernel without them is fine.
        // SAFETY: the range is the mapping just made; the advice does not change its content.
        let _ = unsafe {
            rustix::mm::madvise(memory.start.as_ptr().cast(), bytes, Advice::LinuxHugepage)
        };
        Ok(Arc::new(memory))
    }
    /// The guest's view of this memory, at guest-physical address `base`.
    pub fn ram(&self, base: GuestPhys) -> Ram {
        // SAFETY: the mapping is page-aligned, readable and writable, and reached only through
        // `Ram`. It outlives every `Ram`: it is never unmapped (see `drop`).
        unsafe { Ram::new(self.start, base, self.len as u64) }
    }
    /// Has the bytes `range` of RAM, whole pages, be those at the same place in `file`. What the
    /// guest writes stays its own. The file must not change from now on; if it is cut short,
    /// the process is told by SIGBUS.
    pub fn map(&self, file: &File, range: Range<u64>) -> io::Result<()> {
        let (at, len) = self.place(&range)?;
        // SAFETY: the range is inside our own mapping, which stays readable and writable at the
        // same addresses; it is reached only by atomics, for which the new content is one more
        // store by somebody else.
        unsafe {
            rustix::mm::mmap(
                at.as_ptr().cast(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE,
                file,
                range.start,
            )
        }?;
        Ok(())
    }
    /// Has the bytes `range` of RAM, whole pages, be zero, and nothing be mapped there.
    pub fn clear(&self, range: Range<u64>) -> io::Result<()> {
        let (at, len) = self.place(&range)?;
        // SAFETY: as in `map`.
        unsafe {
            rustix::mm::mmap_anonymous(
                at.as_ptr().cast(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE,
            )?;
            // As in `new`.
            let _ = rustix::mm::madvise(at.as_ptr().cast(), len, Advice::LinuxHugepage);
        }
        Ok(())
    }
    /// Where whole pages of RAM are in this process.
    fn place(&self, range: &Range<u64>) -> io::Result<(NonNull<u8>, usize)> {
        const PAGE: u64 = ringer_hart::PAGE_SIZE;
        let whole = range.start.is_multiple_of(PAGE) && range.end.is_multiple_of(PAGE);
        if !whole || range.start >= range.end || range.end > self.len as u64 {
            return Err(io::Error::other("no such pages of RAM"));
        }
        // SAFETY: the start is inside the mapping, as was just checked.
        let at = unsafe { self.start.add(range.start as usize) };
        Ok((at, (range.end - range.start) as usize))
    }
    /// The pages, in ascending order, that may differ from what was mapped: those the guest has
    /// written to since. Where nothing was mapped, those that may not be zero. `None` if the
    /// host does not say.
    pub fn own_pages(&self) -> Option<Vec<Range<u64>>> {
        const PAGE: usize = ringer_hart::PAGE_SIZE as usize;
        // Bits of an entry, as in the kernel's admin-guide/mm/pagemap.
        const PRESENT: u64 = 1 << 63;
        const SWAPPED: u64 = 1 << 62;
        const FILE: u64 = 1 << 61;
        let pagemap = self.pagemap.as_ref()?;
        // Larger host pages would need another arithmetic than this.
        if rustix::param::page_size() != PAGE {
            return None;
        }
        let first_entry = (self.start.as_ptr() as usize / PAGE) as u64;
        let mut own: Vec<Range<u64>> = Vec::new();
        let mut entries = vec![0; 64 << 10];
        let total = (self.len / PAGE) as u64;
        let mut page = 0;
        while page < total {
            let count = ((total - page) as usize * 8).min(entries.len());
            let chunk = entries.get_mut(..count)?;
            pagemap
                .read_exact_at(chunk, (first_entry + page) * 8)
                .ok()?;
            for entry in chunk.as_chunks::<8>().0 {
                let entry = u64::from_le_bytes(*entry);
                if entry & SWAPPED != 0 || entry & (PRESENT | FILE) == PRESENT {
                    match own.last_mut() {
                        Some(last) if last.end == page => last.end += 1,
                        _ => own.push(page..page + 1),
                    }
                }
                page += 1;
            }
        }
        Some(own)
    }
    /// Gives pages back to the host; they read as zero from then on, or as what was mapped.
    pub fn release(&self, offset: u64, len: u64) {
        const PAGE: u64 = ringer_hart::PAGE_SIZE;
        let total = self.len as u64;
        let Some(end) = offset
            .checked_add(len)
            .map(|end| end.min(total) & !(PAGE - 1))
        else {
            return;
        };
        let start = offset.next_multiple_of(PAGE);
        if start >= end {
            return;
        }
        // SAFETY: `start..end` is inside the mapping. Its content becomes zero, or a mapped
        // file's, which for atomics is one more store by somebody else.
        let _ = unsafe {
            rustix::mm::madvise(
                self.start.as_ptr().add(start as usize).cast(),
                (end - start) as usize,
                Advice::LinuxDontNeed,
            )
        };
    }
}

impl Drop for HostMemory {
    /// Gives the memory back but keeps the addresses, so that a `Ram` left over stays valid.
    fn drop(&mut self) {
        self.release(0, self.len as u64);
    }
}

/// The balloon's way to give memory back.
pub struct Releaser(pub Arc<HostMemory>);

impl MemoryBackend for Releaser {
    fn release(&mut self, offset: u64, len: u64) {
        self.0.release(offset, len);
    }
}

/// The host's RAM and swap in bytes; no guest can have more.
pub fn host_total() -> u64 {
    meminfo("MemTotal:")
        .map(|ram| ram.saturating_add(meminfo("SwapTotal:").unwrap_or(0)))
        .unwrap_or(u64::MAX)
}

/// One line of `/proc/meminfo`, in bytes.
pub fn meminfo(key: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    kib.checked_mul(1024)
}

/// Bytes of RAM that this process takes; zero if the host does not say.
pub fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or(0);
    pages.saturating_mul(rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_pages_read_as_zero_and_others_stay() {
        let memory = HostMemory::new(64 << 10).unwrap();
        let ram = memory.ram(GuestPhys(0x8000_0000));
        ram.fill(GuestPhys(0x8000_0000), 64 << 10, 0xaa).unwrap();
        memory.release(4096 + 1, 8192);
        assert_eq!(ram.load_at::<u64>(4096), Some(0xaaaa_aaaa_aaaa_aaaa));
        assert_eq!(ram.load_at::<u64>(8192), Some(0));
        assert_eq!(ram.load_at::<u64>(12288), Some(0xaaaa_aaaa_aaaa_aaaa));
        memory.release(u64::MAX, 10);
        memory.release(0, u64::MAX);
        assert_eq!(ram.load_at::<u64>(12288), Some(0));
    }
}
