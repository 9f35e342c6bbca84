//! Another hart of the guest changes an entry while this one faults on it: between any two looks
//! at memory, and in an order that is the same in every run.

use std::cell::Cell;
use std::sync::Mutex;

use ringer_hart::csr::mstatus;
use ringer_hart::hart::AddressFence;
use ringer_hart::translate::Access::{Load, Store};
use ringer_hart::{Bus, BusFault, GuestPhys, GuestVirt, HartId, Lines, PAGE_SIZE, Ram, Width};
use ringer_isa::pte::Pte;
use ringer_shadow::{Outcome, Rights};

use crate::world::*;

const ROUNDS: u32 = 40_000;
/// The entry that changes.
const PLACE: GuestPhys = RAM.offset(2 * PAGE_SIZE + 8);

/// A board on which the entry may be another whenever RAM is looked at.
struct Restless<'a> {
    board: &'a Board,
    values: [Pte; 4],
    random: Mutex<Cell<u64>>,
}

impl Bus for Restless<'_> {
    fn ram(&self) -> &Ram {
        let random = self.random.lock().unwrap();
        let next = random
            .get()
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        random.set(next);
        // At one look in four, so that some walks see the same as the ones before.
        if next >> 40 & 3 == 0 {
            let value = self.values[(next >> 50) as usize % 4];
            self.board.ram().store(PLACE, value.0).unwrap();
        }
        self.board.ram()
    }
    fn load(&self, _: HartId, _: GuestPhys, _: Width) -> Result<u64, BusFault> {
        Err(BusFault)
    }
    fn store(&self, _: HartId, _: GuestPhys, _: Width, _: u64) -> Result<(), BusFault> {
        Err(BusFault)
    }
    fn time(&self) -> u64 {
        0
    }
    fn lines(&self, hart: HartId) -> &Lines {
        self.board.lines(hart)
    }
}

/// The entry is now a page that may be read only (it is a user's, so its code is not for S-mode),
/// now another that may be written, now another that may be executed, and now nothing. No mapping
/// may have the address of one and the rights of another.
#[test]
fn what_is_filled_was_so_at_one_moment() {
    let mut world = World::new(Setup::default());
    world.write(0, 0, pointer(1));
    world.write(1, 0, pointer(2));
    world.set_satp(3, 0, 0);
    world.hart.csrs.mstatus |= mstatus::SUM;
    let World {
        bus,
        hart,
        shadow,
        setup,
        ..
    } = &mut world;
    let bus = Restless {
        board: bus,
        values: [
            leaf(16 << 12, Pte::V | Pte::R | Pte::X | Pte::U | Pte::A),
            leaf(17 << 12, Pte::V | Pte::R | Pte::W),
            leaf(18 << 12, Pte::V | Pte::R | Pte::X | Pte::A),
            Pte(0),
        ],
        random: Mutex::new(Cell::new(1)),
    };
    let mut seen = [0; 4];
    for round in 0..ROUNDS {
        let access = if round % 2 == 0 { Load } else { Store };
        let _ = shadow.enter(hart, &bus).unwrap();
        let outcome = shadow.fault(hart, &bus, GuestVirt(0x1000), access);
        let root = shadow.roots().next().unwrap();
        let mapping = shadow.mappings(&root).next();
        let filled = matches!(outcome, Outcome::Filled(_));
        assert_eq!(mapping.is_some(), filled, "{outcome:?}");
        match mapping.map(|m| ((m.host.0 - setup.host_ram.0) >> 12, m.rights)) {
            None => seen[0] += 1,
            Some((16, Rights::READ)) if access == Load => seen[1] += 1,
            Some((17, rights)) => {
                let wanted = Rights::READ | Rights::needed_for(access);
                assert!(rights.contains(wanted) && !rights.contains(Rights::EXECUTE));
                seen[2] += 1;
            }
            Some((18, rights)) if access == Load => {
                assert!((Rights::READ | Rights::EXECUTE).contains(rights));
                seen[3] += 1;
            }
            other => panic!("never in the guest's table: {other:?}"),
        }
        // What was filled goes when it is fenced and nothing is there.
        bus.board.ram().store(PLACE, 0_u64).unwrap();
        shadow.fence(AddressFence {
            va: Some(GuestVirt(0x1000)),
            asid: None,
        });
        let _ = shadow.enter(hart, bus.board).unwrap();
    }
    assert!(seen.iter().all(|&count| count > ROUNDS / 100), "{seen:?}");
}
