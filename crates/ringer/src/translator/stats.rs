//! The translator's counters.

use std::time::Duration;

use ringer_isa::Op;
use ringer_translate::TranslatorCounts;
use ringer_translate::cache::CacheCounts;

use crate::stats::Group;

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

impl TranslatorStats {
    /// The counters of address translation.
    pub fn address_translation(&self, group: &mut Group) {
        self.count(group, "table fills", |h| h.fills);
        self.count(group, "table flushes", |h| h.spaces.flushes);
        self.count(group, "table flushes of one page", |h| {
            h.spaces.page_flushes
        });
        self.count(group, "space switches", |h| h.spaces.switches);
        self.count(group, "spaces begun", |h| h.spaces.begun);
    }

    /// The counters of code: what was made, and why it was left.
    pub fn code(&self, group: &mut Group) {
        let cache = &self.cache;
        group.shared("blocks translated", cache.translated);
        group.shared("guest instructions translated", cache.instructions);
        let each = cache.generated as f64 / cache.instructions.max(1) as f64;
        let each = format!("({each:.1} for each guest instruction)");
        group.remarkable("bytes generated", cache.generated, each);
        self.time(group);
        group.shared("links made", cache.links);
        group.shared("links in use", cache.linked);
        group.shared("blocks in the cache", cache.blocks);
        group.shared("bytes in the cache", cache.bytes);
        group.shared("blocks dropped, code changed", cache.changed);
        group.shared("blocks dropped for room", cache.evicted);
        self.count(group, "entries into generated code", |h| h.entries);
        self.count(group, "exits: to make a link", |h| h.link_exits);
        self.count(group, "exits: jump target unknown", |h| h.jump_misses);
        self.count(group, "exits: after a fallback", |h| h.fallback_exits);
        self.count(group, "fallbacks to the definition", |h| h.fallbacks);
        self.named(group);
        self.count(group, "steps outside generated code", |h| h.steps);
    }

    fn count(&self, group: &mut Group, name: &str, of: impl Fn(&TranslatorCounts) -> u64) {
        group.by_hart(name, self.harts.iter().map(of));
    }

    /// The instructions left to the definition. A load or store is left to it where its page is
    /// not in the tables.
    fn named(&self, group: &mut Group) {
        for (op, count) in self.fallbacks.iter().take(NAMED) {
            group.shared(&format!("  {}", op.mnemonic()), *count);
        }
        let rest = self.fallbacks.iter().skip(NAMED).map(|(_, count)| count);
        group.shared("  others", rest.sum());
    }

    fn time(&self, group: &mut Group) {
        let spent: Duration = self.harts.iter().map(|h| h.translation).sum();
        let share = 100.0 * spent.as_secs_f64() / self.elapsed.as_secs_f64().max(1e-9);
        let micros = u64::try_from(spent.as_micros()).unwrap_or(u64::MAX);
        let remark = format!("µs, {share:.2} % of {:.2} s", self.elapsed.as_secs_f64());
        group.remarkable("time in translation", micros, remark);
    }
}
