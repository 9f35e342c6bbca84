//! Writes kept apart from a base image that is only read, and forgotten at the end.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringer_machine::backend::{BackendError, BackendResult, BlockBackend};
use rustix::fs::{FallocateFlags, Mode, OFlags};

use super::DiskError;

/// Blocks that were written, by number.
pub type Blocks = BTreeMap<u64, Arc<[u8]>>;

/// The unit in which the overlay replaces the base.
const BLOCK: u64 = 4096;

struct State {
    base: Box<dyn BlockBackend>,
    /// A sparse file without a name; block n of it replaces block n of the base if `owned`.
    writes: File,
    /// One bit per block.
    owned: Vec<u64>,
}

/// An overlay, shared between the device that writes to it and the saver.
#[derive(Clone)]
pub struct Overlay {
    state: Arc<Mutex<State>>,
    len: u64,
    read_only: bool,
}

/// The overlay as a device's disk.
pub struct OverlayDisk(pub Overlay);

fn temporary_file() -> Result<File, DiskError> {
    let dir = std::env::temp_dir();
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open(&dir, flags, Mode::RUSR | Mode::WUSR)
        .map(File::from)
        .map_err(|error| DiskError::NoOverlay {
            dir,
            reason: error.to_string(),
        })
}

impl Overlay {
    /// An overlay without writes yet.
    pub fn new(base: Box<dyn BlockBackend>, read_only: bool) -> Result<Self, DiskError> {
        let len = base.len();
        let blocks = len.div_ceil(BLOCK);
        Ok(Self {
            state: Arc::new(Mutex::new(State {
                base,
                writes: temporary_file()?,
                owned: vec![0; blocks.div_ceil(64) as usize],
            })),
            len,
            read_only,
        })
    }
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Calls `take` with the number and content of every block that was written.
    pub fn for_each_block<E>(
        &self,
        mut take: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<BackendResult, E> {
        let state = self.state();
        let mut block = [0; BLOCK as usize];
        for number in 0..self.len.div_ceil(BLOCK) {
            if state.owns(number) {
                if state
                    .writes
                    .read_exact_at(&mut block, number * BLOCK)
                    .is_err()
                {
                    return Ok(Err(BackendError));
                }
                take(number, &block)?;
            }
        }
        Ok(Ok(()))
    }
    /// What was written, block by block; what is the same as `before` is shared with it.
    pub fn written(&self, before: Option<&Blocks>) -> BackendResult<Blocks> {
        let mut blocks = Blocks::new();
        let taken = self.for_each_block(|number, content| {
            let known = before.and_then(|before| before.get(&number));
            let content = match known {
                Some(known) if **known == *content => Arc::clone(known),
                _ => content.into(),
            };
            blocks.insert(number, content);
            Ok::<_, BackendError>(())
        });
        taken??;
        Ok(blocks)
    }
    /// Makes the overlay what it was when this was written.
    pub fn go_back(&self, blocks: &Blocks) -> BackendResult {
        self.state().owned.fill(0);
        blocks
            .iter()
            .try_for_each(|(number, content)| self.restore_blocks(*number, content))
    }
    /// Puts saved blocks back that follow each other, the first with this number.
    pub fn restore_blocks(&self, first: u64, content: &[u8]) -> BackendResult {
        let len = content.len() as u64;
        let end = first.checked_add(len / BLOCK).ok_or(BackendError)?;
        if !len.is_multiple_of(BLOCK) || end > self.len.div_ceil(BLOCK) {
            return Err(BackendError);
        }
        let mut state = self.state();
        state
            .writes
            .write_all_at(content, first * BLOCK)
            .map_err(|_| BackendError)?;
        (first..end).try_for_each(|block| state.own(block))
    }
}

impl State {
    fn owns(&self, block: u64) -> bool {
        self.owned
            .get((block / 64) as usize)
            .is_some_and(|word| word >> (block % 64) & 1 != 0)
    }
    fn own(&mut self, block: u64) -> BackendResult {
        let word = self
            .owned
            .get_mut((block / 64) as usize)
            .ok_or(BackendError)?;
        *word |= 1 << (block % 64);
        Ok(())
    }
    /// Makes `block` the overlay's own, with the base's content.
    fn copy_up(&mut self, block: u64) -> BackendResult {
        if self.owns(block) {
            return Ok(());
        }
        let mut content = [0; BLOCK as usize];
        let start = block * BLOCK;
        let len = self.base.len().saturating_sub(start).min(BLOCK);
        let part = content.get_mut(..len as usize).ok_or(BackendError)?;
        self.base.read(start, part)?;
        self.writes
            .write_all_at(&content, start)
            .map_err(|_| BackendError)?;
        self.own(block)
    }
    /// Makes whole blocks `first..end` the overlay's own, all zero.
    fn zero_blocks(&mut self, first: u64, end: u64) -> BackendResult {
        if first >= end {
            return Ok(());
        }
        // A hole reads as zero; the file is sparse and grows to the last block it owns.
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let len = (end - first) * BLOCK;
        let reach = self.writes.metadata().map_err(|_| BackendError)?.len();
        if reach < end * BLOCK {
            self.writes.set_len(end * BLOCK).map_err(|_| BackendError)?;
        }
        if rustix::fs::fallocate(&self.writes, punch, first * BLOCK, len).is_err() {
            for block in first..end {
                self.writes
                    .write_all_at(&[0; BLOCK as usize], block * BLOCK)
                    .map_err(|_| BackendError)?;
            }
        }
        (first..end).try_for_each(|block| self.own(block))
    }
}

/// The part of `offset..offset+len` that lies in the block of `offset`.
fn in_block(offset: u64, len: u64) -> u64 {
    len.min(BLOCK - offset % BLOCK)
}

impl OverlayDisk {
    fn check(&self, offset: u64, len: u64) -> BackendResult {
        match offset.checked_add(len) {
            Some(end) if end <= self.0.len => Ok(()),
            _ => Err(BackendError),
        }
    }
    fn check_write(&self, offset: u64, len: u64) -> BackendResult {
        if self.0.read_only {
            return Err(BackendError);
        }
        self.check(offset, len)
    }
}

impl BlockBackend for OverlayDisk {
    fn len(&self) -> u64 {
        self.0.len
    }
    fn read_only(&self) -> bool {
        self.0.read_only
    }
    fn read(&mut self, offset: u64, into: &mut [u8]) -> BackendResult {
        self.check(offset, into.len() as u64)?;
        let mut state = self.0.state();
        let mut at = offset;
        let mut rest = into;
        while !rest.is_empty() {
            // A run of blocks from the same place is one read.
            let owned = state.owns(at / BLOCK);
            let mut len = in_block(at, rest.len() as u64);
            while len < rest.len() as u64 && state.owns((at + len) / BLOCK) == owned {
                len += in_block(at + len, rest.len() as u64 - len);
            }
            let (part, tail) = rest.split_at_mut(len as usize);
            if owned {
                state
                    .writes
                    .read_exact_at(part, at)
                    .map_err(|_| BackendError)?;
            } else {
                state.base.read(at, part)?;
            }
            at += len;
            rest = tail;
        }
        Ok(())
    }
    fn write(&mut self, offset: u64, from: &[u8]) -> BackendResult {
        let len = from.len() as u64;
        self.check_write(offset, len)?;
        if from.is_empty() {
            return Ok(());
        }
        let mut state = self.0.state();
        let end = offset + len;
        let last = (end - 1) / BLOCK;
        // Only the blocks at both ends can be written in part.
        if !offset.is_multiple_of(BLOCK) {
            state.copy_up(offset / BLOCK)?;
        }
        if !end.is_multiple_of(BLOCK) {
            state.copy_up(last)?;
        }
        state
            .writes
            .write_all_at(from, offset)
            .map_err(|_| BackendError)?;
        (offset / BLOCK..=last).try_for_each(|block| state.own(block))
    }
    fn flush(&mut self) -> BackendResult {
        // Nothing of an overlay outlives the run, so nothing needs to be durable.
        Ok(())
    }
    fn discard(&mut self, offset: u64, len: u64) -> BackendResult {
        self.write_zeroes(offset, len, true)
    }
    fn write_zeroes(&mut self, offset: u64, len: u64, _may_unmap: bool) -> BackendResult {
        self.check_write(offset, len)?;
        let end = offset + len;
        let first_whole = offset.next_multiple_of(BLOCK).min(end);
        let last_whole = (end - end % BLOCK).max(first_whole);
        let zeroes = [0; BLOCK as usize];
        for (from, to) in [(offset, first_whole), (last_whole, end)] {
            let part = zeroes.get(..(to - from) as usize).ok_or(BackendError)?;
            self.write(from, part)?;
        }
        self.0
            .state()
            .zero_blocks(first_whole / BLOCK, last_whole / BLOCK)
    }
}

/// Whether a temporary directory can hold an overlay; for `ringer doctor`.
pub fn works_in(dir: &Path) -> bool {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::FileDisk;
    use crate::disk::image_file::ImageFile;
    use crate::entropy::FixedEntropy;
    use ringer_machine::backend::EntropyBackend;

    #[test]
    fn an_overlay_is_a_disk_and_leaves_its_base_alone() {
        const LEN: usize = 10 * 4096 + 512;
        let mut content = vec![0; LEN];
        let mut random = FixedEntropy::new(7);
        random.fill(&mut content).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &content).unwrap();
        let open = || ImageFile::open(file.path(), true).unwrap();
        let base = Box::new(FileDisk::new(open(), true, true));
        let overlay = Overlay::new(base, false).unwrap();
        let mut disk = OverlayDisk(overlay.clone());
        let mut model = content.clone();
        for _ in 0..2000 {
            let mut bytes = [0; 8];
            random.fill(&mut bytes).unwrap();
            let offset = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]) as usize % LEN;
            let len = u16::from_le_bytes([bytes[3], bytes[4]]) as usize % 9000;
            let len = len.min(LEN - offset);
            match bytes[5] % 3 {
                0 => {
                    disk.write(offset as u64, &vec![bytes[6]; len]).unwrap();
                    model[offset..offset + len].fill(bytes[6]);
                }
                1 => {
                    disk.write_zeroes(offset as u64, len as u64, true).unwrap();
                    model[offset..offset + len].fill(0);
                }
                _ => {
                    let mut back = vec![0; len];
                    disk.read(offset as u64, &mut back).unwrap();
                    assert_eq!(back, model[offset..offset + len]);
                }
            }
        }
        let mut back = vec![0; LEN];
        disk.read(0, &mut back).unwrap();
        assert_eq!(back, model);
        assert_eq!(std::fs::read(file.path()).unwrap(), content);
        assert!(disk.write(LEN as u64, b"x").is_err());

        // Saved block by block and put onto a fresh overlay, it is the same disk.
        let base = Box::new(FileDisk::new(open(), true, true));
        let copy = Overlay::new(base, false).unwrap();
        overlay
            .for_each_block(|number, block| copy.restore_blocks(number, block))
            .unwrap()
            .unwrap();
        OverlayDisk(copy.clone()).read(0, &mut back).unwrap();
        assert_eq!(back, model);
        for (first, len) in [(11, 4096), (9, 3 * 4096), (0, 100), (u64::MAX, 4096)] {
            assert!(
                copy.restore_blocks(first, &vec![0; len]).is_err(),
                "{first}"
            );
        }
    }
}
