//! Bundles of guests, as the bare-metal monitor reads them.

use ringer_bundle::{Builder, Bundle};

/// The header: checksum of the manifest, total length, length of the manifest.
const CHECKSUM: usize = 12;
const TOTAL: usize = 16;
const MANIFEST_LENGTH: usize = 24;
const HEADER: usize = 32;

/// Reads the bytes as they are, and again with a header that fits them.
pub fn run(data: &[u8]) {
    read(data);
    if let Some(sealed) = sealed(data) {
        read(&sealed);
    }
}

/// What can be read can be written, and comes back the same.
fn read(bytes: &[u8]) {
    let Ok(bundle) = Bundle::parse(bytes) else {
        return;
    };
    let guests = bundle.guests.iter().cloned();
    let written = guests.fold(Builder::new(), Builder::guest).finish();
    let written = written.expect("guests that were read can be written");
    let again = Bundle::parse(&written).expect("what was written can be read");
    assert_eq!(again.guests, bundle.guests);
    for guest in &bundle.guests {
        for program in [&guest.firmware, &guest.kernel].into_iter().flatten() {
            program.image();
        }
    }
}

/// Damage behind a right checksum; a fuzzer does not find those by itself.
fn sealed(data: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = data.to_vec();
    let behind = data.len().checked_sub(HEADER)?;
    let claimed = u64::from_le_bytes(*data.get(MANIFEST_LENGTH..)?.first_chunk()?);
    let length = usize::try_from(claimed).map_or(behind, |length| length.min(behind));
    let checksum = crc32fast::hash(&data[HEADER..HEADER + length]);
    bytes[CHECKSUM..TOTAL].copy_from_slice(&checksum.to_le_bytes());
    bytes[TOTAL..MANIFEST_LENGTH].copy_from_slice(&(data.len() as u64).to_le_bytes());
    bytes[MANIFEST_LENGTH..HEADER].copy_from_slice(&(length as u64).to_le_bytes());
    Some(bytes)
}
