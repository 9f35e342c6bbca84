//! Opening files and folders, making files, reading, writing and listing.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{self, FileType, Mode, OFlags, RawDir, SeekFrom};
use rustix::io::{self, Errno};

use super::Server;
use super::attributes::{FILE_MODE, KIND_FOLDER, KIND_SYMLINK};
use crate::share::fids::{Open, Place};
use crate::share::folder::Identity;
use crate::share::message::{FidNumber, Name, Reply};

/// Flags of `Tlopen` and `Tlcreate` that mean something here. The others are hints, or the
/// guest's kernel sees to them, as it does to appending.
mod flag {
    pub const ACCESS: u32 = 0o3;
    pub const WRITE_ONLY: u32 = 0o1;
    pub const READ_WRITE: u32 = 0o2;
    pub const EXCLUSIVE: u32 = 0o200;
    pub const TRUNCATE: u32 = 0o1000;
    pub const DATA_SYNC: u32 = 0o10000;
    pub const FOLDER: u32 = 0o200_000;
    pub const SYNC: u32 = 0o4_000_000;
}

/// Bytes of a folder's entries taken from the host at a time.
const ENTRIES: usize = 64 << 10;
/// Bytes of an entry in an answer, besides its name.
const ENTRY: usize = 13 + 8 + 1 + 2;
/// Types of entries, as Linux has them.
const DT_UNKNOWN: u8 = 0;
const DT_DIR: u8 = 4;
const DT_REG: u8 = 8;
const DT_LNK: u8 = 10;

/// How a guest wants a file to be open.
#[derive(Clone, Copy)]
struct Wish {
    read: bool,
    write: bool,
    truncate: bool,
    folder: bool,
    exclusive: bool,
    sync: OFlags,
}

impl Wish {
    fn new(flags: u32) -> Result<Self, Errno> {
        let has = |flag| flags & flag != 0;
        let (read, write) = match flags & flag::ACCESS {
            0 => (true, false),
            flag::WRITE_ONLY => (false, true),
            flag::READ_WRITE => (true, true),
            _ => return Err(Errno::INVAL),
        };
        Ok(Self {
            read,
            write,
            truncate: has(flag::TRUNCATE),
            folder: has(flag::FOLDER),
            exclusive: has(flag::EXCLUSIVE),
            sync: match (has(flag::SYNC), has(flag::DATA_SYNC)) {
                (true, _) => OFlags::SYNC,
                (false, true) => OFlags::DSYNC,
                _ => OFlags::empty(),
            },
        })
    }
    fn as_file(self) -> Open {
        Open::File {
            read: self.read,
            write: self.write,
        }
    }
}

impl Server {
    /// How much a guest best reads and writes at a time: whole pages.
    fn unit(&self) -> u32 {
        self.most_data(u32::MAX) & !0xfff
    }

    pub(super) fn open(
        &mut self,
        fid: FidNumber,
        flags: u32,
        reply: &mut Reply<'_>,
    ) -> Result<(), Errno> {
        let wish = Wish::new(flags)?;
        let (held, open) = self.file(fid)?;
        if open.is_some() {
            return Err(Errno::BADF);
        }
        if wish.write || wish.truncate {
            self.folder.writable()?;
        }
        let (file, open) = self.open_held(&held, wish)?;
        reply.qid(&self.qid(&fs::fstat(&file)?));
        reply.u32(self.unit());
        self.insert(fid, Place::Held(Arc::new(file)), Some(open))
    }
    fn open_held(&self, held: &OwnedFd, wish: Wish) -> Result<(OwnedFd, Open), Errno> {
        let open = match FileType::from_raw_mode(fs::fstat(held)?.st_mode) {
            FileType::Directory if wish.write || wish.truncate => return Err(Errno::ISDIR),
            FileType::Directory => Open::Folder,
            _ if wish.folder => return Err(Errno::NOTDIR),
            _ => wish.as_file(),
        };
        let truncate = if wish.truncate {
            OFlags::TRUNC
        } else {
            OFlags::empty()
        };
        let file = self
            .folder
            .reopen(held, open.flags() | truncate | wish.sync)?;
        Ok((file, open))
    }

    /// The fid of the folder becomes the new file's.
    pub(super) fn create(
        &mut self,
        fid: FidNumber,
        name: Name<'_>,
        flags: u32,
        mode: u32,
        reply: &mut Reply<'_>,
    ) -> Result<(), Errno> {
        let wish = Wish::new(flags)?;
        let folder = self.file_to_change(fid)?;
        let access = wish.as_file().flags() | wish.sync;
        let (file, open) = match self.make_file(&folder, name, access, mode) {
            // Whoever was first made a file, but perhaps something that must not be opened.
            Err(Errno::EXIST) if !wish.exclusive => {
                self.open_held(&self.folder.step(&folder, name)?, wish)?
            }
            made => (made?, wish.as_file()),
        };
        reply.qid(&self.qid(&fs::fstat(&file)?));
        reply.u32(self.unit());
        self.insert(fid, Place::Held(Arc::new(file)), Some(open))
    }
    /// Makes a file with exactly this mode, whatever this process' umask is: the guest has
    /// applied its own.
    pub(super) fn make_file(
        &self,
        folder: &OwnedFd,
        name: Name<'_>,
        access: OFlags,
        mode: u32,
    ) -> Result<OwnedFd, Errno> {
        let mode = Mode::from_raw_mode(mode & FILE_MODE);
        let file = self.folder.create(folder, name, access, mode)?;
        if Mode::from_raw_mode(fs::fstat(&file)?.st_mode) != mode {
            fs::fchmod(&file, mode)?;
        }
        Ok(file)
    }

    pub(super) fn read(
        &mut self,
        fid: FidNumber,
        offset: u64,
        count: u32,
        reply: &mut Reply<'_>,
    ) -> Result<(), Errno> {
        let file = match self.file(fid)? {
            (file, Some(Open::File { read: true, .. })) => file,
            (_, Some(Open::Folder)) => return Err(Errno::ISDIR),
            _ => return Err(Errno::BADF),
        };
        reply.data(self.most_data(count), |into| {
            let mut done = 0;
            while let Some(rest) = into.get_mut(done..)
                && !rest.is_empty()
            {
                let at = offset.checked_add(done as u64).ok_or(Errno::INVAL)?;
                match io::retry_on_intr(|| io::pread(&file, &mut *rest, at)) {
                    Ok(0) => break,
                    Ok(len) => done += len,
                    // What was read is told first; the error comes with the next request.
                    Err(_) if done > 0 => break,
                    Err(error) => return Err(error),
                }
            }
            Ok(done)
        })
    }

    pub(super) fn write(
        &mut self,
        fid: FidNumber,
        offset: u64,
        data: &[u8],
        reply: &mut Reply<'_>,
    ) -> Result<(), Errno> {
        self.folder.writable()?;
        let (file, Some(Open::File { write: true, .. })) = self.file(fid)? else {
            return Err(Errno::BADF);
        };
        let mut done = 0;
        while let Some(rest) = data.get(done..)
            && !rest.is_empty()
        {
            let at = offset.checked_add(done as u64).ok_or(Errno::INVAL)?;
            match io::retry_on_intr(|| io::pwrite(&file, rest, at)) {
                Ok(0) => break,
                Ok(len) => done += len,
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        reply.u32(done as u32);
        Ok(())
    }

    pub(super) fn sync(&mut self, fid: FidNumber, data_only: bool) -> Result<(), Errno> {
        let (file, Some(_)) = self.file(fid)? else {
            return Err(Errno::BADF);
        };
        match data_only {
            true => fs::fdatasync(&file),
            false => fs::fsync(&file),
        }
    }

    /// Entries from the one behind the cookie `offset` on, as many as fit.
    pub(super) fn list(
        &mut self,
        fid: FidNumber,
        offset: u64,
        count: u32,
        reply: &mut Reply<'_>,
    ) -> Result<(), Errno> {
        let (folder, Some(Open::Folder)) = self.file(fid)? else {
            return Err(Errno::BADF);
        };
        // The host is further than the guest: it said more than fitted into the last answer.
        fs::seek(&folder, SeekFrom::Start(offset))?;
        let own = Identity::of(&fs::fstat(&folder)?);
        let above_is_shared = !self.folder.is_root(own);
        reply.data(self.most_data(count), |into| {
            let mut entries = Entries {
                into,
                len: 0,
                full: false,
            };
            let mut buffer = Vec::with_capacity(ENTRIES);
            let mut listing = RawDir::new(&folder, buffer.spare_capacity_mut());
            while let Some(entry) = listing.next() {
                let entry = entry?;
                let name = entry.file_name().to_bytes();
                let inode = match name {
                    b".." if !above_is_shared => own.inode,
                    _ => entry.ino(),
                };
                let number = self.number(Identity { inode, ..own });
                let cookie = entry.next_entry_cookie();
                if !entries.add(name, number, cookie, entry.file_type()) {
                    break;
                }
            }
            match entries.len {
                // Not the end of the folder, as an empty answer would say.
                0 if entries.full => Err(Errno::INVAL),
                len => Ok(len),
            }
        })
    }
}

/// Entries of a folder as the guest reads them.
struct Entries<'a> {
    into: &'a mut [u8],
    len: usize,
    /// One did not fit.
    full: bool,
}

impl Entries<'_> {
    /// Adds an entry; says whether it fitted.
    fn add(&mut self, name: &[u8], number: u64, cookie: u64, file_type: FileType) -> bool {
        let room = self.into.get_mut(self.len..).unwrap_or_default();
        let (kind, code) = match file_type {
            FileType::Directory => (KIND_FOLDER, DT_DIR),
            FileType::RegularFile => (0, DT_REG),
            FileType::Symlink => (KIND_SYMLINK, DT_LNK),
            _ => (0, DT_UNKNOWN),
        };
        if room.len() < ENTRY + name.len() {
            self.full = true;
            return false;
        }
        let mut end = 0;
        let name_len = (name.len() as u16).to_le_bytes();
        for part in [
            &[kind][..],
            &[0; 4],
            &number.to_le_bytes(),
            &cookie.to_le_bytes(),
            &[code],
            &name_len,
            name,
        ] {
            if let Some(place) = room.get_mut(end..end + part.len()) {
                place.copy_from_slice(part);
            }
            end += part.len();
        }
        self.len += end;
        true
    }
}
