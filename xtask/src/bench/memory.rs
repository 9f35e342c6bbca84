//! The memory that Ringer needs for itself, beside the guest's RAM.

use std::fs;

/// Sampled while the guest runs.
#[derive(Default)]
pub struct OwnMemory {
    most_kib: u64,
}

impl OwnMemory {
    /// Looks at the process now; `ram` is the size of the guest's RAM in bytes.
    ///
    /// The resident size of a process counts the guest's RAM as far as the guest has touched it,
    /// which says nothing about the monitor; so it is subtracted. Where the monitor has put the RAM
    /// cannot be asked from outside, but it is the largest thing that it maps and uses: among the
    /// mappings that have room for it, the one with the most resident pages. (Not simply the
    /// largest mapping: address space that is only reserved costs nothing.)
    ///
    /// The peak of the process less the RAM of now also counts: between two samples the monitor
    /// may have needed more for a moment, and a guest's RAM seldom shrinks.
    pub fn sample(&mut self, process: u32, ram: u64) {
        let read = |name: &str| fs::read_to_string(format!("/proc/{process}/{name}"));
        // A process that has just ended has neither file: then the samples before count.
        let (Ok(status), Ok(maps)) = (read("status"), read("smaps")) else {
            return;
        };
        let guest = guest_ram_kib(&maps, ram / 1024);
        let peak = field_kib(&status, "VmHWM:").unwrap_or(0);
        self.most_kib = self.most_kib.max(peak.saturating_sub(guest));
        self.most_kib = self.most_kib.max(resident_kib(&maps).saturating_sub(guest));
    }

    /// Takes the samples of another run to its own.
    pub fn merge(&mut self, other: &Self) {
        self.most_kib = self.most_kib.max(other.most_kib);
    }

    /// The most that was seen, in MiB.
    pub fn mebibytes(&self) -> f64 {
        self.most_kib as f64 / 1024.0
    }
}

/// A line `NAME  VALUE kB` of the kernel's.
fn field_kib(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}

fn values_kib<'a>(maps: &'a str, name: &'a str) -> impl Iterator<Item = u64> + 'a {
    maps.lines().filter_map(move |line| field_kib(line, name))
}

fn resident_kib(maps: &str) -> u64 {
    values_kib(maps, "Rss:").sum()
}

/// The resident part of the guest's RAM, by the `smaps` of its process.
fn guest_ram_kib(maps: &str, ram_kib: u64) -> u64 {
    values_kib(maps, "Size:")
        .zip(values_kib(maps, "Rss:"))
        .filter(|(size, _)| *size >= ram_kib)
        .map(|(_, resident)| resident)
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
7f0000000000-7f0040000000 rw-p 00000000 00:00 0
Size:            1048576 kB
Rss:              102400 kB
Pss:              102400 kB
7f1000000000-7f1100000000 rw-p 00000000 00:00 0
Size:            4194304 kB
Rss:                 512 kB
55f3b0000000-55f3b0010000 r-xp 00000000 08:01 77   /target/release/ringer
Size:                 64 kB
Rss:                  48 kB
";

    #[test]
    fn guest_ram_is_the_used_one_of_the_large_mappings() {
        assert_eq!(guest_ram_kib(MAPS, 1 << 20), 102_400);
        assert_eq!(resident_kib(MAPS), 102_400 + 512 + 48);
        assert_eq!(guest_ram_kib(MAPS, 1 << 30), 0);
    }

    #[test]
    fn this_process_needs_memory() {
        let mut own = OwnMemory::default();
        own.sample(std::process::id(), u64::MAX);
        assert!(own.mebibytes() > 0.1);
        let before = own.most_kib;
        own.sample(u32::MAX, u64::MAX);
        assert_eq!(own.most_kib, before);
    }
}
