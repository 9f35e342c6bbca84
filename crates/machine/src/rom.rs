//! The boot ROM: the reset vector by which every hart enters the firmware, and what it tells
//! the firmware.

use alloc::string::ToString;
use alloc::vec::Vec;

use minicbor::bytes::ByteVec;
use ringer_hart::persist::{Persist, PersistError, decode, encode};
use ringer_hart::{BusFault, GuestPhys, Width};

use crate::device::Device;
use crate::lock::Lock;
use crate::memory_map;

/// What the reset vector hands over to the firmware.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handover {
    /// Where the firmware starts.
    pub firmware: GuestPhys,
    /// The device tree.
    pub device_tree: GuestPhys,
    /// The kernel that the firmware shall start in S-mode; 0 if there is none.
    pub kernel: GuestPhys,
}

/// "OSBI", by which OpenSBI knows its `struct fw_dynamic_info`.
const FW_DYNAMIC_MAGIC: u64 = 0x4942_534f;
const FW_DYNAMIC_VERSION: u64 = 2;
/// Privilege of the next stage: S-mode.
const FW_DYNAMIC_SUPERVISOR: u64 = 1;

/// Where the data that the code loads lies, from the start of the ROM.
const DATA: usize = 0x18;
/// Where `struct fw_dynamic_info` lies.
const FW_DYNAMIC: usize = DATA + 16;

/// The code every hart runs out of reset. t0 is the ROM's start throughout.
const CODE: [u32; 6] = [
    0x0000_0297,                             // auipc t0, 0
    0x0002_8613 | (FW_DYNAMIC as u32) << 20, // addi  a2, t0, FW_DYNAMIC
    0xf140_2573,                             // csrr  a0, mhartid
    0x0002_b583 | (DATA as u32 + 8) << 20,   // ld    a1, DATA + 8 (t0)
    0x0002_b283 | (DATA as u32) << 20,       // ld    t0, DATA (t0)
    0x0002_8067,                             // jr    t0
];

/// The boot ROM.
pub struct Rom {
    content: Lock<Vec<u8>>,
}

#[derive(minicbor::Encode, minicbor::Decode)]
struct State {
    #[n(0)]
    content: ByteVec,
}

impl Default for Rom {
    fn default() -> Self {
        Self::new()
    }
}

impl Rom {
    /// An empty ROM, for machines whose harts start in a kernel.
    pub fn new() -> Self {
        Self {
            content: Lock::new(Vec::new()),
        }
    }
    /// Burns the reset vector for `handover`.
    pub fn set_handover(&self, handover: Handover) {
        let data = [
            handover.firmware.0,
            handover.device_tree.0,
            FW_DYNAMIC_MAGIC,
            FW_DYNAMIC_VERSION,
            handover.kernel.0,
            FW_DYNAMIC_SUPERVISOR,
            0, // options
            0, // boot hart
        ];
        let mut content: Vec<u8> = CODE.iter().flat_map(|word| word.to_le_bytes()).collect();
        content.extend(data.iter().flat_map(|word| word.to_le_bytes()));
        *self.content.lock() = content;
    }
}

impl Device for Rom {
    fn name(&self) -> &str {
        "rom"
    }
    fn load(&self, offset: u64, width: Width) -> Result<u64, BusFault> {
        let content = self.content.lock();
        let byte = |at: u64| {
            usize::try_from(at)
                .ok()
                .and_then(|at| content.get(at))
                .map_or(0, |byte| u64::from(*byte))
        };
        Ok((0..width.bytes()).fold(0, |value, i| {
            value | byte(offset.wrapping_add(i)) << (8 * i)
        }))
    }
    fn store(&self, _offset: u64, _width: Width, _value: u64) -> Result<(), BusFault> {
        Err(BusFault)
    }
    /// What is burnt stays.
    fn reset(&self) {}
}

impl Persist for Rom {
    fn save(&self) -> Vec<u8> {
        encode(&State {
            content: self.content.lock().clone().into(),
        })
    }
    fn restore(&self, bytes: &[u8]) -> Result<(), PersistError> {
        let saved: State = decode("rom", bytes)?;
        if saved.content.len() as u64 > memory_map::ROM.len {
            return Err(PersistError::Damaged {
                part: "rom",
                reason: "more content than the ROM holds".to_string(),
            });
        }
        *self.content.lock() = saved.content.into();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;
    use alloc::sync::Arc;

    fn rom() -> Rom {
        let rom = Rom::new();
        rom.set_handover(Handover {
            firmware: GuestPhys(0x8000_0000),
            device_tree: GuestPhys(0xbfe0_0000),
            kernel: GuestPhys(0x8020_0000),
        });
        rom
    }

    /// The instructions' immediates lead to the data they are meant to load.
    #[test]
    fn code_and_data_fit() {
        let rom = rom();
        let word = |offset| rom.load(offset, Width::Word).unwrap();
        let immediate = |offset| word(offset) >> 20;
        let double = |offset| rom.load(offset, Width::Double).unwrap();
        assert_eq!(word(0), 0x297);
        assert_eq!(double(immediate(16)), 0x8000_0000);
        assert_eq!(double(immediate(12)), 0xbfe0_0000);
        let info = immediate(4);
        assert_eq!(double(info), 0x4942_534f);
        assert_eq!(double(info + 8), 2);
        assert_eq!(double(info + 16), 0x8020_0000);
        assert_eq!(double(info + 24), 1);
    }

    #[test]
    fn is_read_only_and_zero_behind_its_content() {
        let rom = rom();
        assert_eq!(rom.store(0, Width::Word, 0), Err(BusFault));
        assert_eq!(rom.load(0xeff8, Width::Double), Ok(0));
        assert_eq!(rom.load(1, Width::Byte), Ok(0x02));
    }

    #[test]
    fn conforms() {
        conformance::check(|| Arc::new(rom()), memory_map::ROM.len);
    }
}
