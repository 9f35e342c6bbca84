//! `ringer image resize`.

use crate::disk::create::check_size;
use crate::disk::format::ImageFormat;
use crate::disk::image_file::ImageFile;
use crate::disk::layers::{self, Opening};
use crate::exit::Failure;
use ringer_machine::backend::BlockBackend;

use super::args::{NewSize, ResizeArgs};
use super::{bytes, failed};

/// Does it.
pub fn run(args: &ResizeArgs) -> Result<String, Failure> {
    let path = &args.file;
    let file = ImageFile::open(path, false).map_err(Failure::monitor)?;
    let format = match args.format {
        Some(format) => format,
        None => file.probe().map_err(Failure::monitor)?,
    };
    let was = match format {
        ImageFormat::Raw => file.len,
        ImageFormat::Qcow2 => layers::read_header(&file).map_err(Failure::monitor)?.size,
    };
    let size = match args.size {
        NewSize::To(size) => Some(size.0),
        NewSize::By(more) => was.checked_add(more.0),
    };
    let size = size.unwrap_or(u64::MAX);
    check_size(path, size).map_err(Failure::monitor)?;
    if size < was && !args.shrink {
        return Err(Failure::usage(format_args!(
            "{} has {}, and at {} what is behind that would be lost; shrink the file system in it \
             first, then say --shrink",
            path.display(),
            bytes(was),
            bytes(size)
        )));
    }
    match format {
        ImageFormat::Raw => {
            let metadata = file.file.metadata().map_err(|error| failed(path, error))?;
            if !metadata.is_file() {
                return Err(failed(path, "a block device has the size that it has"));
            }
            let done = file.file.set_len(size).and_then(|()| file.file.sync_all());
            done.map_err(|error| failed(path, error))?;
        }
        ImageFormat::Qcow2 => resize_qcow2(args, file, was, size)?,
    }
    let hint = match size > was {
        true => {
            "; the guest sees it when it starts, and its file system is enlarged inside, as by resize2fs"
        }
        false => "",
    };
    Ok(format!(
        "{}: {}, before {}{hint}\n",
        path.display(),
        bytes(size),
        bytes(was)
    ))
}

fn resize_qcow2(args: &ResizeArgs, file: ImageFile, was: u64, size: u64) -> Result<(), Failure> {
    let path = &args.file;
    let header = layers::read_header(&file).map_err(Failure::monitor)?;
    if header.snapshots > 0 && size < was {
        return Err(failed(
            path,
            "it has snapshots inside, which would be cut off; remove them with `qemu-img snapshot -d`",
        ));
    }
    // Behind the old end a larger base would show.
    let mut base_len = 0;
    if let Some(backing) = &header.backing {
        let base = layers::find_base(path, backing, args.base.as_deref());
        let base = base.map_err(Failure::monitor)?;
        let opening = Opening {
            format: Some(layers::base_format(path, backing).map_err(Failure::monitor)?),
            read_only: true,
            ..Opening::default()
        };
        let image = layers::open(&base, opening).map_err(Failure::monitor)?;
        base_len = image.into_backend().len();
    }
    let mut disk = layers::open_alone(file).map_err(Failure::monitor)?;
    disk.resize(size).map_err(|error| failed(path, error))?;
    let end = base_len.min(size);
    if was < end {
        disk.write_zeroes(was, end - was, false)
            .and_then(|()| disk.flush())
            .map_err(|error| failed(path, error))?;
    }
    Ok(())
}
