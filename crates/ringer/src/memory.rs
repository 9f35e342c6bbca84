//! Guest RAM on a host with an operating system: anonymous memory that is only backed where
//! the guest has touched it. One of the few modules with `unsafe`.

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

/// An anonymous mapping, given back at the end.
#[derive(Debug)]
pub struct HostMemory {
    start: NonNull<u8>,
    len: usize,
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
        let memory = Self { start, len: bytes };
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
    /// Gives pages back to the host; they read as zero from then on.
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
        // SAFETY: `start..end` is inside the mapping. Its content becomes zero, which for
        // atomics is one more store by somebody else.
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
