//! The real hart's view of a shadow: its table walk in U-mode, and a translation cache that
//! remembers as much as it may, pointers too, and forgets only what a fence makes it forget.

use std::collections::{BTreeMap, BTreeSet};

use ringer_hart::GuestVirt;
use ringer_hart::translate::Access;
use ringer_isa::pte::Pte;
use ringer_shadow::{HostFence, HostPhys, Rights, Root, Shadow};

use crate::world::Setup;

/// A leaf that the hardware may use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Leaf {
    pub va: u64,
    pub size: u64,
    pub host: u64,
    pub rights: u8,
}

impl Leaf {
    pub fn covers(&self, va: GuestVirt) -> bool {
        va.0.wrapping_sub(self.va) < self.size
    }

    pub fn allows(&self, access: Access) -> bool {
        self.rights & Rights::needed_for(access).bits() != 0
    }
}

/// Where the table for the addresses from `va` at `level` is.
type Pointer = (u32, u64, u64);

#[derive(Clone, Debug, Default)]
struct Cache {
    leaves: BTreeSet<Leaf>,
    pointers: BTreeSet<Pointer>,
}

pub struct Hardware {
    setup: Setup,
    caches: BTreeMap<usize, Cache>,
}

impl Hardware {
    pub fn new(setup: Setup) -> Self {
        Self {
            setup,
            caches: BTreeMap::new(),
        }
    }

    pub fn fence(&mut self, fence: HostFence) {
        match fence {
            HostFence::None => {}
            HostFence::Slot(slot) => {
                self.caches.remove(&slot);
            }
            HostFence::Address { va, slot } => {
                if let Some(cache) = self.caches.get_mut(&slot) {
                    cache.leaves.retain(|leaf| !leaf.covers(va));
                }
            }
        }
    }

    /// Remembers all that can be reached from the root now, directly or by what is remembered.
    pub fn remember(&mut self, shadow: &Shadow, root: Root) {
        let setup = self.setup;
        let cache = self.caches.entry(root.slot).or_default();
        let mut todo: Vec<Pointer> = cache.pointers.iter().copied().collect();
        todo.push((setup.paging.levels() - 1, 0, root.table.0));
        let mut done = BTreeSet::new();
        while let Some((level, base, table)) = todo.pop() {
            if !done.insert((level, base, table)) {
                continue;
            }
            for index in 0..512 {
                let at = HostPhys(table + index * 8);
                let entry = shadow.pool().read(at).expect("tables are in the pool");
                let va = sign_extend(setup, base + (index << (12 + 9 * level)));
                match check(setup, entry, level, va) {
                    Checked::Nothing => {}
                    Checked::Leaf(leaf) => {
                        cache.leaves.insert(leaf);
                    }
                    Checked::Table(below) => {
                        let base = base + (index << (12 + 9 * level));
                        cache.pointers.insert((level - 1, base, below));
                        todo.push((level - 1, base, below));
                    }
                }
            }
        }
    }

    /// What may be remembered of a slot.
    pub fn leaves(&self, slot: usize) -> impl Iterator<Item = Leaf> {
        self.caches
            .get(&slot)
            .into_iter()
            .flat_map(|cache| cache.leaves.iter().copied())
    }

    /// One access: by what is remembered if there is anything, else by a walk. `None` is a fault.
    pub fn access(
        &mut self,
        shadow: &Shadow,
        root: Root,
        va: GuestVirt,
        access: Access,
    ) -> Option<Leaf> {
        self.remember(shadow, root);
        let mut found = None;
        for leaf in self.leaves(root.slot).filter(|leaf| leaf.covers(va)) {
            // The worst of them may be the one that is used.
            if !leaf.allows(access) {
                return None;
            }
            found = Some(leaf);
        }
        found
    }
}

fn sign_extend(setup: Setup, address: u64) -> u64 {
    let unused = 64 - (12 + 9 * setup.paging.levels());
    ((address << unused) as i64 >> unused) as u64
}

enum Checked {
    Nothing,
    Leaf(Leaf),
    Table(u64),
}

/// Reads an entry, and checks what must be true of every one.
fn check(setup: Setup, entry: Pte, level: u32, va: u64) -> Checked {
    if !entry.valid() {
        assert_eq!(entry, Pte(0), "unused entries are zero");
        return Checked::Nothing;
    }
    let target = entry.ppn() << 12;
    if !entry.is_leaf() {
        assert_eq!(entry, Pte::new(entry.ppn(), Pte::V), "a plain pointer");
        assert!(level > 0, "a pointer at the last level");
        return Checked::Table(target);
    }
    let size = 1 << (12 + 9 * level);
    assert!(level < 3, "a leaf of {size:#x} bytes");
    assert!(entry.user() && entry.accessed() && !entry.global());
    assert_eq!(entry.dirty(), entry.writable());
    assert!(entry.readable() || !entry.writable(), "W without R");
    assert_eq!(entry.0 >> 54, 0, "no reserved bits, no memory type, no N");
    assert_eq!(target % size, 0, "a misaligned superpage");
    let in_ram = target.wrapping_sub(setup.host_ram.0);
    assert!(
        in_ram < setup.ram_len && size <= setup.ram_len - in_ram,
        "{entry:?} at level {level} leads out of the guest's RAM"
    );
    let mut rights = Rights::empty();
    rights.set(Rights::READ, entry.readable());
    rights.set(Rights::WRITE, entry.writable());
    rights.set(Rights::EXECUTE, entry.executable());
    Checked::Leaf(Leaf {
        va,
        size,
        host: target,
        rights: rights.bits(),
    })
}
