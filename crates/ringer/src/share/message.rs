//! Messages of 9P2000.L: requests from the guest, read with every length checked, and answers.
//! All numbers are little-endian; a string is its length in two bytes and its bytes.

use rustix::io::Errno;

/// A number by which the guest names a file.
pub type FidNumber = u32;

/// The size, the type and the tag, with which each message begins.
pub const HEADER: usize = 7;
/// Bytes of an answer to `Tread` or `Treaddir` before its data.
pub const DATA_HEADER: usize = HEADER + 4;
/// Names in one `Twalk` at most.
const MAX_STEPS: usize = 16;

/// What the server calls the protocol it speaks, and what it does not know.
pub const VERSION: &[u8] = b"9P2000.L";
/// The answer to any other version.
pub const VERSION_UNKNOWN: &[u8] = b"unknown";

/// Numbers of the requests; an answer has the next number.
pub mod kind {
    /// An answer only: the request failed.
    pub const RLERROR: u8 = 7;
    /// What the file system has left.
    pub const STATFS: u8 = 8;
    /// Open a file.
    pub const LOPEN: u8 = 12;
    /// Make a file and open it.
    pub const LCREATE: u8 = 14;
    /// Make a symbolic link.
    pub const SYMLINK: u8 = 16;
    /// Make a file, a FIFO, a device.
    pub const MKNOD: u8 = 18;
    /// Move a file that has a fid.
    pub const RENAME: u8 = 20;
    /// Read a symbolic link.
    pub const READLINK: u8 = 22;
    /// Read size, times, mode and so on.
    pub const GETATTR: u8 = 24;
    /// Change some of them.
    pub const SETATTR: u8 = 26;
    /// Get at extended attributes.
    pub const XATTRWALK: u8 = 30;
    /// Set an extended attribute.
    pub const XATTRCREATE: u8 = 32;
    /// List a folder.
    pub const READDIR: u8 = 40;
    /// Make what was written durable.
    pub const FSYNC: u8 = 50;
    /// Lock a file.
    pub const LOCK: u8 = 52;
    /// Ask who has locked it.
    pub const GETLOCK: u8 = 54;
    /// Give a file another name.
    pub const LINK: u8 = 70;
    /// Make a folder.
    pub const MKDIR: u8 = 72;
    /// Move by names.
    pub const RENAMEAT: u8 = 74;
    /// Remove by name.
    pub const UNLINKAT: u8 = 76;
    /// Begin to talk.
    pub const VERSION: u8 = 100;
    /// Log in.
    pub const AUTH: u8 = 102;
    /// Get a fid of the root.
    pub const ATTACH: u8 = 104;
    /// Give up a request.
    pub const FLUSH: u8 = 108;
    /// Get a fid of something below.
    pub const WALK: u8 = 110;
    /// Read from a file.
    pub const READ: u8 = 116;
    /// Write to a file.
    pub const WRITE: u8 = 118;
    /// Forget a fid.
    pub const CLUNK: u8 = 120;
    /// Remove a file that has a fid, and forget the fid.
    pub const REMOVE: u8 = 122;
}

/// One name in a folder, as a guest may give it: it leads nowhere else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// Takes a name that is neither empty, `.` nor `..`, and has no slash and no NUL.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Errno> {
        match bytes {
            b"" | b"." | b".." => Err(Errno::INVAL),
            _ if bytes.contains(&b'/') || bytes.contains(&0) => Err(Errno::INVAL),
            _ => Ok(Self(bytes)),
        }
    }
    /// Its bytes.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }
}

/// One step of a walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step<'a> {
    /// To the folder above; at the root it stays.
    Up,
    /// To what has this name.
    Down(Name<'a>),
}

/// What `Tsetattr` changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SetAttributes {
    /// The mode.
    pub mode: Option<u32>,
    /// The size.
    pub size: Option<u64>,
    /// The time of the last access.
    pub accessed: Option<NewTime>,
    /// The time of the last change.
    pub modified: Option<NewTime>,
}

/// A time to set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NewTime {
    /// The host's time now.
    Now,
    /// Seconds since 1970, and nanoseconds.
    At(i64, i64),
}

/// Bits of `Tsetattr` that say which of its fields mean something.
mod valid {
    pub const MODE: u32 = 0x01;
    pub const SIZE: u32 = 0x08;
    pub const ATIME: u32 = 0x10;
    pub const MTIME: u32 = 0x20;
    pub const ATIME_SET: u32 = 0x80;
    pub const MTIME_SET: u32 = 0x100;
}

/// A range that is locked, or asked after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LockRange<'a> {
    /// Where it starts.
    pub start: u64,
    /// How long it is; 0 for all the rest.
    pub length: u64,
    /// Who wants it.
    pub process: u32,
    /// On which machine.
    pub client: &'a [u8],
}

/// What a guest asks. Fields that the server has no use for are not here, owners above all.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // The protocol's own names; what each request does is said in `kind`.
pub enum Request<'a> {
    Version {
        msize: u32,
        version: &'a [u8],
    },
    Auth,
    Attach {
        fid: FidNumber,
        tree: &'a [u8],
    },
    Flush,
    Walk {
        fid: FidNumber,
        new: FidNumber,
        steps: Vec<Step<'a>>,
    },
    Statfs {
        fid: FidNumber,
    },
    Lopen {
        fid: FidNumber,
        flags: u32,
    },
    Lcreate {
        fid: FidNumber,
        name: Name<'a>,
        flags: u32,
        mode: u32,
    },
    Symlink {
        folder: FidNumber,
        name: Name<'a>,
        target: &'a [u8],
    },
    Mknod {
        folder: FidNumber,
        name: Name<'a>,
        mode: u32,
    },
    Rename {
        fid: FidNumber,
        folder: FidNumber,
        name: Name<'a>,
    },
    Readlink {
        fid: FidNumber,
    },
    Getattr {
        fid: FidNumber,
    },
    Setattr {
        fid: FidNumber,
        set: SetAttributes,
    },
    Xattr,
    Readdir {
        fid: FidNumber,
        offset: u64,
        count: u32,
    },
    Fsync {
        fid: FidNumber,
        data_only: bool,
    },
    Lock {
        fid: FidNumber,
    },
    Getlock {
        fid: FidNumber,
        range: LockRange<'a>,
    },
    Link {
        folder: FidNumber,
        fid: FidNumber,
        name: Name<'a>,
    },
    Mkdir {
        folder: FidNumber,
        name: Name<'a>,
        mode: u32,
    },
    Renameat {
        from: FidNumber,
        name: Name<'a>,
        to: FidNumber,
        new_name: Name<'a>,
    },
    Unlinkat {
        folder: FidNumber,
        name: Name<'a>,
        flags: u32,
    },
    Read {
        fid: FidNumber,
        offset: u64,
        count: u32,
    },
    Write {
        fid: FidNumber,
        offset: u64,
        data: &'a [u8],
    },
    Clunk {
        fid: FidNumber,
    },
    Remove {
        fid: FidNumber,
    },
}

/// A request with the marks under which it is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message<'a> {
    /// Its number.
    pub kind: u8,
    /// The guest's mark.
    pub tag: u16,
    /// What it says; `EOPNOTSUPP` for a number that the server does not know, `EINVAL` for a
    /// message that is not as it should be.
    pub request: Result<Request<'a>, Errno>,
}

impl<'a> Message<'a> {
    /// Reads what the guest sent. `None` if not even a tag to answer under is there.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let size = fields.u32().ok()?;
        let kind = fields.u8().ok()?;
        let tag = fields.u16().ok()?;
        let body = usize::try_from(size)
            .ok()
            .and_then(|size| bytes.get(HEADER..size));
        let request = match body {
            Some(body) => Fields(body).request(kind),
            None => Err(Errno::INVAL),
        };
        Some(Self { kind, tag, request })
    }
}

/// What is left to read of a message.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Errno> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(taken)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Errno> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(*taken)
    }
    fn u8(&mut self) -> Result<u8, Errno> {
        self.array().map(u8::from_le_bytes)
    }
    fn u16(&mut self) -> Result<u16, Errno> {
        self.array().map(u16::from_le_bytes)
    }
    fn u32(&mut self) -> Result<u32, Errno> {
        self.array().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Result<u64, Errno> {
        self.array().map(u64::from_le_bytes)
    }
    fn string(&mut self) -> Result<&'a [u8], Errno> {
        let len = self.u16()?;
        self.take(len.into())
    }
    fn name(&mut self) -> Result<Name<'a>, Errno> {
        Name::new(self.string()?)
    }
    fn steps(&mut self) -> Result<Vec<Step<'a>>, Errno> {
        let count = usize::from(self.u16()?);
        if count > MAX_STEPS {
            return Err(Errno::INVAL);
        }
        let mut steps = Vec::with_capacity(count);
        for _ in 0..count {
            steps.push(match self.string()? {
                b".." => Step::Up,
                name => Step::Down(Name::new(name)?),
            });
        }
        Ok(steps)
    }
    fn new_time(&mut self, bits: u32, change: u32, given: u32) -> Result<Option<NewTime>, Errno> {
        let (seconds, nanos) = (self.u64()?, self.u64()?);
        Ok(match bits & (change | given) {
            both if both == change | given => {
                Some(NewTime::At(seconds.cast_signed(), nanos.cast_signed()))
            }
            only if only == change => Some(NewTime::Now),
            _ => None,
        })
    }
    fn set_attributes(&mut self) -> Result<SetAttributes, Errno> {
        let bits = self.u32()?;
        let mode = self.u32()?;
        let (_owner, _group) = (self.u32()?, self.u32()?);
        let size = self.u64()?;
        Ok(SetAttributes {
            mode: (bits & valid::MODE != 0).then_some(mode),
            size: (bits & valid::SIZE != 0).then_some(size),
            accessed: self.new_time(bits, valid::ATIME, valid::ATIME_SET)?,
            modified: self.new_time(bits, valid::MTIME, valid::MTIME_SET)?,
        })
    }
    fn lock_range(&mut self) -> Result<LockRange<'a>, Errno> {
        let _type = self.u8()?;
        Ok(LockRange {
            start: self.u64()?,
            length: self.u64()?,
            process: self.u32()?,
            client: self.string()?,
        })
    }

    /// Reads the rest as a request with the number `kind`. Fields are evaluated in the order in
    /// which they are written here, which is the protocol's.
    fn request(mut self, kind: u8) -> Result<Request<'a>, Errno> {
        let f = &mut self;
        Ok(match kind {
            kind::VERSION => Request::Version {
                msize: f.u32()?,
                version: f.string()?,
            },
            kind::AUTH => Request::Auth,
            kind::ATTACH => {
                let fid = f.u32()?;
                let (_auth, _user) = (f.u32()?, f.string()?);
                Request::Attach {
                    fid,
                    tree: f.string()?,
                }
            }
            kind::FLUSH => Request::Flush,
            kind::WALK => Request::Walk {
                fid: f.u32()?,
                new: f.u32()?,
                steps: f.steps()?,
            },
            kind::STATFS => Request::Statfs { fid: f.u32()? },
            kind::LOPEN => Request::Lopen {
                fid: f.u32()?,
                flags: f.u32()?,
            },
            kind::LCREATE => Request::Lcreate {
                fid: f.u32()?,
                name: f.name()?,
                flags: f.u32()?,
                mode: f.u32()?,
            },
            kind::SYMLINK => Request::Symlink {
                folder: f.u32()?,
                name: f.name()?,
                target: f.string()?,
            },
            kind::MKNOD => Request::Mknod {
                folder: f.u32()?,
                name: f.name()?,
                mode: f.u32()?,
            },
            kind::RENAME => Request::Rename {
                fid: f.u32()?,
                folder: f.u32()?,
                name: f.name()?,
            },
            kind::READLINK => Request::Readlink { fid: f.u32()? },
            kind::GETATTR => Request::Getattr { fid: f.u32()? },
            kind::SETATTR => Request::Setattr {
                fid: f.u32()?,
                set: f.set_attributes()?,
            },
            kind::XATTRWALK | kind::XATTRCREATE => Request::Xattr,
            kind::READDIR => Request::Readdir {
                fid: f.u32()?,
                offset: f.u64()?,
                count: f.u32()?,
            },
            // Linux of long ago did not say whether it is for the data only.
            kind::FSYNC => Request::Fsync {
                fid: f.u32()?,
                data_only: f.u32().unwrap_or(0) != 0,
            },
            kind::LOCK => Request::Lock { fid: f.u32()? },
            kind::GETLOCK => Request::Getlock {
                fid: f.u32()?,
                range: f.lock_range()?,
            },
            kind::LINK => Request::Link {
                folder: f.u32()?,
                fid: f.u32()?,
                name: f.name()?,
            },
            kind::MKDIR => Request::Mkdir {
                folder: f.u32()?,
                name: f.name()?,
                mode: f.u32()?,
            },
            kind::RENAMEAT => Request::Renameat {
                from: f.u32()?,
                name: f.name()?,
                to: f.u32()?,
                new_name: f.name()?,
            },
            kind::UNLINKAT => Request::Unlinkat {
                folder: f.u32()?,
                name: f.name()?,
                flags: f.u32()?,
            },
            kind::READ => Request::Read {
                fid: f.u32()?,
                offset: f.u64()?,
                count: f.u32()?,
            },
            kind::WRITE => {
                let (fid, offset) = (f.u32()?, f.u64()?);
                let count = f.u32()?;
                let data = f.take(usize::try_from(count).map_err(|_| Errno::INVAL)?)?;
                Request::Write { fid, offset, data }
            }
            kind::CLUNK => Request::Clunk { fid: f.u32()? },
            kind::REMOVE => Request::Remove { fid: f.u32()? },
            _ => return Err(Errno::OPNOTSUPP),
        })
    }
}

/// What a file is, to the guest: unchanged as long as it is the same file with the same content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Qid {
    /// 0x80 for a folder, 2 for a symbolic link, else 0.
    pub kind: u8,
    /// Changes with the content.
    pub version: u32,
    /// One for each file.
    pub path: u64,
}

/// An answer as it is written. What does not fit is noted, and makes it an error in the end.
pub struct Reply<'a> {
    buffer: &'a mut [u8],
    len: usize,
    too_long: bool,
}

impl<'a> Reply<'a> {
    /// An empty answer, to be written into `buffer`.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self {
            buffer,
            len: HEADER,
            too_long: false,
        }
    }
    /// Writes bytes at the end.
    pub fn bytes(&mut self, bytes: &[u8]) {
        match self.room().get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.too_long = true,
        }
    }
    /// Writes a number of one byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }
    /// Writes a number of two bytes.
    pub fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }
    /// Writes a number of four bytes.
    pub fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }
    /// Writes a number of eight bytes.
    pub fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }
    /// Writes a string.
    pub fn string(&mut self, bytes: &[u8]) {
        match u16::try_from(bytes.len()) {
            Ok(len) => {
                self.u16(len);
                self.bytes(bytes);
            }
            Err(_) => self.too_long = true,
        }
    }
    /// Writes a qid.
    pub fn qid(&mut self, qid: &Qid) {
        self.u8(qid.kind);
        self.u32(qid.version);
        self.u64(qid.path);
    }
    /// How much still fits.
    pub fn room(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.len..).unwrap_or_default()
    }
    /// Lets `fill` write up to `most` bytes of data behind a count of them, which it returns.
    pub fn data(
        &mut self,
        most: u32,
        fill: impl FnOnce(&mut [u8]) -> Result<usize, Errno>,
    ) -> Result<(), Errno> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let room = self.room().get_mut(4..).ok_or(Errno::INVAL)?;
        let most = most.min(room.len());
        let filled = fill(room.get_mut(..most).unwrap_or_default())?.min(most);
        // It is no longer than a message, whose size is four bytes.
        self.u32(filled as u32);
        self.len += filled;
        Ok(())
    }
    /// Ends the answer to the request of number `kind`; returns its length, or 0 if the guest has
    /// no room even for an error.
    pub fn finish(mut self, kind: u8, tag: u16, outcome: Result<(), Errno>) -> usize {
        let outcome = match outcome {
            Ok(()) if self.too_long => Err(Errno::MSGSIZE),
            outcome => outcome,
        };
        let kind = match outcome {
            Ok(()) => kind.wrapping_add(1),
            Err(errno) => {
                (self.len, self.too_long) = (HEADER, false);
                self.u32(errno.raw_os_error().cast_unsigned());
                kind::RLERROR
            }
        };
        let len = self.len;
        self.len = 0;
        self.u32(len as u32);
        self.u8(kind);
        self.u16(tag);
        if self.too_long { 0 } else { len }
    }
}
