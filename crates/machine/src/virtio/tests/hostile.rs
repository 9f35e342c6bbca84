//! Guests and saved states that mean harm: nothing panics, hangs or grows.

use alloc::sync::Arc;
use alloc::vec::Vec;

use proptest::prelude::*;
use ringer_hart::persist::{Persist, PersistError};
use ringer_hart::{BusFault, Width};

use crate::device::Device;
use crate::virtio::EmptySlot;
use crate::virtio::testing::fuzz::{
    TYPES, device, exercise_device, exercise_queue, exercise_restore,
};
use crate::virtio::testing::{BUFFERS, Rig, readable, writable};
use crate::virtio::transport::register;

fn kind() -> impl Strategy<Value = crate::virtio::DeviceType> {
    prop::sample::select(&TYPES[..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_guests(kind in kind(), bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        exercise_device(kind, &bytes);
    }

    #[test]
    fn random_guests_that_begin_well(
        kind in kind(),
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let bytes: Vec<u8> = [7, 8].into_iter().chain(bytes).collect();
        exercise_device(kind, &bytes);
    }

    #[test]
    fn random_queues(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        exercise_queue(&bytes);
    }

    #[test]
    fn random_saved_states(kind in kind(), bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        exercise_restore(kind, &bytes);
    }

    #[test]
    fn damaged_saved_states(
        kind in kind(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let rig = Rig::new(device(kind));
        let features = rig.offered();
        let mut queues = rig.start(features, 1, 8).unwrap();
        queues[0].add(rig.ram(), &[readable(BUFFERS, 16), writable(BUFFERS + 16, 32)]);
        let mut bytes = rig.device().save();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        exercise_restore(kind, &bytes);
        // In a machine whose RAM has requests in it.
        if rig.device().restore(&bytes).is_ok() {
            rig.kick(&mut queues[0]);
            rig.write(register::QUEUE_NOTIFY, 0);
            rig.device().poll();
        }
    }
}

/// A rig as a device of the board, its RAM with it.
struct Standalone(Rig);

impl Device for Standalone {
    fn name(&self) -> &str {
        self.0.device().name()
    }
    fn load(&self, offset: u64, width: Width) -> Result<u64, BusFault> {
        self.0.device().load(offset, width)
    }
    fn store(&self, offset: u64, width: Width, value: u64) -> Result<(), BusFault> {
        self.0.device().store(offset, width, value)
    }
    fn reset(&self) {
        self.0.device().reset();
    }
    fn poll(&self) {
        self.0.device().poll();
    }
}

impl Persist for Standalone {
    fn save(&self) -> Vec<u8> {
        self.0.device().save()
    }
    fn restore(&self, bytes: &[u8]) -> Result<(), PersistError> {
        self.0.device().restore(bytes)
    }
}

#[test]
fn the_conformance_suite_of_the_board() {
    for kind in TYPES {
        crate::conformance::check(|| Arc::new(Standalone(Rig::new(device(kind)))), 0x1000);
    }
    crate::conformance::check(|| Arc::new(EmptySlot::new("virtio7")), 0x1000);
}
