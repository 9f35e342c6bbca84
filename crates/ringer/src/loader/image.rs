//! Linux's flat kernel format for RISC-V (Documentation/arch/riscv/boot-image-header.rst).

use super::{Refusal, word32, word64};

/// A flat kernel with its header's wishes.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
pub struct LinuxImage {
    /// The file's bytes; the first is the entry point.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
    /// Where it wants to be, from the start of RAM.
    #[n(1)]
    pub text_offset: u64,
    /// How much memory it needs from there, at least the length of `bytes`.
    #[n(2)]
    pub size: u64,
}

const TEXT_OFFSET: usize = 0x08;
const IMAGE_SIZE: usize = 0x10;
const FLAGS: usize = 0x18;
const MAGIC: usize = 0x30;
const MAGIC2: usize = 0x38;

/// Whether this is a RISC-V Linux Image. Newer kernels set only the second magic number.
pub fn is_image(bytes: &[u8]) -> bool {
    word32(bytes, MAGIC2) == Some(u32::from_le_bytes(*b"RSC\x05"))
        || bytes
            .get(MAGIC..)
            .is_some_and(|at| at.starts_with(b"RISCV\0\0\0"))
}

/// Reads the header.
pub fn parse(bytes: Vec<u8>) -> Result<LinuxImage, Refusal> {
    let truncated = || "is a truncated Linux Image".to_string();
    let text_offset = word64(&bytes, TEXT_OFFSET).ok_or_else(truncated)?;
    let image_size = word64(&bytes, IMAGE_SIZE).ok_or_else(truncated)?;
    let flags = word64(&bytes, FLAGS).ok_or_else(truncated)?;
    if flags & 1 != 0 {
        return Err("is a big-endian Linux Image; RISC-V harts here are little-endian".to_string());
    }
    Ok(LinuxImage {
        text_offset,
        size: image_size.max(bytes.len() as u64),
        bytes,
    })
}
