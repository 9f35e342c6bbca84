//! Disk images behind block devices: raw and qcow2 files, and overlays over them.

pub mod create;
pub mod demo;
mod file;
pub mod format;
pub mod image_file;
pub mod layers;
mod overlay;
pub mod qcow2;

use std::fmt::Display;
use std::path::{Path, PathBuf};

pub use file::FileDisk;
pub use overlay::{Blocks, Overlay, OverlayDisk, works_in};

use crate::config::DiskSpec;
use layers::{Image, Opening};
use qcow2::Qcow2Disk;
use ringer_machine::backend::BlockBackend;

/// Bytes in a sector, the unit of a disk's capacity.
pub const SECTOR: u64 = 512;

/// Why a disk image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The operating system refuses.
    #[error("cannot open the disk {}: {reason}", path.display())]
    Unusable {
        /// The image.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// It is in use by somebody else.
    #[error("the disk {} is in use by another machine; stop that, or use ro or overlay on both", .0.display())]
    Busy(PathBuf),
    /// It is of a kind that is not read here.
    #[error("the disk {} is a {format} image, and Ringer reads raw and qcow2: `qemu-img convert -O qcow2`", path.display())]
    Format {
        /// The image.
        path: PathBuf,
        /// Its format.
        format: &'static str,
    },
    /// What is in the file is not as it should be.
    #[error("the disk image {} cannot be used: {reason}", path.display())]
    Damaged {
        /// The image.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// A new image would replace a file.
    #[error("{} exists already; give another name, or --force to replace it", .0.display())]
    Exists(PathBuf),
    /// A new image cannot be written.
    #[error("cannot make the image {}: {reason}", path.display())]
    NotMade {
        /// The image.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// There is no room for the overlay.
    #[error("cannot make a temporary file for an overlay in {}: {reason}; set TMPDIR", dir.display())]
    NoOverlay {
        /// Where it was tried.
        dir: PathBuf,
        /// What the system says.
        reason: String,
    },
}

impl DiskError {
    fn unusable(path: &Path, reason: impl Display) -> Self {
        Self::Unusable {
            path: path.to_path_buf(),
            reason: one_line(reason),
        }
    }
    fn damaged(path: &Path, reason: impl Display) -> Self {
        Self::Damaged {
            path: path.to_path_buf(),
            reason: one_line(reason),
        }
    }
}

fn one_line(reason: impl Display) -> String {
    reason.to_string().replace('\n', " ")
}

/// An opened disk.
pub struct Disk {
    /// What the device works on.
    pub backend: Box<dyn BlockBackend>,
    /// The overlay, which belongs to the machine's saved state.
    pub overlay: Option<Overlay>,
    /// The image, if it has tables of its own, which must be written back before anybody else
    /// reads its file.
    pub tables: Option<Qcow2Disk>,
}

/// Opens the disk that `spec` describes.
pub fn open(spec: &DiskSpec) -> Result<Disk, DiskError> {
    if demo::is_demo(&spec.path) {
        return Ok(Disk {
            backend: Box::new(demo::open()),
            overlay: None,
            tables: None,
        });
    }
    if let Some(kept) = &spec.kept {
        let disk = create::open_overlay(kept, &spec.path, spec.format, spec.read_only)?;
        return Ok(on_tables(disk));
    }
    let opening = Opening {
        format: spec.format,
        read_only: spec.read_only || spec.overlay,
        base: None,
    };
    let image = layers::open(&spec.path, opening)?;
    if spec.overlay {
        let overlay = Overlay::new(image.into_backend(), spec.read_only)?;
        return Ok(Disk {
            backend: Box::new(OverlayDisk(overlay.clone())),
            overlay: Some(overlay),
            tables: None,
        });
    }
    Ok(match image {
        Image::Qcow2(disk) => on_tables(disk),
        Image::Raw(disk) => Disk {
            backend: Box::new(disk),
            overlay: None,
            tables: None,
        },
    })
}

fn on_tables(disk: Qcow2Disk) -> Disk {
    Disk {
        backend: Box::new(disk.clone()),
        overlay: None,
        tables: Some(disk),
    }
}
