//! Writing a bundle.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use minicbor::bytes::ByteArray;

use crate::check::check_all;
use crate::format::{ALIGN, HEADER, Header, MAX_MANIFEST};
use crate::guest::{Disk, Guest};
use crate::manifest as wire;
use crate::program::{Placement, Program};
use crate::read::BundleError;

/// Collects guests and makes a bundle of them.
#[derive(Default)]
pub struct Builder<'a> {
    guests: Vec<Guest<'a>>,
}

impl<'a> Builder<'a> {
    /// Without any guest yet.
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds a guest behind those added before.
    pub fn guest(mut self, guest: Guest<'a>) -> Self {
        self.guests.push(guest);
        self
    }
    /// Checks the guests and writes the bundle.
    pub fn finish(self) -> Result<Vec<u8>, BundleError> {
        check_all(&self.guests)?;
        let mut blobs = Blobs::default();
        let guests = self.guests.iter().map(|guest| describe(guest, &mut blobs));
        let manifest = ringer_hart::persist::encode(&wire::Manifest {
            guests: guests.collect(),
            blobs: blobs.table(),
        });
        if manifest.len() > MAX_MANIFEST {
            return Err(BundleError::Description(manifest.len()));
        }
        // The header comes last, when the length is known.
        let mut out = vec![0; HEADER];
        out.extend_from_slice(&manifest);
        for (content, _) in &blobs.contents {
            out.resize(out.len().next_multiple_of(ALIGN), 0);
            out.extend_from_slice(content);
        }
        let header = Header {
            manifest_crc: crc32fast::hash(&manifest),
            total: out.len() as u64,
            manifest: manifest.len() as u64,
        };
        out.splice(..HEADER, header.to_bytes());
        Ok(out)
    }
}

/// The blobs so far, each content once.
#[derive(Default)]
struct Blobs<'a> {
    contents: Vec<(&'a [u8], u32)>,
    /// Numbers by checksum and length; contents may still differ.
    known: BTreeMap<(u32, usize), Vec<u32>>,
}

impl<'a> Blobs<'a> {
    /// The number of the blob with this content.
    fn number(&mut self, content: &'a [u8]) -> u32 {
        let crc = crc32fast::hash(content);
        let alike = self.known.entry((crc, content.len())).or_default();
        let same = |number: &&u32| {
            let other = self.contents.get(**number as usize);
            other.is_some_and(|(other, _)| *other == content)
        };
        if let Some(number) = alike.iter().find(same) {
            return *number;
        }
        let number = self.contents.len() as u32;
        alike.push(number);
        self.contents.push((content, crc));
        number
    }
    fn table(&self) -> Vec<wire::Blob> {
        let blob = |(content, crc): &(&[u8], u32)| wire::Blob {
            len: content.len() as u64,
            crc: *crc,
        };
        self.contents.iter().map(blob).collect()
    }
}

fn describe<'a>(guest: &Guest<'a>, blobs: &mut Blobs<'a>) -> wire::Guest<'a> {
    let mut program = |program: &Option<Program<'a>>| {
        let program = program.as_ref()?;
        let segments = program.segments.iter().map(|segment| wire::Segment {
            address: segment.address,
            size: segment.size,
            blob: (!segment.bytes.is_empty()).then(|| blobs.number(segment.bytes)),
        });
        Some(wire::Program {
            placement: match program.placement {
                Placement::Movable { size } => wire::Placement::Movable(size),
                Placement::Fixed { entry } => wire::Placement::Fixed(entry),
            },
            segments: segments.collect(),
        })
    };
    let firmware = program(&guest.firmware);
    let kernel = program(&guest.kernel);
    let initrd = guest.initrd.map(|content| blobs.number(content));
    let disks = guest.disks.iter().map(|disk| wire::Disk {
        place: match *disk {
            Disk::Ram { content, .. } => wire::Place::Blob(blobs.number(content)),
            Disk::Host {
                disk, offset, size, ..
            } => wire::Place::Host { disk, offset, size },
        },
        writable: disk.writable(),
    });
    let disks = disks.collect();
    let ports = guest.ports.iter().map(|port| wire::Port {
        switch: port.switch,
        mac: port.mac.map(|mac| ByteArray::from(mac.0)),
        bridged: port.bridged,
    });
    wire::Guest {
        name: guest.name,
        console: (guest.console != guest.name).then_some(guest.console),
        memory: guest.memory,
        // `check` allows far fewer.
        harts: u32::try_from(guest.harts).unwrap_or(u32::MAX),
        share: guest.share,
        command_line: guest.command_line,
        firmware,
        kernel,
        initrd,
        disks,
        ports: ports.collect(),
    }
}
