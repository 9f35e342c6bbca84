//! A layer of a saved machine's memory: a sparse file as large as RAM in which some pages have
//! their place, and a table that says which, with checksums. Neither ever changes once it is
//! complete, so that several saved machines can share it and running ones can map it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::pages::PAGE;

/// Pages in a run at most: what one checksum covers, and what is held in memory at once.
const RUN: usize = 256;
/// Bytes of a run in the table: first page, how many with [`ZERO`], checksum.
const RECORD: usize = 16;
/// Marks a run of pages that are zero, of which the file holds nothing.
const ZERO: u32 = 1 << 31;

/// Neighbouring pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    first: u64,
    pages: u32,
    /// CRC-32 of the content; `None` for pages that are zero here, whatever layers below say.
    crc32: Option<u32>,
}

impl Run {
    /// Takes a record apart, which is one little-endian number of three fields.
    fn read(record: [u8; RECORD]) -> Self {
        let record = u128::from_le_bytes(record);
        let pages = (record >> 64) as u32;
        let crc32 = (record >> 96) as u32;
        Self {
            first: record as u64,
            pages: pages & !ZERO,
            crc32: (pages & ZERO == 0).then_some(crc32),
        }
    }
    fn end(&self) -> u64 {
        self.first.saturating_add(self.pages.into())
    }
}

/// Which pages a layer has: runs in ascending order that do not overlap.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Table {
    runs: Vec<Run>,
}

impl Table {
    /// Reads a table of the memory of a machine with so many pages.
    pub fn parse(bytes: &[u8], total: u64) -> Result<Self, String> {
        let damaged = || "a table of pages makes no sense".to_string();
        let (records, rest) = bytes.as_chunks::<RECORD>();
        if !rest.is_empty() {
            return Err(damaged());
        }
        let mut runs: Vec<Run> = Vec::with_capacity(records.len());
        for record in records {
            let run = Run::read(*record);
            let behind = runs.last().map_or(0, Run::end);
            let fits = run.pages > 0 && run.first >= behind && run.end() <= total;
            if !fits || run.pages as usize > RUN {
                return Err(damaged());
            }
            runs.push(run);
        }
        Ok(Self { runs })
    }
    /// As it is written down.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.runs.len() * RECORD);
        for run in &self.runs {
            let zero = if run.crc32.is_none() { ZERO } else { 0 };
            bytes.extend_from_slice(&run.first.to_le_bytes());
            bytes.extend_from_slice(&(run.pages | zero).to_le_bytes());
            bytes.extend_from_slice(&run.crc32.unwrap_or(0).to_le_bytes());
        }
        bytes
    }
    /// How many pages its file holds.
    pub fn data_pages(&self) -> u64 {
        let data = self.runs.iter().filter(|run| run.crc32.is_some());
        data.map(|run| u64::from(run.pages)).sum()
    }
    /// Whether its file holds any of the pages `first..end`.
    fn has_data_in(&self, first: u64, end: u64) -> bool {
        let from = self.runs.partition_point(|run| run.end() <= first);
        let here = self.runs.iter().skip(from);
        here.take_while(|run| run.first < end)
            .any(|run| run.crc32.is_some())
    }
}

/// Writes a layer, its pages in ascending order.
pub struct LayerWriter {
    data: File,
    table: Table,
    first: u64,
    /// The run at hand: its bytes, or how many pages of zeroes.
    bytes: Vec<u8>,
    zeroes: u32,
}

impl LayerWriter {
    /// A layer in `data`, which is empty, for a machine with so many pages.
    pub fn new(data: File, total: u64) -> io::Result<Self> {
        data.set_len(total.saturating_mul(PAGE as u64))?;
        Ok(Self {
            data,
            table: Table::default(),
            first: 0,
            bytes: Vec::with_capacity(RUN * PAGE),
            zeroes: 0,
        })
    }
    /// Page `number` has this content, [`PAGE`] bytes.
    pub fn page(&mut self, number: u64, content: &[u8]) -> io::Result<()> {
        let pages = self.bytes.len() / PAGE;
        if pages == RUN || self.zeroes > 0 || number != self.first + pages as u64 {
            self.end_run()?;
        }
        if self.bytes.is_empty() {
            self.first = number;
        }
        self.bytes.extend_from_slice(content);
        Ok(())
    }
    /// Page `number` is zero, and was not in the layers below.
    pub fn zero(&mut self, number: u64) -> io::Result<()> {
        let full = self.zeroes as usize == RUN;
        if full || !self.bytes.is_empty() || number != self.first + u64::from(self.zeroes) {
            self.end_run()?;
        }
        if self.zeroes == 0 {
            self.first = number;
        }
        self.zeroes += 1;
        Ok(())
    }
    fn end_run(&mut self) -> io::Result<()> {
        if !self.bytes.is_empty() {
            self.data
                .write_all_at(&self.bytes, self.first * PAGE as u64)?;
            self.table.runs.push(Run {
                first: self.first,
                pages: (self.bytes.len() / PAGE) as u32,
                crc32: Some(crc32fast::hash(&self.bytes)),
            });
        }
        if self.zeroes > 0 {
            self.table.runs.push(Run {
                first: self.first,
                pages: self.zeroes,
                crc32: None,
            });
        }
        self.bytes.clear();
        self.zeroes = 0;
        Ok(())
    }
    /// Makes the file durable and gives the table.
    pub fn finish(mut self) -> io::Result<Table> {
        self.end_run()?;
        self.data.sync_all()?;
        Ok(self.table)
    }
}

/// A layer that is open.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Its file.
    pub data: Arc<File>,
    /// What is in it.
    pub table: Arc<Table>,
}

impl Layer {
    /// Compares all of the file with the checksums.
    pub fn verify(&self) -> Result<(), String> {
        let mut bytes = vec![0; RUN * PAGE];
        for run in &self.table.runs {
            let Some(crc32) = run.crc32 else { continue };
            let len = run.pages as usize * PAGE;
            let content = bytes.get_mut(..len).ok_or("a run is too long")?;
            self.data
                .read_exact_at(content, run.first * PAGE as u64)
                .map_err(|error| error.to_string())?;
            if crc32fast::hash(content) != crc32 {
                return Err(format!(
                    "the memory at {:#x} is not as it was written",
                    run.first * PAGE as u64
                ));
            }
        }
        Ok(())
    }
}

/// Neighbouring pages that one layer gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// The first page.
    pub first: u64,
    /// The page behind the last.
    pub end: u64,
    /// The number of the layer, from the bottom.
    pub layer: usize,
}

/// What memory consists of, given its layers from the bottom up; what is in no segment is zero.
/// Segments of one layer between which only up to `gap` zero pages lie become one.
pub fn resolve(layers: &[Layer], gap: u64) -> Vec<Segment> {
    let mut painted: Vec<Segment> = Vec::new();
    /// Stands for the zero pages of a layer until all are painted.
    const NOTHING: usize = usize::MAX;
    for (number, layer) in layers.iter().enumerate() {
        let above = layer.table.runs.iter().map(|run| Segment {
            first: run.first,
            end: run.end(),
            layer: if run.crc32.is_some() { number } else { NOTHING },
        });
        painted = paint(&painted, above);
    }
    let mut merged: Vec<Segment> = Vec::new();
    for segment in painted.into_iter().filter(|s| s.layer != NOTHING) {
        if let Some(last) = merged.last_mut()
            && last.layer == segment.layer
            && segment.first - last.end <= gap
            // What a layer above hides is not zero in the file.
            && !layers
                .get(last.layer)
                .is_some_and(|layer| layer.table.has_data_in(last.end, segment.first))
        {
            last.end = segment.end;
        } else {
            merged.push(segment);
        }
    }
    merged
}

/// `below` with `above` over it, both in ascending order.
fn paint(below: &[Segment], above: impl Iterator<Item = Segment>) -> Vec<Segment> {
    let mut painted = Vec::with_capacity(below.len());
    let mut rest = below.iter().copied().peekable();
    for over in above {
        while let Some(under) = rest.peek_mut() {
            if under.first >= over.end {
                break;
            }
            if under.first < over.first {
                let end = under.end.min(over.first);
                painted.push(Segment { end, ..*under });
            }
            if under.end > over.end {
                under.first = over.end;
                break;
            }
            rest.next();
        }
        painted.push(over);
    }
    painted.extend(rest);
    painted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(total: u64, pages: &[(u64, Option<u8>)]) -> Layer {
        let data = tempfile::tempfile().unwrap();
        let mut writer = LayerWriter::new(data.try_clone().unwrap(), total).unwrap();
        for &(number, byte) in pages {
            match byte {
                Some(byte) => writer.page(number, &[byte; PAGE]).unwrap(),
                None => writer.zero(number).unwrap(),
            }
        }
        let table = writer.finish().unwrap();
        let reread = Table::parse(&table.to_bytes(), total).unwrap();
        assert_eq!(reread, table);
        Layer {
            data: Arc::new(data),
            table: Arc::new(table),
        }
    }

    #[test]
    fn layers_hide_what_is_below_them() {
        const TOTAL: u64 = 600;
        // What each page is, by layers that random numbers have made.
        let mut state = 1_u64;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
            (state >> 33) % below
        };
        for _ in 0..8 {
            let mut model = vec![0_u8; TOTAL as usize];
            let mut layers = Vec::new();
            for number in 1..=4_u8 {
                let mut pages = Vec::new();
                let mut at = random(40);
                while at < TOTAL {
                    for _ in 0..random(300).min(TOTAL - at) {
                        let byte = (random(6) != 0).then_some(number);
                        pages.push((at, byte));
                        model[at as usize] = byte.unwrap_or(0);
                        at += 1;
                    }
                    at += 1 + random(30);
                }
                layers.push(layer(TOTAL, &pages));
            }
            for gap in [0, 5, 1000] {
                let mut seen = vec![0_u8; TOTAL as usize];
                let mut behind = 0;
                for segment in resolve(&layers, gap) {
                    assert!(segment.first >= behind && segment.first < segment.end);
                    behind = segment.end;
                    for page in segment.first..segment.end {
                        let data = &layers[segment.layer].data;
                        let mut byte = [0];
                        data.read_exact_at(&mut byte, page * PAGE as u64).unwrap();
                        seen[page as usize] = byte[0];
                    }
                }
                assert_eq!(seen, model);
            }
            layers.iter().for_each(|layer| layer.verify().unwrap());
        }
    }

    #[test]
    fn a_changed_byte_is_noticed_and_a_hole_is_free() {
        let layer = layer(
            1 << 20,
            &[(5, Some(1)), (6, Some(2)), ((1 << 20) - 1, Some(3))],
        );
        let meta = layer.data.metadata().unwrap();
        assert_eq!(meta.len(), 4 << 30);
        assert!(std::os::unix::fs::MetadataExt::blocks(&meta) < 1000);
        layer.verify().unwrap();
        assert_eq!(layer.table.data_pages(), 3);
        layer.data.write_all_at(b"x", 6 * 4096 + 77).unwrap();
        assert!(layer.verify().unwrap_err().contains("0x5000"));
    }

    #[test]
    fn tables_that_make_no_sense_are_refused() {
        let good = layer(10, &[(1, Some(1)), (2, None), (5, Some(1))]);
        let bytes = good.table.to_bytes();
        assert_eq!(bytes.len(), 48);
        assert!(Table::parse(&bytes, 5).is_err());
        assert!(Table::parse(&bytes[..47], 10).is_err());
        let swapped = [&bytes[16..32], &bytes[..16]].concat();
        assert!(Table::parse(&swapped, 10).is_err());
        for at in 0..16 {
            let mut bad = bytes.clone();
            bad[at] ^= 0xff;
            // Of the first record all but the checksum matters here.
            assert_eq!(Table::parse(&bad, 10).is_err(), at < 12, "{at}");
        }
    }
}
