//! Compressed kernels: gzip, zstd, and Linux's self-unpacking EFI images ("zboot").

use std::io::Read;

use super::{Refusal, word32};
use crate::size::Size;

/// Formats by their first bytes that are known but not unpacked, and the tool that does.
const OTHERS: [(&[u8], &str, &str); 5] = [
    (b"\xfd7zXZ\0", "xz", "unxz"),
    (b"BZh", "bzip2", "bunzip2"),
    (b"\x04\x22\x4d\x18", "lz4", "unlz4"),
    (b"\x02\x21\x4c\x18", "lz4", "unlz4"),
    (b"\x89LZO", "lzo", "lzop -d"),
];

/// Unpacks one layer, to at most `limit` bytes. `None` if the bytes are not compressed.
pub fn unpack(bytes: &[u8], limit: u64) -> Result<Option<Vec<u8>>, Refusal> {
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return gzip(bytes, limit).map(Some);
    }
    if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return zstd(bytes, limit).map(Some);
    }
    if bytes.starts_with(b"MZ") && bytes.get(4..8) == Some(b"zimg") {
        return zboot(bytes, limit).map(Some);
    }
    match OTHERS.iter().find(|(magic, ..)| bytes.starts_with(magic)) {
        Some((_, format, tool)) => Err(format!(
            "is compressed with {format}, which Ringer does not unpack; do it with `{tool}`"
        )),
        None => Ok(None),
    }
}

fn gzip(bytes: &[u8], limit: u64) -> Result<Vec<u8>, Refusal> {
    collect("gzip", flate2::read::GzDecoder::new(bytes), limit)
}

fn zstd(bytes: &[u8], limit: u64) -> Result<Vec<u8>, Refusal> {
    let reader =
        ruzstd::decoding::StreamingDecoder::new(bytes).map_err(|error| damaged("zstd", &error))?;
    collect("zstd", reader, limit)
}

/// The header that Linux's `zboot` makes: where in the file the packed kernel is, and how it
/// is packed (drivers/firmware/efi/libstub/zboot-header.S).
fn zboot(bytes: &[u8], limit: u64) -> Result<Vec<u8>, Refusal> {
    let truncated = || "is a truncated EFI kernel image".to_string();
    let offset = word32(bytes, 8).ok_or_else(truncated)? as usize;
    let size = word32(bytes, 12).ok_or_else(truncated)? as usize;
    let method = bytes.get(24..56).ok_or_else(truncated)?;
    let method = method.split(|&b| b == 0).next().unwrap_or_default();
    let payload = offset
        .checked_add(size)
        .and_then(|end| bytes.get(offset..end))
        .ok_or_else(truncated)?;
    match method {
        b"gzip" => gzip(payload, limit),
        b"zstd" | b"zstd22" => zstd(payload, limit),
        other => Err(format!(
            "is an EFI kernel image packed with {}, which Ringer does not unpack; use the plain Image",
            String::from_utf8_lossy(other).escape_default()
        )),
    }
}

fn damaged(format: &str, error: &dyn std::fmt::Display) -> Refusal {
    format!("is a damaged {format} file ({error})").replace('\n', " ")
}

fn collect(format: &str, reader: impl Read, limit: u64) -> Result<Vec<u8>, Refusal> {
    let mut out = Vec::new();
    reader
        .take(limit.saturating_add(1))
        .read_to_end(&mut out)
        .map_err(|error| damaged(format, &error))?;
    if out.len() as u64 > limit {
        return Err(format!(
            "does not fit into the guest's RAM of {} when unpacked; give more with --memory",
            Size(limit)
        ));
    }
    Ok(out)
}
