//! The translator's lines of the statistics.

use std::fmt;
use std::time::Duration;

use ringer_isa::Op;
use ringer_translate::TranslatorCounts;
use ringer_translate::cache::CacheCounts;

use crate::stats::{grouped, line};

/// What the translators of a machine have done.
#[derive(Clone, Debug)]
pub struct TranslatorStats {
    /// The code cache, which they share.
    pub cache: CacheCounts,
    /// Each of them, by hart.
    pub harts: Vec<TranslatorCounts>,
    /// Which instructions generated code left to the definition, the most frequent first.
    pub fallbacks: Vec<(Op, u64)>,
    /// How long they have existed.
    pub elapsed: Duration,
}

/// The most instructions named that were left to the definition.
const NAMED: usize = 12;

/// A line with a number that the harts have together.
fn shared(f: &mut fmt::Formatter<'_>, name: &str, value: u64) -> fmt::Result {
    line(f, name, std::iter::once(value))
}

impl TranslatorStats {
    fn by_hart(&self, of: impl Fn(&TranslatorCounts) -> u64) -> impl Iterator<Item = u64> {
        self.harts.iter().map(of)
    }

    /// The lines about address translation.
    pub fn address_translation(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(f, "table fills", self.by_hart(|h| h.fills))?;
        line(f, "table flushes", self.by_hart(|h| h.spaces.flushes))?;
        line(
            f,
            "table flushes of one page",
            self.by_hart(|h| h.spaces.page_flushes),
        )?;
        line(f, "space switches", self.by_hart(|h| h.spaces.switches))?;
        line(f, "spaces begun", self.by_hart(|h| h.spaces.begun))
    }

    /// The lines about code: what was made, and why it was left.
    pub fn code(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cache = &self.cache;
        shared(f, "blocks translated", cache.translated)?;
        shared(f, "guest instructions translated", cache.instructions)?;
        shared(f, "bytes generated", cache.generated)?;
        if cache.instructions > 0 {
            let each = cache.generated as f64 / cache.instructions as f64;
            writeln!(f, "  {:<34}{each:>18.1}", "bytes per guest instruction")?;
        }
        self.time(f)?;
        shared(f, "links made", cache.links)?;
        shared(f, "links in use", cache.linked)?;
        shared(f, "blocks in the cache", cache.blocks)?;
        shared(f, "bytes in the cache", cache.bytes)?;
        shared(f, "blocks dropped, code changed", cache.changed)?;
        shared(f, "blocks dropped for room", cache.evicted)?;
        line(
            f,
            "entries into generated code",
            self.by_hart(|h| h.entries),
        )?;
        line(f, "exits: to make a link", self.by_hart(|h| h.link_exits))?;
        line(
            f,
            "exits: jump target unknown",
            self.by_hart(|h| h.jump_misses),
        )?;
        line(
            f,
            "exits: after a fallback",
            self.by_hart(|h| h.fallback_exits),
        )?;
        line(
            f,
            "fallbacks to the definition",
            self.by_hart(|h| h.fallbacks),
        )?;
        self.named(f)?;
        line(f, "steps outside generated code", self.by_hart(|h| h.steps))
    }

    /// The instructions left to the definition. A load or store is left to it where its page is
    /// not in the tables.
    fn named(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (op, count) in self.fallbacks.iter().take(NAMED) {
            shared(f, &format!("  {}", op.mnemonic()), *count)?;
        }
        let rest = self.fallbacks.iter().skip(NAMED).map(|(_, count)| count);
        shared(f, "  others", rest.sum())
    }

    fn time(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spent: Duration = self.harts.iter().map(|h| h.translation).sum();
        let share = 100.0 * spent.as_secs_f64() / self.elapsed.as_secs_f64().max(1e-9);
        let micros = u64::try_from(spent.as_micros()).unwrap_or(u64::MAX);
        writeln!(
            f,
            "  {:<34}{:>18} µs, {share:.2} % of {:.2} s",
            "time in translation",
            grouped(micros),
            self.elapsed.as_secs_f64()
        )
    }
}
