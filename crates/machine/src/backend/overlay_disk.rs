//! A disk in memory that starts as a given image and keeps what is written elsewhere: the image
//! stays as it is, and only blocks that were written cost memory. All of it is given at the
//! start, so a guest that writes everywhere runs out of its own room and of nothing else.

use alloc::vec;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use super::{BackendError, BackendResult, BlockBackend};

/// What is copied when a part of it is first written.
pub const BLOCK: usize = 4096;

/// A writable disk over an image `I`, with room `R` for what is written.
#[derive(Debug)]
pub struct OverlayDisk<I, R> {
    image: I,
    room: R,
    /// For each block of the image where it is in the room, counted from 1.
    places: Vec<Option<NonZeroU32>>,
    /// Blocks of the room in use.
    used: u32,
}

/// A part of a request that lies in one block.
struct Part {
    block: usize,
    start: usize,
    len: usize,
}

fn parts(offset: usize, len: usize) -> impl Iterator<Item = Part> {
    let mut done = 0;
    core::iter::from_fn(move || {
        let at = offset + done;
        let part = Part {
            block: at / BLOCK,
            start: at % BLOCK,
            len: (BLOCK - at % BLOCK).min(len - done),
        };
        done += part.len;
        (part.len > 0).then_some(part)
    })
}

impl<I: AsRef<[u8]> + Send, R: AsRef<[u8]> + AsMut<[u8]> + Send> OverlayDisk<I, R> {
    /// A disk that starts as `image`. Of the room whole blocks are used.
    pub fn new(image: I, room: R) -> Self {
        let blocks = image.as_ref().len().div_ceil(BLOCK);
        Self {
            image,
            room,
            places: vec![None; blocks],
            used: 0,
        }
    }
    /// How many blocks were written, and how many can be.
    pub fn usage(&self) -> (usize, usize) {
        (self.used as usize, self.room.as_ref().len() / BLOCK)
    }
    /// Offset and length of a request, if all of it lies on the disk.
    fn range(&self, offset: u64, len: u64) -> BackendResult<(usize, usize)> {
        let end = offset.checked_add(len).ok_or(BackendError)?;
        if end > self.len() {
            return Err(BackendError);
        }
        Ok((offset as usize, len as usize))
    }
    /// Where in the room a block is.
    fn place(&self, block: usize) -> BackendResult<Option<usize>> {
        let place = self.places.get(block).ok_or(BackendError)?;
        Ok(place.map(|place| (place.get() - 1) as usize * BLOCK))
    }
    fn find(&self, part: &Part) -> BackendResult<&[u8]> {
        let (all, start) = match self.place(part.block)? {
            Some(place) => (self.room.as_ref(), place + part.start),
            None => (self.image.as_ref(), part.block * BLOCK + part.start),
        };
        all.get(start..start + part.len).ok_or(BackendError)
    }
    /// The same, to be written: the block is copied if it was not yet.
    fn claim(&mut self, part: &Part) -> BackendResult<&mut [u8]> {
        let place = match self.place(part.block)? {
            Some(place) => place,
            None => self.copy(part.block)?,
        };
        let start = place + part.start;
        let room = self.room.as_mut().get_mut(start..start + part.len);
        room.ok_or(BackendError)
    }
    fn copy(&mut self, block: usize) -> BackendResult<usize> {
        let place = self.used as usize * BLOCK;
        let number = self.used.checked_add(1).ok_or(BackendError)?;
        let to = self.room.as_mut().get_mut(place..place + BLOCK);
        let to = to.ok_or(BackendError)?;
        let from = self.image.as_ref().get(block * BLOCK..);
        // The image's last block may be shorter.
        for (to, from) in to.iter_mut().zip(from.ok_or(BackendError)?) {
            *to = *from;
        }
        *self.places.get_mut(block).ok_or(BackendError)? = NonZeroU32::new(number);
        self.used = number;
        Ok(place)
    }
}

impl<I: AsRef<[u8]> + Send, R: AsRef<[u8]> + AsMut<[u8]> + Send> BlockBackend
    for OverlayDisk<I, R>
{
    fn len(&self) -> u64 {
        self.image.as_ref().len() as u64
    }
    fn read_only(&self) -> bool {
        false
    }
    fn read(&mut self, offset: u64, into: &mut [u8]) -> BackendResult {
        let (offset, len) = self.range(offset, into.len() as u64)?;
        let mut into = into;
        for part in parts(offset, len) {
            let (to, rest) = into.split_at_mut_checked(part.len).ok_or(BackendError)?;
            to.copy_from_slice(self.find(&part)?);
            into = rest;
        }
        Ok(())
    }
    fn write(&mut self, offset: u64, from: &[u8]) -> BackendResult {
        let (offset, len) = self.range(offset, from.len() as u64)?;
        let mut from = from;
        for part in parts(offset, len) {
            let (now, rest) = from.split_at_checked(part.len).ok_or(BackendError)?;
            self.claim(&part)?.copy_from_slice(now);
            from = rest;
        }
        Ok(())
    }
    fn flush(&mut self) -> BackendResult {
        Ok(())
    }
    fn discard(&mut self, offset: u64, len: u64) -> BackendResult {
        self.range(offset, len).map(|_| ())
    }
    fn write_zeroes(&mut self, offset: u64, len: u64, _may_unmap: bool) -> BackendResult {
        let (offset, len) = self.range(offset, len)?;
        for part in parts(offset, len) {
            // What is zero already needs no block of its own.
            if self.find(&part)?.iter().any(|byte| *byte != 0) {
                self.claim(&part)?.fill(0);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_what_is_written_takes_room() {
        let image = vec![5; 10 * BLOCK + 512];
        let mut disk = OverlayDisk::new(&image[..], vec![0; 2 * BLOCK]);
        let mut into = vec![0; image.len()];
        disk.read(0, &mut into).unwrap();
        assert_eq!(into, image);
        assert_eq!(disk.usage(), (0, 2));
        // The last block is shorter than others.
        disk.write(10 * BLOCK as u64, &[7; 512]).unwrap();
        disk.write(BLOCK as u64 - 512, &[8; 512]).unwrap();
        disk.write(0, &[9; 512]).unwrap();
        assert_eq!(disk.usage(), (2, 2));
        disk.read(0, &mut into).unwrap();
        assert_eq!(into[..512], [9; 512]);
        assert_eq!(into[512..BLOCK - 512], [5; BLOCK - 1024]);
        assert_eq!(into[BLOCK - 512..BLOCK], [8; 512]);
        assert_eq!(into[BLOCK..10 * BLOCK], [5; 9 * BLOCK]);
        assert_eq!(into[10 * BLOCK..], [7; 512]);
        assert!(image.iter().all(|byte| *byte == 5));
    }

    #[test]
    fn without_room_writes_fail_and_reads_go_on() {
        let image = vec![5; 4 * BLOCK];
        let mut disk = OverlayDisk::new(&image[..], vec![0; BLOCK + 100]);
        disk.write(0, &[1; 512]).unwrap();
        assert_eq!(disk.write(BLOCK as u64, &[1; 512]), Err(BackendError));
        assert_eq!(
            disk.write_zeroes(BLOCK as u64, 512, true),
            Err(BackendError)
        );
        // What has its room is written still.
        disk.write(512, &[2; 512]).unwrap();
        disk.write_zeroes(0, 512, true).unwrap();
        let mut into = [9; 1024];
        disk.read(0, &mut into).unwrap();
        assert_eq!(into[..512], [0; 512]);
        assert_eq!(into[512..], [2; 512]);
        disk.read(BLOCK as u64, &mut into).unwrap();
        assert_eq!(into, [5; 1024]);
    }

    #[test]
    fn refuses_what_is_beyond() {
        let image = [5; 1024];
        let mut disk = OverlayDisk::new(&image[..], vec![0; BLOCK]);
        let mut into = [0; 24];
        for offset in [1001, 1025, u64::MAX] {
            assert_eq!(disk.read(offset, &mut into), Err(BackendError));
            assert_eq!(disk.write(offset, &into), Err(BackendError));
            assert_eq!(disk.write_zeroes(offset, 24, false), Err(BackendError));
            assert_eq!(disk.discard(offset, u64::MAX), Err(BackendError));
        }
        assert_eq!(disk.usage(), (0, 1));
    }

    proptest! {
        #[test]
        fn reads_like_memory(
            sectors in 1..60usize,
            requests in prop::collection::vec((0..60usize, 1..20usize, 0..3u8, any::<u8>()), 1..60),
        ) {
            let mut model: Vec<u8> = (0..sectors * 512).map(|at| (at / 512) as u8).collect();
            let image = model.clone();
            let room = vec![0xaa; sectors.div_ceil(8) * BLOCK];
            let mut disk = OverlayDisk::new(&image[..], room);
            for (at, count, kind, value) in requests {
                let (at, len) = (at * 512, count * 512);
                let Some(expected) = model.get_mut(at..at + len) else {
                    prop_assert_eq!(disk.write(at as u64, &vec![0; len]), Err(BackendError));
                    continue;
                };
                match kind {
                    0 => {
                        let mut into = vec![0; len];
                        disk.read(at as u64, &mut into).unwrap();
                        prop_assert_eq!(&into[..], &*expected);
                    }
                    1 => {
                        expected.fill(value);
                        disk.write(at as u64, expected).unwrap();
                    }
                    _ => {
                        expected.fill(0);
                        disk.write_zeroes(at as u64, len as u64, true).unwrap();
                    }
                }
            }
            let mut all = vec![0; model.len()];
            disk.read(0, &mut all).unwrap();
            prop_assert_eq!(all, model);
        }
    }
}
