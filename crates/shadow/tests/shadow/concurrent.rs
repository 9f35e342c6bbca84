//! Another hart of the guest changes entries while this one faults on them.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use ringer_hart::csr::mstatus;
use ringer_hart::hart::AddressFence;
use ringer_hart::translate::Access::{self, Load, Store};
use ringer_hart::{Bus, GuestVirt, PAGE_SIZE};
use ringer_isa::pte::Pte;
use ringer_shadow::{Outcome, Rights};

use crate::world::*;

const ROUNDS: u32 = 20_000;

/// One entry is now a page that may be read only (it is a user's page, and code of it is not for
/// S-mode), now another that may be written, now another that may be executed, and now nothing.
/// No mapping may have the address of one and the rights of another.
#[test]
fn what_is_filled_was_so_at_one_moment() {
    let mut world = World::new(Setup::default());
    world.write(0, 0, pointer(1));
    world.write(1, 0, pointer(2));
    world.set_satp(3, 0, 0);
    let place = RAM.offset(2 * PAGE_SIZE + 8);
    world.hart.csrs.mstatus |= mstatus::SUM;
    let read_only = leaf(16 << 12, Pte::V | Pte::R | Pte::X | Pte::U | Pte::A);
    let executable = leaf(18 << 12, Pte::V | Pte::R | Pte::X | Pte::A);
    let writable = leaf(17 << 12, Pte::V | Pte::R | Pte::W);
    world.write(2, 1, read_only);
    let done = AtomicBool::new(false);
    let World {
        bus,
        hart,
        shadow,
        setup,
        ..
    } = &mut world;
    let (bus, done) = (&*bus, &done);
    let mut seen = [0; 4];
    thread::scope(|scope| {
        scope.spawn(move || {
            let values = [read_only, writable, executable, Pte(0)];
            for value in values.iter().cycle() {
                bus.ram().store(place, value.0).unwrap();
                if done.load(Relaxed) {
                    return;
                }
            }
        });
        for round in 0..ROUNDS {
            let access: Access = if round % 2 == 0 { Load } else { Store };
            let _ = shadow.enter(hart, bus).unwrap();
            let outcome = shadow.fault(hart, bus, GuestVirt(0x1000), access);
            let root = shadow.roots().next().unwrap();
            let mapping = shadow.mappings(&root).next();
            match mapping.map(|m| ((m.host.0 - setup.host_ram.0) >> 12, m.rights)) {
                None => {
                    assert_eq!(outcome, Outcome::Emulate);
                    seen[0] += 1;
                }
                Some((16, Rights::READ)) => seen[1] += 1,
                Some((17, rights)) => {
                    assert!(Rights::all().difference(Rights::EXECUTE).contains(rights));
                    assert!(access == Load || rights.contains(Rights::WRITE));
                    seen[2] += 1;
                }
                Some((18, rights)) => {
                    assert_eq!(rights, Rights::READ | Rights::EXECUTE);
                    seen[3] += 1;
                }
                other => panic!("never in the guest's table: {other:?}"),
            }
            shadow.fence(AddressFence {
                va: Some(GuestVirt(0x1000)),
                asid: None,
            });
        }
        done.store(true, Relaxed);
    });
    assert_eq!(seen.iter().sum::<u32>(), ROUNDS);
}
