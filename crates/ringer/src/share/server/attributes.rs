//! What files are: size, times, modes, targets of symbolic links, and room in the file system.

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::fs::{UTIME_NOW, UTIME_OMIT};
use rustix::io::Errno;

use super::Server;
use crate::share::fids::Open;
use crate::share::folder::Identity;
use crate::share::message::{FidNumber, NewTime, Qid, Reply, SetAttributes};

/// The attributes that are answered: all but those that Linux does not ask for (`P9_STATS_BASIC`).
const BASIC: u64 = 0x7ff;
/// A folder, in a qid.
pub(super) const KIND_FOLDER: u8 = 0x80;
/// A symbolic link.
pub(super) const KIND_SYMLINK: u8 = 0x02;

/// The bits of a mode that a guest sets on files. A set-user-ID program made by a guest would
/// give others on the host the rights of whoever runs the guest.
pub(super) const FILE_MODE: u32 = 0o1777;
/// And on folders, where set-group-ID says whose the files in it are.
pub(super) const FOLDER_MODE: u32 = 0o3777;

impl Server {
    /// What the guest tells files apart by.
    pub(super) fn qid(&self, stat: &Stat) -> Qid {
        let changed = stat.st_mtime.cast_unsigned() ^ stat.st_mtime_nsec << 20;
        let version = (changed ^ stat.st_size.cast_unsigned() << 8) as u32;
        Qid {
            kind: match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => KIND_FOLDER,
                FileType::Symlink => KIND_SYMLINK,
                _ => 0,
            },
            // Linux does not cache files of version 0.
            version: version.max(1),
            path: self.number(Identity::of(stat)),
        }
    }
    /// One number for each file: the inode's where the root is, something else on file systems
    /// that are mounted in it.
    pub(super) fn number(&self, file: Identity) -> u64 {
        match file.device == self.folder.device() {
            true => file.inode,
            // Spreads the device's number over all bits, odd and so without loss.
            false => {
                file.inode
                    ^ file
                        .device
                        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                        .rotate_left(32)
            }
        }
    }

    pub(super) fn attributes(
        &mut self,
        fid: FidNumber,
        reply: &mut Reply<'_>,
    ) -> Result<(), Errno> {
        let (file, _) = self.file(fid)?;
        let stat = fs::fstat(&file)?;
        reply.u64(BASIC);
        reply.qid(&self.qid(&stat));
        reply.u32(stat.st_mode);
        reply.u32(stat.st_uid);
        reply.u32(stat.st_gid);
        for value in [
            stat.st_nlink,
            stat.st_rdev,
            stat.st_size.cast_unsigned(),
            stat.st_blksize.cast_unsigned(),
            stat.st_blocks.cast_unsigned(),
            stat.st_atime.cast_unsigned(),
            stat.st_atime_nsec,
            stat.st_mtime.cast_unsigned(),
            stat.st_mtime_nsec,
            stat.st_ctime.cast_unsigned(),
            stat.st_ctime_nsec,
            // When it was made, its generation and its version are not known.
            0,
            0,
            0,
            0,
        ] {
            reply.u64(value);
        }
        Ok(())
    }

    /// Owners are not here: they stay as they are, without an error, so that `tar` and `cp -p` as
    /// the guest's root work.
    pub(super) fn set_attributes(
        &mut self,
        fid: FidNumber,
        set: &SetAttributes,
    ) -> Result<(), Errno> {
        self.folder.writable()?;
        let (file, open) = self.file(fid)?;
        if let Some(mode) = set.mode {
            let kept = match FileType::from_raw_mode(fs::fstat(&file)?.st_mode) {
                FileType::Directory => FOLDER_MODE,
                _ => FILE_MODE,
            };
            self.folder
                .set_mode(&file, Mode::from_raw_mode(mode & kept))?;
        }
        if let Some(size) = set.size {
            match open {
                Some(Open::File { write: true, .. }) => fs::ftruncate(&file, size)?,
                _ => fs::ftruncate(self.folder.reopen(&file, OFlags::WRONLY)?, size)?,
            }
        }
        if set.accessed.is_some() || set.modified.is_some() {
            let times = Timestamps {
                last_access: time(set.accessed),
                last_modification: time(set.modified),
            };
            fs::utimensat(&file, "", &times, AtFlags::EMPTY_PATH)?;
        }
        Ok(())
    }

    pub(super) fn read_link(&mut self, fid: FidNumber, reply: &mut Reply<'_>) -> Result<(), Errno> {
        let (file, _) = self.file(fid)?;
        let target = fs::readlinkat(&file, "", Vec::new())?;
        reply.string(target.as_bytes());
        Ok(())
    }

    pub(super) fn file_system(
        &mut self,
        fid: FidNumber,
        reply: &mut Reply<'_>,
    ) -> Result<(), Errno> {
        let (file, _) = self.file(fid)?;
        let stat = fs::fstatfs(&file)?;
        let known = |number: i64| number.cast_unsigned();
        reply.u32(known(stat.f_type) as u32);
        reply.u32(known(stat.f_bsize) as u32);
        reply.u64(stat.f_blocks);
        reply.u64(stat.f_bfree);
        reply.u64(stat.f_bavail);
        reply.u64(stat.f_files);
        reply.u64(stat.f_ffree);
        reply.u64(self.folder.device());
        reply.u32(known(stat.f_namelen) as u32);
        Ok(())
    }
}

fn time(new: Option<NewTime>) -> Timespec {
    match new {
        None => Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        Some(NewTime::Now) => Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        },
        // Beyond a second are the two special values above, which the guest must not reach.
        Some(NewTime::At(seconds, nanos)) => Timespec {
            tv_sec: seconds,
            tv_nsec: nanos.clamp(0, 999_999_999),
        },
    }
}
