//! The code cache: which generated blocks there are, by the place in RAM of the code they were
//! made from, how they are linked to each other, and where they lie.
//!
//! The memory is divided into regions, filled one after the other. When a region is begun, the
//! blocks in the one after it are dropped, so that by the time that is needed all harts have
//! left it. Dropped blocks are unlinked at once; a hart that is inside one leaves it by itself
//! within a bounded number of instructions.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use ringer_hart::{PAGE_SHIFT, Privilege};

use crate::code_memory::CodeMemory;

/// Regions that the memory is divided into.
pub const REGIONS: usize = 8;

/// What a block is made from: the place of its first instruction in RAM, and the privilege it
/// runs with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key(u64);

impl Key {
    /// For code at this offset in RAM.
    pub fn new(offset: u64, privilege: Privilege) -> Self {
        Self(offset << 2 | privilege as u64)
    }
    /// The offset in RAM.
    pub fn offset(self) -> u64 {
        self.0 >> 2
    }
    /// The page of RAM.
    pub fn page(self) -> u64 {
        self.offset() >> PAGE_SHIFT
    }
    /// The privilege that the code runs with.
    pub fn privilege(self) -> Privilege {
        Privilege::from_bits(self.0 & 3).unwrap_or(Privilege::User)
    }
    /// The code at `offset` for the same privilege.
    pub fn at(self, offset: u64) -> Self {
        Self(offset << 2 | self.0 & 3)
    }
}

/// Spreads keys; they are small and not chosen by an enemy who could gain more than slowness.
#[derive(Default)]
pub struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }
    fn write_u64(&mut self, value: u64) {
        let product = u128::from(self.0 ^ value) * 0x9e37_79b9_7f4a_7c15;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}

type Map<K, V> = HashMap<K, V, BuildHasherDefault<Spread>>;

/// A jump in generated code that may lead to another block.
#[derive(Clone, Debug)]
struct Link {
    /// Offset of the jump's 32-bit field in the memory.
    site: usize,
    /// Where it leads while it is not linked: a way out that asks for the link.
    unlinked: u64,
    target: Key,
    linked_to: Option<u32>,
}

/// A jump of a block that is about to be added; offsets are from the block's start.
#[derive(Clone, Copy, Debug)]
pub struct LinkSite {
    /// Of the jump's 32-bit field.
    pub site: usize,
    /// Of the way out that it leads to at first.
    pub unlinked: usize,
    /// Of the 32-bit number by which that way out names the link.
    pub number: usize,
    /// Where the jump leads, as an offset in RAM.
    pub target: u64,
}

/// Generated code that is about to be added.
#[derive(Debug)]
pub struct Fresh<'a> {
    /// The code; link numbers are filled in.
    pub code: &'a mut [u8],
    /// Offset of the entry for jumps within the page.
    pub near: usize,
    /// Offset of the entry for all other jumps, with the address in `rax`.
    pub far: usize,
    /// Its jumps.
    pub links: &'a [LinkSite],
    /// How many guest instructions it has.
    pub instructions: u32,
    /// Tells the guest code that it was made from from other code.
    pub fingerprint: u64,
}

#[derive(Debug)]
struct Block {
    key: Key,
    near: u64,
    far: u64,
    place: Range<usize>,
    instructions: u32,
    fingerprint: u64,
    links: Vec<u32>,
    incoming: Vec<u32>,
}

/// What the cache holds and has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CacheCounts {
    /// Blocks in it.
    pub blocks: u64,
    /// Bytes of generated code in it.
    pub bytes: u64,
    /// Blocks translated.
    pub translated: u64,
    /// Guest instructions translated.
    pub instructions: u64,
    /// Bytes of code generated.
    pub generated: u64,
    /// Links made.
    pub links: u64,
    /// Links that lead to a block now.
    pub linked: u64,
    /// Blocks dropped since their code was changed.
    pub changed: u64,
    /// Blocks dropped for want of room.
    pub evicted: u64,
}

/// The cache.
#[derive(Debug)]
pub struct Cache {
    blocks: Vec<Option<Block>>,
    free_blocks: Vec<u32>,
    links: Vec<Option<Link>>,
    free_links: Vec<u32>,
    by_key: Map<u64, u32>,
    by_page: Map<u64, Vec<u32>>,
    regions: [Range<usize>; REGIONS],
    /// The region that is being filled, and up to where.
    current: usize,
    used: usize,
    counts: CacheCounts,
}

/// What a region change asks of the caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// There is room at this offset.
    At(usize),
    /// The next region must be begun first.
    Full,
}

impl Cache {
    /// An empty cache in the memory from offset `start` on.
    pub fn new(start: usize, end: usize) -> Self {
        let each = ((end - start) / REGIONS) & !0xfff;
        let regions = std::array::from_fn(|index| {
            let first = start + index * each;
            first..first + each
        });
        Self {
            blocks: Vec::new(),
            free_blocks: Vec::new(),
            links: Vec::new(),
            free_links: Vec::new(),
            by_key: Map::default(),
            by_page: Map::default(),
            used: start,
            regions,
            current: 0,
            counts: CacheCounts::default(),
        }
    }

    /// What it holds and has done.
    pub fn counts(&self) -> CacheCounts {
        self.counts
    }

    /// Where `len` bytes of code would go.
    pub fn room(&self, len: usize) -> Room {
        let at = self.used.next_multiple_of(16);
        if at + len <= self.regions[self.current].end {
            Room::At(at)
        } else {
            Room::Full
        }
    }

    /// Begins the next region, which is empty, and drops the blocks of the one after it.
    pub fn begin_region(&mut self, memory: &CodeMemory) {
        self.current = (self.current + 1) % REGIONS;
        self.used = self.regions[self.current].start;
        let next = self.regions[(self.current + 1) % REGIONS].clone();
        let doomed: Vec<u32> = (0..)
            .zip(&self.blocks)
            .filter(|(_, block)| {
                block
                    .as_ref()
                    .is_some_and(|block| next.contains(&block.place.start))
            })
            .map(|(id, _)| id)
            .collect();
        self.counts.evicted += doomed.len() as u64;
        for id in doomed {
            self.drop_block(memory, id);
        }
    }

    /// The far entry of the block for `key`.
    pub fn far(&self, key: Key) -> Option<u64> {
        self.find(key).map(|block| block.far)
    }

    fn find(&self, key: Key) -> Option<&Block> {
        let id = *self.by_key.get(&key.0)?;
        self.blocks.get(id as usize)?.as_ref()
    }

    /// Whether any block was made from this page of RAM.
    pub fn has_page(&self, page: u64) -> bool {
        self.by_page.contains_key(&page)
    }

    /// The generated code for `key`, if there is any: where it lies and how many instructions
    /// it was made from.
    pub fn place(&self, key: Key) -> Option<(Range<usize>, u32)> {
        self.find(key)
            .map(|block| (block.place.clone(), block.instructions))
    }

    /// What tells the guest code that the block for `key` was made from, if there is a block.
    pub fn fingerprint(&self, key: Key) -> Option<u64> {
        self.find(key).map(|block| block.fingerprint)
    }

    /// Adds a block whose code is assembled for `at`, which [`Cache::room`] has named. Returns
    /// its far entry.
    pub fn add(&mut self, memory: &CodeMemory, key: Key, at: usize, fresh: Fresh<'_>) -> u64 {
        let id = self.free_blocks.pop().unwrap_or_else(|| {
            self.blocks.push(None);
            self.blocks.len() as u32 - 1
        });
        let mut links = Vec::with_capacity(fresh.links.len());
        for link in fresh.links {
            let number = self.free_links.pop().unwrap_or_else(|| {
                self.links.push(None);
                self.links.len() as u32 - 1
            });
            self.links[number as usize] = Some(Link {
                site: at + link.site,
                unlinked: memory.address(at + link.unlinked),
                target: key.at(link.target),
                linked_to: None,
            });
            if let Some(field) = fresh.code.get_mut(link.number..link.number + 4) {
                field.copy_from_slice(&number.to_le_bytes());
            }
            links.push(number);
        }
        let len = fresh.code.len();
        memory.write(at, fresh.code);
        for link in fresh.links {
            memory.patch(at + link.site, memory.address(at + link.unlinked));
        }
        self.used = at + len;
        let far = memory.address(at + fresh.far);
        let block = Block {
            key,
            near: memory.address(at + fresh.near),
            far,
            place: at..at + len,
            instructions: fresh.instructions,
            fingerprint: fresh.fingerprint,
            links,
            incoming: Vec::new(),
        };
        if let Some(old) = self.by_key.get(&key.0).copied() {
            self.drop_block(memory, old);
        }
        self.blocks[id as usize] = Some(block);
        self.by_key.insert(key.0, id);
        self.by_page.entry(key.page()).or_default().push(id);
        self.counts.blocks += 1;
        self.counts.translated += 1;
        self.counts.instructions += u64::from(fresh.instructions);
        self.counts.bytes += len as u64;
        self.counts.generated += len as u64;
        far
    }

    /// Lets link `number` lead to the block for `key`, if that is where it wants to go.
    pub fn link(&mut self, memory: &CodeMemory, number: u32, key: Key) {
        let Some(&id) = self.by_key.get(&key.0) else {
            return;
        };
        let Some(Some(link)) = self.links.get_mut(number as usize) else {
            return;
        };
        if link.target != key || link.linked_to.is_some() {
            return;
        }
        let Some(Some(block)) = self.blocks.get_mut(id as usize) else {
            return;
        };
        link.linked_to = Some(id);
        block.incoming.push(number);
        memory.patch(link.site, block.near);
        self.counts.links += 1;
        self.counts.linked += 1;
    }

    /// Drops all blocks made from this page of RAM. True if there were any.
    pub fn drop_page(&mut self, memory: &CodeMemory, page: u64) -> bool {
        let Some(blocks) = self.by_page.remove(&page) else {
            return false;
        };
        self.counts.changed += blocks.len() as u64;
        for id in blocks {
            self.drop_block(memory, id);
        }
        true
    }

    /// Drops the blocks made from this page of RAM whose code now has another fingerprint. True
    /// if there were any.
    pub fn drop_changed(
        &mut self,
        memory: &CodeMemory,
        page: u64,
        fingerprint: impl Fn(Key) -> Option<u64>,
    ) -> bool {
        let blocks = self.by_page.get(&page).into_iter().flatten();
        let changed: Vec<u32> = blocks
            .copied()
            .filter(|id| match self.blocks.get(*id as usize) {
                Some(Some(block)) => fingerprint(block.key) != Some(block.fingerprint),
                _ => false,
            })
            .collect();
        self.counts.changed += changed.len() as u64;
        for id in &changed {
            self.drop_block(memory, *id);
        }
        !changed.is_empty()
    }

    /// The pages of RAM that blocks were made from.
    pub fn pages(&self) -> Vec<u64> {
        self.by_page.keys().copied().collect()
    }

    fn drop_block(&mut self, memory: &CodeMemory, id: u32) {
        let Some(block) = self.blocks.get_mut(id as usize).and_then(Option::take) else {
            return;
        };
        self.free_blocks.push(id);
        self.counts.blocks -= 1;
        self.counts.bytes -= block.place.len() as u64;
        if self.by_key.get(&block.key.0) == Some(&id) {
            self.by_key.remove(&block.key.0);
        }
        if let Some(page) = self.by_page.get_mut(&block.key.page()) {
            page.retain(|other| *other != id);
            if page.is_empty() {
                self.by_page.remove(&block.key.page());
            }
        }
        for number in block.incoming {
            if let Some(Some(link)) = self.links.get_mut(number as usize) {
                link.linked_to = None;
                self.counts.linked -= 1;
                memory.patch(link.site, link.unlinked);
            }
        }
        for number in block.links {
            let Some(link) = self.links.get_mut(number as usize).and_then(Option::take) else {
                continue;
            };
            self.free_links.push(number);
            if let Some(to) = link.linked_to
                && let Some(Some(target)) = self.blocks.get_mut(to as usize)
            {
                target.incoming.retain(|other| *other != number);
                self.counts.linked -= 1;
            }
        }
    }
}
