//! What a translator has done, for statistics.

use std::time::Duration;

use crate::spaces::SpaceCounts;

/// The counters of one hart's translator.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TranslatorCounts {
    /// Times that generated code was entered.
    pub entries: u64,
    /// Exits to make a link between two blocks.
    pub link_exits: u64,
    /// Jumps whose target was not remembered.
    pub jump_misses: u64,
    /// Instructions executed by the definition for generated code, which then went on.
    pub fallbacks: u64,
    /// Of those, the ones after which generated code had to be left.
    pub fallback_exits: u64,
    /// Instructions executed by the definition outside generated code.
    pub steps: u64,
    /// Pages whose place in memory was looked up for the tables.
    pub fills: u64,
    /// Time spent translating.
    pub translation: Duration,
    /// What the spaces have done.
    pub spaces: SpaceCounts,
}
