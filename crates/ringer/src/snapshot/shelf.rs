//! Saved machines that have a name instead of a path: a folder of the user's.

use std::fs;
use std::path::{Path, PathBuf};

use super::MANIFEST;
use crate::exit::Failure;

/// The longest name.
const LONGEST_NAME: usize = 80;

/// The user's saved machines.
#[derive(Clone, Debug)]
pub struct Shelf(PathBuf);

impl Shelf {
    /// In `$XDG_DATA_HOME`, or else in `~/.local/share`; made if it is not there.
    pub fn open() -> Result<Self, Failure> {
        let absolute = |name| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let data = absolute("XDG_DATA_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
            .ok_or_else(|| {
                Failure::monitor(
                    "there is no folder for saved machines: set HOME, or give a path with a '/'",
                )
            })?;
        let shelf = Self(data.join("ringer/saved"));
        fs::create_dir_all(&shelf.0).map_err(|error| {
            Failure::monitor(format_args!("cannot make {}: {error}", shelf.0.display()))
        })?;
        Ok(shelf)
    }
    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.0
    }
    /// Where the machine called `name` is, or would be.
    pub fn place(&self, name: &str) -> Result<PathBuf, Failure> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let starts = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if name.len() > LONGEST_NAME || !starts || !name.chars().all(allowed) {
            return Err(Failure::usage(format_args!(
                "a saved machine cannot be called '{name}': a name has 1 to {LONGEST_NAME} letters, digits, '-', '_' and '.', and starts with a letter or digit"
            )));
        }
        Ok(self.0.join(name))
    }
    /// The names of all, in order.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter(|entry| entry.path().join(MANIFEST).is_file())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .collect();
        names.sort();
        names
    }
}

/// The directory of a saved machine given by its path or its name. What has a '/' is a path, and
/// so is what is there.
pub fn find(given: &Path) -> Result<PathBuf, Failure> {
    let text = given.to_string_lossy();
    if text.contains('/') || given.exists() {
        return Ok(given.to_path_buf());
    }
    let shelf = Shelf::open()?;
    let place = shelf.place(&text)?;
    if place.exists() {
        return Ok(place);
    }
    let names = shelf.names().join(", ");
    Err(Failure::monitor(format_args!(
        "no saved machine is called '{text}'{}",
        match names.as_str() {
            "" => "; `ringer save` makes one".to_string(),
            names => format!("; there are: {names}"),
        }
    )))
}
