//! The shared folder on the host. Every name is looked up beneath it by the kernel (`openat2`),
//! one name at a time from an open folder, and no symbolic link is followed, ever.
//!
//! Files are held by `O_PATH` descriptors, which name a file without opening it, so nothing that
//! happens to names in between makes a request reach another file. To open what such a descriptor
//! names, its link in `/proc/self/fd` is opened: that leads to this very file.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::message::Name;

/// No way out: not by `..`, not by links, not by the links in `/proc`.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);
/// Names a file, a symbolic link among them, without opening it.
const HOLD: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Whatever is opened must not block the monitor, nor become its terminal.
const CALM: OFlags = OFlags::NONBLOCK
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// Why a folder cannot be shared.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// It cannot be opened.
    #[error("cannot share {}: {reason}", path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
}

/// A folder that is shared.
pub struct Folder {
    /// How the user called it.
    path: PathBuf,
    root: OwnedFd,
    /// The device and inode number of the root.
    identity: Identity,
    /// `/proc/self/fd` of this process, and of no child of it.
    descriptors: OwnedFd,
    read_only: bool,
}

/// Which file of the host it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The file system's device number.
    pub device: u64,
    /// The inode number in it.
    pub inode: u64,
}

impl Identity {
    /// Whose attributes these are.
    pub fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
        }
    }
}

impl Folder {
    /// Opens the folder to share.
    pub fn open(path: &Path, read_only: bool) -> Result<Self, ShareError> {
        let refused = |reason: String| ShareError::Unusable {
            path: path.to_path_buf(),
            reason,
        };
        let root = fs::open(
            path,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|error| match error {
            Errno::NOTDIR => refused("it is not a folder; give the folder that it is in".into()),
            Errno::NOENT => refused("there is no such folder; make it, or correct --share".into()),
            error => refused(reason(error)),
        })?;
        // As the guest does first, so that whoever may not hears it now.
        let stat = fs::fstat(&root).map_err(|error| refused(reason(error)))?;
        let descriptors = fs::open("/proc/self/fd", HOLD | OFlags::DIRECTORY, Mode::empty())
            .map_err(|error| {
                refused(format!("there is no /proc/self/fd ({error}); mount /proc"))
            })?;
        let folder = Self {
            path: path.to_path_buf(),
            root,
            identity: Identity::of(&stat),
            descriptors,
            read_only,
        };
        folder.find(b"").map_err(|error| match error {
            Errno::NOSYS | Errno::PERM => {
                refused("this system has no openat2, which needs Linux 5.6 or later".into())
            }
            error => refused(reason(error)),
        })?;
        folder
            .reopen(&folder.root, OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(|error| refused(reason(error)))?;
        Ok(folder)
    }
    /// Whether the guest may change nothing.
    pub fn read_only(&self) -> bool {
        self.read_only
    }
    /// `EROFS` where the guest may change nothing.
    pub fn writable(&self) -> Result<(), Errno> {
        match self.read_only {
            true => Err(Errno::ROFS),
            false => Ok(()),
        }
    }
    /// Whether it is the root.
    pub fn is_root(&self, file: Identity) -> bool {
        file == self.identity
    }
    /// The device that the root is on.
    pub fn device(&self) -> u64 {
        self.identity.device
    }

    /// What has become of the folder, if a request failed by `error` because of that.
    pub fn loss(&self, error: Errno) -> Option<String> {
        let why = match (fs::fstat(&self.root), error) {
            (Err(error), _) | (_, error @ (Errno::IO | Errno::NODEV | Errno::NOTCONN)) => {
                std::io::Error::from(error).to_string()
            }
            (Ok(stat), Errno::NOENT | Errno::STALE) if stat.st_nlink == 0 => {
                "it was removed".to_string()
            }
            (Ok(_), _) => return None,
        };
        Some(format!("{}: {why}", self.path.display()))
    }

    /// What `name` in the folder `from` is.
    pub fn step(&self, from: impl AsFd, name: Name<'_>) -> Result<OwnedFd, Errno> {
        fs::openat2(from, name.bytes(), HOLD, Mode::empty(), BENEATH)
    }
    /// What is at `path`, seen from the root; the root itself if the path is empty.
    pub fn find(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { b"." } else { path };
        fs::openat2(&self.root, path, HOLD, Mode::empty(), BENEATH)
    }
    /// Makes a file in the folder `from` that was not there before, and opens it.
    pub fn create(
        &self,
        from: impl AsFd,
        name: Name<'_>,
        access: OFlags,
        mode: Mode,
    ) -> Result<OwnedFd, Errno> {
        let flags = access | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | CALM;
        fs::openat2(from, name.bytes(), flags, mode, BENEATH)
    }
    /// Opens the file or folder that `held` names. Anything else (a device, a FIFO, a socket) is
    /// refused; what `held` names cannot become another file in between.
    pub fn reopen(&self, held: impl AsFd, flags: OFlags) -> Result<OwnedFd, Errno> {
        let stat = fs::fstat(&held)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile | FileType::Directory => {}
            FileType::Symlink => return Err(Errno::LOOP),
            _ => return Err(Errno::NXIO),
        }
        fs::openat(
            &self.descriptors,
            link(held.as_fd()),
            flags | CALM,
            Mode::empty(),
        )
    }
    /// Changes the mode of what `held` names.
    pub fn set_mode(&self, held: impl AsFd, mode: Mode) -> Result<(), Errno> {
        fs::chmodat(
            &self.descriptors,
            link(held.as_fd()),
            mode,
            AtFlags::empty(),
        )
    }
    /// Gives what `held` names another name.
    pub fn link(&self, held: impl AsFd, to: impl AsFd, name: Name<'_>) -> Result<(), Errno> {
        let from = link(held.as_fd());
        fs::linkat(
            &self.descriptors,
            from,
            to,
            name.bytes(),
            AtFlags::SYMLINK_FOLLOW,
        )
    }

    /// Where `held` is now, seen from the root. `ESTALE` if it has been removed, or moved out.
    pub fn path_of(&self, held: impl AsFd) -> Result<Vec<u8>, Errno> {
        let stat = fs::fstat(&held)?;
        if self.is_root(Identity::of(&stat)) {
            return Ok(Vec::new());
        }
        if stat.st_nlink == 0 {
            return Err(Errno::STALE);
        }
        let (root, path) = (self.host_path(&self.root)?, self.host_path(held)?);
        let root = root.strip_suffix(b"/").unwrap_or(&root);
        let below = path
            .strip_prefix(root)
            .and_then(|rest| rest.strip_prefix(b"/"));
        let below = below.ok_or(Errno::STALE)?.to_vec();
        // So the kernel marks a name that was removed; and so can a file be called.
        if below.ends_with(b" (deleted)") {
            let there = fs::fstat(self.find(&below).map_err(|_| Errno::STALE)?)?;
            if Identity::of(&there) != Identity::of(&stat) {
                return Err(Errno::STALE);
            }
        }
        Ok(below)
    }
    fn host_path(&self, held: impl AsFd) -> Result<Vec<u8>, Errno> {
        let path = fs::readlinkat(&self.descriptors, link(held.as_fd()), Vec::new())?;
        Ok(path.into_bytes())
    }
    /// The folder in which `held` is now; the root's is the root.
    pub fn parent(&self, held: impl AsFd) -> Result<OwnedFd, Errno> {
        let path = self.path_of(held)?;
        self.find(split(&path).0)
    }
    /// The folder in which `held` is now, and its name there. Nothing holds the two together: in
    /// between, another program can give the name to another file.
    pub fn place_of(&self, held: impl AsFd) -> Result<(OwnedFd, Vec<u8>), Errno> {
        let path = self.path_of(&held)?;
        if path.is_empty() {
            return Err(Errno::BUSY);
        }
        let (folder, name) = split(&path);
        Ok((self.find(folder)?, name.to_vec()))
    }
}

/// A path's folder and last name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(at) => (
            path.get(..at).unwrap_or_default(),
            path.get(at + 1..).unwrap_or_default(),
        ),
        None => (&[], path),
    }
}

/// The name of a descriptor's link in `/proc/self/fd`.
fn link(held: BorrowedFd<'_>) -> String {
    held.as_raw_fd().to_string()
}

fn reason(error: Errno) -> String {
    match error {
        Errno::ACCESS => "you may not read it; change its mode, or share another folder".into(),
        error => std::io::Error::from(error).to_string(),
    }
}
