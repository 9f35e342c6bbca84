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

/// In place of the number of a block or a link: none.
const NONE: u32 = u32::MAX;

/// A jump in generated code that may lead to another block. There are many of these: places in
/// the memory are offsets, and lists of links go through the links themselves.
#[derive(Clone, Debug)]
struct Link {
    target: Key,
    /// Of the jump's 32-bit field.
    site: u32,
    /// Where it leads while it is not linked: a way out that asks for the link.
    unlinked: u32,
    /// The block that it leads to.
    linked_to: u32,
    /// The next link of the block that it is in.
    next: u32,
    /// The links before and behind it among those that lead to the same block.
    previous_incoming: u32,
    next_incoming: u32,
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
    /// Address of the far entry.
    far: u64,
    fingerprint: u64,
    /// Offset of the near entry.
    near: u32,
    start: u32,
    len: u32,
    instructions: u32,
    /// The first of its links.
    links: u32,
    /// The first of the links that lead to it.
    incoming: u32,
}

impl Block {
    fn place(&self) -> Range<usize> {
        let start = self.start as usize;
        start..start + self.len as usize
    }
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
                    .is_some_and(|block| next.contains(&block.place().start))
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

    /// The generated code for `key`, if there is any: where it lies and how many instructions
    /// it was made from.
    pub fn place(&self, key: Key) -> Option<(Range<usize>, u32)> {
        self.find(key)
            .map(|block| (block.place(), block.instructions))
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
        let mut links = NONE;
        for link in fresh.links {
            let number = self.free_links.pop().unwrap_or_else(|| {
                self.links.push(None);
                self.links.len() as u32 - 1
            });
            self.links[number as usize] = Some(Link {
                target: key.at(link.target),
                site: (at + link.site) as u32,
                unlinked: (at + link.unlinked) as u32,
                linked_to: NONE,
                next: links,
                previous_incoming: NONE,
                next_incoming: NONE,
            });
            if let Some(field) = fresh.code.get_mut(link.number..link.number + 4) {
                field.copy_from_slice(&number.to_le_bytes());
            }
            links = number;
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
            far,
            fingerprint: fresh.fingerprint,
            near: (at + fresh.near) as u32,
            start: at as u32,
            len: len as u32,
            instructions: fresh.instructions,
            links,
            incoming: NONE,
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
        let Some(link) = link_of(&mut self.links, number) else {
            return;
        };
        if link.target != key || link.linked_to != NONE {
            return;
        }
        let Some(Some(block)) = self.blocks.get_mut(id as usize) else {
            return;
        };
        link.linked_to = id;
        link.next_incoming = std::mem::replace(&mut block.incoming, number);
        memory.patch(link.site as usize, memory.address(block.near as usize));
        let next = link.next_incoming;
        if let Some(next) = link_of(&mut self.links, next) {
            next.previous_incoming = number;
        }
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
        self.counts.bytes -= u64::from(block.len);
        if self.by_key.get(&block.key.0) == Some(&id) {
            self.by_key.remove(&block.key.0);
        }
        if let Some(page) = self.by_page.get_mut(&block.key.page()) {
            page.retain(|other| *other != id);
            if page.is_empty() {
                self.by_page.remove(&block.key.page());
            }
        }
        let mut number = block.incoming;
        while let Some(link) = link_of(&mut self.links, number) {
            memory.patch(link.site as usize, memory.address(link.unlinked as usize));
            link.linked_to = NONE;
            link.previous_incoming = NONE;
            number = std::mem::replace(&mut link.next_incoming, NONE);
            self.counts.linked -= 1;
        }
        let mut number = block.links;
        while let Some(link) = self.links.get_mut(number as usize).and_then(Option::take) {
            self.free_links.push(number);
            self.take_out(&link);
            number = link.next;
        }
    }

    /// Takes a link that is gone out of the list of those that lead to the same block.
    fn take_out(&mut self, gone: &Link) {
        let Some(Some(target)) = self.blocks.get_mut(gone.linked_to as usize) else {
            return;
        };
        match link_of(&mut self.links, gone.previous_incoming) {
            Some(previous) => previous.next_incoming = gone.next_incoming,
            None => target.incoming = gone.next_incoming,
        }
        if let Some(next) = link_of(&mut self.links, gone.next_incoming) {
            next.previous_incoming = gone.previous_incoming;
        }
        self.counts.linked -= 1;
    }
}

/// The link with this number, if there is one.
fn link_of(links: &mut [Option<Link>], number: u32) -> Option<&mut Link> {
    links.get_mut(number as usize)?.as_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: usize = 4096;
    const BLOCKS: u64 = 24;

    fn key(number: u64) -> Key {
        // Four blocks in each page.
        Key::new(number * 1024, Privilege::User)
    }

    /// A block with two jumps, to the blocks `to`.
    fn add(cache: &mut Cache, memory: &CodeMemory, number: u64, to: [u64; 2]) {
        let site = |site: usize, target: u64| LinkSite {
            site,
            unlinked: 32 + site,
            number: 16 + site,
            target: key(target).offset(),
        };
        let Room::At(at) = cache.room(1024) else {
            cache.begin_region(memory);
            return;
        };
        let fresh = Fresh {
            code: &mut [0; 1024],
            near: 4,
            far: 0,
            links: &[site(8, to[0]), site(12, to[1])],
            instructions: 2,
            fingerprint: number,
        };
        cache.add(memory, key(number), at, fresh);
    }

    /// Every jump leads where the lists say, and the lists say the same in both directions.
    fn check(cache: &Cache, memory: &CodeMemory) {
        let mut linked = 0;
        for (number, link) in (0..).zip(&cache.links) {
            let Some(link) = link else { continue };
            let site = link.site as usize;
            let field = memory.read(site, 4).try_into().map(i32::from_le_bytes);
            let leads_to = memory
                .address(site + 4)
                .wrapping_add_signed(field.unwrap().into());
            if link.linked_to == NONE {
                assert_eq!(leads_to, memory.address(link.unlinked as usize));
                continue;
            }
            linked += 1;
            let target = cache.blocks[link.linked_to as usize].as_ref().unwrap();
            assert_eq!(target.key, link.target);
            assert_eq!(leads_to, memory.address(target.near as usize));
            let next_of = |at: u32| {
                cache
                    .links
                    .get(at as usize)?
                    .as_ref()
                    .map(|l| l.next_incoming)
            };
            let mut incoming = std::iter::successors(Some(target.incoming), |at| next_of(*at));
            assert!(incoming.any(|at| at == number), "link {number}");
        }
        assert_eq!(cache.counts().linked, linked);
        let own: usize = cache.blocks.iter().flatten().count();
        let links = cache.links.iter().flatten().count();
        assert_eq!((cache.counts().blocks as usize, links), (own, 2 * own));
    }

    #[test]
    fn links_lead_to_blocks_that_are_there() {
        let memory = CodeMemory::new(START + REGIONS * 4096).unwrap();
        let mut cache = Cache::new(START, memory.size());
        let mut random = 1_u64;
        let mut next = |below: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) % below
        };
        let mut most = 0;
        for _ in 0..5000 {
            match next(32) {
                0..12 => {
                    let to = [next(BLOCKS), next(BLOCKS)];
                    add(&mut cache, &memory, next(BLOCKS), to);
                }
                12..31 => {
                    let number = next(2 * BLOCKS) as u32;
                    cache.link(&memory, number, key(next(BLOCKS)));
                    if let Some(target) = link_of(&mut cache.links, number).map(|l| l.target) {
                        cache.link(&memory, number, target);
                    }
                }
                _ => drop(cache.drop_page(&memory, next(BLOCKS / 4))),
            }
            check(&cache, &memory);
            most = most.max(cache.counts().linked);
        }
        let counts = cache.counts();
        assert!(
            most > 10 && counts.changed > 100 && counts.evicted > 100,
            "{counts:?}"
        );
    }
}
