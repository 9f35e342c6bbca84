//! The disk that comes with the demo: there without any file.

use std::path::Path;

use ringer_machine::backend::MemoryDisk;

use super::SECTOR;

/// What stands for it where other disks have a path.
pub const NAME: &str = "ringer:demo";

const SECTORS: usize = 128;

/// Whether `path` names it.
pub fn is_demo(path: &Path) -> bool {
    path.as_os_str() == NAME
}

/// The disk. It cannot be written, so there is nothing of it to save.
pub fn open() -> MemoryDisk<Vec<u8>> {
    let mut bytes = Vec::new();
    for sector in 0..SECTORS {
        let text = format!(
            "Sector {sector} of the demo's disk.\n\
             The guest put a request for it into a virtqueue; the monitor filled \
             its buffer and raised an interrupt wire.\n"
        );
        bytes.extend(text.bytes());
        bytes.resize((sector + 1) * SECTOR as usize, 0);
    }
    MemoryDisk::new(bytes, true)
}
