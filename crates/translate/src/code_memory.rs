//! Memory for generated code: one anonymous file mapped twice, once to write and once to run,
//! so that no page is ever both (W^X). One of the few modules with `unsafe`.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

/// The two views of the memory.
#[derive(Debug)]
pub struct CodeMemory {
    writable: NonNull<u8>,
    executable: NonNull<u8>,
    len: usize,
}

// SAFETY: the mappings belong to the process. Writes go through `&self` methods that only touch
// bytes no hart executes (`write`) or replace an aligned word in one step (`patch`).
unsafe impl Send for CodeMemory {}
// SAFETY: as above.
unsafe impl Sync for CodeMemory {}

impl CodeMemory {
    /// Reserves `len` bytes, a multiple of the page size; the host backs what is used.
    pub fn new(len: usize) -> Result<Self, Errno> {
        let file = rustix::fs::memfd_create("ringer-code", MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&file, len as u64)?;
        let map = |protection| {
            // SAFETY: a new mapping at an address that the kernel picks touches nothing that
            // exists.
            let start = unsafe {
                rustix::mm::mmap(
                    std::ptr::null_mut(),
                    len,
                    protection,
                    MapFlags::SHARED,
                    &file,
                    0,
                )
            }?;
            NonNull::new(start.cast::<u8>()).ok_or(Errno::NOMEM)
        };
        let writable = map(ProtFlags::READ | ProtFlags::WRITE)?;
        let executable = match map(ProtFlags::READ | ProtFlags::EXEC) {
            Ok(executable) => executable,
            Err(error) => {
                // SAFETY: the mapping was made just above and nobody knows of it.
                let _ = unsafe { rustix::mm::munmap(writable.as_ptr().cast(), len) };
                return Err(error);
            }
        };
        Ok(Self {
            writable,
            executable,
            len,
        })
    }

    /// How many bytes there are.
    pub fn size(&self) -> usize {
        self.len
    }

    /// The run-time address of the byte at `offset`.
    pub fn address(&self, offset: usize) -> u64 {
        self.executable.as_ptr() as u64 + offset as u64
    }

    /// The offset of a run-time address inside.
    pub fn offset(&self, address: u64) -> Option<usize> {
        let offset = address.wrapping_sub(self.address(0)) as usize;
        (offset < self.len).then_some(offset)
    }

    /// Puts code at `offset`, where no hart executes yet. False if it does not fit.
    pub fn write(&self, offset: usize, code: &[u8]) -> bool {
        let fits = offset
            .checked_add(code.len())
            .is_some_and(|end| end <= self.len);
        if fits {
            // SAFETY: the range is inside the writable mapping; nobody reads or runs it before
            // its address is given out, which happens after this.
            unsafe {
                std::ptr::copy_nonoverlapping(
                    code.as_ptr(),
                    self.writable.as_ptr().add(offset),
                    code.len(),
                );
            }
        }
        fits
    }

    /// Lets the relative jump whose 32-bit field is at `offset` (aligned) lead to `target`.
    /// Harts may be running it: they take the old way or the new one.
    pub fn patch(&self, offset: usize, target: u64) {
        debug_assert!(offset.is_multiple_of(4) && offset + 4 <= self.len);
        if !offset.is_multiple_of(4) || offset + 4 > self.len {
            return;
        }
        let relative = target.wrapping_sub(self.address(offset) + 4) as u32;
        // SAFETY: inside the writable mapping and aligned, by the check above.
        let field = unsafe { AtomicU32::from_ptr(self.writable.as_ptr().add(offset).cast()) };
        field.store(relative, Ordering::Release);
    }

    /// A copy of the code at `offset`, to be shown.
    pub fn read(&self, offset: usize, len: usize) -> Vec<u8> {
        let end = offset.saturating_add(len).min(self.len);
        let start = offset.min(end);
        // SAFETY: inside the executable mapping; a jump that is being patched may be seen
        // half old, half new, which only the eye of a reader would notice.
        unsafe { std::slice::from_raw_parts(self.executable.as_ptr().add(start), end - start) }
            .to_vec()
    }
}

impl Drop for CodeMemory {
    fn drop(&mut self) {
        for start in [self.writable, self.executable] {
            // SAFETY: mapped in `new` with this length; harts hold the memory by `Arc`, so none
            // runs in it any more.
            let _ = unsafe { rustix::mm::munmap(start.as_ptr().cast(), self.len) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_runs_where_it_cannot_be_written() {
        let memory = CodeMemory::new(1 << 16).unwrap();
        // mov eax, 42; ret
        assert!(memory.write(64, &[0xb8, 42, 0, 0, 0, 0xc3]));
        // SAFETY: the bytes are a function that takes nothing and returns an i32.
        let answer: extern "sysv64" fn() -> i32 =
            unsafe { std::mem::transmute(memory.address(64)) };
        assert_eq!(answer(), 42);
        assert!(!memory.write((1 << 16) - 1, &[0, 0]));
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let ours: Vec<_> = maps.lines().filter(|l| l.contains("ringer-code")).collect();
        assert!(ours.len() >= 2);
        assert!(ours.iter().all(|line| !line.contains("rwx")));
    }

    #[test]
    fn a_patched_jump_leads_elsewhere() {
        let memory = CodeMemory::new(1 << 16).unwrap();
        // nop; nop; nop; jmp rel32 — the field at 4.
        assert!(memory.write(0, &[0x90, 0x90, 0x90, 0xe9, 0, 0, 0, 0]));
        assert!(memory.write(0x100, &[0xb8, 1, 0, 0, 0, 0xc3]));
        assert!(memory.write(0x200, &[0xb8, 2, 0, 0, 0, 0xc3]));
        for (target, expected) in [(0x100, 1), (0x200, 2)] {
            memory.patch(4, memory.address(target));
            // SAFETY: as above.
            let answer: extern "sysv64" fn() -> i32 =
                unsafe { std::mem::transmute(memory.address(0)) };
            assert_eq!(answer(), expected);
        }
        assert_eq!(memory.offset(memory.address(0x1234)), Some(0x1234));
        assert_eq!(memory.offset(memory.address(0) - 1), None);
    }
}
