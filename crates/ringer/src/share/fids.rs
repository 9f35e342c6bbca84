//! The table of fids: which files the guest has a handle of. A guest can have far more fids than
//! a process can have descriptors, so those that were not used for long are *parked*: their
//! descriptors are closed, and their paths kept until they are used again.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{self, FileType, OFlags};
use rustix::io::Errno;

use super::folder::{Folder, Identity};
use super::message::FidNumber;

/// Fids that a guest can have. A guest that caches has one for each file that it knows of.
pub const MAX_FIDS: usize = 256 << 10;
/// Bytes of the paths of parked fids.
pub const MAX_PATHS: usize = 32 << 20;
/// Between two parkings are as many uses as descriptors may be held, divided by this; most of what
/// one parking frees is far more.
const PARKING_PAUSE: usize = 64;

/// How a file is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Open {
    /// As a file.
    File {
        /// It may be read.
        read: bool,
        /// It may be written.
        write: bool,
    },
    /// As a folder, to be listed.
    Folder,
}

impl Open {
    /// The flags that open it so again.
    pub fn flags(self) -> OFlags {
        match self {
            Self::Folder => OFlags::RDONLY | OFlags::DIRECTORY,
            Self::File {
                read: true,
                write: true,
            } => OFlags::RDWR,
            Self::File { write: true, .. } => OFlags::WRONLY,
            Self::File { .. } => OFlags::RDONLY,
        }
    }
}

/// A file that is found again by its path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parked {
    /// From the root of the share.
    pub path: Vec<u8>,
    /// Folder, file, symbolic link or other.
    pub file_type: FileType,
    /// Which file it was; in a restored machine it may be another.
    pub identity: Option<Identity>,
}

/// Where a fid's file is.
#[derive(Debug)]
pub enum Place {
    /// A descriptor names it, or, if it is open, is the open file.
    Held(Arc<OwnedFd>),
    /// It is to be found by its path.
    Parked(Parked),
    /// It is gone.
    Lost,
}

/// A guest's handle of a file.
#[derive(Debug)]
pub struct Fid {
    /// The file.
    pub place: Place,
    /// How it is open, if it is.
    pub open: Option<Open>,
    used: u64,
}

/// The fids of one share.
pub struct Fids {
    table: BTreeMap<FidNumber, Fid>,
    /// How many descriptors may be held.
    budget: usize,
    held: usize,
    path_bytes: usize,
    /// Counts uses, to tell what was not used for long.
    now: u64,
    /// When fids may be parked again.
    next_parking: u64,
}

impl Fids {
    /// An empty table that holds at most `budget` descriptors.
    pub fn new(budget: usize) -> Self {
        Self {
            table: BTreeMap::new(),
            budget: budget.max(8),
            held: 0,
            path_bytes: 0,
            now: 0,
            next_parking: 0,
        }
    }
    /// Forgets them all.
    pub fn clear(&mut self) {
        *self = Self::new(self.budget);
    }
    /// How many descriptors are held.
    pub fn held(&self) -> usize {
        self.held
    }
    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (FidNumber, &Fid)> {
        self.table.iter().map(|(&number, fid)| (number, fid))
    }
    /// Whether `number` is in use.
    pub fn contains(&self, number: FidNumber) -> bool {
        self.table.contains_key(&number)
    }

    /// Adds a fid, or replaces the one of this number.
    pub fn insert(
        &mut self,
        folder: &Folder,
        number: FidNumber,
        place: Place,
        open: Option<Open>,
    ) -> Result<(), Errno> {
        match self.table.get(&number).map(|fid| &fid.place) {
            None if self.table.len() >= MAX_FIDS => return Err(Errno::NFILE),
            // It takes the other's room.
            Some(Place::Held(_)) if matches!(place, Place::Held(_)) => {}
            _ => self.make_room(folder, &place)?,
        }
        self.remove(number);
        self.count(&place, true);
        self.now += 1;
        self.table.insert(
            number,
            Fid {
                place,
                open,
                used: self.now,
            },
        );
        Ok(())
    }
    /// Forgets a fid; says whether there was one.
    pub fn remove(&mut self, number: FidNumber) -> bool {
        let Some(fid) = self.table.remove(&number) else {
            return false;
        };
        self.count(&fid.place, false);
        true
    }
    /// The descriptor of a fid, which is found again if it was parked; and how it is open.
    pub fn get(
        &mut self,
        folder: &Folder,
        number: FidNumber,
    ) -> Result<(Arc<OwnedFd>, Option<Open>), Errno> {
        self.now += 1;
        let now = self.now;
        let fid = self.table.get_mut(&number).ok_or(Errno::BADF)?;
        fid.used = now;
        let open = fid.open;
        let parked = match &fid.place {
            Place::Held(file) => return Ok((file.clone(), open)),
            Place::Lost => return Err(Errno::STALE),
            Place::Parked(parked) => parked.clone(),
        };
        let file = Arc::new(find(folder, &parked)?);
        self.insert(folder, number, Place::Held(file.clone()), open)?;
        Ok((file, open))
    }
    fn count(&mut self, place: &Place, more: bool) {
        let (count, by) = match place {
            Place::Held(_) => (&mut self.held, 1),
            Place::Parked(parked) => (&mut self.path_bytes, parked.path.len()),
            Place::Lost => return,
        };
        *count = if more {
            *count + by
        } else {
            count.saturating_sub(by)
        };
    }
    /// Makes sure that `place` can be taken in.
    fn make_room(&mut self, folder: &Folder, place: &Place) -> Result<(), Errno> {
        match place {
            Place::Held(_) if self.held >= self.budget => {
                // A guest can see to it that none can be parked. Then looking at all of them for
                // every request would cost more than a request may.
                if self.now >= self.next_parking {
                    self.park(folder);
                    self.next_parking = self.now + (self.budget / PARKING_PAUSE) as u64;
                }
                match self.held < self.budget {
                    true => Ok(()),
                    false => Err(Errno::MFILE),
                }
            }
            Place::Parked(parked) if self.path_bytes + parked.path.len() > MAX_PATHS => {
                Err(Errno::NFILE)
            }
            _ => Ok(()),
        }
    }
    /// Closes the descriptors of a quarter of what is held, what was not used for longest first.
    /// Open files keep theirs.
    fn park(&mut self, folder: &Folder) {
        let idle = |fid: &Fid| matches!(fid.place, Place::Held(_)) && fid.open.is_none();
        let mut idle: Vec<(u64, FidNumber)> = (self.table.iter())
            .filter(|(_, fid)| idle(fid))
            .map(|(&number, fid)| (fid.used, number))
            .collect();
        idle.sort_unstable();
        let enough = self.held.saturating_sub(self.budget.div_ceil(4));
        for (_, number) in idle {
            if self.held <= enough {
                return;
            }
            let Some(Fid {
                place: Place::Held(file),
                ..
            }) = self.table.get(&number)
            else {
                continue;
            };
            // What cannot be found again by a path keeps its descriptor.
            let Ok(parked) = park(folder, file, true) else {
                continue;
            };
            if self.path_bytes + parked.path.len() > MAX_PATHS {
                return;
            }
            let parked = Place::Parked(parked);
            self.count(&parked, true);
            if let Some(fid) = self.table.get_mut(&number) {
                let held = std::mem::replace(&mut fid.place, parked);
                self.count(&held, false);
            }
        }
    }
}

/// How `file` is found again: by its path, and, with `same`, only if it is the same file.
pub fn park(folder: &Folder, file: &OwnedFd, same: bool) -> Result<Parked, Errno> {
    let stat = fs::fstat(file)?;
    Ok(Parked {
        path: folder.path_of(file)?,
        file_type: FileType::from_raw_mode(stat.st_mode),
        identity: same.then(|| Identity::of(&stat)),
    })
}

/// Finds a file again.
pub fn find(folder: &Folder, parked: &Parked) -> Result<OwnedFd, Errno> {
    let file = folder.find(&parked.path).map_err(|_| Errno::STALE)?;
    let stat = fs::fstat(&file)?;
    let same_type = FileType::from_raw_mode(stat.st_mode) == parked.file_type;
    let same = parked
        .identity
        .is_none_or(|identity| identity == Identity::of(&stat));
    match same_type && same {
        true => Ok(file),
        false => Err(Errno::STALE),
    }
}
