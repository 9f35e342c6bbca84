//! Which pages of RAM hold code that an engine has translated, and which of those were changed
//! since: by any hart, by a device's DMA, by the page-table walker. See [`Ram::watch_code`].
//!
//! [`Ram::watch_code`]: crate::Ram::watch_code

use alloc::boxed::Box;
use core::fmt;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use core::sync::atomic::{AtomicU64, fence};

use crate::address::PAGE_SHIFT;

/// Bits in a word of a bitmap.
const WORD: u64 = u64::BITS as u64;

/// Two bits for each 4 KiB page of RAM: *someone has translated code from here*, and *changed
/// since*. A page is named by its offset in RAM divided by the page size; pages that RAM does
/// not have hold no code.
///
/// # Rules
///
/// Whoever **translates** calls [`mark`](Self::mark) before it reads the code. Then each change
/// is either in what it reads, or it is noted.
///
/// Whoever **changes** memory calls [`note`](Self::note) after the change. It needs no lock.
///
/// Whoever **makes changes take effect** calls [`take_changed`](Self::take_changed) and forgets
/// what was translated from the pages it visits. This must not overlap the time between a
/// `mark` and the moment at which the translation can be found and forgotten: one lock around
/// both. Otherwise the page of a translation that is just being made could be visited too early
/// to forget it, and be without its mark afterwards.
pub struct CodePages {
    code: Bitmap,
    changed: Bitmap,
    /// A bit for each word of `changed` that may have bits, so that nobody has to look through
    /// all of a large RAM. Set after the bits and cleared before them: no bit stays unseen.
    changed_words: Bitmap,
}

type Bitmap = Box<[AtomicU64]>;

fn bitmap(bits: u64) -> Bitmap {
    (0..bits.div_ceil(WORD))
        .map(|_| AtomicU64::new(0))
        .collect()
}

/// The word of a bitmap in which a bit is, and the bit there.
#[inline(always)]
fn place(map: &Bitmap, bit: u64) -> Option<(&AtomicU64, u64)> {
    let word = map.get((bit / WORD) as usize)?;
    Some((word, 1 << (bit % WORD)))
}

/// The numbers of the bits that are set.
fn bits(mut word: u64) -> impl Iterator<Item = u64> {
    core::iter::from_fn(move || {
        let lowest = (word != 0).then(|| u64::from(word.trailing_zeros()))?;
        word &= word - 1;
        Some(lowest)
    })
}

impl CodePages {
    /// For `len` bytes of RAM, of which no page holds code.
    pub(crate) fn new(len: u64) -> Self {
        let pages = len.div_ceil(1 << PAGE_SHIFT);
        Self {
            code: bitmap(pages),
            changed: bitmap(pages),
            changed_words: bitmap(pages.div_ceil(WORD)),
        }
    }

    /// Code is about to be read from this page and translated.
    pub fn mark(&self, page: u64) {
        if let Some((word, bit)) = place(&self.code, page) {
            word.fetch_or(bit, SeqCst);
        }
        // Between the mark and the reads of the code; its partner is between the change and the
        // look at the mark in `note`. Of two threads that each write one place and then read
        // the other's, at least one sees the other's write only if both have such a fence (on
        // x86 too): either the code read now is the new one, or the writer sees the mark.
        fence(SeqCst);
    }

    /// Whether someone has translated code from this page. Sequentially consistent, so that an
    /// engine can publish a way to write the page, fence, and then ask.
    #[inline]
    pub fn holds_code(&self, page: u64) -> bool {
        place(&self.code, page).is_some_and(|(word, bit)| word.load(SeqCst) & bit != 0)
    }

    /// Whether this page was changed and has not been taken since. A hint: only
    /// [`take_changed`](Self::take_changed) makes the change itself visible.
    #[inline]
    pub fn is_changed(&self, page: u64) -> bool {
        place(&self.changed, page).is_some_and(|(word, bit)| word.load(Relaxed) & bit != 0)
    }

    /// Memory was changed: `len` bytes from `offset`, an offset in RAM. Called after the change.
    #[inline]
    pub fn note(&self, offset: u64, len: u64) {
        // Between the change and the look at the mark: see `mark`.
        fence(SeqCst);
        self.note_exchanged(offset, len);
    }

    /// As [`note`](Self::note), for a change made by a sequentially consistent exchange: that
    /// and the load of the mark, which is so too, are in one order without a fence.
    #[inline]
    pub(crate) fn note_exchanged(&self, offset: u64, len: u64) {
        let first = offset >> PAGE_SHIFT;
        let last = offset.saturating_add(len.saturating_sub(1)) >> PAGE_SHIFT;
        if first == last {
            if len != 0 && self.holds_code(first) {
                self.set_changed(first / WORD, 1 << (first % WORD));
            }
        } else {
            self.note_pages(first, last);
        }
    }

    #[cold]
    fn note_pages(&self, first: u64, last: u64) {
        let words = first / WORD..=(last / WORD).min(self.code.len() as u64);
        for index in words {
            let Some(word) = self.code.get(index as usize) else {
                return;
            };
            let mut concerned = u64::MAX;
            if index == first / WORD {
                concerned &= u64::MAX << (first % WORD);
            }
            if index == last / WORD {
                concerned &= u64::MAX >> (WORD - 1 - last % WORD);
            }
            let hit = word.load(SeqCst) & concerned;
            if hit != 0 {
                self.set_changed(index, hit);
            }
        }
    }

    #[cold]
    fn set_changed(&self, index: u64, pages: u64) {
        // Both are written even if the bits are there already: it is by reading from this write
        // that `take_changed` comes after it, and sees the change itself. Release: the change
        // comes before the bits, and these before the bit that leads to them.
        if let Some(word) = self.changed.get(index as usize) {
            word.fetch_or(pages, Release);
        }
        if let Some((word, bit)) = place(&self.changed_words, index) {
            word.fetch_or(bit, Release);
        }
    }

    /// Visits every page that was changed, and forgets that it was and that it holds code. May
    /// visit a page that holds none.
    ///
    /// A change that happened before this call is seen by it (or was by an earlier call), and
    /// reading a visited page's code again finds the change. A change noted meanwhile is seen
    /// by this call or the next.
    pub fn take_changed(&self, mut each: impl FnMut(u64)) {
        for (group, words) in self.changed_words.iter().enumerate() {
            for word in bits(take(words)) {
                let index = group as u64 * WORD + word;
                let (Some(changed), Some(code)) = (
                    self.changed.get(index as usize),
                    self.code.get(index as usize),
                ) else {
                    continue;
                };
                // First the changes, then the marks. A `note` that comes between still finds
                // the mark, and its change stays for the next call. One that comes after finds
                // none, and needs none: what was translated is forgotten by this very visit,
                // and what will be is marked and read after that change. The other way round
                // would also do, but one would have to guess which marks to clear.
                let pages = take(changed);
                // Relaxed: nothing is handed over by the absence of a mark.
                code.fetch_and(!pages, Relaxed);
                for page in bits(pages) {
                    each(index * WORD + page);
                }
            }
        }
    }

    /// No page holds code any more: all translations are forgotten. The rule for
    /// [`take_changed`](Self::take_changed) holds here too.
    pub fn forget_all(&self) {
        // As there: the order lets a late `note` at worst leave a page to visit in vain.
        for word in &self.code {
            word.store(0, Relaxed);
        }
        self.take_changed(|_| {});
    }
}

/// The word's bits, which are cleared. Acquire, to come after what was done before they were
/// set. A load comes first, as most words are empty and a swap costs twenty times as much; it
/// misses no bit whose setting happened before.
fn take(word: &AtomicU64) -> u64 {
    if word.load(Relaxed) == 0 {
        return 0;
    }
    word.swap(0, Acquire)
}

impl fmt::Debug for CodePages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count =
            |map: &Bitmap| -> u32 { map.iter().map(|w| w.load(Relaxed).count_ones()).sum() };
        f.debug_struct("CodePages")
            .field("code", &count(&self.code))
            .field("changed", &count(&self.changed))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use alloc::vec::Vec;
    use std::sync::{Barrier, Mutex};
    use std::thread;

    use super::*;

    const PAGE: u64 = 1 << PAGE_SHIFT;

    fn taken(pages: &CodePages) -> Vec<u64> {
        let mut seen = Vec::new();
        pages.take_changed(|page| seen.push(page));
        seen
    }

    #[test]
    fn only_changes_of_pages_with_code_are_remembered() {
        let pages = CodePages::new(16 * PAGE);
        pages.mark(3);
        pages.note(2 * PAGE, PAGE);
        pages.note(4 * PAGE, 8);
        pages.note(3 * PAGE, 0);
        assert_eq!(taken(&pages), []);
        assert!(pages.holds_code(3) && !pages.holds_code(2));

        pages.note(4 * PAGE - 1, 1);
        assert!(pages.is_changed(3));
        assert_eq!(taken(&pages), [3]);
        assert!(!pages.holds_code(3) && !pages.is_changed(3));
        pages.note(3 * PAGE, 8);
        assert_eq!(taken(&pages), [], "no code is there any more");
    }

    #[test]
    fn a_range_concerns_every_page_it_touches_and_no_other() {
        // More than one word of the uppermost bitmap.
        let last = 64 * 64 * 2;
        let pages = CodePages::new((last + 1) * PAGE);
        let marked = [0, 1, 62, 63, 64, 65, 127, 128, 4095, 4096, last - 1, last];
        for (from, to) in [
            (1, 64),
            (63, 64),
            (0, last),
            (64, 127),
            (65, 4096),
            (4096, last),
        ] {
            marked.iter().for_each(|&page| pages.mark(page));
            // From the last byte of the first page to the first byte of the last one.
            pages.note(from * PAGE + PAGE - 1, (to - from - 1) * PAGE + 2);
            let wanted: Vec<u64> = marked
                .into_iter()
                .filter(|page| (from..=to).contains(page))
                .collect();
            assert_eq!(taken(&pages), wanted, "{from} to {to}");
            for page in marked {
                assert_ne!(pages.holds_code(page), wanted.contains(&page), "{page}");
            }
        }
    }

    #[test]
    fn what_is_not_ram_is_ignored() {
        let pages = CodePages::new(70 * PAGE);
        pages.mark(69);
        pages.mark(1 << 40);
        pages.mark(u64::MAX);
        assert!(!pages.holds_code(u64::MAX) && !pages.is_changed(1 << 40));
        pages.note(u64::MAX, u64::MAX);
        pages.note(1 << 50, 1);
        pages.note(200 * PAGE, 1 << 60);
        assert_eq!(taken(&pages), []);
        pages.note(5, u64::MAX);
        assert_eq!(taken(&pages), [69]);
    }

    #[test]
    fn forgetting_all_leaves_nothing() {
        let pages = CodePages::new(200 * PAGE);
        pages.mark(7);
        pages.mark(150);
        pages.note(7 * PAGE, 1);
        pages.forget_all();
        assert!(!pages.holds_code(7) && !pages.holds_code(150) && !pages.is_changed(7));
        pages.note(0, 200 * PAGE);
        assert_eq!(taken(&pages), []);
    }

    /// A page's content, and what an engine has translated from it.
    struct Page {
        content: AtomicU64,
        translated: Mutex<Option<u64>>,
    }

    /// Writers count up the content of pages while translators translate them; whenever a
    /// writer has made its change take effect, the page must not have an older translation.
    #[test]
    fn no_change_is_lost_between_threads() {
        const ROUNDS: u64 = 100_000;
        // In two words, and neighbours.
        const PAGES: [u64; 4] = [62, 63, 64, 65];
        let code = CodePages::new(128 * PAGE);
        let memory = PAGES.map(|_| Page {
            content: AtomicU64::new(0),
            translated: Mutex::new(None),
        });
        let engine = Mutex::new(());
        let start = Barrier::new(4);
        let (code, memory, engine, start) = (&code, &memory, &engine, &start);
        let writer = move |own: [usize; 2]| {
            start.wait();
            for round in 1..=ROUNDS {
                let at = own[round as usize % 2];
                memory[at].content.store(round, Relaxed);
                code.note(PAGES[at] * PAGE, 8);
                if round % 3 != 0 {
                    continue;
                }
                let lock = engine.lock().unwrap();
                code.take_changed(|page| {
                    let at = PAGES.iter().position(|&known| known == page).unwrap();
                    *memory[at].translated.lock().unwrap() = None;
                });
                drop(lock);
                if let Some(seen) = *memory[at].translated.lock().unwrap() {
                    assert_eq!(seen, round, "page {} is stale", PAGES[at]);
                }
            }
        };
        let translator = move || {
            start.wait();
            for round in 0..ROUNDS as usize {
                let at = round % PAGES.len();
                let _lock = engine.lock().unwrap();
                let mut translated = memory[at].translated.lock().unwrap();
                if translated.is_none() {
                    code.mark(PAGES[at]);
                    *translated = Some(memory[at].content.load(Relaxed));
                }
            }
        };
        thread::scope(|scope| {
            scope.spawn(move || writer([0, 2]));
            scope.spawn(move || writer([1, 3]));
            scope.spawn(translator);
            scope.spawn(translator);
        });
        code.take_changed(|page| {
            let at = PAGES.iter().position(|&known| known == page).unwrap();
            *memory[at].translated.lock().unwrap() = None;
        });
        for (page, at) in memory.iter().zip(PAGES) {
            if let Some(seen) = *page.translated.lock().unwrap() {
                assert_eq!(seen, page.content.load(Relaxed), "page {at} is stale");
            }
        }
    }
}
