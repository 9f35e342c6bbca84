//! The interpreter's lines of the statistics.

use std::fmt;

use ringer_hart::interpret::{BlockCounts, TlbCounts};

use super::line;

/// What the interpreter of one hart has done.
#[derive(Clone, Copy, Debug)]
pub struct InterpreterStats {
    /// Its translation cache.
    pub tlb: TlbCounts,
    /// Its code cache.
    pub blocks: BlockCounts,
}

/// The lines about address translation.
pub fn address_translation(harts: &[InterpreterStats], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let all = || harts.iter();
    line(f, "TLB fills", all().map(|h| h.tlb.fills))?;
    line(f, "TLB flushes", all().map(|h| h.tlb.flushes))?;
    line(
        f,
        "TLB flushes of one page",
        all().map(|h| h.tlb.page_flushes),
    )
}

/// The lines about code.
pub fn code(harts: &[InterpreterStats], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let all = || harts.iter();
    line(f, "blocks decoded", all().map(|h| h.blocks.decoded))?;
    line(
        f,
        "blocks checked again",
        all().map(|h| h.blocks.revalidated),
    )?;
    line(f, "code cache emptied", all().map(|h| h.blocks.dropped))
}
