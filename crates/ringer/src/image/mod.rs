//! `ringer image`: disk images shown, made and changed.

pub mod args;
mod commit;
mod convert;
mod debian;
mod interrupt;
mod resize;
mod show;

use std::path::Path;

use crate::disk::format::ImageFormat;
use crate::disk::{DiskError, create};
use crate::exit::Failure;
use crate::size::Size;
use args::{CreateArgs, ImageCommand, RebaseArgs};

/// Does what the command line says; gives what is to be printed.
pub fn run(command: ImageCommand) -> Result<String, Failure> {
    match command {
        ImageCommand::Show(args) => show::run(&args),
        ImageCommand::Create(args) => make(&args),
        ImageCommand::Resize(args) => resize::run(&args),
        ImageCommand::Commit(args) => commit::run(&args),
        ImageCommand::Rebase(args) => rebase(&args),
        ImageCommand::Convert(args) => convert::run(&args),
        ImageCommand::Debian(args) => debian::run(&args),
    }
}

fn make(args: &CreateArgs) -> Result<String, Failure> {
    let size = args.size.map(|size| size.0);
    match (&args.base, size) {
        (Some(base), size) => create::overlay(&args.file, base, args.base_format, size, args.force),
        (None, Some(size)) => {
            let format = args.format.unwrap_or_else(|| format_for(&args.file));
            create::filled(&args.file, format, size, args.force, |_| Ok(()))
        }
        (None, None) => return Err(Failure::usage("a disk without a base needs a size")),
    }
    .map_err(Failure::monitor)?;
    Ok(String::new())
}

fn rebase(args: &RebaseArgs) -> Result<String, Failure> {
    crate::disk::layers::rebase(&args.overlay, &args.base, args.base_format)
        .map_err(Failure::monitor)?;
    Ok(String::new())
}

/// What a new image is if nobody says, by its name.
fn format_for(path: &Path) -> ImageFormat {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("img" | "raw") => ImageFormat::Raw,
        _ => ImageFormat::Qcow2,
    }
}

/// An error of the system at an image.
fn failed(path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::monitor(DiskError::Unusable {
        path: path.to_path_buf(),
        reason: error.to_string(),
    })
}

/// An amount of bytes for people.
fn bytes(count: u64) -> String {
    // To the KiB is more than anybody wants to know of a large file.
    let exact = count < 1 << 20 || count.is_multiple_of(1 << 20);
    Size(if exact { count } else { count | 1 }).to_string()
}
