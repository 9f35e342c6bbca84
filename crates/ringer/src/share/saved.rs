//! The server's state as bytes, for saved machines: each fid as the path of its file. When the
//! machine goes on, the files are found again beneath the share's folder, which may be another;
//! what is not found is `ESTALE` to the guest when it uses it.

use std::ops::RangeInclusive;
use std::sync::Arc;

use minicbor::{Decode, Encode};
use ringer_hart::persist::{PersistError, decode, encode};
use rustix::fs::FileType;
use rustix::io::Errno;

use super::fids::{self, Fid, Fids, MAX_FIDS, MAX_PATHS, Open, Parked, Place};
use super::folder::Folder;
use super::message::FidNumber;

const PART: &str = "a shared folder";

#[derive(Encode, Decode)]
struct State {
    /// The longest message that was agreed on.
    #[n(0)]
    msize: Option<u32>,
    #[n(1)]
    fids: Vec<SavedFid>,
}

#[derive(Encode, Decode)]
struct SavedFid {
    #[n(0)]
    number: FidNumber,
    /// The path from the root; none if the file was gone already.
    #[n(1)]
    path: Option<minicbor::bytes::ByteVec>,
    /// 0 another type, 1 folder, 2 file, 3 symbolic link.
    #[n(2)]
    file_type: u8,
    /// 0 not open, 1 folder, 2 to read, 3 to write, 4 both.
    #[n(3)]
    open: u8,
}

impl SavedFid {
    fn of(folder: &Folder, number: FidNumber, fid: &Fid) -> Self {
        let parked = match &fid.place {
            Place::Held(file) => fids::park(folder, file, false).ok(),
            Place::Parked(parked) => Some(parked.clone()),
            Place::Lost => None,
        };
        Self {
            number,
            file_type: match parked.as_ref().map(|parked| parked.file_type) {
                Some(FileType::Directory) => 1,
                Some(FileType::RegularFile) => 2,
                Some(FileType::Symlink) => 3,
                _ => 0,
            },
            path: parked.map(|parked| parked.path.into()),
            open: match fid.open {
                None => 0,
                Some(Open::Folder) => 1,
                Some(Open::File {
                    read: true,
                    write: false,
                }) => 2,
                Some(Open::File { read: false, .. }) => 3,
                Some(Open::File { .. }) => 4,
            },
        }
    }
    fn open(&self) -> Result<Option<Open>, PersistError> {
        let file = |read, write| Some(Open::File { read, write });
        Ok(match self.open {
            0 => None,
            1 => Some(Open::Folder),
            2 => file(true, false),
            3 => file(false, true),
            4 => file(true, true),
            _ => return Err(damaged("a file is open in no known way")),
        })
    }
    /// The file as it is now.
    fn place(self, folder: &Folder, open: Option<Open>) -> Place {
        let Some(path) = self.path else {
            return Place::Lost;
        };
        let parked = Parked {
            path: path.into(),
            file_type: match self.file_type {
                1 => FileType::Directory,
                2 => FileType::RegularFile,
                3 => FileType::Symlink,
                _ => FileType::Unknown,
            },
            identity: None,
        };
        let Some(open) = open else {
            return Place::Parked(parked);
        };
        match reopen(folder, &parked, open) {
            Ok(file) => Place::Held(Arc::new(file)),
            Err(_) => Place::Lost,
        }
    }
}

/// Opens a file again as it was open. What the share does not allow any more is lost as well.
fn reopen(folder: &Folder, parked: &Parked, open: Open) -> Result<std::os::fd::OwnedFd, Errno> {
    if matches!(open, Open::File { write: true, .. }) {
        folder.writable()?;
    }
    folder.reopen(fids::find(folder, parked)?, open.flags())
}

/// The state as bytes.
pub fn save(folder: &Folder, fids: &Fids, msize: Option<u32>) -> Vec<u8> {
    let fids = fids
        .iter()
        .map(|(number, fid)| SavedFid::of(folder, number, fid));
    encode(&State {
        msize,
        fids: fids.collect(),
    })
}

/// Takes on a saved state; returns the longest message, which must be within `limits`. On an error
/// nothing has changed.
pub fn restore(
    folder: &Folder,
    fids: &mut Fids,
    limits: RangeInclusive<u32>,
    bytes: &[u8],
) -> Result<Option<u32>, PersistError> {
    let state: State = decode(PART, bytes)?;
    if state.msize.is_some_and(|msize| !limits.contains(&msize)) {
        return Err(damaged("its messages are too long or too short"));
    }
    let paths = state.fids.iter().filter_map(|fid| fid.path.as_ref());
    if state.fids.len() > MAX_FIDS || paths.map(|path| path.len()).sum::<usize>() > MAX_PATHS {
        return Err(damaged("it has more fids than a guest can have"));
    }
    let opens = state
        .fids
        .iter()
        .map(SavedFid::open)
        .collect::<Result<Vec<_>, _>>()?;
    fids.clear();
    for (fid, open) in state.fids.into_iter().zip(opens) {
        let number = fid.number;
        let place = fid.place(folder, open);
        // Where there are fewer descriptors than there were, the rest is lost to the guest.
        if fids.insert(folder, number, place, open).is_err() {
            let _ = fids.insert(folder, number, Place::Lost, open);
        }
    }
    Ok(state.msize)
}

fn damaged(reason: &str) -> PersistError {
    PersistError::Damaged {
        part: PART,
        reason: reason.to_string(),
    }
}
