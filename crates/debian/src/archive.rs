//! A cpio archive in the `newc` form that the kernel unpacks, written here, so that making one
//! takes no root and runs nothing of the guest.

/// An initial RAM disk's files; owner root, time zero.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), data: &[u8]) {
        self.entries += 1;
        let length = data.len() as u32;
        let fields = [
            self.entries, // inode
            mode,
            0, // user
            0, // group
            1, // links
            0, // time
            length,
            0, // the file's device
            0,
            device.0,
            device.1,
            name.len() as u32 + 1,
            0, // checksum
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(data);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// Adds a folder.
    pub fn folder(&mut self, name: &str) {
        self.entry(name, 0o040_755, (0, 0), &[]);
    }

    /// Adds a file.
    pub fn file(&mut self, name: &str, data: &[u8], executable: bool) {
        let mode = if executable { 0o100_755 } else { 0o100_644 };
        self.entry(name, mode, (0, 0), data);
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, name: &str, to: &str) {
        self.entry(name, 0o120_777, (0, 0), to.as_bytes());
    }

    /// Adds a character device.
    pub fn device(&mut self, name: &str, major: u32, minor: u32) {
        self.entry(name, 0o020_600, (major, minor), &[]);
    }

    /// Adds modules in the folder `modules`, and their order in `modules/order`.
    pub fn modules(&mut self, loaded: &[(String, Vec<u8>)]) {
        self.folder("modules");
        let mut order = String::new();
        for (name, bytes) in loaded {
            self.module(name, bytes);
            order += &format!("{name}.ko\n");
        }
        self.file("modules/order", order.as_bytes(), false);
    }

    /// Adds a module that is loaded only if somebody in the guest does it.
    pub fn module(&mut self, name: &str, bytes: &[u8]) {
        self.file(&format!("modules/{name}.ko"), bytes, false);
    }

    /// The archive's bytes.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_named() {
        let mut archive = Archive::default();
        archive.folder("bin");
        archive.file("bin/x", b"12345", true);
        archive.link("bin/y", "x");
        let bytes = archive.finish();
        assert!(bytes.len().is_multiple_of(4));
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.matches("070701").count(), 4);
        assert!(text.contains("bin/x\0") && text.contains("12345") && text.contains("TRAILER!!!"));
        // Mode of the file: regular, rwxr-xr-x.
        assert!(text.contains("000081ed"));
    }
}
