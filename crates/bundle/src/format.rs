//! The bytes around the manifest: the header, and where blobs lie.

/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;
/// With what every bundle begins.
pub const MAGIC: [u8; 8] = *b"RINGERVM";
/// The size of the header; the manifest follows.
pub const HEADER: usize = 32;
/// Blobs start at multiples of this.
pub const ALIGN: usize = 4096;
/// The longest manifest. That of 64 guests with large ELF programs has a few hundred KiB.
pub const MAX_MANIFEST: usize = 1 << 20;

/// The header behind magic number and version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// CRC-32 of the manifest.
    pub manifest_crc: u32,
    /// The length of the whole bundle, to the end of the last blob.
    pub total: u64,
    /// The length of the manifest.
    pub manifest: u64,
}

impl Header {
    /// As it is written.
    pub fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.manifest_crc.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.total.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.manifest.to_le_bytes());
        bytes
    }
    /// Reads what follows magic number and version; `None` if it is cut off.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            manifest_crc: word(bytes, 12)?,
            total: double(bytes, 16)?,
            manifest: double(bytes, 24)?,
        })
    }
}

/// The version that a bundle claims.
pub fn version(bytes: &[u8]) -> Option<u32> {
    word(bytes, 8)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn double(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
