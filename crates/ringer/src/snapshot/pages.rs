//! Files of numbered pages, of which most are missing: RAM without its zero pages, and overlays.
//!
//! A run of pages is a header (first number, count; 8 bytes each, little-endian) and their
//! bytes. The end is a run of zero pages.

use std::io::{self, Read, Write};

/// Bytes in a page.
pub const PAGE: usize = 4096;
/// Pages in a run: what is held in memory at once.
const RUN: usize = 256;

/// Writes pages, given in any order; neighbours in sequence share a header.
pub struct PageWriter<W: Write> {
    sink: W,
    first: u64,
    run: Vec<u8>,
}

impl<W: Write> PageWriter<W> {
    /// Writes to `sink`.
    pub fn new(sink: W) -> Self {
        Self {
            sink,
            first: 0,
            run: Vec::with_capacity(RUN * PAGE),
        }
    }
    /// Writes page `number`; `content` has [`PAGE`] bytes.
    pub fn page(&mut self, number: u64, content: &[u8]) -> io::Result<()> {
        let count = self.run.len() / PAGE;
        if count == RUN || number != self.first.wrapping_add(count as u64) {
            self.flush_run()?;
        }
        if self.run.is_empty() {
            self.first = number;
        }
        self.run.extend_from_slice(content);
        Ok(())
    }
    fn header(&mut self, first: u64, count: u64) -> io::Result<()> {
        self.sink.write_all(&first.to_le_bytes())?;
        self.sink.write_all(&count.to_le_bytes())
    }
    fn flush_run(&mut self) -> io::Result<()> {
        if self.run.is_empty() {
            return Ok(());
        }
        self.header(self.first, (self.run.len() / PAGE) as u64)?;
        self.sink.write_all(&self.run)?;
        self.run.clear();
        Ok(())
    }
    /// Writes the end.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush_run()?;
        self.header(0, 0)
    }
}

/// Reads a file of pages and gives them to `take`, several in sequence at once with the first one's
/// number; it says whether there can be such pages.
pub fn read(
    mut source: impl Read,
    mut take: impl FnMut(u64, &[u8]) -> Result<(), String>,
) -> Result<(), String> {
    let truncated = |_| "a file of pages is truncated".to_string();
    let mut room = vec![0; RUN * PAGE];
    loop {
        let mut field = [0; 8];
        source.read_exact(&mut field).map_err(truncated)?;
        let first = u64::from_le_bytes(field);
        source.read_exact(&mut field).map_err(truncated)?;
        let count = u64::from_le_bytes(field);
        if count == 0 {
            return Ok(());
        }
        let mut done = 0;
        while done < count {
            let some = (count - done).min(RUN as u64);
            let pages = room.get_mut(..some as usize * PAGE).unwrap_or_default();
            source.read_exact(pages).map_err(truncated)?;
            take(first.wrapping_add(done), pages)?;
            done += some;
        }
    }
}
