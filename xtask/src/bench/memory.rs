//! The memory that Ringer needs for itself, beside the guest's RAM.

use std::collections::BTreeMap;
use std::fs;

/// Sampled while the guest runs.
#[derive(Default)]
pub struct OwnMemory {
    most_kib: u64,
}

impl OwnMemory {
    /// Looks at the process now; `ram` is the size of the guest's RAM in bytes.
    ///
    /// The resident size of a process counts two things that are not the monitor's own:
    ///
    /// - the guest's RAM, as far as the guest has touched it. Where it is cannot be asked from
    ///   outside, but it is the largest thing that the monitor maps and uses: among the mappings
    ///   that have room for it, the one with the most resident pages. (Not simply the largest
    ///   mapping: address space that is only reserved costs nothing.)
    /// - pages that are mapped twice, as generated code is, once to write it and once to run it.
    ///
    /// The peak of the process less the same of now also counts: between two samples the monitor
    /// may have needed more for a moment, and what is subtracted seldom shrinks.
    pub fn sample(&mut self, process: u32, ram: u64) {
        let read = |name: &str| fs::read_to_string(format!("/proc/{process}/{name}"));
        // A process that has just ended has neither file: then the samples before count.
        let (Ok(status), Ok(maps)) = (read("status"), read("smaps")) else {
            return;
        };
        let maps = mappings(&maps);
        let foreign = guest_ram_kib(&maps, ram / 1024) + mapped_again_kib(&maps);
        let now: u64 = maps.iter().map(|mapping| mapping.resident_kib).sum();
        let peak = status
            .lines()
            .find_map(|line| kib(line, "VmHWM:"))
            .unwrap_or(0);
        self.most_kib = self.most_kib.max(now.max(peak).saturating_sub(foreign));
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

/// One entry of the kernel's `smaps`.
#[derive(Default)]
struct Mapping {
    /// Which part of which file it shows: offset, device and inode; nothing for anonymous memory.
    file: Option<String>,
    size_kib: u64,
    resident_kib: u64,
}

fn mappings(smaps: &str) -> Vec<Mapping> {
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in smaps.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        // START-END PERMISSIONS OFFSET DEVICE INODE [NAME], or NAME: VALUE [kB]
        if let [_, _, offset, device, inode, ..] = words[..]
            && device.contains(':')
        {
            let file = (inode != "0").then(|| format!("{offset} {device} {inode}"));
            mappings.push(Mapping {
                file,
                ..Mapping::default()
            });
        } else if let Some(mapping) = mappings.last_mut() {
            if let Some(size) = kib(line, "Size:") {
                mapping.size_kib = size;
            } else if let Some(resident) = kib(line, "Rss:") {
                mapping.resident_kib = resident;
            }
        }
    }
    mappings
}

/// The value of a line `NAME VALUE kB` with this name.
fn kib(line: &str, name: &str) -> Option<u64> {
    let value = line.strip_prefix(name)?;
    value.split_whitespace().next()?.parse().ok()
}

/// The resident part of the guest's RAM.
fn guest_ram_kib(maps: &[Mapping], ram_kib: u64) -> u64 {
    maps.iter()
        .filter(|mapping| mapping.size_kib >= ram_kib)
        .map(|mapping| mapping.resident_kib)
        .max()
        .unwrap_or(0)
}

/// What is resident in further mappings of the same part of a file.
fn mapped_again_kib(maps: &[Mapping]) -> u64 {
    let mut first: BTreeMap<&str, u64> = BTreeMap::new();
    let mut again = 0;
    for mapping in maps {
        let Some(file) = &mapping.file else { continue };
        let most = first.entry(file).or_default();
        again += mapping.resident_kib.min(*most);
        *most = mapping.resident_kib.max(*most);
    }
    again
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
7f0000000000-7f0040000000 rw-p 00000000 00:00 0
Size:            1048576 kB
KernelPageSize:        4 kB
Rss:              102400 kB
Pss:              102400 kB
VmFlags: rd wr mr mw me ac sd hg
7f1000000000-7f1100000000 rw-p 00000000 00:00 0
Size:            4194304 kB
Rss:                 512 kB
7f2000000000-7f2000100000 r-xs 00000000 00:01 264220     /memfd:code (deleted)
Size:               1024 kB
Rss:                 100 kB
7f3000000000-7f3000100000 rw-s 00000000 00:01 264220     /memfd:code (deleted)
Size:               1024 kB
Rss:                 120 kB
55f3b0000000-55f3b0010000 r-xp 00000000 08:01 77   /target/release/ringer
Size:                 64 kB
Rss:                  48 kB
55f3b0010000-55f3b0020000 rw-p 00010000 08:01 77   /target/release/ringer
Size:                 64 kB
Rss:                  16 kB
";

    #[test]
    fn guest_ram_is_the_used_one_of_the_large_mappings() {
        let maps = mappings(MAPS);
        assert_eq!(maps.len(), 6);
        assert_eq!(guest_ram_kib(&maps, 1 << 20), 102_400);
        assert_eq!(guest_ram_kib(&maps, 1 << 30), 0);
    }

    #[test]
    fn what_is_mapped_twice_counts_once() {
        assert_eq!(mapped_again_kib(&mappings(MAPS)), 100);
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
