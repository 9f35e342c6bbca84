//! The 9P server: takes requests apart, and keeps to what a share allows. One request is done
//! before the next one is looked at, so there is never one to give up.

mod attributes;
mod content;
mod tree;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use ringer_hart::persist::PersistError;
use ringer_machine::backend::ShareBackend;
use ringer_machine::virtio::share::MAX_MESSAGE;
use rustix::fs;
use rustix::io::Errno;

use super::fids::{Fids, Open, Place};
use super::folder::Folder;
use super::message::{
    DATA_HEADER, FidNumber, LockRange, Message, Reply, Request, Step, VERSION, VERSION_UNKNOWN,
};
use super::saved;

/// The shortest limit of messages that a guest may ask for: names and attributes fit.
const MIN_MESSAGE: u32 = 4096;
/// The status of a lock that was granted.
const LOCK_GRANTED: u8 = 0;
/// The type of a lock that nobody holds.
const UNLOCKED: u8 = 2;

/// The server of one share.
pub struct Server {
    folder: Folder,
    fids: Fids,
    /// The longest message, once the guest has said which.
    msize: Option<u32>,
    /// What has become of the folder if it vanished, which was said then.
    lost: Option<String>,
}

impl Server {
    /// A server of `folder` that holds at most `budget` descriptors.
    pub fn new(folder: Folder, budget: usize) -> Self {
        Self {
            folder,
            fids: Fids::new(budget),
            msize: None,
            lost: None,
        }
    }
    /// What has become of the folder, if a request failed because of that.
    pub fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }
    /// The fids that the guest has.
    pub fn fids(&self) -> &Fids {
        &self.fids
    }

    /// Answers a request into `reply`.
    fn serve(&mut self, request: &Request<'_>, reply: &mut Reply<'_>) -> Result<(), Errno> {
        if let Request::Version { msize, version } = request {
            return self.version(*msize, version, reply);
        }
        self.msize.ok_or(Errno::PROTO)?;
        match *request {
            Request::Version { .. } => Ok(()),
            // Nobody needs to log in.
            Request::Auth | Request::Xattr => Err(Errno::OPNOTSUPP),
            Request::Attach { fid, tree } => self.attach(fid, tree, reply),
            Request::Flush => Ok(()),
            Request::Walk {
                fid,
                new,
                ref steps,
            } => self.walk(fid, new, steps, reply),
            Request::Clunk { fid } => match self.fids.remove(fid) {
                true => Ok(()),
                false => Err(Errno::BADF),
            },
            Request::Lock { fid } => self.lock(fid, reply),
            Request::Getlock { fid, range } => self.getlock(fid, &range, reply),

            Request::Lopen { fid, flags } => self.open(fid, flags, reply),
            Request::Lcreate {
                fid,
                name,
                flags,
                mode,
            } => self.create(fid, name, flags, mode, reply),
            Request::Read { fid, offset, count } => self.read(fid, offset, count, reply),
            Request::Write { fid, offset, data } => self.write(fid, offset, data, reply),
            Request::Readdir { fid, offset, count } => self.list(fid, offset, count, reply),
            Request::Fsync { fid, data_only } => self.sync(fid, data_only),

            Request::Statfs { fid } => self.file_system(fid, reply),
            Request::Getattr { fid } => self.attributes(fid, reply),
            Request::Setattr { fid, set } => self.set_attributes(fid, &set),
            Request::Readlink { fid } => self.read_link(fid, reply),

            Request::Symlink {
                folder,
                name,
                target,
            } => self.make_symlink(folder, name, target, reply),
            Request::Mknod { folder, name, mode } => self.make_node(folder, name, mode, reply),
            Request::Mkdir { folder, name, mode } => self.make_folder(folder, name, mode, reply),
            Request::Link { folder, fid, name } => self.link(folder, fid, name),
            Request::Rename { fid, folder, name } => self.rename(fid, folder, name),
            Request::Renameat {
                from,
                name,
                to,
                new_name,
            } => self.rename_at(from, name, to, new_name),
            Request::Unlinkat {
                folder,
                name,
                flags,
            } => self.unlink(folder, name, flags),
            Request::Remove { fid } => self.remove(fid),
        }
    }

    /// Says it, once, if a request failed because the folder vanished from the host.
    fn notice_loss(&mut self, error: Errno) {
        if self.lost.is_none()
            && let Some(lost) = self.folder.loss(error)
        {
            eprint!(
                "\r\nringer: the guest cannot use the shared folder {lost}; it runs on, and has the \
                 share again when it is started anew with a folder there\r\n"
            );
            self.lost = Some(lost);
        }
    }

    /// A new conversation: all fids are forgotten.
    fn version(&mut self, msize: u32, version: &[u8], reply: &mut Reply<'_>) -> Result<(), Errno> {
        self.reset();
        let msize = msize.min(MAX_MESSAGE as u32);
        if msize < MIN_MESSAGE {
            return Err(Errno::INVAL);
        }
        let known = version == VERSION;
        self.msize = known.then_some(msize);
        reply.u32(msize);
        reply.string(if known { VERSION } else { VERSION_UNKNOWN });
        Ok(())
    }

    fn attach(&mut self, fid: FidNumber, tree: &[u8], reply: &mut Reply<'_>) -> Result<(), Errno> {
        if self.fids.contains(fid) {
            return Err(Errno::BADF);
        }
        // There is one tree.
        if !matches!(tree, b"" | b"/") {
            return Err(Errno::NOENT);
        }
        let root = self.folder.find(b"")?;
        reply.qid(&self.qid(&fs::fstat(&root)?));
        self.insert(fid, Place::Held(Arc::new(root)), None)
    }

    /// A walk that fails on its way says how far it came, and makes no fid.
    fn walk(
        &mut self,
        fid: FidNumber,
        new: FidNumber,
        steps: &[Step<'_>],
        reply: &mut Reply<'_>,
    ) -> Result<(), Errno> {
        if new != fid && self.fids.contains(new) {
            return Err(Errno::BADF);
        }
        let (mut file, _) = self.file(fid)?;
        let mut qids = Vec::with_capacity(steps.len());
        for step in steps {
            let next = match step {
                Step::Up => self.folder.parent(&file),
                Step::Down(name) => self.folder.step(&file, *name),
            };
            let next = next.and_then(|next| Ok((fs::fstat(&next)?, next)));
            match next {
                Ok((stat, next)) => {
                    qids.push(self.qid(&stat));
                    file = Arc::new(next);
                }
                Err(error) if qids.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        if qids.len() == steps.len() {
            self.insert(new, Place::Held(file), None)?;
        }
        reply.u16(qids.len() as u16);
        for qid in &qids {
            reply.qid(qid);
        }
        Ok(())
    }

    /// Locks are between the guest's programs, and its kernel knows them all.
    fn lock(&mut self, fid: FidNumber, reply: &mut Reply<'_>) -> Result<(), Errno> {
        self.file(fid)?;
        reply.u8(LOCK_GRANTED);
        Ok(())
    }
    fn getlock(
        &mut self,
        fid: FidNumber,
        range: &LockRange<'_>,
        reply: &mut Reply<'_>,
    ) -> Result<(), Errno> {
        self.file(fid)?;
        reply.u8(UNLOCKED);
        reply.u64(range.start);
        reply.u64(range.length);
        reply.u32(range.process);
        reply.string(range.client);
        Ok(())
    }

    /// What a fid names, and how it is open.
    fn file(&mut self, fid: FidNumber) -> Result<(Arc<OwnedFd>, Option<Open>), Errno> {
        self.fids.get(&self.folder, fid)
    }
    /// The same where something is to be changed.
    fn file_to_change(&mut self, fid: FidNumber) -> Result<Arc<OwnedFd>, Errno> {
        self.folder.writable()?;
        Ok(self.file(fid)?.0)
    }
    fn insert(&mut self, fid: FidNumber, place: Place, open: Option<Open>) -> Result<(), Errno> {
        self.fids.insert(&self.folder, fid, place, open)
    }
    /// The most data that an answer to a read has room for.
    fn most_data(&self, count: u32) -> u32 {
        let most = self.msize.unwrap_or(MIN_MESSAGE) as usize - DATA_HEADER;
        count.min(most as u32)
    }
}

impl ShareBackend for Server {
    fn answer(&mut self, request: &[u8], buffer: &mut [u8]) -> usize {
        let Some(message) = Message::read(request) else {
            return 0;
        };
        let longest = self.msize.map_or(MAX_MESSAGE, |msize| msize as usize);
        let end = buffer.len().min(longest);
        let mut reply = Reply::new(buffer.get_mut(..end).unwrap_or_default());
        let outcome = match &message.request {
            _ if request.len() > longest => Err(Errno::MSGSIZE),
            Ok(request) => self.serve(request, &mut reply),
            Err(error) => Err(*error),
        };
        if let Err(error) = outcome {
            self.notice_loss(error);
        }
        reply.finish(message.kind, message.tag, outcome)
    }
    fn reset(&mut self) {
        self.fids.clear();
        self.msize = None;
    }
    fn save(&self) -> Vec<u8> {
        saved::save(&self.folder, &self.fids, self.msize)
    }
    fn restore(&mut self, bytes: &[u8]) -> Result<(), PersistError> {
        let limits = MIN_MESSAGE..=MAX_MESSAGE as u32;
        self.msize = saved::restore(&self.folder, &mut self.fids, limits, bytes)?;
        Ok(())
    }
}
