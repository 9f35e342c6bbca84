//! A saved machine on disk: a directory with one file for each part, the memory in layers, and a
//! manifest with sizes and checksums. It appears under its name only when it is complete.
//! docs/SNAPSHOTS.md tells the whole story.

mod layer;
mod manifest;
mod pages;
mod reader;
mod shelf;
mod stamps;
mod writer;

use std::path::PathBuf;

pub use layer::{LayerWriter, Segment, resolve};
pub use manifest::{Description, SavedDisk, SavedShare};
pub use pages::PAGE;
pub use reader::{Reader, Trust, manifest};
pub use shelf::{Shelf, find};
pub use writer::{Writer, remove};

/// Why a machine could not be saved or resumed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The directory to save to holds something else.
    #[error("{} exists and is no saved machine; give --save another directory", .0.display())]
    Occupied(PathBuf),
    /// The operating system refuses to write.
    #[error("cannot save to {}: {reason}", path.display())]
    Unwritable {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A saved machine cannot be removed.
    #[error("cannot remove {}: {reason}", path.display())]
    Unremovable {
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The directory is not a saved machine, or cannot be read.
    #[error("cannot resume from {}: {reason}", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file is not as it was written.
    #[error("the saved machine in {} is damaged: {reason}", path.display())]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// The manifest's name in the directory.
const MANIFEST: &str = "manifest.toml";
/// The format's number. A change that older versions cannot read increases it.
const VERSION: u32 = 2;
/// The oldest format that can be read.
const OLDEST: u32 = 1;
/// Layers at most: each is a file to map from, and keeps what it was saved on top of.
pub const MOST_LAYERS: usize = 16;

/// Whether `name` can be a part's: it becomes a file name, and must not lead elsewhere.
fn is_part_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

#[cfg(test)]
mod tests;
