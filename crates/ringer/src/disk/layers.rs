//! Opening an image with all that it stands on, and what an image may stand on.
//!
//! The name of a base is in the image, and whoever made the image chose it. So a base is opened
//! only if it is in the image's own folder, or if the user has named it himself.

use std::path::{Path, PathBuf};

use super::format::ImageFormat;
use super::image_file::{FileId, ImageFile};
use super::qcow2::{self, Backing, BaseIdentity, Header, Layers, Qcow2Disk};
use super::{DiskError, FileDisk, create};
use ringer_machine::backend::BlockBackend;

/// The most images that may stand on each other.
const MAX_LAYERS: usize = 16;

/// An opened image.
pub enum Image {
    /// The disk's bytes.
    Raw(FileDisk),
    /// A qcow2 image, on its bases.
    Qcow2(Qcow2Disk),
}

impl Image {
    /// As a device's disk.
    pub fn into_backend(self) -> Box<dyn BlockBackend> {
        match self {
            Self::Raw(disk) => Box::new(disk),
            Self::Qcow2(disk) => Box::new(disk),
        }
    }
}

/// How an image is opened.
#[derive(Clone, Copy, Default)]
pub struct Opening<'a> {
    /// What it is; by its content if nobody says.
    pub format: Option<ImageFormat>,
    /// Writes are refused.
    pub read_only: bool,
    /// The base that the user named: this one is allowed wherever it is, and no other.
    pub base: Option<&'a Path>,
}

/// Opens an image.
pub fn open(path: &Path, how: Opening<'_>) -> Result<Image, DiskError> {
    let file = ImageFile::open(path, how.read_only)?;
    let format = match how.format {
        Some(format) => format,
        None => file.probe()?,
    };
    match format {
        ImageFormat::Raw => {
            let guess = how.format.is_none();
            Ok(Image::Raw(FileDisk::new(file, how.read_only, guess)))
        }
        ImageFormat::Qcow2 => {
            let path = file.path.clone();
            let layers = qcow2_layers(file, how, &mut Vec::new())?;
            Qcow2Disk::new(&path, layers, how.read_only).map(Image::Qcow2)
        }
    }
}

/// An image to be written without its base: what is not in it reads as zero.
pub fn open_alone(file: ImageFile) -> Result<Qcow2Disk, DiskError> {
    read_header(&file)?;
    let path = file.path.clone();
    let layers = qcow2::qcow2_layer(file, None, false)?;
    Qcow2Disk::new(&path, layers, false)
}

/// Reads and checks the header of an open qcow2 image.
pub fn read_header(file: &ImageFile) -> Result<Header, DiskError> {
    Header::read(&file.file, file.len).map_err(|reason| DiskError::damaged(&file.path, reason))
}

fn qcow2_layers(
    file: ImageFile,
    how: Opening<'_>,
    above: &mut Vec<FileId>,
) -> Result<Layers, DiskError> {
    above.push(file.id);
    if above.len() > MAX_LAYERS {
        return Err(DiskError::damaged(
            &file.path,
            format_args!("more than {MAX_LAYERS} images stand on each other"),
        ));
    }
    let header = read_header(&file)?;
    let below = match &header.backing {
        None if how.base.is_some() => {
            return Err(DiskError::damaged(
                &file.path,
                "it is an image of its own and stands on no base; as overlay=FILE give the name \
                 of an overlay, or of a file that is not there yet",
            ));
        }
        None => None,
        Some(backing) => {
            let base = find_base(&file.path, backing, how.base)?;
            if above.contains(&FileId::of_path(&base)?) {
                return Err(DiskError::damaged(&file.path, "it stands on itself"));
            }
            let format = base_format(&file.path, backing)?;
            let base = ImageFile::open(&base, true)?;
            check_base(&file.path, backing, &base)?;
            Some(match format {
                ImageFormat::Raw => qcow2::raw_layer(base)?,
                ImageFormat::Qcow2 => {
                    let below = Opening {
                        read_only: true,
                        ..Opening::default()
                    };
                    qcow2_layers(base, below, above)?
                }
            })
        }
    };
    qcow2::qcow2_layer(file, below, how.read_only)
}

/// Where the base of `image` is.
pub fn find_base(
    image: &Path,
    backing: &Backing,
    named: Option<&Path>,
) -> Result<PathBuf, DiskError> {
    let folder = folder_of(image)?;
    let base = folder.join(&backing.name);
    let found = base.canonicalize().map_err(|error| {
        DiskError::damaged(
            image,
            format_args!(
                "its base {} cannot be found: {error}; say where it is with `ringer image rebase`",
                base.display()
            ),
        )
    })?;
    match named {
        None if found.starts_with(&folder) => Ok(found),
        None => Err(DiskError::damaged(
            image,
            format_args!(
                "its base {0} is not in its own folder, where the image might have been told to \
                 name any file; if that is right, say --disk {0},overlay={1}, or --base {0}",
                found.display(),
                image.display()
            ),
        )),
        Some(named) => {
            let named = named
                .canonicalize()
                .map_err(|error| DiskError::unusable(named, error))?;
            match named == found {
                true => Ok(found),
                false => Err(DiskError::damaged(
                    image,
                    format_args!(
                        "it stands on {}, not on {}",
                        found.display(),
                        named.display()
                    ),
                )),
            }
        }
    }
}

/// What the base of `image` is. It is never guessed: a guest may have written the base.
pub fn base_format(image: &Path, backing: &Backing) -> Result<ImageFormat, DiskError> {
    let format = backing.format.as_deref().ok_or_else(|| {
        DiskError::damaged(
            image,
            "it does not say what its base is; say it with `ringer image rebase --base-format`",
        )
    })?;
    format.parse().map_err(|_| {
        DiskError::damaged(
            image,
            format_args!("its base is said to be '{format}', and Ringer reads raw and qcow2"),
        )
    })
}

/// Whether the base is still what it was when the overlay was made.
pub fn check_base(image: &Path, backing: &Backing, base: &ImageFile) -> Result<(), DiskError> {
    let Some(was) = backing.identity else {
        return Ok(());
    };
    if was.commit_begun {
        return Err(DiskError::damaged(
            image,
            format_args!(
                "writing it into its base was interrupted; complete that with `ringer image commit {}`",
                image.display()
            ),
        ));
    }
    let is = BaseIdentity::of(&base.file, &base.path)?;
    if is == was {
        return Ok(());
    }
    Err(DiskError::damaged(
        image,
        format_args!(
            "its base {} was changed since; make a new overlay, or if the base's content is the same: \
             `ringer image rebase {} --base {}`",
            base.path.display(),
            image.display(),
            base.path.display()
        ),
    ))
}

/// Tells an overlay where its base is, and that the base is now as it was.
pub fn rebase(
    overlay: &Path,
    base: &Path,
    base_format: Option<ImageFormat>,
) -> Result<(), DiskError> {
    let file = ImageFile::open(overlay, false)?;
    let header = read_header(&file)?;
    let Some(was) = header.backing else {
        return Err(DiskError::damaged(overlay, "it stands on no base"));
    };
    if was.identity.is_some_and(|was| was.commit_begun) {
        return Err(DiskError::damaged(
            overlay,
            "writing it into its base was begun; complete that with `ringer image commit`",
        ));
    }
    if FileId::of_path(base)? == file.id {
        return Err(DiskError::damaged(overlay, "it cannot stand on itself"));
    }
    let base_format = base_format.or(base_format_if_known(&was));
    let backing = create::describe_base(overlay, base, base_format)?;
    qcow2::write_backing(&file.file, &backing).map_err(|error| DiskError::unusable(overlay, error))
}

fn base_format_if_known(backing: &Backing) -> Option<ImageFormat> {
    backing.format.as_deref()?.parse().ok()
}

/// The folder that a file is in, without symbolic links.
pub fn folder_of(image: &Path) -> Result<PathBuf, DiskError> {
    let image = image
        .canonicalize()
        .map_err(|error| DiskError::unusable(image, error))?;
    let folder = image.parent().map(Path::to_path_buf);
    folder.ok_or_else(|| DiskError::unusable(&image, "it is in no folder"))
}
