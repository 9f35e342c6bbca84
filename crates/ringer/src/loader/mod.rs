//! Kernels, firmware and test programs: recognised by content, unpacked and checked.

mod compressed;
mod elf;
mod foreign;
mod image;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

pub use elf::{ElfImage, Segment, Symbols};
pub use image::LinuxImage;

use crate::size::Size;

/// The largest text file (configuration) that is read.
const TEXT_LIMIT: u64 = 1 << 20;

/// A file that is ready to be placed in guest memory.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
pub enum Payload {
    /// An ELF program: it says itself where its parts go.
    #[n(0)]
    Elf(#[n(0)] ElfImage),
    /// A flat Linux kernel.
    #[n(1)]
    Image(#[n(0)] LinuxImage),
    /// Bytes for the start of RAM.
    #[n(2)]
    Raw(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The operating system refuses to read it.
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// It has no content.
    #[error("{} is empty", .0.display())]
    Empty(PathBuf),
    /// It does not fit into guest RAM.
    #[error("{} does not fit into the guest's RAM of {limit}; give more with --memory", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The RAM's size.
        limit: Size,
    },
    /// The content is wrong.
    #[error("{} {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, as the rest of a sentence that starts with its name.
        reason: String,
    },
}

/// What is wrong with a content: the rest of a sentence that starts with the file's name.
type Refusal = String;

/// Reads a whole file of at most `limit` bytes.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, LoadError> {
    let unreadable = |reason: &dyn std::fmt::Display| LoadError::Unreadable {
        path: path.to_path_buf(),
        reason: reason.to_string(),
    };
    let file = File::open(path).map_err(|error| unreadable(&explain(&error)))?;
    let metadata = file.metadata().map_err(|error| unreadable(&error))?;
    if metadata.is_dir() {
        return Err(unreadable(&"it is a directory; name a file in it"));
    }
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > limit {
        return Err(LoadError::TooLarge {
            path: path.to_path_buf(),
            limit: Size(limit),
        });
    }
    if bytes.is_empty() {
        return Err(LoadError::Empty(path.to_path_buf()));
    }
    Ok(bytes)
}

/// Reads a configuration file.
pub fn read_text(path: &Path) -> Result<String, LoadError> {
    let content = |reason: &str| LoadError::Content {
        path: path.to_path_buf(),
        reason: reason.to_string(),
    };
    match read(path, TEXT_LIMIT) {
        Ok(bytes) => String::from_utf8(bytes)
            .map_err(|_| content("is not a text file; a configuration is TOML text")),
        Err(LoadError::Empty(_)) => Ok(String::new()),
        Err(LoadError::TooLarge { .. }) => Err(content(
            "is too large for a configuration file; the limit is 1 MiB",
        )),
        Err(error) => Err(error),
    }
}

/// What the system's error means to somebody who gave a file name.
pub fn explain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_string(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_string(),
        _ => error.to_string(),
    }
}

/// Reads a kernel or an S-mode program; `limit` is the size of guest RAM.
pub fn kernel(path: &Path, limit: u64) -> Result<Payload, LoadError> {
    let bytes = read(path, limit)?;
    recognise(bytes, limit)
        .and_then(|found| {
            found.map_err(|bytes| match foreign::name(&bytes) {
                Some(what) => format!("is {what}"),
                None => "is no RISC-V kernel: neither an ELF file nor a Linux Image, plain or \
                         compressed (a raw binary can be run with --bios)"
                    .to_string(),
            })
        })
        .map_err(|reason| LoadError::Content {
            path: path.to_path_buf(),
            reason,
        })
}

/// Recognises a kernel that comes with the program.
pub fn embedded(bytes: &[u8], limit: u64) -> Result<Payload, LoadError> {
    let damaged = |reason: String| LoadError::Content {
        path: PathBuf::from("the kernel that comes with Ringer"),
        reason,
    };
    recognise(bytes.to_vec(), limit)
        .map_err(damaged)?
        .map_err(|_| damaged("is not one".to_string()))
}

/// Reads firmware, a bare program, or a boot loader that firmware starts; what is not
/// recognised is a raw binary.
pub fn firmware(path: &Path, limit: u64) -> Result<Payload, LoadError> {
    let bytes = read(path, limit)?;
    recognise(bytes, limit)
        .and_then(|found| {
            found.or_else(|bytes| match foreign::name(&bytes) {
                Some(what) => Err(format!("is {what}")),
                None => Ok(Payload::Raw(bytes)),
            })
        })
        .map_err(|reason| LoadError::Content {
            path: path.to_path_buf(),
            reason,
        })
}

/// Layers of compression that are unpacked: an Image in a zboot wrapper in a `.gz`.
const MAX_LAYERS: u32 = 3;

/// Recognises a content; gives the (unpacked) bytes back when they are none of ours.
fn recognise(mut bytes: Vec<u8>, limit: u64) -> Result<Result<Payload, Vec<u8>>, Refusal> {
    for _ in 0..=MAX_LAYERS {
        if elf::is_elf(&bytes) {
            return elf::parse(&bytes, limit).map(|elf| Ok(Payload::Elf(elf)));
        }
        if image::is_image(&bytes) {
            return image::parse(bytes).map(|image| Ok(Payload::Image(image)));
        }
        match compressed::unpack(&bytes, limit)? {
            Some(unpacked) if unpacked.is_empty() => {
                return Err("is a compressed file with nothing in it".to_string());
            }
            Some(unpacked) => bytes = unpacked,
            None => return Ok(Err(bytes)),
        }
    }
    Err("is compressed more often than any kernel is".to_string())
}

/// A little-endian integer in a file's header, if the file is long enough.
fn word32(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*field))
}

/// As [`word32`], of 8 bytes.
fn word64(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*field))
}

#[cfg(test)]
mod tests;
