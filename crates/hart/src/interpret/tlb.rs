//! A software TLB: for each kind of access a direct-mapped table from guest-virtual page to
//! place in RAM, filled by `Hart::translate` by way of [`TranslationCache`].

use alloc::boxed::Box;

use crate::address::PAGE_SIZE;
use crate::csr::satp;
use crate::hart::AddressFence;
use crate::memory::TranslationCache;
use crate::translate::{Access, AccessContext, Translation};

/// Entries in each table.
const ENTRIES: usize = 1024;
/// Contexts remembered by name.
const CONTEXTS: usize = 128;
/// Names for contexts, 1 to this; they sit in bits 3 to 11 of a tag.
const LAST_NAME: u64 = 510;
/// No access has this tag: as a name it is one too large.
const INVALID: u64 = u64::MAX;
/// Large leaves remembered one by one.
const LARGE_LEAVES: usize = 8;

/// What the TLB has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TlbCounts {
    /// Entries filled.
    pub fills: u64,
    /// Everything forgotten.
    pub flushes: u64,
    /// One page forgotten.
    pub page_flushes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The page's address, with the name of its context where the page offset would be. An
    /// access is looked up with its offset's low bits in place, so misaligned ones never match.
    tag: u64,
    /// What to add to an address to get the offset in RAM.
    delta: u64,
}

/// A large leaf that entries have been cut from: a fence on any address in it concerns all.
#[derive(Clone, Copy, Debug)]
struct LargeLeaf {
    first: u64,
    size: u64,
}

#[derive(Debug)]
pub(super) struct Tlb {
    load: Box<[Entry; ENTRIES]>,
    store: Box<[Entry; ENTRIES]>,
    fetch: Box<[Entry; ENTRIES]>,
    /// Names of the contexts in force, shifted into place.
    data_context: u64,
    fetch_context: u64,
    contexts: Box<[Option<(AccessContext, u64)>; CONTEXTS]>,
    next_name: u64,
    large: [Option<LargeLeaf>; LARGE_LEAVES],
    large_overflow: bool,
    counts: TlbCounts,
}

fn table() -> Box<[Entry; ENTRIES]> {
    Box::new(
        [Entry {
            tag: INVALID,
            delta: 0,
        }; ENTRIES],
    )
}

#[inline(always)]
fn slot(va: u64) -> usize {
    (va / PAGE_SIZE) as usize % ENTRIES
}

impl Tlb {
    pub fn new() -> Self {
        Self {
            load: table(),
            store: table(),
            fetch: table(),
            data_context: 0,
            fetch_context: 0,
            contexts: Box::new([None; CONTEXTS]),
            next_name: 1,
            large: [None; LARGE_LEAVES],
            large_overflow: false,
            counts: TlbCounts::default(),
        }
    }

    pub fn counts(&self) -> TlbCounts {
        self.counts
    }

    /// The name of the context in which code is fetched now. Not reused until
    /// [`Tlb::enter`] says so.
    #[inline(always)]
    pub fn fetch_context(&self) -> u64 {
        self.fetch_context
    }

    /// Puts these contexts in force. True if names were given out anew, so that whatever was
    /// remembered under the old ones must go.
    pub fn enter(&mut self, fetch: &AccessContext, data: &AccessContext) -> bool {
        let renamed = self.next_name + 2 > LAST_NAME;
        if renamed {
            self.counts.flushes += 1;
            self.forget_all();
            self.next_name = 1;
            for table in [&mut self.load, &mut self.store, &mut self.fetch] {
                table.fill(Entry {
                    tag: INVALID,
                    delta: 0,
                });
            }
        }
        self.fetch_context = self.name(fetch);
        self.data_context = self.name(data);
        renamed
    }

    fn name(&mut self, context: &AccessContext) -> u64 {
        let mode = context.mode.privilege as u64;
        let flags = u64::from(context.sum) << 1 | u64::from(context.mxr);
        let hash = (context.satp ^ context.satp >> 44).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50;
        let index = (hash ^ mode << 2 ^ flags) as usize % CONTEXTS;
        let next = self.next_name;
        match self.contexts.get_mut(index) {
            Some(Some((known, name))) if known == context => *name << 3,
            Some(slot) => {
                *slot = Some((*context, next));
                self.next_name += 1;
                next << 3
            }
            None => 0, // the index is in range
        }
    }

    fn forget_all(&mut self) {
        self.contexts.fill(None);
        self.large = [None; LARGE_LEAVES];
        self.large_overflow = false;
    }

    /// Does what `sfence.vma` asks. The contexts in force lose their names: [`Tlb::enter`]
    /// must follow.
    pub fn fence(&mut self, fence: AddressFence) {
        match fence {
            AddressFence {
                va: None,
                asid: None,
            } => {
                self.counts.flushes += 1;
                self.forget_all();
            }
            AddressFence {
                va: None,
                asid: Some(asid),
            } => {
                self.counts.flushes += 1;
                for context in self.contexts.iter_mut() {
                    let of_it = |c: &AccessContext| (c.satp >> satp::ASID_SHIFT) as u16 == asid;
                    if context
                        .as_ref()
                        .is_some_and(|(c, _)| c.satp != 0 && of_it(c))
                    {
                        *context = None;
                    }
                }
            }
            AddressFence { va: Some(va), .. } => {
                let in_large = |leaf: &LargeLeaf| va.0.wrapping_sub(leaf.first) < leaf.size;
                if self.large_overflow || self.large.iter().flatten().any(in_large) {
                    self.counts.flushes += 1;
                    self.forget_all();
                    return;
                }
                self.counts.page_flushes += 1;
                for table in [&mut self.load, &mut self.store, &mut self.fetch] {
                    table[slot(va.0)].tag = INVALID;
                }
            }
        }
    }

    fn remember_large(&mut self, va: u64, size: u64) {
        let first = va & !(size - 1);
        for leaf in &mut self.large {
            match leaf {
                Some(known) if known.first == first && known.size == size => return,
                Some(_) => {}
                None => {
                    *leaf = Some(LargeLeaf { first, size });
                    return;
                }
            }
        }
        self.large_overflow = true;
    }
}

impl TranslationCache for Tlb {
    #[inline(always)]
    fn find(&self, access: Access, va: u64, bytes: u64) -> Option<u64> {
        let (table, context) = match access {
            Access::Load => (&self.load, self.data_context),
            Access::Store => (&self.store, self.data_context),
            Access::Fetch => (&self.fetch, self.fetch_context),
        };
        let entry = &table[slot(va)];
        let wanted = va & (!(PAGE_SIZE - 1) | (bytes - 1)) | context;
        (entry.tag == wanted).then(|| va.wrapping_add(entry.delta))
    }

    fn fill(&mut self, access: Access, va: u64, offset: u64, found: &Translation) {
        self.counts.fills += 1;
        let page = va & !(PAGE_SIZE - 1);
        let (table, context) = match access {
            Access::Load => (&mut self.load, self.data_context),
            Access::Store => (&mut self.store, self.data_context),
            Access::Fetch => (&mut self.fetch, self.fetch_context),
        };
        table[slot(va)] = Entry {
            tag: page | context,
            delta: offset.wrapping_sub(page),
        };
        if found.leaf_size > PAGE_SIZE && found.leaf_size != u64::MAX {
            self.remember_large(va, found.leaf_size);
        }
    }
}

const _: () = assert!(LAST_NAME << 3 < PAGE_SIZE - 8);
