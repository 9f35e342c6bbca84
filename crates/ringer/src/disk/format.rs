//! What kind of image a file holds, by its first bytes, and why a guest must not choose that.
//!
//! A guest that may write the first sector of a raw image could put the start of a qcow2 image
//! there, with any file of the host as its base. So a raw image whose kind was found out, and not
//! said by the user, refuses writes that would make it look like another kind.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::exit::Failure;

/// How many of a file's bytes say what it is.
pub const MAGIC_BYTES: usize = 8;

/// Kinds of images that Ringer does not read, by their first bytes.
const FOREIGN: [(&[u8], &str); 5] = [
    (b"KDMV", "VMDK"),
    (b"vhdxfile", "VHDX"),
    (b"conectix", "VHD"),
    (b"QED\0", "QED"),
    (b"QFI\xfa", "qcow"),
];

const QCOW2: &[u8] = b"QFI\xfb";

/// A kind of image that Ringer reads and writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageFormat {
    /// The disk's bytes, one after the other.
    Raw,
    /// QEMU's format: grows as it is written, can stand on a base.
    Qcow2,
}

impl ImageFormat {
    /// As it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

impl fmt::Display for ImageFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ImageFormat {
    type Err = Failure;
    fn from_str(text: &str) -> Result<Self, Failure> {
        match text {
            "raw" => Ok(Self::Raw),
            "qcow2" => Ok(Self::Qcow2),
            _ => Err(Failure::usage(format_args!(
                "'{text}' is no format of disk images that Ringer knows; write raw or qcow2"
            ))),
        }
    }
}

/// What a file that starts with `head` is, or the name of a kind that is not read here.
pub fn probe(head: &[u8]) -> Result<ImageFormat, &'static str> {
    if head.starts_with(QCOW2) {
        return Ok(ImageFormat::Qcow2);
    }
    match FOREIGN.iter().find(|(magic, _)| head.starts_with(magic)) {
        Some((_, name)) => Err(name),
        None => Ok(ImageFormat::Raw),
    }
}
