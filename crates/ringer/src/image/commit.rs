//! `ringer image commit`: an overlay's writes go into its base.
//!
//! It may be killed at any time. Before the base is touched the overlay notes that it was begun;
//! from then on the two are only used by completing it, which is this command again. The overlay
//! is removed when all of the base is durable.

use std::io;

use ringer_machine::backend::BlockBackend;

use super::args::CommitArgs;
use super::convert::progress;
use super::interrupt::Interrupt;
use super::{bytes, failed};
use crate::disk::format::{self, ImageFormat, MAGIC_BYTES};
use crate::disk::image_file::ImageFile;
use crate::disk::layers::{self, Image, Opening};
use crate::disk::qcow2::{Backing, BaseIdentity, Content, Qcow2Disk, write_backing};
use crate::exit::Failure;

/// Bytes copied at a time.
const STEP: usize = 1 << 20;

/// Does it.
pub fn run(args: &CommitArgs) -> Result<String, Failure> {
    let path = &args.overlay;
    let file = ImageFile::open(path, false).map_err(Failure::monitor)?;
    if file.probe().map_err(Failure::monitor)? != ImageFormat::Qcow2 {
        return Err(failed(path, "it is a raw image, and no overlay"));
    }
    let header = layers::read_header(&file).map_err(Failure::monitor)?;
    let Some(backing) = header.backing else {
        return Err(failed(path, "it stands on no base"));
    };
    let base = layers::find_base(path, &backing, args.base.as_deref());
    let base = base.map_err(Failure::monitor)?;
    let base_format = layers::base_format(path, &backing).map_err(Failure::monitor)?;
    let begun = backing.identity.is_some_and(|was| was.commit_begun);
    let look = ImageFile::look(&base).map_err(Failure::monitor)?;
    if !begun {
        layers::check_base(path, &backing, &look).map_err(Failure::monitor)?;
    }
    let identity = BaseIdentity::of(&look.file, &base).map_err(Failure::monitor)?;
    drop(look);
    let opening = Opening {
        format: Some(base_format),
        ..Opening::default()
    };
    let base_image = layers::open(&base, opening).map_err(Failure::monitor)?;
    let marked = Backing {
        identity: Some(BaseIdentity {
            commit_begun: true,
            ..identity
        }),
        ..backing
    };
    // It must be usable before anything is changed.
    let same = file.try_clone().map_err(Failure::monitor)?;
    let mut overlay = layers::open_alone(same).map_err(Failure::monitor)?;
    if base_format == ImageFormat::Raw {
        check_kind(args, &mut overlay)?;
    }
    drop(overlay);
    write_backing(&file.file, &marked).map_err(|error| failed(path, error))?;
    let mut overlay = layers::open_alone(file).map_err(Failure::monitor)?;
    let mut base_disk = grown(base_image, overlay.len()).map_err(|error| failed(&base, error))?;
    let written = copy(&mut overlay, &mut *base_disk).map_err(|error| {
        failed(
            path,
            format_args!("{error}; `ringer image commit` again goes on with it"),
        )
    })?;
    base_disk.flush().map_err(|error| failed(&base, error))?;
    std::fs::remove_file(path).map_err(|error| failed(path, error))?;
    Ok(format!(
        "{} written into {}, and {} removed\n",
        bytes(written),
        base.display(),
        path.display()
    ))
}

/// A raw image that started as another kind's would be taken for that next time.
fn check_kind(args: &CommitArgs, overlay: &mut Qcow2Disk) -> Result<(), Failure> {
    let path = &args.overlay;
    let (content, _) = overlay
        .content(0, MAGIC_BYTES as u64)
        .map_err(|error| failed(path, error))?;
    if content != Content::Data {
        return Ok(());
    }
    let mut head = [0; MAGIC_BYTES];
    overlay
        .read(0, &mut head)
        .map_err(|error| failed(path, error))?;
    match format::probe(&head) {
        Ok(ImageFormat::Raw) => Ok(()),
        _ => Err(failed(
            path,
            "its guest has written the start of another image format to sector 0, and as a raw \
             image the base would be taken for that; use `ringer image convert` to qcow2",
        )),
    }
}

/// The base as a disk with at least `size` bytes.
fn grown(base: Image, size: u64) -> io::Result<Box<dyn BlockBackend>> {
    Ok(match base {
        Image::Raw(disk) => Box::new(disk.grow_to(size)?),
        Image::Qcow2(mut disk) => {
            if disk.len() < size {
                disk.resize(size)?;
            }
            Box::new(disk)
        }
    })
}

/// Writes what the overlay has into the base; gives how much that was.
fn copy(overlay: &mut Qcow2Disk, base: &mut dyn BlockBackend) -> io::Result<u64> {
    let interrupt = Interrupt::watch().map_err(io::Error::other)?;
    let len = overlay.len();
    let bar = progress(len, "committing");
    let mut written = 0;
    let mut at = 0;
    let mut buffer = vec![0; STEP];
    while at < len {
        if interrupt.is_wanted() {
            return Err(io::Error::other("interrupted"));
        }
        let (content, found) = overlay.content(at, (len - at).min(STEP as u64))?;
        let count = found.clamp(1, STEP as u64);
        match content {
            Content::Base => {}
            Content::Zeroes => base
                .write_zeroes(at, count, true)
                .map_err(io::Error::other)?,
            Content::Data => {
                let part = buffer.get_mut(..count as usize).unwrap_or_default();
                overlay.read(at, part).map_err(io::Error::other)?;
                base.write(at, part).map_err(io::Error::other)?;
            }
        }
        if content != Content::Base {
            written += count;
        }
        at += count;
        bar.set_position(at);
    }
    bar.finish_and_clear();
    Ok(written)
}
