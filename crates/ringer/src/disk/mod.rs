//! Disk images behind block devices.

pub mod demo;
mod file;
mod overlay;

use std::path::PathBuf;

pub use file::FileDisk;
pub use overlay::{Overlay, OverlayDisk, works_in};

use crate::config::DiskSpec;
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
    /// It is not a raw image.
    #[error("the disk {} is a {format} image, and Ringer needs a raw one: `qemu-img convert -O raw`", path.display())]
    Format {
        /// The image.
        path: PathBuf,
        /// Its format.
        format: &'static str,
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

/// An opened disk.
pub struct Disk {
    /// What the device works on.
    pub backend: Box<dyn BlockBackend>,
    /// The overlay, which belongs to the machine's saved state.
    pub overlay: Option<Overlay>,
}

/// Opens the disk that `spec` describes.
pub fn open(spec: &DiskSpec) -> Result<Disk, DiskError> {
    if demo::is_demo(&spec.path) {
        return Ok(Disk {
            backend: Box::new(demo::open()),
            overlay: None,
        });
    }
    let base = FileDisk::open(&spec.path, spec.read_only || spec.overlay)?;
    if spec.overlay {
        let overlay = Overlay::new(base, spec.read_only)?;
        return Ok(Disk {
            backend: Box::new(OverlayDisk(overlay.clone())),
            overlay: Some(overlay),
        });
    }
    Ok(Disk {
        backend: Box::new(base),
        overlay: None,
    })
}
