//! New image files: empty, or overlays that stand on a base. A file is complete when it appears
//! under its name.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::format::ImageFormat;
use super::image_file::ImageFile;
use super::layers::{self, Opening};
use super::qcow2::{self, Backing, BaseIdentity, Qcow2Disk};
use super::{DiskError, SECTOR};
use crate::size::Size;
use ringer_machine::backend::BlockBackend;

/// The largest disk: what QEMU and file systems can do as well.
const MAX_SIZE: u64 = 1 << 50;

/// Checks the size of a new disk.
pub fn check_size(path: &Path, size: u64) -> Result<(), DiskError> {
    if (SECTOR..=MAX_SIZE).contains(&size) && size.is_multiple_of(SECTOR) {
        return Ok(());
    }
    Err(DiskError::unusable(
        path,
        format_args!(
            "a disk's size is a multiple of 512 bytes, at most {}, and {size} bytes is not",
            Size(MAX_SIZE)
        ),
    ))
}

/// Makes an image file with what `fill` puts into it.
pub fn filled(
    path: &Path,
    format: ImageFormat,
    size: u64,
    replace: bool,
    fill: impl FnOnce(&mut dyn BlockBackend) -> io::Result<()>,
) -> Result<(), DiskError> {
    check_size(path, size)?;
    appear(path, replace, |file, place| {
        match format {
            ImageFormat::Raw => file.set_len(size)?,
            ImageFormat::Qcow2 => qcow2::format_file(file.try_clone()?, size, None)?,
        }
        let opening = Opening {
            format: Some(format),
            ..Opening::default()
        };
        let mut disk = layers::open(place, opening)
            .map_err(io::Error::other)?
            .into_backend();
        fill(&mut *disk)?;
        disk.flush().map_err(io::Error::other)
    })
}

/// Makes an overlay at `path` that reads as `base`, with at least its size.
pub fn overlay(
    path: &Path,
    base: &Path,
    base_format: Option<ImageFormat>,
    size: Option<u64>,
    replace: bool,
) -> Result<(), DiskError> {
    let opening = Opening {
        format: base_format,
        read_only: true,
        ..Opening::default()
    };
    let base_size = layers::open(base, opening)?.into_backend().len();
    let backing = describe_base(path, base, base_format)?;
    let size = size.unwrap_or(base_size.next_multiple_of(SECTOR));
    check_size(path, size)?;
    appear(path, replace, |file, _| {
        qcow2::format_file(file.try_clone()?, size, Some(&backing))
    })
}

/// What an overlay at `path` has to say of its base.
pub fn describe_base(
    path: &Path,
    base: &Path,
    format: Option<ImageFormat>,
) -> Result<Backing, DiskError> {
    let file = ImageFile::open(base, true)?;
    let format = match format {
        Some(format) => format,
        None => file.probe()?,
    };
    let base = base
        .canonicalize()
        .map_err(|error| DiskError::unusable(base, error))?;
    // Beside its base an overlay can be moved with it.
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let beside = folder
        .canonicalize()
        .is_ok_and(|folder| base.parent() == Some(&folder));
    let name = match base.file_name() {
        Some(name) if beside => PathBuf::from(name),
        _ => base.clone(),
    };
    let name = name.into_os_string().into_string().map_err(|name| {
        DiskError::unusable(
            path,
            format_args!("the path of its base, {}, is not UTF-8", name.display()),
        )
    })?;
    Ok(Backing {
        name,
        format: Some(format.name().to_string()),
        identity: Some(BaseIdentity::of(&file.file, &base)?),
    })
}

/// Opens the overlay at `path` over `base`; makes it when it is not there.
pub fn open_overlay(
    path: &Path,
    base: &Path,
    base_format: Option<ImageFormat>,
    read_only: bool,
) -> Result<Qcow2Disk, DiskError> {
    if !path.exists() && !read_only {
        match overlay(path, base, base_format, None, false) {
            // Somebody else was quicker; then it is there, and opening it says more.
            Err(DiskError::Exists(_)) | Ok(()) => {}
            Err(error) => return Err(error),
        }
    }
    let opening = Opening {
        format: Some(ImageFormat::Qcow2),
        read_only,
        base: Some(base),
    };
    match layers::open(path, opening)? {
        layers::Image::Qcow2(disk) => Ok(disk),
        layers::Image::Raw(_) => Err(DiskError::damaged(path, "it is raw, and no overlay")),
    }
}

/// Fills a new file, and gives it its name when it is complete.
fn appear(
    path: &Path,
    replace: bool,
    fill: impl FnOnce(&File, &Path) -> io::Result<()>,
) -> Result<(), DiskError> {
    if !replace && path.symlink_metadata().is_ok() {
        return Err(DiskError::Exists(path.to_path_buf()));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
    let result = write_and_rename(&unfinished, path, replace, fill);
    if result.is_err() {
        // It is of no use to anybody, and the error is told below.
        let _ = std::fs::remove_file(&unfinished);
    }
    result.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::EXIST) => DiskError::Exists(path.to_path_buf()),
        _ => DiskError::NotMade {
            path: path.to_path_buf(),
            reason: error.to_string(),
        },
    })
}

fn write_and_rename(
    unfinished: &Path,
    path: &Path,
    replace: bool,
    fill: impl FnOnce(&File, &Path) -> io::Result<()>,
) -> io::Result<()> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(unfinished)?;
    fill(&file, unfinished)?;
    let flags = match replace {
        true => RenameFlags::empty(),
        false => RenameFlags::NOREPLACE,
    };
    rustix::fs::renameat_with(CWD, unfinished, CWD, path, flags)?;
    Ok(())
}
