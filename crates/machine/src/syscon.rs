//! The test device (`sifive,test0`): a guest writes a word to end the run.

use alloc::sync::Arc;
use alloc::vec::Vec;

use ringer_hart::persist::{Persist, PersistError, decode, encode};
use ringer_hart::{BusFault, Width};

use crate::device::Device;
use crate::power::{PowerSwitch, Shutdown};

/// Low half of the word that switches off and reports success.
pub const PASS: u64 = 0x5555;
/// Low half of the word that resets the machine.
pub const RESET: u64 = 0x7777;
/// Low half of the word that reports failure, with the code in the high half.
pub const FAIL: u64 = 0x3333;

/// The test device.
pub struct Syscon {
    power: Arc<PowerSwitch>,
}

/// The device remembers nothing.
#[derive(minicbor::Encode, minicbor::Decode)]
struct State {}

impl Syscon {
    /// A test device that throws `power`.
    pub fn new(power: Arc<PowerSwitch>) -> Self {
        Self { power }
    }
}

impl Device for Syscon {
    fn name(&self) -> &str {
        "test"
    }
    fn load(&self, _offset: u64, _width: Width) -> Result<u64, BusFault> {
        Ok(0)
    }
    fn store(&self, offset: u64, width: Width, value: u64) -> Result<(), BusFault> {
        if offset != 0 || width == Width::Byte {
            return Ok(());
        }
        match value & 0xffff {
            PASS => self.power.request(Shutdown::PowerOff),
            RESET => self.power.request(Shutdown::Reset),
            FAIL => self.power.request(Shutdown::Fail((value >> 16) as u16)),
            _ => {}
        }
        Ok(())
    }
    fn reset(&self) {}
}

impl Persist for Syscon {
    fn save(&self) -> Vec<u8> {
        encode(&State {})
    }
    fn restore(&self, bytes: &[u8]) -> Result<(), PersistError> {
        let State {} = decode("test", bytes)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;
    use ringer_hart::Lines;
    use ringer_hart::bus::request;

    fn machine() -> (Syscon, Arc<PowerSwitch>, Arc<[Lines]>) {
        let lines: Arc<[Lines]> = Arc::new([Lines::new(), Lines::new()]);
        let power = Arc::new(PowerSwitch::new(lines.clone()));
        (Syscon::new(power.clone()), power, lines)
    }

    #[test]
    fn words_end_the_run_and_all_harts_yield() {
        for (word, expected) in [
            (0x5555, Shutdown::PowerOff),
            (0x7777, Shutdown::Reset),
            (0x002a_3333, Shutdown::Fail(42)),
        ] {
            let (syscon, power, lines) = machine();
            syscon.store(0, Width::Word, word).unwrap();
            assert!(
                lines
                    .iter()
                    .all(|l| l.take_requests() & request::YIELD != 0)
            );
            assert_eq!(power.take(), Some(expected));
            assert_eq!(power.take(), None);
        }
    }

    #[test]
    fn other_words_and_places_do_nothing() {
        let (syscon, power, _) = machine();
        syscon.store(0, Width::Word, 0x1234).unwrap();
        syscon.store(4, Width::Word, PASS).unwrap();
        assert_eq!(power.take(), None);
    }

    #[test]
    fn the_first_request_counts() {
        let (syscon, power, _) = machine();
        syscon.store(0, Width::Word, RESET).unwrap();
        syscon.store(0, Width::Word, PASS).unwrap();
        assert_eq!(power.take(), Some(Shutdown::Reset));
    }

    #[test]
    fn conforms() {
        conformance::check(|| Arc::new(machine().0), crate::memory_map::SYSCON.len);
    }
}
