//! Where running machines keep their state: one directory each, held by a lock that ends with
//! the process. So a monitor that was killed leaves nothing behind that is in anybody's way.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};
use serde::{Deserialize, Serialize};

use crate::sandbox::Needs;

/// The longest name of a machine. A socket's whole path has room for 107 bytes.
const LONGEST_NAME: usize = 40;
/// How many machines can have the same default name.
const SAME_NAME: usize = 1000;
/// How long others may hold the lock on the list of machines, which takes them microseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// Locked by whoever claims a place or cleans up.
const LIST_LOCK: &str = ".lock";

/// Names of the files in a machine's directory.
mod file {
    /// Locked while the machine runs; holds the process's number.
    pub const LOCK: &str = "lock";
    /// The control socket.
    pub const SOCKET: &str = "control.sock";
    /// What the machine is, for `ps` when it does not answer.
    pub const SUMMARY: &str = "vm.json";
    /// All of them.
    pub const ALL: [&str; 3] = [SOCKET, SUMMARY, LOCK];
}

/// Why a machine has no place.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Another one runs under the name that was asked for.
    #[error(
        "a machine called '{name}' runs already{}; choose another --name, or `ringer stop {name}`",
        .pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    InUse {
        /// The name.
        name: String,
        /// Its process.
        pid: Option<u32>,
    },
    /// No machine can be called that.
    #[error(
        "a machine cannot be called '{0}': a name has 1 to {LONGEST_NAME} letters, digits, '-', '_' and '.', and starts with a letter or digit"
    )]
    BadName(String),
    /// The folder for all machines is not ours alone.
    #[error("{} {why}", .path.display())]
    Unsafe {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The host refuses.
    #[error("{}: {error}", .path.display())]
    Host {
        /// What it was about.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
}

impl PlaceError {
    fn host(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        |error| Self::Host { path, error }
    }
}

/// What is known of a machine without asking it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Summary {
    /// What it was started from.
    pub guest: String,
    /// How many harts it has.
    pub harts: usize,
    /// Bytes of RAM.
    pub memory: u64,
}

/// A running machine's directory. Removed when this goes.
#[derive(Debug)]
pub struct Place {
    folder: Folder,
    name: String,
    /// Locked; whoever has it has the directory.
    _lock: File,
    /// Nothing is left to be removed.
    removed: bool,
}

/// A machine found in the folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Its process.
    pub pid: Option<u32>,
    /// What it is.
    pub summary: Summary,
}

/// The folder of all machines of this user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Folder(PathBuf);

/// What a name can be made of.
fn is_name(name: &str) -> bool {
    name.len() <= LONGEST_NAME
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// The nearest to `text` that can be a name.
fn made_name(text: &str) -> String {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || "-_.".contains(*c);
    let name: String = text
        .chars()
        .filter(allowed)
        .skip_while(|c| !c.is_ascii_alphanumeric())
        // Room for a number behind it.
        .take(LONGEST_NAME - 4)
        .collect();
    if name.is_empty() {
        "vm".to_string()
    } else {
        name
    }
}

impl Folder {
    /// This user's: in `$XDG_RUNTIME_DIR`, or else in /tmp. Made if it is not there.
    pub fn open() -> Result<Self, PlaceError> {
        let uid = rustix::process::getuid().as_raw();
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let path = match runtime.filter(|dir| dir.is_absolute() && dir.is_dir()) {
            Some(dir) => dir.join("ringer"),
            None => PathBuf::from(format!("/tmp/ringer-{uid}")),
        };
        Self::at(path)
    }

    /// The folder at `path`, which must be this user's and nobody else's business.
    pub fn at(path: PathBuf) -> Result<Self, PlaceError> {
        make_directory(&path).map_err(PlaceError::host(&path))?;
        let there = fs::symlink_metadata(&path).map_err(PlaceError::host(&path))?;
        let why = if !there.is_dir() {
            "is no directory; remove it"
        } else if there.uid() != rustix::process::getuid().as_raw() {
            "belongs to somebody else; set XDG_RUNTIME_DIR to a directory of your own"
        } else if there.permissions().mode() & 0o077 != 0 {
            "is open to others; chmod 700 it"
        } else {
            return Ok(Self(path));
        };
        Err(PlaceError::Unsafe { path, why })
    }

    /// A place for a machine: of the name that was asked for, or else of a name like `otherwise`
    /// that is not taken.
    pub fn claim(&self, asked: Option<&str>, otherwise: &str) -> Result<Place, PlaceError> {
        if let Some(name) = asked
            && !is_name(name)
        {
            return Err(PlaceError::BadName(name.to_string()));
        }
        let _all = self.lock()?;
        if let Some(name) = asked {
            return self.take(name)?.ok_or_else(|| PlaceError::InUse {
                name: name.to_string(),
                pid: self.pid(name),
            });
        }
        let stem = made_name(otherwise);
        for number in 1..SAME_NAME {
            let name = match number {
                1 => stem.clone(),
                _ => format!("{stem}-{number}"),
            };
            if let Some(place) = self.take(&name)? {
                return Ok(place);
            }
        }
        Err(PlaceError::InUse {
            name: stem,
            pid: None,
        })
    }

    /// The machines that run. What others left behind is removed.
    pub fn machines(&self) -> Result<Vec<Found>, PlaceError> {
        let _all = self.lock()?;
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(PlaceError::host(&self.0))? {
            let entry = entry.map_err(PlaceError::host(&self.0))?;
            let Some(name) = entry.file_name().to_str().map(str::to_string) else {
                continue;
            };
            if !is_name(&name) || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            match self.take(&name) {
                // Nobody's: it goes with the place.
                Ok(Some(mut stale)) => stale.remove(),
                Ok(None) => found.push(Found {
                    pid: self.pid(&name),
                    summary: self.summary(&name),
                    name,
                }),
                // A directory that somebody else put there is not ours to judge.
                Err(_) => {}
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Whether a machine of this name runs.
    pub fn is_running(&self, name: &str) -> Result<bool, PlaceError> {
        Ok(self.machines()?.iter().any(|found| found.name == name))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
    /// Where messages of a machine in the background are.
    pub fn log(&self, name: &str) -> PathBuf {
        self.0.join(format!(".{name}.log"))
    }
    /// The control socket of a machine.
    pub fn socket(&self, name: &str) -> PathBuf {
        self.0.join(name).join(file::SOCKET)
    }

    /// Keeps others from claiming and cleaning meanwhile.
    fn lock(&self) -> Result<File, PlaceError> {
        let path = self.0.join(LIST_LOCK);
        let lock = open_lock(&path).map_err(PlaceError::host(&path))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(lock),
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => return Err(PlaceError::host(&path)(error.into())),
            }
        }
    }

    /// The directory of this name, unless its machine runs.
    fn take(&self, name: &str) -> Result<Option<Place>, PlaceError> {
        let dir = self.0.join(name);
        make_directory(&dir).map_err(PlaceError::host(&dir))?;
        let path = dir.join(file::LOCK);
        let mut lock = open_lock(&path).map_err(PlaceError::host(&path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(PlaceError::host(&path)(error.into())),
        }
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(PlaceError::host(&path))?;
        Ok(Some(Place {
            folder: self.clone(),
            name: name.to_string(),
            _lock: lock,
            removed: false,
        }))
    }

    fn pid(&self, name: &str) -> Option<u32> {
        self.read(name, file::LOCK)?.trim().parse().ok()
    }

    fn summary(&self, name: &str) -> Summary {
        self.read(name, file::SUMMARY)
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default()
    }

    fn read(&self, name: &str, file: &str) -> Option<String> {
        let mut text = String::new();
        let file = File::open(self.0.join(name).join(file)).ok()?;
        file.take(64 << 10).read_to_string(&mut text).ok()?;
        Some(text)
    }
}

impl Place {
    /// The machine's name.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Its directory.
    pub fn directory(&self) -> PathBuf {
        self.folder.0.join(&self.name)
    }
    /// Where messages go if the machine runs in the background; stays when it has ended.
    pub fn log(&self) -> PathBuf {
        self.folder.log(&self.name)
    }
    /// What it takes to give the directory back, and to go on answering.
    pub fn needs(&self, needs: &mut Needs) {
        needs
            .change(self.directory())
            .remove_folders(&self.folder.0)
            .write(self.folder.0.join(LIST_LOCK));
    }
    /// Writes down what the machine is, and opens its control socket.
    pub fn listen(&self, summary: &Summary) -> Result<UnixListener, PlaceError> {
        let path = self.directory().join(file::SUMMARY);
        fs::write(&path, serde_json::to_vec(summary).unwrap_or_default())
            .map_err(PlaceError::host(&path))?;
        let path = self.folder.socket(&self.name);
        // What a killed monitor left.
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path).map_err(PlaceError::host(&path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
            .map_err(PlaceError::host(&path))?;
        Ok(listener)
    }
    /// Whoever claims it next finds it empty; so nothing here may fail loudly.
    fn remove(&mut self) {
        self.removed = true;
        for name in file::ALL {
            let _ = fs::remove_file(self.directory().join(name));
        }
        let _ = fs::remove_dir(self.directory());
    }
}

impl Drop for Place {
    /// While the list cannot be locked the directory stays, for the next run or `ps` to clean.
    fn drop(&mut self) {
        if !self.removed
            && let Ok(_all) = self.folder.clone().lock()
        {
            self.remove();
        }
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn open_lock(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::at(dir.path().join("ringer")).unwrap();
        (dir, folder)
    }

    /// The lock goes as it does when a process is killed; all files stay.
    fn killed(mut place: Place) {
        place.removed = true;
    }

    #[test]
    fn names_are_kept_apart() {
        let (_dir, folder) = folder();
        let first = folder.claim(None, "Image").unwrap();
        let second = folder.claim(None, "Image").unwrap();
        assert_eq!((first.name(), second.name()), ("Image", "Image-2"));
        let error = folder.claim(Some("Image"), "").unwrap_err().to_string();
        let pid = std::process::id();
        assert!(error.contains(&format!("process {pid}")), "{error}");
        let names = |folder: &Folder| -> Vec<String> {
            let machines = folder.machines().unwrap();
            machines.into_iter().map(|found| found.name).collect()
        };
        assert_eq!(names(&folder), ["Image", "Image-2"]);
        drop(first);
        assert_eq!(names(&folder), ["Image-2"]);
        assert_eq!(folder.claim(None, "Image").unwrap().name(), "Image");
        drop(second);
    }

    #[test]
    fn what_a_killed_monitor_left_is_in_nobodys_way() {
        let (_dir, folder) = folder();
        let place = folder.claim(Some("vm"), "").unwrap();
        place.listen(&Summary::default()).unwrap();
        let left = place.directory();
        killed(place);
        assert!(left.join(file::SOCKET).exists());
        let place = folder.claim(Some("vm"), "").unwrap();
        place.listen(&Summary::default()).unwrap();
        killed(place);
        assert_eq!(folder.machines().unwrap(), []);
        assert!(!left.exists());
    }

    #[test]
    fn the_folder_must_be_ours_alone() {
        let dir = tempfile::tempdir().unwrap();
        let open = dir.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&open, &link).unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [open, link, file] {
            let error = Folder::at(path).unwrap_err();
            assert!(matches!(error, PlaceError::Unsafe { .. }), "{error}");
        }
    }

    #[test]
    fn odd_names_are_refused_or_made_better() {
        let (_dir, folder) = folder();
        for bad in ["", ".", "..", "a/b", "-x", "a b", "\u{e9}", &"x".repeat(41)] {
            let error = folder.claim(Some(bad), "").unwrap_err();
            assert!(matches!(error, PlaceError::BadName(_)), "{bad}");
            let name = made_name(bad);
            assert!(is_name(&name), "{bad} became {name}");
        }
        assert_eq!(made_name("../my kernel.elf"), "mykernel.elf");
    }
}
