//! What the harts of a machine share: the generated code, and the news about it that each hart
//! must have heard before memory is used anew.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringer_hart::{Bus, HartId};

use crate::assembler::{AssembleError, Assembler};
use crate::cache::{Cache, CacheCounts, REGIONS};
use crate::code_memory::CodeMemory;
use crate::emit::Translation;
use crate::features::Features;
use crate::helpers;
use crate::known::KnownInstructions;
use crate::thunks::Thunks;

/// Room for generated code. The host backs only what is used.
const CODE_BYTES: usize = 64 << 20;
/// Jumps from anywhere in it must reach all of it, and more.
const MOST_CODE_BYTES: usize = 1 << 30;
/// The part of it that the thunks may take.
const THUNK_BYTES: usize = 4096;
/// Less than this would not hold one block in each region.
const LEAST_CODE_BYTES: usize = THUNK_BYTES + REGIONS * Translation::MOST_BYTES;
/// A hart that is not in generated code and will hear all news before it is again.
const AWAY: u64 = u64::MAX;
/// News kept. A hart that has missed more forgets everything.
const NEWS: usize = 4096;

/// What generated code may use.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What the host can do.
    pub features: Features,
    /// Room for generated code, in bytes. What is too little to work with is rounded up; what
    /// jumps would not reach is not used.
    pub code_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            features: Features::of_host(),
            code_bytes: CODE_BYTES,
        }
    }
}

/// Why there is no translator.
#[derive(Debug, thiserror::Error)]
pub enum TranslateError {
    /// The host gives no memory to run code in.
    #[error("this host gives no memory for generated code ({0}); `--engine interpret` needs none")]
    Memory(#[from] rustix::io::Errno),
    /// The host gives no memory for the tables of a hart.
    #[error(
        "this host gives no memory for the translator's tables ({0}); `--engine interpret` needs none"
    )]
    Tables(rustix::io::Errno),
    /// A mistake of the translator's own.
    #[error("the translator's entry code cannot be assembled: {0}")]
    Assemble(#[from] AssembleError),
}

/// What a hart has heard, told to the others.
#[derive(Debug)]
struct Heard {
    /// Pages that hold code.
    pages: AtomicU64,
    /// Blocks dropped.
    drops: AtomicU64,
}

/// The cache with what must be decided under the same lock.
pub struct Store {
    /// The blocks.
    pub cache: Cache,
    /// Pages of RAM that have come to hold code, the last [`NEWS`] of them.
    pages: Vec<u64>,
    /// How many came before those.
    forgotten: u64,
    /// Counts the pages, from the first on, that need no second look: all harts knew that they
    /// hold code when they were last compared with memory.
    settled: u64,
    /// [`SharedCode::drops`] when the region to be begun next was emptied.
    next_emptied: u64,
}

/// The code of one machine, shared by its harts. `B` is the machine's bus.
pub struct SharedCode<B: ?Sized> {
    /// Where the code is.
    pub memory: CodeMemory,
    /// The ways in and out.
    pub thunks: Thunks,
    /// What the host can do.
    pub features: Features,
    /// Instructions that are left to the definition.
    pub known: KnownInstructions,
    store: Mutex<Store>,
    /// How many pages have come to hold code.
    pages: AtomicU64,
    /// How often blocks were dropped.
    drops: AtomicU64,
    heard: Vec<Heard>,
    bus: PhantomData<fn(&B)>,
}

impl<B: Bus> SharedCode<B> {
    /// An empty code cache for a machine with this many harts.
    pub fn new(harts: usize) -> Result<Arc<Self>, TranslateError> {
        Self::with_options(harts, Options::default())
    }

    /// As [`SharedCode::new`], for a host that can do only so much.
    pub fn with_features(harts: usize, features: Features) -> Result<Arc<Self>, TranslateError> {
        let options = Options::default();
        Self::with_options(
            harts,
            Options {
                features,
                ..options
            },
        )
    }

    /// As [`SharedCode::new`], with limits.
    pub fn with_options(harts: usize, options: Options) -> Result<Arc<Self>, TranslateError> {
        let Options {
            features,
            code_bytes,
        } = options;
        let whole_pages = code_bytes.clamp(LEAST_CODE_BYTES, MOST_CODE_BYTES) & !0xfff;
        let memory = CodeMemory::new(whole_pages)?;
        let mut a = Assembler::new(memory.address(0));
        let thunks = Thunks::assemble(&mut a, helpers::fallback::<B>, helpers::find_jump::<B>)?;
        memory.write(0, a.code());
        let heard = (0..harts.max(1)).map(|_| Heard {
            pages: AtomicU64::new(AWAY),
            drops: AtomicU64::new(AWAY),
        });
        Ok(Arc::new(Self {
            store: Mutex::new(Store {
                cache: Cache::new(THUNK_BYTES, memory.size()),
                pages: Vec::new(),
                forgotten: 0,
                settled: 0,
                next_emptied: 0,
            }),
            memory,
            thunks,
            known: KnownInstructions::new(),
            features: Features {
                parallel: features.parallel || harts > 1,
                ..features
            },
            pages: AtomicU64::new(0),
            drops: AtomicU64::new(0),
            heard: heard.collect(),
            bus: PhantomData,
        }))
    }

    /// How many harts share it.
    pub fn harts(&self) -> usize {
        self.heard.len()
    }

    /// What the cache holds and has done.
    pub fn counts(&self) -> CacheCounts {
        self.store().cache.counts()
    }

    /// The cache. A thread that panicked has left it whole: its tables are changed by code that
    /// does not.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Page `page` of RAM holds code from now on.
    pub fn announce_page(&self, store: &mut Store, page: u64) {
        if store.pages.len() == NEWS {
            store.pages.drain(..NEWS / 2);
            store.forgotten += NEWS as u64 / 2;
        }
        store.pages.push(page);
        self.pages
            .store(store.forgotten + store.pages.len() as u64, Ordering::SeqCst);
    }

    /// Blocks were dropped: addresses of code that harts remember may be void.
    pub fn announce_drops(&self) {
        self.drops.fetch_add(1, Ordering::SeqCst);
    }

    /// Begins the next region of the cache. False while a hart might still be inside it.
    pub fn begin_region(&self, store: &mut Store, own: HartId) -> bool {
        let free = self
            .others(own)
            .all(|heard| heard.drops.load(Ordering::SeqCst) >= store.next_emptied);
        if free {
            store.cache.begin_region(&self.memory);
            self.announce_drops();
            store.next_emptied = self.drops.load(Ordering::SeqCst);
        }
        free
    }

    fn others(&self, own: HartId) -> impl Iterator<Item = &Heard> {
        let all = self.heard.iter().enumerate();
        all.filter(move |(hart, _)| *hart != own)
            .map(|(_, heard)| heard)
    }

    /// Pages that some hart may have stored to without noting it, since it had not heard yet
    /// that they hold code; `None` if that may be any. Their blocks are to be compared with
    /// memory, under the same lock: a hart that has heard of a page since has stored to it
    /// before, and notes what it stores from now on. `own` is the hart that asks, and knows of
    /// so many pages itself.
    pub fn unsettled_pages(
        &self,
        store: &mut Store,
        own: HartId,
        own_pages: u64,
    ) -> Option<Vec<u64>> {
        fence(Ordering::SeqCst);
        let all = store.forgotten + store.pages.len() as u64;
        let others = self
            .others(own)
            .map(|heard| heard.pages.load(Ordering::SeqCst));
        let known = others.chain([own_pages]).min().unwrap_or(0).min(all);
        let from = std::mem::replace(&mut store.settled, known);
        if self.heard.len() == 1 {
            // A lone hart knows before it translates.
            return Some(Vec::new());
        }
        store.pages_since(from).map(<[u64]>::to_vec)
    }

    /// How many drops there have been.
    pub fn drops(&self) -> u64 {
        self.drops.load(Ordering::SeqCst)
    }

    /// How many pages have come to hold code.
    pub fn pages(&self) -> u64 {
        self.pages.load(Ordering::SeqCst)
    }

    /// Hart `hart` has acted on so much news.
    pub fn hear(&self, hart: HartId, pages: u64, drops: u64) {
        if let Some(heard) = self.heard.get(hart) {
            heard.pages.store(pages, Ordering::SeqCst);
            heard.drops.store(drops, Ordering::SeqCst);
            // What follows must not look at the news from before this was told.
            fence(Ordering::SeqCst);
        }
    }

    /// Hart `hart` has left generated code, and will [`SharedCode::hear`] before it is back.
    pub fn leave(&self, hart: HartId) {
        self.hear(hart, AWAY, AWAY);
    }
}

impl Store {
    /// The pages that have come to hold code after the first `known` ones; `None` if that was
    /// too long ago.
    pub fn pages_since(&self, known: u64) -> Option<&[u64]> {
        let skip = known.checked_sub(self.forgotten)?;
        self.pages.get(usize::try_from(skip).ok()?..)
    }
}
