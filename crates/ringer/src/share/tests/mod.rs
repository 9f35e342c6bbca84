//! The server, driven as by a guest, on folders of the host.

mod escape;
mod files;
mod hostile;
mod messages;
mod resumed;
mod specs;
mod vanished;

use std::path::Path;

use ringer_machine::backend::ShareBackend;
use ringer_machine::virtio::share::MAX_MESSAGE;
use rustix::io::Errno;
use tempfile::TempDir;

use super::message::{HEADER, VERSION, kind};
use super::{Folder, Server};

/// The fid of the root.
const ROOT: u32 = 0;
/// The flag of `Tunlinkat` for folders.
const REMOVE_FOLDER: u32 = 0x200;
const READ: u32 = 0;
const WRITE: u32 = 1;
const READ_WRITE: u32 = 2;
const EXCLUSIVE: u32 = 0o200;
const TRUNCATE: u32 = 0o1000;

/// The fields of a message.
#[derive(Clone, Debug, Default)]
struct Body(Vec<u8>);

fn body() -> Body {
    Body::default()
}

impl Body {
    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }
    fn u8(self, value: u8) -> Self {
        self.bytes(&[value])
    }
    fn u16(self, value: u16) -> Self {
        self.bytes(&value.to_le_bytes())
    }
    fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_le_bytes())
    }
    fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_le_bytes())
    }
    fn string(self, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self.u16(value.len() as u16).bytes(value)
    }
    /// As a message.
    fn message(self, kind: u8, tag: u16) -> Vec<u8> {
        let size = (HEADER + self.0.len()) as u32;
        body().u32(size).u8(kind).u16(tag).bytes(&self.0).0
    }
}

/// Reads an answer's fields; one that is too short fails the test.
struct Answer<'a>(&'a [u8]);

impl<'a> Answer<'a> {
    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }
    fn number(&mut self, len: usize) -> u64 {
        let bytes = self.bytes(len).iter().rev();
        bytes.fold(0, |value, &byte| value << 8 | u64::from(byte))
    }
    fn string(&mut self) -> String {
        let len = self.number(2) as usize;
        String::from_utf8(self.bytes(len).to_vec()).unwrap()
    }
}

/// A guest with a share mounted.
struct Guest {
    server: Server,
    dir: TempDir,
}

impl Guest {
    fn new() -> Self {
        Self::with(|_| {})
    }
    /// On a folder that `prepare` has filled.
    fn with(prepare: impl FnOnce(&Path)) -> Self {
        Self::mount(prepare, false, 1000)
    }
    fn read_only(prepare: impl FnOnce(&Path)) -> Self {
        Self::mount(prepare, true, 1000)
    }
    /// With the share's folder in `dir`, beside which a test can put what must not be reached.
    fn mount(prepare: impl FnOnce(&Path), read_only: bool, budget: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("share");
        std::fs::create_dir(&root).unwrap();
        prepare(&root);
        let folder = Folder::open(&root, read_only).unwrap();
        let mut guest = Self {
            server: Server::new(folder, budget),
            dir,
        };
        guest.version(MAX_MESSAGE as u32).unwrap();
        guest.attach(ROOT).unwrap();
        guest
    }
    /// Where a file of the share is on the host.
    fn host(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join("share").join(path)
    }
    fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.host(path)).unwrap()
    }

    /// Sends a request; returns the answer's fields.
    fn call(&mut self, kind: u8, body: Body) -> Result<Vec<u8>, Errno> {
        self.call_with_room(kind, body, MAX_MESSAGE)
    }
    fn call_with_room(&mut self, kind: u8, body: Body, room: usize) -> Result<Vec<u8>, Errno> {
        const TAG: u16 = 0x1234;
        let mut reply = vec![0xee; room];
        let len = self.server.answer(&body.message(kind, TAG), &mut reply);
        reply.truncate(len);
        let mut answer = Answer(&reply);
        assert_eq!(answer.number(4), len as u64);
        let answered = answer.number(1) as u8;
        assert_eq!(answer.number(2), u64::from(TAG));
        if answered == kind::RLERROR {
            assert_eq!(answer.0.len(), 4);
            return Err(Errno::from_raw_os_error(answer.number(4) as i32));
        }
        assert_eq!(answered, kind + 1);
        Ok(answer.0.to_vec())
    }

    fn version(&mut self, msize: u32) -> Result<Vec<u8>, Errno> {
        self.call(kind::VERSION, body().u32(msize).string(VERSION))
    }
    fn attach(&mut self, fid: u32) -> Result<Vec<u8>, Errno> {
        let fields = body().u32(fid).u32(u32::MAX).string("root").string("");
        self.call(kind::ATTACH, fields.u32(0))
    }
    /// Walks from `fid`; returns how many steps were made.
    fn walk(&mut self, fid: u32, new: u32, names: &[&str]) -> Result<usize, Errno> {
        let fields = body().u32(fid).u32(new).u16(names.len() as u16);
        let fields = names
            .iter()
            .fold(fields, |fields, name| fields.string(name));
        let answer = self.call(kind::WALK, fields)?;
        Ok(Answer(&answer).number(2) as usize)
    }
    /// Walks from the root all the way.
    fn find(&mut self, new: u32, path: &str) -> Result<(), Errno> {
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
        match self.walk(ROOT, new, &names)? {
            count if count == names.len() => Ok(()),
            _ => Err(Errno::NOENT),
        }
    }
    fn clunk(&mut self, fid: u32) -> Result<(), Errno> {
        self.call(kind::CLUNK, body().u32(fid)).map(drop)
    }
    fn open(&mut self, fid: u32, flags: u32) -> Result<(), Errno> {
        self.call(kind::LOPEN, body().u32(fid).u32(flags)).map(drop)
    }
    fn create(&mut self, fid: u32, name: &str, flags: u32, mode: u32) -> Result<(), Errno> {
        let fields = body().u32(fid).string(name).u32(flags).u32(mode).u32(0);
        self.call(kind::LCREATE, fields).map(drop)
    }
    fn read(&mut self, fid: u32, offset: u64, count: u32) -> Result<Vec<u8>, Errno> {
        let answer = self.call(kind::READ, body().u32(fid).u64(offset).u32(count))?;
        let mut answer = Answer(&answer);
        let len = answer.number(4) as usize;
        assert_eq!(answer.0.len(), len);
        Ok(answer.0.to_vec())
    }
    fn write(&mut self, fid: u32, offset: u64, data: &[u8]) -> Result<u64, Errno> {
        let fields = body().u32(fid).u64(offset).u32(data.len() as u32);
        let answer = self.call(kind::WRITE, fields.bytes(data))?;
        Ok(Answer(&answer).number(4))
    }
    /// The whole content of the file at `path`.
    fn content(&mut self, path: &str) -> Result<Vec<u8>, Errno> {
        const FID: u32 = 999_999;
        self.find(FID, path)?;
        let content = self
            .open(FID, READ)
            .and_then(|()| self.read(FID, 0, 1 << 16));
        self.clunk(FID).unwrap();
        content
    }
    /// Mode, link count and size of a fid's file.
    fn attributes(&mut self, fid: u32) -> Result<(u32, u64, u64), Errno> {
        let answer = self.call(kind::GETATTR, body().u32(fid).u64(0x7ff))?;
        let mut answer = Answer(&answer);
        assert_eq!(answer.number(8), 0x7ff);
        answer.bytes(13);
        let mode = answer.number(4) as u32;
        answer.bytes(8);
        let links = answer.number(8);
        answer.bytes(8);
        Ok((mode, links, answer.number(8)))
    }
    fn set(&mut self, fid: u32, valid: u32, mode: u32, size: u64) -> Result<(), Errno> {
        let fields = body()
            .u32(fid)
            .u32(valid)
            .u32(mode)
            .u32(12345)
            .u32(12345)
            .u64(size);
        self.call(
            kind::SETATTR,
            fields.u64(7).u64(8).u64(1_000_000_000).u64(5),
        )
        .map(drop)
    }
    /// The names in an open folder, with each entry's qid path and cookie.
    fn list(&mut self, fid: u32, offset: u64, count: u32) -> Result<Vec<Entry>, Errno> {
        let answer = self.call(kind::READDIR, body().u32(fid).u64(offset).u32(count))?;
        let mut answer = Answer(&answer);
        assert_eq!(answer.number(4) as usize, answer.0.len());
        let mut entries = Vec::new();
        while !answer.0.is_empty() {
            answer.bytes(5);
            entries.push(Entry {
                path: answer.number(8),
                cookie: answer.number(8),
                kind: answer.number(1) as u8,
                name: answer.string(),
            });
        }
        Ok(entries)
    }
    fn rename_at(&mut self, from: u32, name: &str, to: u32, new: &str) -> Result<(), Errno> {
        let fields = body().u32(from).string(name).u32(to).string(new);
        self.call(kind::RENAMEAT, fields).map(drop)
    }
    fn unlink(&mut self, folder: u32, name: &str, flags: u32) -> Result<(), Errno> {
        let fields = body().u32(folder).string(name).u32(flags);
        self.call(kind::UNLINKAT, fields).map(drop)
    }
    fn make_folder(&mut self, folder: u32, name: &str, mode: u32) -> Result<(), Errno> {
        let fields = body().u32(folder).string(name).u32(mode).u32(0);
        self.call(kind::MKDIR, fields).map(drop)
    }
    fn symlink(&mut self, folder: u32, name: &str, target: &str) -> Result<(), Errno> {
        let fields = body().u32(folder).string(name).string(target).u32(0);
        self.call(kind::SYMLINK, fields).map(drop)
    }
    fn link(&mut self, folder: u32, fid: u32, name: &str) -> Result<(), Errno> {
        self.call(kind::LINK, body().u32(folder).u32(fid).string(name))
            .map(drop)
    }
    fn make_node(&mut self, folder: u32, name: &str, mode: u32) -> Result<(), Errno> {
        let fields = body()
            .u32(folder)
            .string(name)
            .u32(mode)
            .u32(1)
            .u32(3)
            .u32(0);
        self.call(kind::MKNOD, fields).map(drop)
    }
    fn rename(&mut self, fid: u32, folder: u32, name: &str) -> Result<(), Errno> {
        self.call(kind::RENAME, body().u32(fid).u32(folder).string(name))
            .map(drop)
    }
    fn remove(&mut self, fid: u32) -> Result<(), Errno> {
        self.call(kind::REMOVE, body().u32(fid)).map(drop)
    }
}

/// An entry of a folder.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Entry {
    path: u64,
    cookie: u64,
    kind: u8,
    name: String,
}
