//! `ringer image show`: what an image says of itself.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::args::ShowArgs;
use super::bytes;
use crate::disk::DiskError;
use crate::disk::format::ImageFormat;
use crate::disk::image_file::ImageFile;
use crate::disk::layers;
use crate::disk::qcow2::{Backing, BaseIdentity};
use crate::exit::Failure;

/// An image.
#[derive(Serialize)]
struct Description {
    file: PathBuf,
    format: ImageFormat,
    /// Bytes of the disk in it.
    size: u64,
    /// Bytes that the file takes on its file system.
    allocated: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    qcow2: Option<Qcow2Description>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<BaseDescription>,
}

#[derive(Serialize)]
struct Qcow2Description {
    version: u32,
    cluster: u64,
    snapshots: u32,
}

#[derive(Serialize)]
struct BaseDescription {
    /// As it is written in the image.
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<String>,
    state: BaseState,
}

/// What became of a base since the overlay was made.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
enum BaseState {
    Unchanged,
    Changed,
    /// The image does not say what it was.
    Unknown,
    Missing,
    /// A commit was begun and must be completed.
    CommitBegun,
}

impl BaseState {
    fn text(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged since",
            Self::Changed => "CHANGED since: the overlay is not used over it",
            Self::Unknown => "not known whether it has changed since",
            Self::Missing => "MISSING: say where it is with `ringer image rebase`",
            Self::CommitBegun => "a commit was begun: complete it with `ringer image commit`",
        }
    }
}

/// Does it.
pub fn run(args: &ShowArgs) -> Result<String, Failure> {
    let found = describe(&args.file).map_err(Failure::monitor)?;
    if args.json {
        let text = serde_json::to_string_pretty(&found).map_err(Failure::monitor)?;
        return Ok(text + "\n");
    }
    Ok(for_people(&found))
}

/// Bytes that a file takes.
pub fn allocated(metadata: &Metadata) -> u64 {
    metadata.blocks().saturating_mul(512)
}

fn describe(path: &Path) -> Result<Description, DiskError> {
    let image = ImageFile::look(path)?;
    let format = image.probe()?;
    let metadata = image.file.metadata();
    let metadata = metadata.map_err(|error| DiskError::Unusable {
        path: path.to_path_buf(),
        reason: error.to_string(),
    })?;
    let mut description = Description {
        file: path.to_path_buf(),
        format,
        size: image.len,
        allocated: allocated(&metadata),
        qcow2: None,
        base: None,
    };
    if format == ImageFormat::Qcow2 {
        let header = layers::read_header(&image)?;
        description.size = header.size;
        description.qcow2 = Some(Qcow2Description {
            version: header.version,
            cluster: header.cluster,
            snapshots: header.snapshots,
        });
        description.base = header.backing.map(|backing| BaseDescription {
            state: state(path, &backing),
            name: backing.name,
            format: backing.format,
        });
    }
    Ok(description)
}

fn state(path: &Path, backing: &Backing) -> BaseState {
    let base = match layers::folder_of(path) {
        Ok(folder) => folder.join(&backing.name),
        Err(_) => return BaseState::Missing,
    };
    // Only its size and time are looked at: an image may name any file.
    let Ok(metadata) = base.metadata() else {
        return BaseState::Missing;
    };
    match backing.identity {
        None => BaseState::Unknown,
        Some(was) if was.commit_begun => BaseState::CommitBegun,
        Some(was) if was == BaseIdentity::of_metadata(&metadata) => BaseState::Unchanged,
        Some(_) => BaseState::Changed,
    }
}

fn for_people(found: &Description) -> String {
    let mut lines = vec![
        ("image", found.file.display().to_string()),
        ("format", found.format.to_string()),
        ("disk", bytes(found.size)),
        ("file takes", bytes(found.allocated)),
    ];
    if let Some(qcow2) = &found.qcow2 {
        lines.push((
            "clusters",
            format!("{} (version {})", bytes(qcow2.cluster), qcow2.version),
        ));
        if qcow2.snapshots > 0 {
            lines.push(("snapshots", format!("{} inside", qcow2.snapshots)));
        }
    }
    if let Some(base) = &found.base {
        let format = base.format.as_deref().unwrap_or("of a kind not said");
        lines.push((
            "base",
            format!("{} ({format}), {}", base.name, base.state.text()),
        ));
    }
    lines
        .iter()
        .map(|(name, value)| format!("{name:<11} {value}\n"))
        .collect()
}
