//! Reading a bundle in place, trusting nothing in it.

use alloc::string::String;
use alloc::vec::Vec;

use crate::check::{GuestError, MAX_GUESTS, check_all};
use crate::format::{ALIGN, HEADER, Header, MAGIC, MAX_MANIFEST, VERSION, version};
use crate::guest::{Disk, Guest, Mac, NetworkPort};
use crate::manifest as wire;
use crate::program::{Placement, Program, Segment};

/// Why bytes are not a bundle that can be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BundleError {
    /// It begins with something else.
    #[error("this is not a bundle of guests; `ringer bundle` makes one")]
    NotABundle,
    /// It was made by another version of the format.
    #[error(
        "the bundle has format {0}, and this program reads format {VERSION}; make it anew with this version's `ringer bundle`"
    )]
    Version(u32),
    /// Its end is missing.
    #[error("the bundle is truncated: there are {have} of its {want} bytes")]
    Truncated {
        /// How many bytes there are.
        have: u64,
        /// How many it says it has.
        want: u64,
    },
    /// Something in it is not as it was written.
    #[error("the bundle is damaged: {0}")]
    Damaged(&'static str),
    /// The content of a blob is not as it was written.
    #[error("the bundle is damaged: blob {0} has another checksum than when it was made")]
    Blob(usize),
    /// No guests, or too many.
    #[error("a bundle holds 1 to {MAX_GUESTS} guests, not {0}")]
    Guests(usize),
    /// The guests are made of too many pieces.
    #[error("the guests' description has {0} bytes, and a bundle has room for {MAX_MANIFEST}")]
    Description(usize),
    /// A guest that cannot be.
    #[error("guest {number}{}{name}: {why}", if name.is_empty() { "" } else { ", " })]
    Guest {
        /// Its place in the bundle, from 0.
        number: usize,
        /// Its name, if it has a valid one.
        name: String,
        /// What is wrong with it.
        why: GuestError,
    },
    /// Two guests have one name.
    #[error("two guests are called {0}")]
    SameName(String),
    /// Two consoles have one name.
    #[error("two guests have a console called {0}")]
    SameConsole(String),
    /// Two network cards have one address.
    #[error("two network cards have the address {0}; give one of them another")]
    SameMac(Mac),
}

/// A bundle's guests; their contents lie in the bundle itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bundle<'a> {
    /// The guests: 1 to [`MAX_GUESTS`], each with another name.
    pub guests: Vec<Guest<'a>>,
    /// How many bytes the bundle has; what follows it in memory is not part of it.
    pub len: usize,
}

impl<'a> Bundle<'a> {
    /// How many bytes a bundle that begins with these has, by its header.
    pub fn length(start: &[u8]) -> Result<u64, BundleError> {
        if !start.starts_with(&MAGIC) {
            return Err(BundleError::NotABundle);
        }
        let header = Header::from_bytes(start).ok_or(BundleError::Truncated {
            have: start.len() as u64,
            want: HEADER as u64,
        })?;
        Ok(header.total)
    }

    /// Reads a bundle and checks all of it, contents included. Bytes behind its end are ignored:
    /// loaders round sizes up.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BundleError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(BundleError::NotABundle);
        }
        let truncated = |want| BundleError::Truncated {
            have: bytes.len() as u64,
            want,
        };
        let found = version(bytes).ok_or(truncated(HEADER as u64))?;
        if found != VERSION {
            return Err(BundleError::Version(found));
        }
        let header = Header::from_bytes(bytes).ok_or(truncated(HEADER as u64))?;
        let bytes = usize::try_from(header.total)
            .ok()
            .and_then(|total| bytes.get(..total))
            .ok_or(truncated(header.total))?;
        let manifest_end = usize::try_from(header.manifest)
            .ok()
            .filter(|len| *len <= MAX_MANIFEST)
            .and_then(|len| len.checked_add(HEADER));
        let manifest = manifest_end
            .and_then(|end| bytes.get(HEADER..end))
            .ok_or(BundleError::Damaged("its manifest has no possible size"))?;
        if crc32fast::hash(manifest) != header.manifest_crc {
            return Err(BundleError::Damaged(
                "its manifest has another checksum than when it was made",
            ));
        }
        let manifest = decode(manifest)?;
        let blobs = blobs(bytes, manifest_end.unwrap_or(bytes.len()), &manifest.blobs)?;
        let guests = manifest
            .guests
            .into_iter()
            .map(|guest| resolve(guest, &blobs).ok_or(NO_SUCH_BLOB))
            .collect::<Result<Vec<_>, _>>()?;
        check_all(&guests)?;
        Ok(Self {
            guests,
            len: bytes.len(),
        })
    }
}

const NO_SUCH_BLOB: BundleError = BundleError::Damaged("a guest names a blob that is not there");

fn decode(bytes: &[u8]) -> Result<wire::Manifest<'_>, BundleError> {
    let unreadable = BundleError::Damaged("its manifest cannot be read");
    let mut decoder = minicbor::Decoder::new(bytes);
    match decoder.decode() {
        Ok(manifest) if decoder.position() == bytes.len() => Ok(manifest),
        _ => Err(unreadable),
    }
}

/// Finds the blobs behind the manifest, which ends at `at`, and checks them.
fn blobs<'a>(
    bytes: &'a [u8],
    mut at: usize,
    table: &[wire::Blob],
) -> Result<Vec<&'a [u8]>, BundleError> {
    const OUTSIDE: BundleError = BundleError::Damaged("a blob is not inside it");
    let mut blobs = Vec::new();
    for (number, blob) in table.iter().enumerate() {
        let start = at.checked_next_multiple_of(ALIGN).ok_or(OUTSIDE)?;
        let gap = bytes.get(at..start).ok_or(OUTSIDE)?;
        let len = usize::try_from(blob.len).ok().filter(|len| *len > 0);
        let end = len.and_then(|len| start.checked_add(len)).ok_or(OUTSIDE)?;
        let content = bytes.get(start..end).ok_or(OUTSIDE)?;
        if gap.iter().any(|byte| *byte != 0) {
            return Err(BundleError::Damaged("the space between blobs is not empty"));
        }
        if crc32fast::hash(content) != blob.crc {
            return Err(BundleError::Blob(number));
        }
        blobs.push(content);
        at = end;
    }
    if at != bytes.len() {
        return Err(BundleError::Damaged(
            "it does not end where its last blob does",
        ));
    }
    Ok(blobs)
}

fn find<'a>(blobs: &[&'a [u8]], number: u32) -> Option<&'a [u8]> {
    blobs.get(usize::try_from(number).ok()?).copied()
}

/// Puts the blobs in place of their numbers; `None` if there is none of a number.
fn resolve<'a>(guest: wire::Guest<'a>, blobs: &[&'a [u8]]) -> Option<Guest<'a>> {
    let program = |program: Option<wire::Program>| match program {
        // The outer `Option` is a failure, the inner one an absent program.
        Some(program) => Some(Some(resolve_program(program, blobs)?)),
        None => Some(None),
    };
    let initrd = match guest.initrd {
        Some(number) => Some(find(blobs, number)?),
        None => None,
    };
    let disks = guest.disks.into_iter().map(|disk| {
        let writable = disk.writable;
        Some(match disk.place {
            wire::Place::Blob(number) => Disk::Ram {
                content: find(blobs, number)?,
                writable,
            },
            wire::Place::Host { disk, offset, size } => Disk::Host {
                disk,
                offset,
                size,
                writable,
            },
        })
    });
    let ports = guest.ports.into_iter().map(|port| NetworkPort {
        switch: port.switch,
        mac: port.mac.map(|mac| Mac(mac.into())),
        bridged: port.bridged,
    });
    Some(Guest {
        name: guest.name,
        console: guest.console.unwrap_or(guest.name),
        memory: guest.memory,
        harts: usize::try_from(guest.harts).unwrap_or(usize::MAX),
        share: guest.share,
        command_line: guest.command_line,
        firmware: program(guest.firmware)?,
        kernel: program(guest.kernel)?,
        initrd,
        disks: disks.collect::<Option<_>>()?,
        ports: ports.collect(),
    })
}

fn resolve_program<'a>(program: wire::Program, blobs: &[&'a [u8]]) -> Option<Program<'a>> {
    let segments = program.segments.into_iter().map(|segment| {
        Some(Segment {
            address: segment.address,
            bytes: match segment.blob {
                Some(number) => find(blobs, number)?,
                None => &[],
            },
            size: segment.size,
        })
    });
    Some(Program {
        placement: match program.placement {
            wire::Placement::Movable(size) => Placement::Movable { size },
            wire::Placement::Fixed(entry) => Placement::Fixed { entry },
        },
        segments: segments.collect::<Option<_>>()?,
    })
}
