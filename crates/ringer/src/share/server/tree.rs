//! Changes of the tree: making, linking, moving and removing by name. Names are looked up in open
//! folders and have no slashes, so these calls reach nothing outside, and follow no link.

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::Server;
use super::attributes::FOLDER_MODE;
use crate::share::folder::Identity;
use crate::share::message::{FidNumber, Name, Reply};

/// The flag of `Tunlinkat` that says it is a folder.
const REMOVE_FOLDER: u32 = 0x200;

impl Server {
    pub(super) fn make_symlink(
        &mut self,
        folder: FidNumber,
        name: Name<'_>,
        target: &[u8],
        reply: &mut Reply<'_>,
    ) -> Result<(), Errno> {
        let folder = self.file_to_change(folder)?;
        fs::symlinkat(target, &folder, name.bytes())?;
        let made = self.folder.step(&folder, name)?;
        reply.qid(&self.qid(&fs::fstat(made)?));
        Ok(())
    }

    /// Files only: a device is the host's, and a FIFO or socket is met by the host's programs.
    pub(super) fn make_node(
        &mut self,
        folder: FidNumber,
        name: Name<'_>,
        mode: u32,
        reply: &mut Reply<'_>,
    ) -> Result<(), Errno> {
        let folder = self.file_to_change(folder)?;
        if FileType::from_raw_mode(mode) != FileType::RegularFile {
            return Err(Errno::PERM);
        }
        let made = self.make_file(&folder, name, OFlags::WRONLY, mode)?;
        reply.qid(&self.qid(&fs::fstat(made)?));
        Ok(())
    }

    pub(super) fn make_folder(
        &mut self,
        folder: FidNumber,
        name: Name<'_>,
        mode: u32,
        reply: &mut Reply<'_>,
    ) -> Result<(), Errno> {
        const INHERITED: u32 = 0o2000;
        let folder = self.file_to_change(folder)?;
        fs::mkdirat(
            &folder,
            name.bytes(),
            Mode::from_raw_mode(mode & FOLDER_MODE),
        )?;
        let made = self.folder.step(&folder, name)?;
        let stat = fs::fstat(&made)?;
        // Exactly this mode whatever our umask is, but as the host has it with set-group-ID.
        let wanted = mode & FOLDER_MODE & !INHERITED | stat.st_mode & INHERITED;
        if stat.st_mode & 0o7777 != wanted {
            self.folder.set_mode(&made, Mode::from_raw_mode(wanted))?;
        }
        reply.qid(&self.qid(&stat));
        Ok(())
    }

    pub(super) fn link(
        &mut self,
        folder: FidNumber,
        fid: FidNumber,
        name: Name<'_>,
    ) -> Result<(), Errno> {
        let folder = self.file_to_change(folder)?;
        let (file, _) = self.file(fid)?;
        self.folder.link(&file, &folder, name)
    }

    pub(super) fn rename(
        &mut self,
        fid: FidNumber,
        folder: FidNumber,
        new_name: Name<'_>,
    ) -> Result<(), Errno> {
        let to = self.file_to_change(folder)?;
        let (file, _) = self.file(fid)?;
        let (from, name) = self.folder.place_of(&file)?;
        fs::renameat(&from, name.as_slice(), &to, new_name.bytes())
    }

    pub(super) fn rename_at(
        &mut self,
        from: FidNumber,
        name: Name<'_>,
        to: FidNumber,
        new_name: Name<'_>,
    ) -> Result<(), Errno> {
        let from = self.file_to_change(from)?;
        let (to, _) = self.file(to)?;
        fs::renameat(&from, name.bytes(), &to, new_name.bytes())
    }

    pub(super) fn unlink(
        &mut self,
        folder: FidNumber,
        name: Name<'_>,
        flags: u32,
    ) -> Result<(), Errno> {
        let folder = self.file_to_change(folder)?;
        let flags = match flags & REMOVE_FOLDER {
            0 => AtFlags::empty(),
            _ => AtFlags::REMOVEDIR,
        };
        fs::unlinkat(&folder, name.bytes(), flags)
    }

    /// The fid is forgotten also if the file cannot be removed.
    pub(super) fn remove(&mut self, fid: FidNumber) -> Result<(), Errno> {
        let file = self.file_to_change(fid);
        self.fids.remove(fid);
        let file = file?;
        let stat = fs::fstat(&file)?;
        let (folder, name) = self.folder.place_of(&file)?;
        // The name may have come to mean another file since.
        let there = self.folder.step(&folder, Name::new(&name)?)?;
        if Identity::of(&fs::fstat(there)?) != Identity::of(&stat) {
            return Err(Errno::STALE);
        }
        let flags = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => AtFlags::REMOVEDIR,
            _ => AtFlags::empty(),
        };
        fs::unlinkat(&folder, name.as_slice(), flags)
    }
}
