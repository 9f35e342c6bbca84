//! Physical memory that is not in use yet, while the monitor shares it out at start. Needs no
//! heap: the heap is one of the things it gives.

use ringer_machine::memory_map::Span;

/// Free ranges at most; a machine with more loses the smallest.
const RANGES: usize = 32;

/// Free ranges of memory.
#[derive(Clone, Debug)]
pub struct FreeMemory {
    ranges: [Span; RANGES],
}

const NOTHING: Span = Span::new(0, 0);

impl Default for FreeMemory {
    fn default() -> Self {
        Self {
            ranges: [NOTHING; RANGES],
        }
    }
}

impl FreeMemory {
    /// Adds a range.
    pub fn add(&mut self, span: Span) {
        let smallest = self.ranges.iter_mut().min_by_key(|range| range.len);
        if let Some(place) = smallest
            && place.len < span.len
        {
            *place = span;
        }
    }
    /// Takes out whatever of `used` is free.
    pub fn reserve(&mut self, used: Span) {
        let before = core::mem::replace(&mut self.ranges, [NOTHING; RANGES]);
        for range in before {
            if !range.overlaps(used) {
                self.add(range);
                continue;
            }
            let (start, end) = (range.base.0, range.end().0);
            self.add(Span::new(start, used.base.0.saturating_sub(start)));
            self.add(Span::new(used.end().0, end.saturating_sub(used.end().0)));
        }
    }
    /// Takes `len` bytes at a multiple of `align`, a power of two, from the end of the smallest
    /// range that has them.
    pub fn take(&mut self, len: u64, align: u64) -> Option<Span> {
        let place = |range: &Span| {
            let start = range.end().0.checked_sub(len)? & !(align - 1);
            (start >= range.base.0 && len > 0).then_some(start)
        };
        let fitting = self.ranges.iter().filter(|range| place(range).is_some());
        let range = *fitting.min_by_key(|range| range.len)?;
        let taken = Span::new(place(&range)?, len);
        self.reserve(taken);
        Some(taken)
    }
    /// How much there is.
    pub fn total(&self) -> u64 {
        self.ranges.iter().map(|range| range.len).sum()
    }
    /// The largest range.
    pub fn largest(&self) -> u64 {
        self.ranges.iter().map(|range| range.len).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_taken_is_free_and_aligned() {
        let mut free = FreeMemory::default();
        free.add(Span::new(0x8000_0000, 0x1000_0000));
        free.reserve(Span::new(0x8000_0000, 0x12_3456));
        free.reserve(Span::new(0x8800_0000, 0x1000));
        assert_eq!(free.total(), 0x1000_0000 - 0x12_3456 - 0x1000);
        let first = free.take(0x40_0000, 0x20_0000).unwrap();
        assert_eq!(first.base.0, 0x87c0_0000);
        assert_eq!(free.take(0x1000_0000, 0x1000), None);
        assert_eq!(free.take(0, 0x1000), None);
    }

    proptest! {
        #[test]
        fn nothing_is_given_twice(
            reserved in prop::collection::vec((0..0x10_0000u64, 0..0x1_0000u64), 0..6),
            wanted in prop::collection::vec((1..0x8000u64, 0..14u32), 1..40),
        ) {
            let all = Span::new(0x1000, 0x10_0000);
            let mut free = FreeMemory::default();
            free.add(all);
            let mut used: Vec<Span> = Vec::new();
            for (base, len) in reserved {
                free.reserve(Span::new(base, len));
                used.push(Span::new(base, len));
            }
            for (len, align) in wanted {
                let before = free.total();
                if let Some(taken) = free.take(len, 1 << align) {
                    prop_assert_eq!(taken.len, len);
                    prop_assert_eq!(taken.base.0 % (1 << align), 0);
                    prop_assert!(taken.base >= all.base && taken.end() <= all.end());
                    prop_assert!(used.iter().all(|other| !other.overlaps(taken)));
                    prop_assert!(free.total() <= before - len);
                    used.push(taken);
                }
            }
        }
    }
}
