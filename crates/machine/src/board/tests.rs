//! The board as a whole: what is where, what faults, and what state is taken.

use super::*;
use crate::clock::VirtualClock;
use crate::conformance::{SharedTerminal, WIDTHS, test_ram};
use proptest::prelude::*;
use ringer_hart::bus::request;

fn board(harts: usize) -> (Board, SharedTerminal, Arc<VirtualClock>) {
    let terminal = SharedTerminal::default();
    let clock = Arc::new(VirtualClock::default());
    let lines = (0..harts).map(|_| Lines::new()).collect();
    let board = BoardBuilder::new(
        Arc::new(test_ram(1 << 20)),
        lines,
        clock.clone(),
        Box::new(terminal.clone()),
    )
    .build()
    .unwrap();
    (board, terminal, clock)
}
fn load(board: &Board, addr: u64, width: Width) -> Result<u64, BusFault> {
    board.load(0, GuestPhys(addr), width)
}
fn store(board: &Board, addr: u64, width: Width, value: u64) -> Result<(), BusFault> {
    board.store(0, GuestPhys(addr), width, value)
}

#[test]
fn everything_is_where_the_virt_board_has_it() {
    let (board, terminal, clock) = board(1);
    board.set_handover(Handover {
        firmware: memory_map::RAM_BASE,
        device_tree: GuestPhys(0x8010_0000),
        kernel: GuestPhys(0),
    });
    clock.advance(77);
    assert_eq!(load(&board, 0x1000, Width::Word), Ok(0x297));
    assert_eq!(load(&board, 0x200_bff8, Width::Double), Ok(77));
    for slot in 0..8 {
        let base = 0x1000_1000 + slot * 0x1000;
        assert_eq!(load(&board, base, Width::Word), Ok(0x7472_6976));
        assert_eq!(load(&board, base + 8, Width::Word), Ok(0));
    }
    assert_eq!(board.time(), 77);
    assert_ne!(load(&board, 0x10_1000, Width::Word), Ok(0));
    store(&board, 0x1000_0000, Width::Byte, u64::from(b'!')).unwrap();
    assert_eq!(terminal.shown(), "!");
    store(&board, 0xc00_0028, Width::Word, 1).unwrap();
    store(&board, 0xc00_2080, Width::Word, 1 << 10).unwrap();
    store(&board, 0x1000_0001, Width::Byte, 1).unwrap();
    terminal.type_in("x");
    board.poll();
    assert_eq!(board.lines(0).pending(), irq::SEI);
    assert_eq!(load(&board, 0xc20_1004, Width::Word), Ok(10));
    store(&board, 0x10_0000, Width::Word, 0x5555).unwrap();
    assert_ne!(board.lines(0).requests() & request::YIELD, 0);
    assert_eq!(board.take_shutdown(), Some(Shutdown::PowerOff));
    let counts = board.access_counts();
    let uart = counts.iter().find(|c| c.device == "uart").unwrap();
    assert_eq!((uart.loads, uart.stores), (0, 2));
}

#[test]
fn code_is_fetched_from_the_rom_only() {
    let (board, ..) = board(1);
    board.set_handover(Handover {
        firmware: memory_map::RAM_BASE,
        device_tree: GuestPhys(0),
        kernel: GuestPhys(0),
    });
    assert_eq!(board.fetch(GuestPhys(0x1000)), Ok(0x297));
    assert_eq!(board.fetch(GuestPhys(0x1006)), Ok(0x0282));
    for addr in [0x10_0000, 0xc20_0004, 0x1000_0000, 0] {
        assert_eq!(board.fetch(GuestPhys(addr)), Err(BusFault));
    }
}

/// A hart run from reset reaches the firmware with what it needs in its registers.
#[test]
fn the_reset_vector_runs() {
    let (board, ..) = board(2);
    board.set_handover(Handover {
        firmware: GuestPhys(0x8000_1000),
        device_tree: GuestPhys(0x8008_0000),
        kernel: GuestPhys(0),
    });
    let mut hart = ringer_hart::Hart::new(1, memory_map::ROM.base.0);
    for _ in 0..6 {
        assert_eq!(hart.step(&board), None);
    }
    assert_eq!(hart.pc, 0x8000_1000);
    assert_eq!(hart.x[10], 1);
    assert_eq!(hart.x[11], 0x8008_0000);
    let info = board.load(1, GuestPhys(hart.x[12]), Width::Double);
    assert_eq!(info, Ok(0x4942_534f));
}

#[test]
fn holes_misalignment_and_read_only_fault() {
    let (board, ..) = board(1);
    for addr in [
        0,
        0xfff,
        0x10_2000,
        0x2f0_0000,
        0x1000_0100,
        0x7fff_ffff,
        u64::MAX,
    ] {
        assert_eq!(load(&board, addr, Width::Byte), Err(BusFault));
        assert_eq!(store(&board, addr, Width::Byte, 0), Err(BusFault));
    }
    assert_eq!(load(&board, 0x1001, Width::Half), Err(BusFault));
    assert_eq!(load(&board, 0x200_4004, Width::Double), Err(BusFault));
    assert_eq!(store(&board, 0x1000, Width::Word, 0), Err(BusFault));
    assert_eq!(board.faults(), 17);
}

#[test]
fn impossible_boards_are_refused() {
    let build = |ram, harts: usize| {
        let lines = (0..harts).map(|_| Lines::new()).collect();
        let clock = Arc::new(VirtualClock::default());
        let console = Box::new(SharedTerminal::default());
        BoardBuilder::new(Arc::new(ram), lines, clock, console)
    };
    let error = |builder: BoardBuilder| builder.build().err();
    assert_eq!(error(build(test_ram(4096), 0)), Some(BuildError::Harts(0)));
    assert_eq!(
        error(build(test_ram(4096), 513)),
        Some(BuildError::Harts(513))
    );
    let same = |name: &'static str| -> MakeDevice {
        Box::new(move |_, _| Arc::new(crate::conformance::Named(name)))
    };
    let full = (0..9).fold(build(test_ram(4096), 1), |b, _| b.virtio(same("x")));
    assert_eq!(error(full), Some(BuildError::Slots(9)));
    let twice = build(test_ram(4096), 1).virtio(same("uart"));
    assert_eq!(error(twice), Some(BuildError::Name("uart".to_string())));
}

#[test]
fn state_moves_to_another_board_and_reset_clears_it() {
    let (one, _, clock) = board(2);
    let power_on = one.save();
    store(&one, 0xc00_0004, Width::Word, 5).unwrap();
    store(&one, 0x200_4008, Width::Double, 99).unwrap();
    store(&one, 0x1000_0007, Width::Byte, 0xaa).unwrap();
    clock.advance(1234);
    let (two, ..) = board(2);
    two.restore(&one.save()).unwrap();
    assert_eq!(two.save(), one.save());
    assert_eq!(two.time(), 1234);
    assert_eq!(two.lines(1).mtimecmp(), 99);
    one.reset();
    assert_eq!(one.save(), power_on);
}

#[test]
fn state_that_does_not_fit_changes_nothing() {
    let (one, ..) = board(1);
    store(&one, 0x1000_0007, Width::Byte, 0xaa).unwrap();
    let (two, ..) = board(2);
    let before = two.save();
    assert!(matches!(
        two.restore(&one.save()),
        Err(PersistError::Mismatch { .. })
    ));
    assert_eq!(two.save(), before);

    let mut state: State = decode("", &before).unwrap();
    state.devices.remove("rtc");
    assert!(two.restore(&encode(&state)).is_err());
    state
        .devices
        .insert("rtc".to_string(), ByteVec::from(Vec::new()));
    assert!(two.restore(&encode(&state)).is_err());
    let mut state: State = decode("", &before).unwrap();
    state
        .devices
        .insert("gpu".to_string(), ByteVec::from(Vec::new()));
    assert!(two.restore(&encode(&state)).is_err());
    assert_eq!(two.save(), before);
}

proptest! {
    /// Any access anywhere: an answer of that width or a fault, and state that can be
    /// saved and restored.
    #[test]
    fn random_accesses(
        accesses in prop::collection::vec(
            (
                prop_oneof![
                    any::<u64>(),
                    0..0x1200_0000u64,
                    0x1000_0000..0x1000_0008u64,
                    0xc00_0000..0xc00_2400u64,
                    0x200_0000..0x200_c000u64,
                ],
                prop::sample::select(&WIDTHS[..]),
                any::<Option<u64>>(),
            ),
            0..200,
        ),
    ) {
        let (one, ..) = board(2);
        for (addr, width, value) in accesses {
            match value {
                Some(value) => drop(store(&one, addr, width, value)),
                None => {
                    if let Ok(value) = load(&one, addr, width) {
                        prop_assert_eq!(value & !width.mask(), 0);
                    }
                }
            }
            one.poll();
        }
        let (two, ..) = board(2);
        two.restore(&one.save()).unwrap();
        prop_assert_eq!(two.save(), one.save());
    }

    /// Damaged state is refused without a trace, or does no harm.
    #[test]
    fn damaged_state(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (one, ..) = board(2);
        let before = one.save();
        let mut bytes = before.clone();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        match one.restore(&bytes) {
            Err(_) => prop_assert_eq!(one.save(), before),
            Ok(()) => {
                one.poll();
                one.reset();
            }
        }
    }
}
