//! What the parts of a machine need of the host while it runs. Each part says so itself, beside
//! the code that needs it.

use std::path::{Component, Path, PathBuf};

/// What a machine, or a part of it, needs once it runs. Files that are open already need nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Needs {
    /// Files to read, and folders with all that is in them.
    pub(super) read: Vec<PathBuf>,
    /// Files to read and write that exist.
    pub(super) write: Vec<PathBuf>,
    /// Folders in which anything is made, changed and removed.
    pub(super) change: Vec<PathBuf>,
    /// Folders from which empty folders are removed.
    pub(super) remove: Vec<PathBuf>,
    /// The host's network.
    pub(super) network: bool,
    /// Modes, times and symbolic links of files, for shared folders.
    pub(super) attributes: bool,
}

impl Needs {
    /// Nothing but what every machine needs.
    pub fn new() -> Self {
        Self {
            // How much memory this process takes.
            read: vec!["/proc/self".into()],
            ..Self::default()
        }
    }
    /// Reads this file, or all in this folder.
    pub fn read(&mut self, path: impl AsRef<Path>) -> &mut Self {
        self.read.push(absolute(path.as_ref()));
        self
    }
    /// Reads and writes this file, which exists.
    pub fn write(&mut self, path: impl AsRef<Path>) -> &mut Self {
        self.write.push(absolute(path.as_ref()));
        self
    }
    /// Makes, changes and removes anything in this folder.
    pub fn change(&mut self, folder: impl AsRef<Path>) -> &mut Self {
        self.change.push(absolute(folder.as_ref()));
        self
    }
    /// Removes empty folders from this one.
    pub fn remove_folders(&mut self, folder: impl AsRef<Path>) -> &mut Self {
        self.remove.push(absolute(folder.as_ref()));
        self
    }
    /// Connects to the host's network and is connected to.
    pub fn network(&mut self) -> &mut Self {
        self.network = true;
        self
    }
    /// Changes modes and times of files and makes symbolic links, as a file server does.
    pub fn attributes(&mut self) -> &mut Self {
        self.attributes = true;
        self
    }
    /// Whether something can be made at `path`, as far as its name tells.
    pub fn may_make(&self, path: &Path) -> bool {
        let path = absolute(path);
        let in_folder = |folder: &PathBuf| path.parent().is_some_and(|p| p.starts_with(folder));
        self.change.iter().any(in_folder)
    }
}

/// From the root, without `.` and `..`.
fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir => {}
            part => clean.push(part),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_inside_can_be_made() {
        let mut needs = Needs::new();
        needs.change("/var/vm");
        for inside in ["/var/vm/a", "/var/vm/a/b", "/var/vm/x/../a", "/var/./vm/a"] {
            assert!(needs.may_make(Path::new(inside)), "{inside}");
        }
        for outside in [
            "/var/vm",
            "/var/vm2/a",
            "/var/vm/../a",
            "/",
            "a",
            "/proc/self/a",
        ] {
            assert!(!needs.may_make(Path::new(outside)), "{outside}");
        }
    }
}
