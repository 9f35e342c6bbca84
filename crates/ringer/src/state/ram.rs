//! RAM to and from layers of pages: only those that changed since the last save, where the host
//! knows them, and back by mapping files instead of reading them.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use ringer_hart::Ram;

use super::Origin;
use crate::memory::HostMemory;
use crate::snapshot::{
    LayerWriter, MOST_LAYERS, PAGE, Reader, Segment, SnapshotError, Writer, resolve,
};

/// Where format 1 has all of memory.
const MEMORY: &str = "memory";
/// Zero pages between others that are mapped with them: fewer mappings, a few pages more.
const GAP: u64 = 16;
/// Mappings at most; what would need more is read instead. The kernel allows 65,530 in all.
const MOST_MAPPINGS: usize = 8192;

/// Saves RAM that nobody changes meanwhile.
pub fn save(
    ram: &Ram,
    memory: &HostMemory,
    origin: &Origin,
    writer: &mut Writer,
) -> Result<(), SnapshotError> {
    let total = ram.len() / PAGE as u64;
    let own = match origin.tracked {
        true => memory.own_pages(),
        false => None,
    };
    let Some(own) = own else {
        return writer.layer(total, |layer| save_pages(ram, 0..total, &[], layer));
    };
    let Some(saved) = &origin.saved else {
        return writer.layer(total, |layer| {
            own.into_iter()
                .try_for_each(|range| save_pages(ram, range, &[], layer))
        });
    };
    let below = resolve(saved.layers(), 0);
    if is_worth_a_layer(&own, &below, saved) && writer.same_layers(saved)? {
        return writer.layer(total, |layer| {
            own.into_iter()
                .try_for_each(|range| save_pages(ram, range, &below, layer))
        });
    }
    let mut ranges = own;
    ranges.extend(below.iter().map(|segment| segment.first..segment.end));
    ranges.sort_by_key(|range| range.start);
    writer.layer(total, |layer| {
        let mut done = 0;
        for range in ranges {
            let rest = range.start.max(done)..range.end.max(done);
            done = rest.end;
            save_pages(ram, rest, &[], layer)?;
        }
        Ok(())
    })
}

/// Whether a layer on top of the others is better than all of memory in one.
fn is_worth_a_layer(own: &[Range<u64>], below: &[Segment], saved: &Reader) -> bool {
    let changed: u64 = own.iter().map(|range| range.end - range.start).sum();
    let there: u64 = below
        .iter()
        .map(|segment| segment.end - segment.first)
        .sum();
    let held: u64 = (saved.layers().iter())
        .map(|layer| layer.table.data_pages())
        .sum();
    !saved.layers().is_empty()
        && saved.layers().len() < MOST_LAYERS
        && below.len() + 2 * own.len() < MOST_MAPPINGS
        && changed < there / 2
        // Otherwise most of what the files hold is hidden by newer pages.
        && held < 2 * there
}

/// Saves the pages `range`. Zero pages are saved only where there is something below them.
fn save_pages(
    ram: &Ram,
    range: Range<u64>,
    below: &[Segment],
    layer: &mut LayerWriter,
) -> io::Result<()> {
    let mut page = [0; PAGE];
    for number in range {
        ram.read(ram.base().offset(number * PAGE as u64), &mut page)
            .ok_or_else(|| io::Error::other("a page of RAM is not there"))?;
        if page != [0; PAGE] {
            layer.page(number, &page)?;
        } else {
            let at = below.partition_point(|segment| segment.end <= number);
            if below.get(at).is_some_and(|segment| segment.first <= number) {
                layer.zero(number)?;
            }
        }
    }
    Ok(())
}

/// Puts saved pages into RAM that is all zero.
pub fn restore(ram: &Ram, memory: &HostMemory, saved: &Reader) -> Result<(), SnapshotError> {
    if saved.layers().is_empty() {
        let pages = ram.len() / PAGE as u64;
        return saved.pages(MEMORY, |number, content| {
            Some(number)
                .filter(|&number| number < pages)
                .and_then(|number| ram.write(ram.base().offset(number * PAGE as u64), content))
                .ok_or_else(|| "a page outside RAM".to_string())
        });
    }
    let result = each_segment(ram, memory, saved, |_| Ok(()));
    result.map_err(|error| saved.damaged(format_args!("its memory cannot be mapped: {error}")))
}

/// Has RAM, which is as `saved` has it, be mapped from there.
pub fn map(ram: &Ram, memory: &HostMemory, saved: &Reader) -> io::Result<()> {
    if saved.layers().is_empty() {
        return Err(io::Error::other("its format has no memory to map"));
    }
    each_segment(ram, memory, saved, |zeroes| memory.clear(zeroes))
}

/// Maps all of memory; `between` is called for what is zero, in bytes.
fn each_segment(
    ram: &Ram,
    memory: &HostMemory,
    saved: &Reader,
    between: impl Fn(Range<u64>) -> io::Result<()>,
) -> io::Result<()> {
    let mut behind = 0;
    for (count, segment) in resolve(saved.layers(), GAP).iter().enumerate() {
        let range = segment.first * PAGE as u64..segment.end * PAGE as u64;
        if behind < range.start {
            between(behind..range.start)?;
        }
        behind = range.end;
        let layer = (saved.layers().get(segment.layer))
            .ok_or_else(|| io::Error::other("a layer is missing"))?;
        if count < MOST_MAPPINGS {
            memory.map(&layer.data, range)?;
        } else {
            copy(&layer.data, range, ram)?;
        }
    }
    if behind < ram.len() {
        between(behind..ram.len())?;
    }
    Ok(())
}

fn copy(from: &File, range: Range<u64>, to: &Ram) -> io::Result<()> {
    let mut page = [0; PAGE];
    for at in range.step_by(PAGE) {
        from.read_exact_at(&mut page, at)?;
        to.write(to.base().offset(at), &page)
            .ok_or_else(|| io::Error::other("a page outside RAM"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::FixedEntropy;
    use crate::snapshot::Description;
    use ringer_hart::GuestPhys;
    use ringer_machine::backend::EntropyBackend;
    use std::path::Path;
    use std::sync::Arc;

    const BASE: GuestPhys = GuestPhys(0x8000_0000);
    const PAGES: u64 = 1024;

    struct Machine {
        memory: Arc<HostMemory>,
        ram: Ram,
        origin: Origin,
    }

    impl Machine {
        fn new() -> Self {
            let memory = HostMemory::new(PAGES * PAGE as u64).unwrap();
            Self {
                ram: memory.ram(BASE),
                memory,
                origin: Origin {
                    saved: None,
                    tracked: true,
                },
            }
        }
        fn restored(dir: &Path) -> Self {
            let mut machine = Self::new();
            let saved = Reader::open(dir).unwrap();
            restore(&machine.ram, &machine.memory, &saved).unwrap();
            machine.origin.saved = Some(saved);
            machine
        }
        fn save(&mut self, dir: &Path) {
            let mut writer = Writer::new(dir).unwrap();
            save(&self.ram, &self.memory, &self.origin, &mut writer).unwrap();
            let machine = Description {
                harts: 1,
                memory: self.ram.len(),
                ..Description::default()
            };
            writer.finish(machine).unwrap();
        }
        /// As the monitor does when the machine runs on.
        fn save_and_go_on(&mut self, dir: &Path) {
            self.save(dir);
            let saved = Reader::open(dir).unwrap();
            map(&self.ram, &self.memory, &saved).unwrap();
            self.origin.saved = Some(saved);
        }
        fn content(&self) -> Vec<u8> {
            let mut bytes = vec![0; self.ram.len() as usize];
            self.ram.read(BASE, &mut bytes).unwrap();
            bytes
        }
        fn layers(&self) -> usize {
            self.origin.saved.as_ref().map_or(0, |s| s.layers().len())
        }
    }

    #[test]
    fn saving_what_changed_is_saving_all() {
        let dir = tempfile::tempdir().unwrap();
        let mut random = FixedEntropy::new(3);
        let mut below = |limit: u64| {
            let mut bytes = [0; 8];
            random.fill(&mut bytes).unwrap();
            u64::from_le_bytes(bytes) % limit
        };
        let mut machine = Machine::new();
        for page in 100..900 {
            let at = BASE.offset(page * PAGE as u64 + 8);
            machine.ram.store(at, page + 1).unwrap();
        }
        let mut most = 0;
        for round in 0..40 {
            for _ in 0..below(12) {
                let page = below(PAGES);
                let at = BASE.offset(page * PAGE as u64);
                let len = PAGE as u64 * (1 + below(4)).min(PAGES - page);
                match below(3) {
                    0 => machine.ram.store(at, below(1 << 40)).unwrap(),
                    1 => machine.ram.fill(at, len, 0).unwrap(),
                    _ => machine.ram.fill(at, len, round as u8).unwrap(),
                }
            }
            // Given back by a balloon: whatever it is then is what must be saved.
            machine.memory.release(below(PAGES) * PAGE as u64, 8192);
            let target = dir.path().join(format!("{round}"));
            let before = machine.content();
            machine.save_and_go_on(&target);
            assert_eq!(machine.content(), before, "{round}");
            most = most.max(machine.layers());
            let copy = Machine::restored(&target);
            assert_eq!(copy.content(), before, "{round}");
            match below(4) {
                0 => machine = copy,
                1 => {
                    // The machine that it came from is not needed.
                    let earlier = dir.path().join(format!("{}", below(round + 1)));
                    let _ = std::fs::remove_dir_all(earlier);
                }
                _ => {}
            }
        }
        assert!((3..=MOST_LAYERS).contains(&most), "{most} layers");
    }

    #[test]
    fn little_is_written_when_little_changed() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let mut machine = Machine::new();
        machine.ram.fill(BASE, 800 * PAGE as u64, 7).unwrap();
        machine.save_and_go_on(&dir.path().join("all"));
        let at = BASE.offset(500 * PAGE as u64);
        machine.ram.store(at, 9_u64).unwrap();
        machine.save_and_go_on(&dir.path().join("some"));
        let size = |name: &str| dir.path().join(name).metadata().unwrap().blocks() * 512;
        assert!(size("some/memory.0") >= 800 * 4096);
        assert!(size("some/memory.1") <= 16 * 4096);
        assert_eq!(machine.layers(), 2);
        // Where the host does not know what changed, all is written.
        machine.origin.tracked = false;
        machine.save(&dir.path().join("blind"));
        assert!(size("blind/memory.0") >= 800 * 4096);
        let blind = Machine::restored(&dir.path().join("blind"));
        assert_eq!(blind.content(), machine.content());
    }

    #[test]
    fn a_saved_machine_is_not_changed_by_those_that_go_on_from_it() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("vm");
        let mut machine = Machine::new();
        machine.ram.fill(BASE, 10 * PAGE as u64, 7).unwrap();
        machine.save_and_go_on(&target);
        let before = machine.content();
        machine.ram.fill(BASE, 20 * PAGE as u64, 8).unwrap();
        let other = Machine::restored(&target);
        assert_eq!(other.content(), before);
        other.ram.fill(BASE, PAGE as u64, 9).unwrap();
        assert_eq!(Machine::restored(&target).content(), before);
        assert_eq!(machine.content()[0], 8);
    }
}
