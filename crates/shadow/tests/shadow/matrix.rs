//! Guest page size × host page size × permissions × access × mode, SUM and MXR, each tried
//! against the definition.

use ringer_hart::csr::{menvcfg, mstatus};
use ringer_hart::extensions::Paging;
use ringer_hart::hart::AddressFence;
use ringer_hart::{GuestVirt, Mode};
use ringer_isa::pte::Pte;
use ringer_shadow::HostPhys;

use crate::world::*;

/// The guest's leaf: its level, and whether it is one of 64 KiB.
#[derive(Clone, Copy, Debug)]
enum Page {
    Bare,
    Level(u64),
    Napot,
}

impl Page {
    fn size(self) -> u64 {
        match self {
            Self::Bare => u64::MAX,
            Self::Level(level) => 1 << (12 + 9 * level),
            Self::Napot => 64 << 10,
        }
    }
}

const PAGES: [Page; 6] = [
    Page::Bare,
    Page::Level(0),
    Page::Napot,
    Page::Level(1),
    Page::Level(2),
    Page::Level(3),
];
/// How the host's RAM is aligned, and so its largest leaf.
const HOST_SIZES: [u64; 3] = [4096, 2 * MIB, GIB];
/// Where the guest's tables are, by page of RAM: behind what the leaf maps.
const TABLES: u64 = GIB >> 12;

fn contexts() -> Vec<(Mode, u64)> {
    let mut all = vec![(Mode::M, 0)];
    for mode in [Mode::S, Mode::U] {
        for status in [0, mstatus::SUM, mstatus::MXR, mstatus::SUM | mstatus::MXR] {
            all.push((mode, status));
        }
    }
    all
}

/// Makes tables that lead to a leaf with these flags, by the same index at every level; returns
/// an address in it.
fn map(world: &mut World, levels: u64, page: Page, flags: u64, high: bool) -> u64 {
    let index = |level: u64| match (level, high) {
        (0, _) => 33,
        (1, _) => 5,
        (2, false) => 3,
        (2, true) => 509,
        (_, false) => 0,
        (_, true) => 511,
    };
    let (last, entry) = match page {
        Page::Bare => {
            world.hart.csrs.satp = 0;
            return RAM.0 + 0x2_1008;
        }
        // 512 GiB, of which RAM is a part.
        Page::Level(3) => (3, Pte::new(0, flags)),
        Page::Level(level) => (level, leaf(0, flags)),
        Page::Napot => (0, leaf(8 << 12, flags | Pte::N)),
    };
    for level in (last + 1..levels).rev() {
        world.write(TABLES + level, index(level), pointer(TABLES + level - 1));
    }
    world.write(TABLES + last, index(last), entry);
    world.set_satp(levels, 0, TABLES + levels - 1);
    let mut va = if high { u64::MAX << 57 } else { 0 };
    for level in 0..5 {
        let index = match (page, level > last) {
            (Page::Level(3), false) => RAM.0 >> (12 + 9 * level) & 0x1ff,
            _ => index(level),
        };
        va |= index << (12 + 9 * level);
    }
    va + 8
}

/// Tries every set of flags, context and access with this page; returns how many were allowed.
fn try_all(world: &mut World, levels: u64, page: Page, host_size: u64, high: bool) -> u64 {
    let (mut allowed, mut refused) = (0, 0);
    let flags: Vec<u64> = match page {
        Page::Bare => vec![0],
        _ => (0..128).map(|bits| bits << 1 | Pte::V).collect(),
    };
    for flags in flags.into_iter().filter(|flags| flags & Pte::G == 0) {
        for (mode, status) in contexts() {
            for access in ACCESSES {
                let va = map(world, levels, page, flags, high);
                world.hart.mode = mode;
                world.hart.csrs.mstatus &= !(mstatus::SUM | mstatus::MXR);
                world.hart.csrs.mstatus |= status;
                world.shadow.fence(AddressFence::default());

                let what = format!("{flags:#x} {mode:?} {status:#x} {access:?} at {va:#x}");
                let expected = world.defined(GuestVirt(va), access);
                let found = world.access(va, access);
                assert_eq!(found.is_some(), expected.is_some(), "{what}");
                let (Some(found), Some(expected)) = (found, expected) else {
                    refused += 1;
                    continue;
                };
                allowed += 1;
                // In M-mode there are no pages.
                let guest_size = match mode {
                    Mode::M => u64::MAX,
                    _ => page.size(),
                };
                let size = [GIB, 2 * MIB, 4096]
                    .into_iter()
                    .find(|size| *size <= guest_size && *size <= host_size);
                assert_eq!(Some(found.size), size, "{what}");
                let host = found.host + ((va - found.va) & !0xfff);
                assert_eq!(HostPhys(host), expected.host, "{what}");
                for other in ACCESSES {
                    let defined = world.defined(GuestVirt(va), other);
                    let marked = defined.is_some_and(|defined| defined.marked);
                    assert_eq!(found.allows(other), marked, "{what}, then {other:?}");
                }
            }
        }
    }
    assert!(refused > 0 || matches!(page, Page::Bare));
    allowed
}

#[test]
fn every_page_size_permission_access_and_mode() {
    use Paging::{Sv39, Sv48, Sv57};
    for (levels, paging, high, update) in [
        (3, Sv39, false, true),
        (3, Sv39, true, false),
        (3, Sv57, true, true),
        (4, Sv48, true, true),
        (4, Sv39, true, true),
        (5, Sv48, false, true),
        (5, Sv39, true, false),
    ] {
        for host_size in HOST_SIZES {
            let mut world = World::new(Setup {
                paging,
                ram_len: 2 * GIB,
                host_ram: HostPhys(64 * GIB + host_size),
                ..Setup::default()
            });
            if !update {
                world.hart.csrs.menvcfg &= !menvcfg::ADUE;
            }
            for page in PAGES {
                // The huge page's high half has RAM at no address of the guest.
                let huge = matches!(page, Page::Level(3));
                if huge && (levels == 3 || high) {
                    continue;
                }
                let allowed = try_all(&mut world, levels, page, host_size, high);
                assert!(allowed > 20, "{page:?} {levels} on {paging:?}: {allowed}");
            }
        }
    }
}
