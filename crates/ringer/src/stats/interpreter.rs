//! The interpreter's counters.

use ringer_hart::interpret::{BlockCounts, TlbCounts};

use super::Group;

/// What the interpreter of one hart has done.
#[derive(Clone, Copy, Debug)]
pub struct InterpreterStats {
    /// Its translation cache.
    pub tlb: TlbCounts,
    /// Its code cache.
    pub blocks: BlockCounts,
}

/// The counters of address translation.
pub fn address_translation(harts: &[InterpreterStats], group: &mut Group) {
    let all = || harts.iter();
    group.by_hart("TLB fills", all().map(|h| h.tlb.fills));
    group.by_hart("TLB flushes", all().map(|h| h.tlb.flushes));
    group.by_hart("TLB flushes of one page", all().map(|h| h.tlb.page_flushes));
}

/// The counters of code.
pub fn code(harts: &[InterpreterStats], group: &mut Group) {
    let all = || harts.iter();
    group.by_hart("blocks decoded", all().map(|h| h.blocks.decoded));
    group.by_hart("blocks checked again", all().map(|h| h.blocks.revalidated));
    group.by_hart("code cache emptied", all().map(|h| h.blocks.dropped));
}
