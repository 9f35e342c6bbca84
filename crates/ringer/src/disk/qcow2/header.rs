//! The header of a qcow2 image: read and checked before anything else believes it, and rewritten
//! where an image stands on a base. The format is described in QEMU's docs/interop/qcow2.rst.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::identity::BaseIdentity;

const MAGIC: u32 = 0x5146_49fb;
const V2_LENGTH: u32 = 72;
const V3_LENGTH: u32 = 104;
/// Clusters of 512 bytes to 2 MiB, as in QEMU.
const CLUSTER_BITS: std::ops::RangeInclusive<u32> = 9..=21;
/// The largest tables, as in QEMU.
const MAX_L1_BYTES: u64 = 32 << 20;
const MAX_REFCOUNT_TABLE_BYTES: u64 = 8 << 20;
/// Where L1 entries and refcount table entries have their offsets.
const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;
const MAX_NAME: u32 = 1023;

mod extension {
    pub const END: u32 = 0;
    pub const BACKING_FORMAT: u32 = 0xe279_2aca;
    /// Ours: "Rngr".
    pub const BASE_IDENTITY: u32 = 0x526e_6772;
}

/// Incompatible features, in the order of their bits, and what their image needs.
const INCOMPATIBLE: [&str; 5] = [
    "it was not closed properly; repair it with `qemu-img check -r all`",
    "it is marked as corrupt; repair it with `qemu-img check -r all`",
    "its data is in another file; make one of both with `qemu-img convert -O qcow2`",
    "it is not compressed by deflate; convert it with `qemu-img convert -O qcow2`",
    "it has subclusters; convert it with `qemu-img convert -O qcow2`",
];

/// The image that a qcow2 image stands on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Backing {
    /// As it is written: a path, from the image's own folder.
    pub name: String,
    /// Its kind as it is written.
    pub format: Option<String>,
    /// What it was when the image was made, if Ringer made it.
    pub identity: Option<BaseIdentity>,
}

/// What a qcow2 image says of itself.
#[derive(Clone, Debug)]
pub struct Header {
    /// 2 or 3.
    pub version: u32,
    /// Bytes in a cluster.
    pub cluster: u64,
    /// The disk's size in bytes.
    pub size: u64,
    /// Snapshots inside the image.
    pub snapshots: u32,
    /// What it stands on.
    pub backing: Option<Backing>,
    /// The first cluster, as far as it is header.
    fixed: Vec<u8>,
    extensions: Vec<(u32, Vec<u8>)>,
}

/// A part of the header, read front to back.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u32(&self, at: usize) -> Result<u32, String> {
        let bytes = self.0.get(at..).and_then(|rest| rest.first_chunk());
        bytes.copied().map(u32::from_be_bytes).ok_or_else(cut_short)
    }
    fn u64(&self, at: usize) -> Result<u64, String> {
        let bytes = self.0.get(at..).and_then(|rest| rest.first_chunk());
        bytes.copied().map(u64::from_be_bytes).ok_or_else(cut_short)
    }
}

fn cut_short() -> String {
    "its header is cut short".to_string()
}

/// Reads up to `len` bytes from `offset`.
fn read_up_to(file: &File, offset: u64, len: usize) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

impl Header {
    /// Reads the header of an image whose file has `file_len` bytes, and checks it and the
    /// tables that it points to.
    pub fn read(file: &File, file_len: u64) -> Result<Self, String> {
        let start = read_up_to(file, 0, V3_LENGTH as usize)?;
        let fields = Fields(&start);
        if fields.u32(0)? != MAGIC {
            return Err("it does not start as a qcow2 image does".to_string());
        }
        let version = fields.u32(4)?;
        let cluster_bits = fields.u32(20)?;
        let size = fields.u64(24)?;
        if !(2..=3).contains(&version) {
            return Err(format!(
                "it has version {version}; versions 2 and 3 are known"
            ));
        }
        if !CLUSTER_BITS.contains(&cluster_bits) {
            return Err(format!("its clusters have 2^{cluster_bits} bytes"));
        }
        if fields.u32(32)? != 0 {
            return Err("it is encrypted; convert it with `qemu-img convert`".to_string());
        }
        let cluster = 1u64 << cluster_bits;
        let (length, count_order) = if version == 2 {
            (V2_LENGTH, 4)
        } else {
            check_features(fields.u64(72)?)?;
            (fields.u32(100)?, fields.u32(96)?)
        };
        if count_order > 6 {
            return Err(format!("its reference counts have 2^{count_order} bits"));
        }
        if version == 3 && length < V3_LENGTH || u64::from(length) > cluster {
            return Err(format!("its header has {length} bytes"));
        }
        let first = read_up_to(file, 0, cluster as usize)?;
        let extensions = read_extensions(&first, length as usize)?;
        let backing = read_backing(&first, &fields, &extensions)?;
        let header = Self {
            version,
            cluster,
            size,
            snapshots: fields.u32(60)?,
            backing,
            fixed: first.get(..length as usize).ok_or_else(cut_short)?.to_vec(),
            extensions,
        };
        header.check_tables(file, file_len)?;
        header.check_own_count(file, count_order)?;
        Ok(header)
    }

    /// Checks that the tables are in the file, and that what they point to is.
    fn check_tables(&self, file: &File, file_len: u64) -> Result<(), String> {
        let fields = Fields(&self.fixed);
        // One L2 table fills a cluster with 8-byte entries, each for a cluster.
        let covered = self.cluster * (self.cluster / 8);
        let l1_bytes = u64::from(fields.u32(36)?) * 8;
        if self.size.div_ceil(covered) * 8 > l1_bytes {
            return Err(format!(
                "its size of {} bytes does not fit its L1 table",
                self.size
            ));
        }
        let refcount_bytes = u64::from(fields.u32(56)?) * self.cluster;
        // The last cluster need not be there to its end.
        let end = file_len.next_multiple_of(self.cluster);
        for (what, offset, bytes, most) in [
            ("L1 table", fields.u64(40)?, l1_bytes, MAX_L1_BYTES),
            (
                "refcount table",
                fields.u64(48)?,
                refcount_bytes,
                MAX_REFCOUNT_TABLE_BYTES,
            ),
        ] {
            if bytes > most {
                return Err(format!("its {what} has {bytes} bytes, more than {most}"));
            }
            let inside = offset.checked_add(bytes).is_some_and(|last| last <= end);
            if !offset.is_multiple_of(self.cluster) || !inside {
                return Err(format!("its {what} is not in the file"));
            }
            let table = read_up_to(file, offset, bytes as usize)?;
            for entry in table.chunks_exact(8) {
                let entry = Fields(entry).u64(0)? & OFFSET_MASK;
                if !entry.is_multiple_of(self.cluster) || entry >= end {
                    return Err(format!("its {what} points out of the file"));
                }
            }
        }
        Ok(())
    }

    /// Checks that the header itself is counted as used. What is not is given to somebody else
    /// when there is something to write, and imago would look for the first block of counts
    /// without end.
    fn check_own_count(&self, file: &File, order: u32) -> Result<(), String> {
        let fields = Fields(&self.fixed);
        let (table, clusters) = (fields.u64(48)?, fields.u32(56)?);
        let first = Fields(&read_up_to(file, table, 8)?).u64(0)? & OFFSET_MASK;
        let bits = 1usize << order;
        let count = read_up_to(file, first, bits.div_ceil(8))?;
        // Counts of less than a byte start at its low end.
        let mask = if bits < 8 { (1u8 << bits) - 1 } else { u8::MAX };
        if clusters == 0 || first == 0 || count.iter().all(|byte| byte & mask == 0) {
            return Err(
                "it has no reference count for its header; repair it with `qemu-img check -r all`"
                    .to_string(),
            );
        }
        Ok(())
    }

    /// The same header for an image that stands on `backing`, as the bytes at its start.
    pub fn on(&self, backing: &Backing) -> Result<Vec<u8>, String> {
        let name = backing.name.as_bytes();
        if name.is_empty() || name.len() > MAX_NAME as usize {
            return Err("the path of its base is too long for a qcow2 image".to_string());
        }
        let mut bytes = self.fixed.clone();
        let mut extend = |kind: u32, data: &[u8]| {
            bytes.extend(kind.to_be_bytes());
            bytes.extend((data.len() as u32).to_be_bytes());
            bytes.extend(data);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
        };
        if let Some(format) = &backing.format {
            extend(extension::BACKING_FORMAT, format.as_bytes());
        }
        if let Some(identity) = &backing.identity {
            extend(extension::BASE_IDENTITY, &identity.to_bytes());
        }
        for (kind, data) in &self.extensions {
            if ![extension::BACKING_FORMAT, extension::BASE_IDENTITY].contains(kind) {
                extend(*kind, data);
            }
        }
        extend(extension::END, &[]);
        let place = bytes.len() as u64;
        bytes.extend(name);
        // QEMU wants the name to end before the cluster does.
        if bytes.len() as u64 >= self.cluster {
            return Err("its header has no room for a base".to_string());
        }
        for (at, field) in [
            (8, &place.to_be_bytes()[..]),
            (16, &(name.len() as u32).to_be_bytes()[..]),
        ] {
            bytes
                .get_mut(at..at + field.len())
                .ok_or_else(cut_short)?
                .copy_from_slice(field);
        }
        Ok(bytes)
    }
}

fn check_features(features: u64) -> Result<(), String> {
    if features == 0 {
        return Ok(());
    }
    let reason = INCOMPATIBLE
        .get(features.trailing_zeros() as usize)
        .copied()
        .unwrap_or("it has features that nobody knew when this Ringer was made");
    Err(reason.to_string())
}

fn read_extensions(first: &[u8], mut at: usize) -> Result<Vec<(u32, Vec<u8>)>, String> {
    let damaged = || "its header extensions are damaged".to_string();
    let mut extensions = Vec::new();
    loop {
        let fields = Fields(first.get(at..).ok_or_else(damaged)?);
        let kind = fields.u32(0)?;
        if kind == extension::END {
            return Ok(extensions);
        }
        let length = fields.u32(4)? as usize;
        let data = fields.0.get(8..).and_then(|rest| rest.get(..length));
        extensions.push((kind, data.ok_or_else(damaged)?.to_vec()));
        at += 8 + length.next_multiple_of(8);
    }
}

fn read_backing(
    first: &[u8],
    fields: &Fields<'_>,
    extensions: &[(u32, Vec<u8>)],
) -> Result<Option<Backing>, String> {
    let (offset, length) = (fields.u64(8)?, fields.u32(16)?);
    if offset == 0 {
        return Ok(None);
    }
    let find = |wanted| {
        let found = extensions.iter().find(|(kind, _)| *kind == wanted);
        found.map(|(_, data)| data.as_slice())
    };
    let name = usize::try_from(offset)
        .ok()
        .filter(|_| length <= MAX_NAME)
        .and_then(|offset| first.get(offset..)?.get(..length as usize))
        .and_then(|name| std::str::from_utf8(name).ok())
        .filter(|name| !name.is_empty() && !name.contains('\0'))
        .ok_or("the name of its base is damaged")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Some(Backing {
        name: name.to_string(),
        format: find(extension::BACKING_FORMAT).map(text),
        identity: find(extension::BASE_IDENTITY)
            .map(BaseIdentity::from_bytes)
            .transpose()?,
    }))
}
