//! One suite that every device is put through: whatever a guest writes, nothing breaks, and
//! state goes out and comes back whole.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use ringer_hart::persist::{Persist, PersistError};
use ringer_hart::{BusFault, Lines, Ram, Width};

use crate::backend::ConsoleBackend;
use crate::board::{Board, BoardBuilder};
use crate::clock::VirtualClock;
use crate::device::{Device, InterruptController};
use crate::lock::Lock;
use crate::memory_map::RAM_BASE;

/// All access sizes.
pub const WIDTHS: [Width; 4] = [Width::Byte, Width::Half, Width::Word, Width::Double];

/// An interrupt controller that remembers its inputs.
#[derive(Default)]
pub struct Wires(Lock<BTreeMap<u32, bool>>);

impl Default for Lock<BTreeMap<u32, bool>> {
    fn default() -> Self {
        Lock::new(BTreeMap::new())
    }
}

impl Wires {
    /// Whether input `source` is high.
    pub fn level(&self, source: u32) -> bool {
        self.0.lock().get(&source).copied().unwrap_or(false)
    }
}

impl InterruptController for Wires {
    fn set_level(&self, source: u32, level: bool) {
        self.0.lock().insert(source, level);
    }
}

/// A terminal whose typed bytes a test provides, and whose output it reads.
#[derive(Default)]
pub struct Terminal {
    /// Bytes not read by the device yet.
    pub typed: Vec<u8>,
    /// What the device has shown.
    pub shown: Vec<u8>,
}

/// A [`Terminal`] that a test and a device share.
#[derive(Clone)]
pub struct SharedTerminal(pub Arc<Lock<Terminal>>);

impl Default for SharedTerminal {
    fn default() -> Self {
        Self(Arc::new(Lock::new(Terminal::default())))
    }
}

impl SharedTerminal {
    /// Types `text`.
    pub fn type_in(&self, text: &str) {
        self.0.lock().typed.extend_from_slice(text.as_bytes());
    }
    /// What was shown so far.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().shown).into_owned()
    }
}

impl ConsoleBackend for SharedTerminal {
    fn write(&mut self, bytes: &[u8]) {
        self.0.lock().shown.extend_from_slice(bytes);
    }
    fn read(&mut self, into: &mut [u8]) -> usize {
        let mut terminal = self.0.lock();
        let count = into.len().min(terminal.typed.len());
        for (to, from) in into.iter_mut().zip(terminal.typed.drain(..count)) {
            *to = from;
        }
        count
    }
}

/// RAM of `len` bytes.
pub fn test_ram(len: u64) -> Ram {
    Ram::zeroed(RAM_BASE, len).unwrap()
}

/// A board with a megabyte of RAM, with what `extend` adds.
pub fn test_board(harts: usize, extend: impl FnOnce(BoardBuilder) -> BoardBuilder) -> Board {
    let builder = BoardBuilder::new(
        Arc::new(test_ram(1 << 20)),
        (0..harts).map(|_| Lines::new()).collect(),
        Arc::new(VirtualClock::default()),
        Box::new(SharedTerminal::default()),
    );
    extend(builder).build().unwrap()
}

/// A device with a name and nothing else.
pub struct Named(pub &'static str);

impl Device for Named {
    fn name(&self) -> &str {
        self.0
    }
    fn load(&self, _offset: u64, _width: Width) -> Result<u64, BusFault> {
        Err(BusFault)
    }
    fn store(&self, _offset: u64, _width: Width, _value: u64) -> Result<(), BusFault> {
        Err(BusFault)
    }
    fn reset(&self) {}
}

impl Persist for Named {
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }
    fn restore(&self, _bytes: &[u8]) -> Result<(), PersistError> {
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Action {
    Load(u64, Width),
    Store(u64, Width, u64),
    Poll,
}

/// Puts the device that `make` builds, with `size` bytes of registers, through the suite.
/// Two devices from `make` must be alike.
pub fn check(make: impl Fn() -> Arc<dyn Device>, size: u64) {
    every_register_at_every_width(&make, size);
    random_guests(&make, size);
    damaged_state(&make, size);
}

/// Offsets worth trying: all of them near both ends, and one a page in between.
fn offsets(size: u64) -> impl Iterator<Item = u64> {
    (0..size.min(0x400))
        .chain((0x400..size).step_by(0x1000))
        .chain((size.saturating_sub(0x100)..size).filter(|o| *o >= 0x400))
}

fn every_register_at_every_width(make: &impl Fn() -> Arc<dyn Device>, size: u64) {
    let device = make();
    for offset in offsets(size) {
        for width in WIDTHS {
            if offset % width.bytes() != 0 || offset + width.bytes() > size {
                continue;
            }
            for value in [0, 1, 0x5a5a_5a5a_5a5a_5a5a, u64::MAX] {
                let _ = device.store(offset, width, value & width.mask());
                if let Ok(read) = device.load(offset, width) {
                    assert_eq!(
                        read & !width.mask(),
                        0,
                        "{}: load of {width:?} at {offset:#x} is not zero-extended",
                        device.name()
                    );
                }
            }
        }
    }
    goes_out_and_comes_back(&*device, &*make());
}

fn random_guests(make: &impl Fn() -> Arc<dyn Device>, size: u64) {
    let offset = prop_oneof![
        4 => 0..size.min(0x100),
        1 => 0..size,
    ];
    let width = prop::sample::select(&WIDTHS[..]);
    let value = prop_oneof![any::<u64>(), 0..64u64, (0..64u32).prop_map(|bit| 1 << bit)];
    let action = prop_oneof![
        3 => (offset.clone(), width.clone()).prop_map(|(o, w)| Action::Load(o, w)),
        6 => (offset, width, value).prop_map(|(o, w, v)| Action::Store(o, w, v)),
        1 => Just(Action::Poll),
    ];
    runner(64)
        .run(&prop::collection::vec(action, 0..100), |actions| {
            let device = make();
            for action in actions {
                match action {
                    Action::Load(offset, width) => {
                        let offset = offset & !(width.bytes() - 1);
                        if offset + width.bytes() <= size {
                            let _ = device.load(offset, width);
                        }
                    }
                    Action::Store(offset, width, value) => {
                        let offset = offset & !(width.bytes() - 1);
                        if offset + width.bytes() <= size {
                            let _ = device.store(offset, width, value & width.mask());
                        }
                    }
                    Action::Poll => device.poll(),
                }
            }
            goes_out_and_comes_back(&*device, &*make());
            device.reset();
            assert_eq!(
                device.save(),
                make().save(),
                "{}: reset does not lead to the power-on state",
                device.name()
            );
            Ok(())
        })
        .unwrap();
}

/// State saved by `device` restores into `fresh`, which then saves the same bytes.
fn goes_out_and_comes_back(device: &dyn Device, fresh: &dyn Device) {
    let saved = device.save();
    fresh.restore(&saved).unwrap();
    assert_eq!(
        fresh.save(),
        saved,
        "{}: saved state changes on its way",
        device.name()
    );
}

/// Damaged state is refused and changes nothing, or is taken on and does no harm.
fn damaged_state(make: &impl Fn() -> Arc<dyn Device>, size: u64) {
    let good = make().save();
    let flips = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8);
    let damaged = prop_oneof![
        3 => flips.prop_map(move |flips| {
            let mut bytes = good.clone();
            for (at, value) in flips {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = value;
                }
            }
            bytes
        }),
        1 => prop::collection::vec(any::<u8>(), 0..64),
    ];
    runner(256)
        .run(&damaged, |bytes| {
            let device = make();
            let before = device.save();
            match device.restore(&bytes) {
                Err(_) => assert_eq!(
                    device.save(),
                    before,
                    "{}: refused state left traces",
                    device.name()
                ),
                Ok(()) => {
                    device.poll();
                    for offset in (0..size.min(0x40)).step_by(4) {
                        let _ = device.load(offset, Width::Word);
                        let _ = device.store(offset, Width::Word, 0xffff_ffff);
                    }
                    device.poll();
                }
            }
            Ok(())
        })
        .unwrap();
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(cases)
    })
}
