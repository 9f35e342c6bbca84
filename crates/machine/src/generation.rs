//! The generation id (`microsoft,vmgenid`): a number that is another one after the machine was
//! restored from a saved state, and an interrupt that says so. What must not exist twice, such as
//! the state of a random number generator, is then made anew by the guest.

use alloc::vec::Vec;

use ringer_hart::persist::{Persist, PersistError, decode, encode};
use ringer_hart::{BusFault, Width};

use crate::device::{Device, IrqLine};
use crate::lock::Lock;

/// A generation: 16 random bytes.
pub type Id = [u8; 16];

/// The device.
pub struct Generation {
    irq: IrqLine,
    id: Lock<Id>,
}

#[derive(minicbor::Encode, minicbor::Decode)]
struct State {
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    id: Id,
}

impl Generation {
    /// A device that shows `id` and interrupts by `irq`.
    pub fn new(id: Id, irq: IrqLine) -> Self {
        Self {
            irq,
            id: Lock::new(id),
        }
    }
    /// Another generation begins.
    pub fn begin(&self, id: Id) {
        *self.id.lock() = id;
        // The controller keeps the request; there is nothing by which a guest would end it.
        self.irq.set(true);
        self.irq.set(false);
    }
}

impl Device for Generation {
    fn name(&self) -> &str {
        "generation"
    }
    fn load(&self, offset: u64, width: Width) -> Result<u64, BusFault> {
        let id = u128::from_le_bytes(*self.id.lock());
        Ok(match offset {
            0..16 => (id >> (8 * offset)) as u64 & width.mask(),
            _ => 0,
        })
    }
    fn store(&self, _offset: u64, _width: Width, _value: u64) -> Result<(), BusFault> {
        Ok(())
    }
    fn reset(&self) {}
}

impl Persist for Generation {
    fn save(&self) -> Vec<u8> {
        encode(&State {
            id: *self.id.lock(),
        })
    }
    fn restore(&self, bytes: &[u8]) -> Result<(), PersistError> {
        *self.id.lock() = decode::<State>("the generation id", bytes)?.id;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;
    use crate::device::InterruptController;
    use alloc::sync::Arc;
    use core::sync::atomic::{AtomicU32, Ordering};

    #[derive(Default)]
    struct Rises(AtomicU32);
    impl InterruptController for Rises {
        fn set_level(&self, _source: u32, level: bool) {
            self.0.fetch_add(u32::from(level), Ordering::Relaxed);
        }
    }

    #[test]
    fn a_new_generation_is_shown_and_told() {
        let rises = Arc::new(Rises::default());
        let id: Id = core::array::from_fn(|n| n as u8);
        let device = Generation::new(id, IrqLine::new(rises.clone(), 1));
        assert_eq!(device.load(0, Width::Double), Ok(0x0706_0504_0302_0100));
        assert_eq!(device.load(12, Width::Word), Ok(0x0f0e_0d0c));
        assert_eq!(device.load(15, Width::Byte), Ok(15));
        assert_eq!(device.load(16, Width::Double), Ok(0));
        device.store(0, Width::Double, 0).unwrap();
        device.reset();
        assert_eq!(device.load(8, Width::Byte), Ok(8));
        assert_eq!(rises.0.load(Ordering::Relaxed), 0);
        device.begin([7; 16]);
        assert_eq!(device.load(0, Width::Half), Ok(0x0707));
        assert_eq!(rises.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn it_is_a_device() {
        let make = || {
            let irq = IrqLine::new(Arc::new(Rises::default()), 1);
            Arc::new(Generation::new([3; 16], irq))
        };
        conformance::check(|| make(), crate::memory_map::GENERATION.len);
    }
}
