//! Parts of the host's disks that guests have as disks of their own.

use alloc::sync::Arc;
use alloc::vec::Vec;

use ringer_machine::backend::{BackendError, BackendResult, BlockBackend};
use spin::Mutex;

/// One of the host's disks, of which several guests may have parts.
pub type SharedDisk<D> = Arc<Mutex<D>>;

/// What a guest is to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim<'a> {
    /// The guest's name.
    pub guest: &'a str,
    /// The number of its disk.
    pub number: usize,
    /// The number of the host's disk.
    pub disk: u32,
    /// The first byte.
    pub offset: u64,
    /// How many bytes.
    pub size: u64,
    /// Whether it may write.
    pub writable: bool,
}

/// What one of the host's disks is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// Its size in bytes.
    pub size: u64,
    /// Whether it cannot be written.
    pub read_only: bool,
}

/// What a guest cannot have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadClaim<'a> {
    /// There are not so many disks.
    #[error("{guest}: disk {number} is a part of the host's disk {disk}, and the host has {1}",
        guest = .0.guest, number = .0.number, disk = .0.disk)]
    NoDisk(Claim<'a>, DiskCount),
    /// The disk is smaller.
    #[error("{guest}: disk {number} ends at byte {end} of the host's disk {disk}, which has {1}",
        guest = .0.guest, number = .0.number, end = .0.offset.saturating_add(.0.size), disk = .0.disk)]
    Beyond(Claim<'a>, u64),
    /// The disk cannot be written.
    #[error("{guest}: disk {number} is writable, and the host's disk {disk} is not",
        guest = .0.guest, number = .0.number, disk = .0.disk)]
    ReadOnly(Claim<'a>),
    /// Somebody else has a part of it, and one of the two may write.
    #[error("{guest}: disk {number} and disk {other_number} of {other} share a part of the host's \
             disk {disk}, and one of them is writable",
        guest = .0.guest, number = .0.number, disk = .0.disk,
        other = .1.guest, other_number = .1.number)]
    Overlap(Claim<'a>, Claim<'a>),
}

/// How many disks the host has, in words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskCount(usize);

impl core::fmt::Display for DiskCount {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            0 => f.write_str("none"),
            1 => f.write_str("1 disk"),
            count => write!(f, "{count} disks"),
        }
    }
}

impl Claim<'_> {
    fn end(&self) -> u64 {
        self.offset.saturating_add(self.size)
    }
    fn collides(&self, other: &Self) -> bool {
        let apart = self.end() <= other.offset || other.end() <= self.offset;
        self.disk == other.disk && !apart && (self.writable || other.writable)
    }
}

/// Checks that all `claims` on the host's `disks` can be met together.
pub fn check<'a>(disks: &[Extent], claims: &[Claim<'a>]) -> Result<(), BadClaim<'a>> {
    for (at, claim) in claims.iter().enumerate() {
        let Some(disk) = disks.get(claim.disk as usize) else {
            return Err(BadClaim::NoDisk(*claim, DiskCount(disks.len())));
        };
        if claim
            .offset
            .checked_add(claim.size)
            .is_none_or(|end| end > disk.size)
        {
            return Err(BadClaim::Beyond(*claim, disk.size));
        }
        if claim.writable && disk.read_only {
            return Err(BadClaim::ReadOnly(*claim));
        }
        let before = claims.iter().take(at);
        if let Some(other) = before.into_iter().find(|other| claim.collides(other)) {
            return Err(BadClaim::Overlap(*claim, *other));
        }
    }
    Ok(())
}

/// A range of a disk, as a disk.
pub struct DiskRange<D> {
    disk: SharedDisk<D>,
    offset: u64,
    size: u64,
    writable: bool,
}

impl<D: BlockBackend> DiskRange<D> {
    /// What `claim` is about, of `disks`.
    pub fn new(disks: &[SharedDisk<D>], claim: &Claim<'_>) -> Option<Self> {
        Some(Self {
            disk: disks.get(claim.disk as usize)?.clone(),
            offset: claim.offset,
            size: claim.size,
            writable: claim.writable,
        })
    }
    /// The offset on the disk of what is all in the range.
    fn place(&self, offset: u64, len: u64) -> BackendResult<u64> {
        let end = offset.checked_add(len).ok_or(BackendError)?;
        if end > self.size {
            return Err(BackendError);
        }
        self.offset.checked_add(offset).ok_or(BackendError)
    }
    fn place_to_write(&self, offset: u64, len: u64) -> BackendResult<u64> {
        if !self.writable {
            return Err(BackendError);
        }
        self.place(offset, len)
    }
}

impl<D: BlockBackend> BlockBackend for DiskRange<D> {
    fn len(&self) -> u64 {
        self.size
    }
    fn read_only(&self) -> bool {
        !self.writable
    }
    fn read(&mut self, offset: u64, into: &mut [u8]) -> BackendResult {
        let at = self.place(offset, into.len() as u64)?;
        self.disk.lock().read(at, into)
    }
    fn write(&mut self, offset: u64, from: &[u8]) -> BackendResult {
        let at = self.place_to_write(offset, from.len() as u64)?;
        self.disk.lock().write(at, from)
    }
    fn flush(&mut self) -> BackendResult {
        self.disk.lock().flush()
    }
    fn discard(&mut self, offset: u64, len: u64) -> BackendResult {
        let at = self.place_to_write(offset, len)?;
        self.disk.lock().discard(at, len)
    }
    fn write_zeroes(&mut self, offset: u64, len: u64, may_unmap: bool) -> BackendResult {
        let at = self.place_to_write(offset, len)?;
        self.disk.lock().write_zeroes(at, len, may_unmap)
    }
}

/// The claims of all guests of a bundle.
pub fn claims<'a>(guests: &[ringer_bundle::Guest<'a>]) -> Vec<Claim<'a>> {
    let mut claims = Vec::new();
    for guest in guests {
        for (number, disk) in guest.disks.iter().enumerate() {
            claims.extend(claim(guest.name, number, disk));
        }
    }
    claims
}

/// The claim that a guest's disk is, if it is one.
pub fn claim<'a>(
    guest: &'a str,
    number: usize,
    disk: &ringer_bundle::Disk<'_>,
) -> Option<Claim<'a>> {
    match *disk {
        ringer_bundle::Disk::Ram { .. } => None,
        ringer_bundle::Disk::Host {
            disk,
            offset,
            size,
            writable,
        } => Some(Claim {
            guest,
            number,
            disk,
            offset,
            size,
            writable,
        }),
    }
}

#[cfg(test)]
mod tests {
    use ringer_machine::backend::MemoryDisk;

    use super::*;

    const DISKS: [Extent; 2] = [
        Extent {
            size: 8192,
            read_only: false,
        },
        Extent {
            size: 4096,
            read_only: true,
        },
    ];

    fn part(guest: &str, disk: u32, offset: u64, size: u64, writable: bool) -> Claim<'_> {
        Claim {
            guest,
            number: 0,
            disk,
            offset,
            size,
            writable,
        }
    }

    #[test]
    fn neighbours_and_readers_are_welcome() {
        let claims = [
            part("a", 0, 0, 4096, true),
            part("b", 0, 4096, 2048, false),
            part("c", 0, 4096, 4096, false),
            part("d", 1, 0, 4096, false),
        ];
        assert_eq!(check(&DISKS, &claims), Ok(()));
    }

    #[test]
    fn what_cannot_be_is_refused_in_one_line() {
        let said = |claims: &[Claim<'static>]| check(&DISKS, claims).unwrap_err().to_string();
        let writer = part("a", 0, 512, 4096, true);
        assert_eq!(
            said(&[part("a", 2, 0, 512, false)]),
            "a: disk 0 is a part of the host's disk 2, and the host has 2 disks"
        );
        assert_eq!(
            said(&[part("a", 0, 4096, 4608, false)]),
            "a: disk 0 ends at byte 8704 of the host's disk 0, which has 8192"
        );
        assert_eq!(
            said(&[part("a", 1, 0, 512, true)]),
            "a: disk 0 is writable, and the host's disk 1 is not"
        );
        for other in [part("b", 0, 0, 1024, false), part("b", 0, 4096, 512, true)] {
            assert_eq!(
                said(&[writer, other]),
                "b: disk 0 and disk 0 of a share a part of the host's disk 0, and one of them is \
                 writable"
            );
        }
        assert!(said(&[part("a", 0, u64::MAX - 511, 1024, true)]).contains("ends at byte"));
        let none = check(&[], &[writer]).unwrap_err();
        assert!(none.to_string().ends_with("and the host has none"));
    }

    #[test]
    fn a_range_stays_in_its_place() {
        let disk = Arc::new(Mutex::new(MemoryDisk::new(vec![1; 4096], false)));
        let disks = [disk.clone()];
        let mut range = DiskRange::new(&disks, &part("a", 0, 1024, 2048, true)).unwrap();
        assert_eq!((range.len(), range.read_only()), (2048, false));
        range.write(0, &[2; 512]).unwrap();
        range.write_zeroes(1536, 512, true).unwrap();
        let mut into = [0; 512];
        for offset in [1537, 2048, u64::MAX - 1000] {
            assert_eq!(range.write(offset, &[9; 512]), Err(BackendError));
            assert_eq!(range.read(offset, &mut into), Err(BackendError));
            assert_eq!(range.write_zeroes(offset, 512, false), Err(BackendError));
            assert_eq!(range.discard(offset, 512), Err(BackendError));
        }
        let mut reader = DiskRange::new(&disks, &part("b", 0, 1024, 512, false)).unwrap();
        assert_eq!(reader.write(0, &[9; 512]), Err(BackendError));
        assert_eq!(reader.write_zeroes(0, 512, false), Err(BackendError));
        assert_eq!(reader.discard(0, 512), Err(BackendError));
        reader.read(0, &mut into).unwrap();
        assert_eq!(into, [2; 512]);
        let all = [&[1; 1024][..], &[2; 512], &[1; 1024], &[0; 512], &[1; 1024]].concat();
        assert_eq!(disk.lock().bytes(), all);
    }
}
