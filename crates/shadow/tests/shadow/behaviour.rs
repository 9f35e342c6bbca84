//! One behaviour at a time.

use ringer_hart::csr::mstatus;
use ringer_hart::extensions::Paging;
use ringer_hart::hart::AddressFence;
use ringer_hart::translate::Access::{self, Fetch, Load, Store};
use ringer_hart::{GuestVirt, Mode};
use ringer_isa::pte::Pte;
use ringer_shadow::{
    HostFence, HostPhys, Mapping, Outcome, Rights, Shadow, ShadowError, TablePool,
};

use crate::world::*;

/// All of a space: `sfence.vma x0, x0`.
const EVERYTHING: AddressFence = AddressFence {
    va: None,
    asid: None,
};

fn at(va: u64) -> AddressFence {
    AddressFence {
        va: Some(GuestVirt(va)),
        asid: None,
    }
}

/// A guest in S-mode whose tables in pages 0, 1 and 2 map 4-KiB pages: entry `i` of the last
/// table, so address `i << 12`, leads to page `16 + i` of RAM.
fn sv39() -> World {
    with_tables(Setup::default())
}

fn with_tables(setup: Setup) -> World {
    let mut world = World::new(setup);
    world.write(0, 0, pointer(1));
    world.write(1, 0, pointer(2));
    for page in 0..64 {
        world.write(2, page, leaf((16 + page) << 12, RWX));
    }
    world.set_satp(3, 0, 0);
    world
}

fn mappings(world: &World) -> Vec<Mapping> {
    let root = world.shadow.roots().find(|root| root.live).unwrap();
    world.shadow.mappings(&root).collect()
}

/// The offset in RAM that an access leads to.
fn leads_to(world: &mut World, va: u64, access: Access) -> Option<u64> {
    let leaf = world.access(va, access)?;
    Some(leaf.host + (va - leaf.va) - world.setup.host_ram.0)
}

#[test]
fn a_bare_guest_runs_on_its_own_addresses_in_the_largest_leaves() {
    let mut world = World::new(Setup {
        ram_len: 2 * GIB + 2 * MIB + 4096,
        ..Setup::default()
    });
    world.set_mode(Mode::M);
    for (offset, size) in [(5, GIB), (2 * GIB + 7, 2 * MIB), (2 * GIB + 2 * MIB, 4096)] {
        let leaf = world.access(RAM.0 + offset, Store).unwrap();
        assert_eq!((leaf.size, leaf.rights), (size, Rights::all().bits()));
        assert_eq!(leaf.host - world.setup.host_ram.0, offset & !(size - 1));
    }
    assert_eq!(world.shadow.counts().fills, [1, 1, 1]);
    assert_eq!(world.access(RAM.0 - 1, Load), None, "no RAM there");
    assert_eq!(world.access(RAM.0 + world.setup.ram_len, Load), None);
    assert_eq!(
        world.access(1 << 38, Load),
        None,
        "beyond the host's paging"
    );
    // What an sfence.vma says has no meaning for it.
    world.shadow.fence(EVERYTHING);
    world.shadow.fence(at(RAM.0));
    let _ = world.enter();
    assert_eq!(mappings(&world).len(), 3);
}

#[test]
fn a_host_that_is_less_aligned_gets_smaller_leaves() {
    for (misalignment, size) in [(2 * MIB, 2 * MIB), (4096, 4096)] {
        let mut world = World::new(Setup {
            ram_len: 2 * GIB,
            host_ram: HostPhys(0x4_0000_0000 + misalignment),
            ..Setup::default()
        });
        world.set_mode(Mode::M);
        assert_eq!(world.access(RAM.0, Load).unwrap().size, size);
    }
}

#[test]
fn stores_are_allowed_once_the_guests_page_is_dirty() {
    let mut world = sv39();
    world.write(2, 1, leaf(17 << 12, Pte::V | Pte::R | Pte::W));
    let read = world.access(0x1000, Load).unwrap();
    assert_eq!(read.rights, Rights::READ.bits());
    assert!(world.read(2, 1).accessed() && !world.read(2, 1).dirty());
    let written = world.access(0x1000, Store).unwrap();
    assert_eq!(written.rights, (Rights::READ | Rights::WRITE).bits());
    assert!(world.read(2, 1).dirty());
    assert_eq!(world.shadow.counts().upgrades, 1);
    // Dirty already: the first read brings the right to write.
    assert_eq!(
        world.access(0x2000, Load).unwrap().rights,
        Rights::all().bits()
    );
}

#[test]
fn a_fence_of_an_address_takes_it_away_and_nothing_else() {
    let mut world = sv39();
    for page in 0..4 {
        assert!(world.access(page << 12, Load).is_some());
    }
    world.write(2, 2, Pte(0));
    world.shadow.fence(at(0x2abc));
    let fence = world.enter().unwrap().fence;
    let va = GuestVirt(0x2000);
    assert_eq!(fence, HostFence::Address { va, slot: 0 });
    let left: Vec<u64> = mappings(&world).iter().map(|m| m.va.0 >> 12).collect();
    assert_eq!(left, [0, 1, 3]);
    assert_eq!(world.access(0x2000, Load), None);
}

#[test]
fn a_fence_of_an_address_that_has_not_changed_costs_nothing() {
    let mut world = sv39();
    assert!(world.access(0x2000, Load).is_some());
    world.shadow.fence(at(0x2000));
    assert_eq!(world.enter().unwrap().fence, HostFence::None);
    assert_eq!(mappings(&world).len(), 1);
}

#[test]
fn what_is_fenced_when_it_was_mapped_needs_no_fault() {
    let mut world = sv39();
    world.write(2, 2, Pte(0));
    world.write(2, 4, leaf(20 << 12, RWX & !Pte::A));
    assert!(world.access(0x1000, Load).is_some());
    let guests = [
        (
            2,
            leaf(18 << 12, RWX & !Pte::D),
            Rights::READ | Rights::EXECUTE,
        ),
        (3, leaf(19 << 12, RWX), Rights::all()),
    ];
    for (page, entry, rights) in guests {
        world.write(2, page, entry);
        world.shadow.fence(at(page << 12));
        assert_eq!(world.enter().unwrap().fence, HostFence::None);
        let made = mappings(&world).into_iter().find(|m| m.va.0 == page << 12);
        assert_eq!(made.map(|m| m.rights), Some(rights));
    }
    // Neither what is not there, nor a user's page, nor what would change the guest's tables.
    world.write(2, 5, leaf(21 << 12, RWX | Pte::U));
    for page in [4, 5, 100] {
        world.shadow.fence(at(page << 12));
    }
    let _ = world.enter();
    assert_eq!(mappings(&world).len(), 3);
    assert!(!world.read(2, 4).accessed());
    assert_eq!(world.shadow.counts().expected, 2);
    // Mapped anew, in one go.
    world.write(2, 3, leaf(40 << 12, RWX));
    world.shadow.fence(at(0x3000));
    let va = GuestVirt(0x3000);
    assert_eq!(
        world.enter().unwrap().fence,
        HostFence::Address { va, slot: 0 }
    );
    assert_eq!(leads_to(&mut world, 0x3000, Store), Some(40 << 12));
    assert_eq!(world.shadow.counts().fills, [1, 0, 0]);
}

#[test]
fn a_fence_of_an_address_concerns_the_pointers_to_it() {
    let mut world = sv39();
    for va in [0x1000, 0x2000] {
        assert!(world.access(va, Load).is_some());
    }
    world.write(1, 0, pointer(3));
    world.shadow.fence(at(0x1000));
    assert_eq!(world.access(0x1000, Load), None);
    assert_eq!(mappings(&world), []);
}

#[test]
fn a_root_that_was_not_used_for_long_heeds_all_the_fences_it_missed() {
    // More and fewer than are remembered one by one.
    for between in [0, 5, 100] {
        let mut world = sv39();
        for asid in [1, 2] {
            world.set_satp(3, asid, 0);
            for page in 0..4 {
                assert!(world.access(page << 12, Load).is_some());
            }
        }
        world.write(2, 1, Pte(0));
        world.shadow.fence(AddressFence {
            asid: Some(1),
            ..at(0x1000)
        });
        for page in 0..between {
            world.shadow.fence(at(0x10_0000 + (page << 12)));
            let _ = world.enter();
        }
        let suspect: Vec<bool> = world.shadow.roots().map(|root| root.suspect).collect();
        assert_eq!(suspect, [true, false]);
        world.set_satp(3, 1, 0);
        assert_eq!(world.access(0x1000, Load), None);
        assert_eq!(mappings(&world).len(), 3);
        // Of the other's space nothing was fenced but what it does not map.
        world.set_satp(3, 2, 0);
        let _ = world.enter();
        assert_eq!(mappings(&world).len(), 4);
    }
}

#[test]
fn a_fence_of_everything_keeps_what_has_not_changed() {
    let mut world = sv39();
    for page in 0..8 {
        assert!(world.access(page << 12, Load).is_some());
    }
    world.write(2, 2, leaf(40 << 12, RWX));
    world.write(2, 3, leaf(19 << 12, RWX & !Pte::W));
    world.shadow.fence(EVERYTHING);
    assert_eq!(world.enter().unwrap().fence, HostFence::Slot(0));
    let counts = *world.shadow.counts();
    assert_eq!(
        (counts.revalidations, counts.kept, counts.dropped),
        (1, 6, 2)
    );
    assert_eq!(leads_to(&mut world, 0x2000, Load), Some(40 << 12));
    assert_eq!(world.access(0x3000, Store), None);
    // Nothing changed since.
    world.shadow.fence(EVERYTHING);
    assert_eq!(world.enter().unwrap().fence, HostFence::None);
}

#[test]
fn a_freed_table_is_noticed_by_the_pointer_to_it() {
    let mut world = sv39();
    assert_eq!(leads_to(&mut world, 0x1000, Load), Some(17 << 12));
    world.write(3, 1, leaf(50 << 12, RWX));
    world.write(1, 0, pointer(3));
    world.shadow.fence(EVERYTHING);
    assert_eq!(leads_to(&mut world, 0x1000, Load), Some(50 << 12));
    // Without a fence too, once there is a fault below it.
    world.write(1, 0, pointer(2));
    assert_eq!(leads_to(&mut world, 0x5000, Load), Some(21 << 12));
    assert_eq!(leads_to(&mut world, 0x1000, Load), Some(17 << 12));
}

#[test]
fn a_page_that_became_clean_loses_the_right_to_write() {
    let mut world = sv39();
    let clean = leaf(17 << 12, RWX & !Pte::D);
    world.write(2, 1, clean);
    assert!(!world.access(0x1000, Load).unwrap().allows(Store));
    // The hart makes it dirty, and the guest clean again.
    assert!(world.access(0x1000, Store).is_some());
    world.write(2, 1, clean);
    world.shadow.fence(EVERYTHING);
    let _ = world.enter();
    assert_eq!(mappings(&world), []);
    assert!(world.access(0x1000, Store).is_some());
    assert!(world.read(2, 1).dirty());
}

#[test]
fn a_large_leaf_that_became_clean_loses_the_right_to_write_in_all_its_parts() {
    let mut world = World::new(Setup {
        host_ram: HostPhys(0x4_0000_1000),
        ..Setup::default()
    });
    let clean = leaf(2 * MIB, RWX & !Pte::D);
    world.write(0, 0, pointer(1));
    world.write(1, 0, clean);
    world.set_satp(3, 0, 0);
    // The leaf is split while it is clean, and a part is written.
    assert!(!world.access(0x1000, Load).unwrap().allows(Store));
    assert!(world.access(0x2000, Store).is_some());
    world.write(1, 0, clean);
    world.shadow.fence(EVERYTHING);
    let _ = world.enter();
    assert!(mappings(&world).is_empty());
}

#[test]
fn a_pointer_that_became_malformed_is_noticed() {
    let mut world = sv39();
    assert!(world.access(0x1000, Load).is_some());
    world.write(1, 0, Pte(pointer(2).0 | Pte::D));
    world.shadow.fence(EVERYTHING);
    assert_eq!(world.access(0x1000, Load), None);
}

#[test]
fn a_fence_concerns_all_of_a_large_leaf() {
    // On a host whose RAM is aligned to 4 KiB only, and so has the leaf in many parts.
    let mut world = World::new(Setup {
        host_ram: HostPhys(0x4_0000_1000),
        ..Setup::default()
    });
    world.write(0, 0, pointer(1));
    world.write(1, 1, leaf(2 * MIB, RWX));
    world.set_satp(3, 0, 0);
    for page in 0..4 {
        assert_eq!(
            world.access(2 * MIB + (page << 12), Load).unwrap().size,
            4096
        );
    }
    world.write(1, 1, leaf(4 * MIB, RWX));
    world.shadow.fence(at(2 * MIB + 0x5000));
    let _ = world.enter();
    assert_eq!(mappings(&world), []);
    assert_eq!(leads_to(&mut world, 2 * MIB, Load), Some(4 * MIB));
}

#[test]
fn a_fence_concerns_all_of_a_napot_leaf() {
    let mut world = sv39();
    for page in 16..32 {
        world.write(2, page, leaf(64 << 12 | 8 << 12, RWX | Pte::N));
    }
    for page in 15..33 {
        assert!(world.access(page << 12, Load).is_some());
    }
    for page in 16..32 {
        world.write(2, page, Pte(0));
    }
    world.shadow.fence(at(20 << 12));
    let _ = world.enter();
    let left: Vec<u64> = mappings(&world).iter().map(|m| m.va.0 >> 12).collect();
    assert_eq!(left, [15, 32]);
}

#[test]
fn the_hardware_is_told_of_the_neighbour_that_went() {
    let mut world = sv39();
    for page in 16..32 {
        world.write(2, page, leaf(64 << 12 | 8 << 12, RWX | Pte::N));
    }
    assert!(world.access(17 << 12, Load).is_some());
    for page in 16..32 {
        world.write(2, page, Pte(0));
    }
    world.shadow.fence(at(30 << 12));
    let va = GuestVirt(17 << 12);
    let fence = world.enter().unwrap().fence;
    assert_eq!(fence, HostFence::Address { va, slot: 0 });
}

#[test]
fn fences_of_an_address_space_leave_the_others_alone() {
    let mut world = sv39();
    for asid in [1, 2] {
        world.set_satp(3, asid, 0);
        assert!(world.access(0x1000, Load).is_some());
    }
    world.write(2, 1, Pte(0));
    world.shadow.fence(AddressFence {
        va: None,
        asid: Some(1),
    });
    let suspect: Vec<bool> = world.shadow.roots().map(|root| root.suspect).collect();
    assert_eq!(suspect, [true, false]);
    assert!(world.access(0x1000, Load).is_some(), "not fenced: stale");
    world.set_satp(3, 1, 0);
    assert_eq!(world.access(0x1000, Load), None);
    world.set_satp(3, 2, 0);
    world.shadow.fence(AddressFence {
        asid: Some(2),
        ..at(0x1000)
    });
    assert_eq!(world.access(0x1000, Load), None);
}

#[test]
fn pmp_splits_leaves_and_its_change_voids_everything() {
    let mut world = World::new(Setup::default());
    world.set_mode(Mode::S);
    assert_eq!(world.access(RAM.0, Store).unwrap().size, 2 * MIB);
    // Entry 0: the page at 0x1000 in RAM may be read only; entry 1: all of memory.
    let pmp = &mut world.hart.csrs.pmp;
    pmp.write_address_register(0, (RAM.0 + 0x1000) >> 2 | 0x1ff);
    pmp.write_address_register(1, u64::MAX);
    pmp.write_config_register(0, 0x1f19);
    world.shadow.flush();
    let first = world.access(RAM.0 + 0x1000, Load).unwrap();
    assert_eq!((first.size, first.rights), (4096, Rights::READ.bits()));
    assert_eq!(world.access(RAM.0 + 0x1000, Store), None);
    let second = world.access(RAM.0 + 0x2000, Fetch).unwrap();
    assert_eq!((second.size, second.rights), (4096, Rights::all().bits()));
    assert_eq!(world.access(RAM.0 + 2 * MIB, Load).unwrap().size, 2 * MIB);
    // An entry that ends inside a page: each access to it is for the definition.
    let pmp = &mut world.hart.csrs.pmp;
    pmp.write_address_register(0, (RAM.0 + 0x1008) >> 2);
    world.shadow.flush();
    assert_eq!(world.access(RAM.0 + 0x1000, Load), None);
    assert!(world.access(RAM.0, Load).is_some());
    assert_eq!(world.shadow.counts().new_rules, 2);
}

#[test]
fn a_flush_without_new_rules_only_compares() {
    let mut world = sv39();
    for page in 0..8 {
        assert!(world.access(page << 12, Load).is_some());
    }
    world.shadow.flush();
    assert_eq!(world.enter().unwrap().fence, HostFence::None);
    let counts = world.shadow.counts();
    assert_eq!((counts.new_rules, counts.kept), (0, 8));
}

#[test]
fn without_enter_a_fault_is_for_the_definition() {
    let mut world = sv39();
    let va = GuestVirt(0x1000);
    let refused = |world: &mut World| {
        let outcome = world.shadow.fault(&world.hart, &world.bus, va, Load);
        assert_eq!(outcome, Outcome::Emulate);
    };
    refused(&mut world);
    let _ = world.enter();
    world.shadow.fence(EVERYTHING);
    refused(&mut world);
    let _ = world.enter();
    world.set_mode(Mode::U);
    refused(&mut world);
    world.set_mode(Mode::S);
    let outcome = world.shadow.fault(&world.hart, &world.bus, va, Load);
    assert_eq!(outcome, Outcome::Filled(HostFence::None));
}

#[test]
fn mprv_is_for_the_definition() {
    let mut world = sv39();
    world.set_mode(Mode::M);
    assert!(world.enter().is_some());
    world.hart.csrs.mstatus |= mstatus::MPRV;
    assert_eq!(world.enter(), None);
}

#[test]
fn spurious_faults_are_fenced_away() {
    let mut world = sv39();
    assert!(world.access(0x1000, Load).is_some());
    let va = GuestVirt(0x1000);
    for expected in [HostFence::Address { va, slot: 0 }, HostFence::Slot(0)] {
        let outcome = world.shadow.fault(&world.hart, &world.bus, va, Load);
        assert_eq!(outcome, Outcome::Filled(expected));
    }
    assert_eq!(world.shadow.counts().spurious, 2);
}

#[test]
fn a_watched_page_is_not_writable_and_has_a_leaf_of_its_own() {
    let mut world = World::new(Setup::default());
    world.bus.watched = Some(RAM.offset(0x3000));
    let leaf = world.access(RAM.0 + 0x3008, Load).unwrap();
    assert_eq!(leaf.size, 4096);
    assert_eq!(world.access(RAM.0 + 0x3008, Store), None);
    assert_eq!(world.access(RAM.0 + 0x4000, Store).unwrap().size, 4096);
    assert_eq!(world.access(RAM.0 + 2 * MIB, Store).unwrap().size, 2 * MIB);
}

#[test]
fn guests_with_more_levels_than_the_host() {
    for levels in [4, 5] {
        let mut world = World::new(Setup::default());
        // The upper levels lead by entry 0 to the table in page 8 and by entry 511 to that in
        // page 9, which are for the two halves of the host's addresses.
        if levels == 5 {
            world.write(0, 0, pointer(1));
            world.write(0, 511, pointer(2));
            world.write(1, 0, pointer(8));
            world.write(2, 511, pointer(9));
        } else {
            world.write(0, 0, pointer(8));
            world.write(0, 511, pointer(9));
        }
        world.write(8, 0, pointer(10));
        world.write(9, 511, pointer(10));
        world.write(10, 0, leaf(2 * MIB, RWX));
        world.write(10, 511, leaf(4 * MIB, RWX));
        world.set_satp(levels, 0, 0);
        assert_eq!(leads_to(&mut world, 0x1000, Load), Some(2 * MIB + 0x1000));
        let high = (2 * MIB).wrapping_neg();
        assert_eq!(leads_to(&mut world, high, Load), Some(4 * MIB));
        assert_eq!(
            world.access(1 << 39, Load),
            None,
            "not canonical on the host"
        );

        // A change above the host's root is noticed, and only its half is dropped.
        let upper = if levels == 5 { 2 } else { 0 };
        world.write(upper, 511, Pte(0));
        world.shadow.fence(EVERYTHING);
        assert_eq!(world.access(high, Load), None);
        assert_eq!(mappings(&world).len(), 1);
        // So is a leaf there, which a fence anywhere in it concerns.
        let huge = Pte::new(0, RWX);
        world.write(upper, 511, huge);
        assert_eq!(world.access(high, Load), None, "no RAM there");
    }
}

#[test]
fn a_leaf_above_the_hosts_root_is_fenced_by_any_address_in_it() {
    let mut world = World::new(Setup::default());
    // 512 GiB from address 0, physical 0: RAM is at its own address.
    world.write(0, 0, Pte::new(0, RWX));
    world.set_satp(4, 0, 0);
    assert_eq!(leads_to(&mut world, RAM.0, Load), Some(0));
    world.write(0, 0, Pte(0));
    world.shadow.fence(at(400 * GIB));
    assert_eq!(world.access(RAM.0, Load), None);
}

#[test]
fn what_was_below_a_pointer_goes_when_a_leaf_above_the_hosts_root_takes_its_place() {
    let mut world = World::new(Setup::default());
    world.write(0, 0, pointer(1));
    world.write(1, 0, pointer(2));
    world.write(2, 0, leaf(2 * MIB, RWX));
    world.set_satp(4, 0, 0);
    assert_eq!(leads_to(&mut world, 0x1000, Load), Some(2 * MIB + 0x1000));
    world.write(0, 0, Pte::new(0, RWX));
    assert_eq!(leads_to(&mut world, RAM.0, Load), Some(0));
    world.shadow.fence(EVERYTHING);
    assert_eq!(world.access(0x1000, Load), None, "no RAM there");
}

#[test]
fn roots_are_evicted_oldest_first_and_never_the_live_one() {
    let mut world = with_tables(Setup {
        roots: 3,
        ..Setup::default()
    });
    for asid in [1, 2, 3, 1, 4] {
        world.set_satp(3, asid, 0);
        assert!(world.access(0x1000, Load).is_some());
    }
    let mut asids: Vec<u64> = world
        .shadow
        .roots()
        .map(|root| root.context.satp >> 44 & 0xffff)
        .collect();
    asids.sort();
    assert_eq!(asids, [1, 3, 4]);
    assert_eq!(world.shadow.counts().evictions, 1);
}

#[test]
fn a_full_pool_makes_room() {
    for pages in [3, 4, 6] {
        let mut world = with_tables(Setup {
            pages,
            ..Setup::default()
        });
        // Each needs a table of its own.
        for region in 0..8 {
            world.write(1, region, pointer(2));
        }
        for _ in 0..2 {
            for region in 0..8 {
                let va = region * 2 * MIB + 0x3000;
                assert_eq!(leads_to(&mut world, va, Load), Some(19 << 12));
            }
        }
        let (used, all) = world.shadow.tables_in_use();
        assert!(used <= pages && all == pages);
        assert!(world.shadow.counts().emptied > 0);
        // Another root takes what it needs from this one.
        world.set_satp(3, 7, 0);
        assert_eq!(leads_to(&mut world, 0x3000, Load), Some(19 << 12));
    }
}

#[test]
fn too_little_is_refused() {
    let new = |pages, roots| {
        let pool = TablePool::owned(pages);
        Shadow::new(pool, Paging::Sv48, roots, HostPhys(0)).map(|_| ())
    };
    let small = ShadowError::SmallPool {
        pages: 3,
        needed: 4,
    };
    assert_eq!(new(3, 1), Err(small));
    assert_eq!(new(4, 0), Err(ShadowError::NoRoots));
    assert_eq!(new(4, 1), Ok(()));
}

#[test]
fn a_shadow_may_move_to_another_thread() {
    fn check<T: Send>() {}
    check::<Shadow>();
}

#[test]
fn tables_that_loop_or_lead_out_of_ram_map_nothing() {
    let mut world = World::new(Setup::default());
    world.write(0, 0, pointer(0));
    world.write(0, 1, Pte::new(0x1_2345, Pte::V));
    world.write(0, 2, Pte::new(0, RWX));
    world.set_satp(3, 0, 0);
    assert_eq!(world.access(0, Load), None);
    assert_eq!(world.access(GIB, Load), None);
    assert_eq!(world.access(2 * GIB, Load), None, "RAM begins at 2 GiB");
    // A leaf of 1 GiB that RAM has the first part of.
    world.write(0, 3, Pte::new(RAM.0 >> 12, RWX));
    assert_eq!(world.access(3 * GIB, Load).unwrap().size, 2 * MIB);
    assert_eq!(world.access(3 * GIB + world.setup.ram_len, Load), None);
}
