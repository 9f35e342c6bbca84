//! `ringer bundle`: packs guests into one file for the bare-metal monitor, and shows what is in
//! one.

mod description;
mod files;
mod table;

use std::path::Path;

use ringer_bundle::{Builder, Bundle};

use crate::args::BundleArgs;
use crate::exit::Failure;
use crate::loader;

pub use description::GuestDescription;
use files::GuestFiles;

/// Does what the command line says; gives what is to be printed.
pub fn run(args: &BundleArgs) -> Result<String, Failure> {
    if let Some(path) = &args.show {
        let bytes = read(path)?;
        return Ok(table::of(path, &parse(path, &bytes)?));
    }
    let output = args.output.as_ref().ok_or_else(|| {
        Failure::usage("where should the bundle go? name a file, as in -o machine.bundle")
    })?;
    if args.guests.is_empty() {
        return Err(Failure::usage(
            "a bundle needs guests: name the files that describe them (`ringer bundle --help` shows one)",
        ));
    }
    let guests = args
        .guests
        .iter()
        .map(|path| GuestFiles::read(path))
        .collect::<Result<Vec<_>, _>>()?;
    let mut builder = Builder::new();
    for guest in &guests {
        builder = builder.guest(guest.guest()?);
    }
    let bytes = builder.finish().map_err(Failure::usage)?;
    std::fs::write(output, &bytes).map_err(|error| {
        Failure::monitor(format_args!("cannot write {}: {error}", output.display()))
    })?;
    Ok(table::of(output, &parse(output, &bytes)?))
}

/// Reads a bundle's bytes.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    loader::read(path, crate::memory::host_total()).map_err(Failure::monitor)
}

/// Reads a bundle; whatever is wrong with it is said with its name.
pub fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<Bundle<'a>, Failure> {
    Bundle::parse(bytes)
        .map_err(|error| Failure::monitor(format_args!("{}: {error}", path.display())))
}
