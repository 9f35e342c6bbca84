//! Tests of the SBI, by calls as a kernel makes them.

extern crate std;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering::SeqCst};

use proptest::prelude::*;
use ringer_hart::bus::{irq, request};
use ringer_hart::hart::Effects;
use ringer_hart::{Bus, Exit, GuestPhys, Hart, Interpreter, Lines};
use sbi_spec::binary::{
    RET_ERR_ALREADY_AVAILABLE, RET_ERR_ALREADY_STARTED, RET_ERR_ALREADY_STOPPED,
    RET_ERR_INVALID_ADDRESS, RET_ERR_INVALID_PARAM, RET_ERR_NOT_SUPPORTED,
};
use sbi_spec::{base, dbcn, hsm, pmu, rfnc, spi, srst, time};

use super::*;
use crate::board::BoardBuilder;
use crate::clock::VirtualClock;
use crate::conformance::{SharedTerminal, test_ram};
use crate::power::Shutdown;

const RAM: u64 = 0x8000_0000;

struct Bench {
    board: Board,
    sbi: Sbi,
    terminal: SharedTerminal,
    harts: Vec<Hart>,
}

impl Bench {
    /// A machine whose hart 0 has been started; the others are stopped.
    fn new(count: usize) -> Self {
        let terminal = SharedTerminal::default();
        let board = BoardBuilder::new(
            Arc::new(test_ram(1 << 20)),
            (0..count).map(|_| Lines::new()).collect(),
            Arc::new(VirtualClock::default()),
            Box::new(terminal.clone()),
        )
        .build()
        .unwrap();
        let sbi = Sbi::new(count);
        let mut harts: Vec<Hart> = (0..count).map(|id| Hart::new(id, 0)).collect();
        sbi.boot(0, GuestPhys(RAM), 0x1234);
        assert!(sbi.start(&mut harts[0], &board));
        Self {
            board,
            sbi,
            terminal,
            harts,
        }
    }
    fn raw(&mut self, hart: usize, id: usize, function: usize, args: &[u64]) -> Outcome {
        let hart = &mut self.harts[hart];
        hart.x[10..10 + args.len()].copy_from_slice(args);
        hart.x[16] = function as u64;
        hart.x[17] = id as u64;
        self.sbi.call(hart, &self.board)
    }
    /// A call that returns: its error as a number, and its value.
    fn call(&mut self, hart: usize, id: usize, function: usize, args: &[u64]) -> (usize, u64) {
        let pc = self.harts[hart].pc;
        assert_eq!(self.raw(hart, id, function, args), Outcome::Run);
        let hart = &self.harts[hart];
        assert_eq!(hart.pc, pc + 4);
        (hart.x[10] as usize, hart.x[11])
    }
    fn status(&mut self, hart: u64) -> u64 {
        let (error, value) = self.call(0, hsm::EID_HSM, hsm::HART_GET_STATUS, &[hart]);
        assert_eq!(error, 0);
        value
    }
}

#[test]
fn base_says_what_there_is() {
    let mut bench = Bench::new(1);
    let mut call = |function, arg| bench.call(0, base::EID_BASE, function, &[arg]);
    assert_eq!(call(base::GET_SBI_SPEC_VERSION, 0), (0, 0x200_0000));
    for id in [
        0,
        8,
        0x10,
        0x5449_4d45,
        0x73_5049,
        0x5246_4e43,
        0x48_534d,
        0x5352_5354,
        0x4442_434e,
        0x50_4d55,
    ] {
        assert_eq!(call(base::PROBE_EXTENSION, id), (0, 1), "{id:#x}");
    }
    for id in [9, 0x11, 0x5355_5350, u64::MAX] {
        assert_eq!(call(base::PROBE_EXTENSION, id), (0, 0), "{id:#x}");
    }
    assert_eq!(call(99, 0).0, RET_ERR_NOT_SUPPORTED);
    assert_eq!(bench.call(0, 0x5355_5350, 0, &[]).0, RET_ERR_NOT_SUPPORTED);
}

#[test]
fn the_timer_is_stimecmp() {
    let mut bench = Bench::new(1);
    bench.harts[0].csrs.mie = irq::STI;
    assert_eq!(bench.call(0, time::EID_TIME, time::SET_TIMER, &[5]), (0, 0));
    assert!(!bench.harts[0].wakes(&bench.board));
    bench.board.clock().set_ticks(5);
    assert!(bench.harts[0].wakes(&bench.board));
    bench.call(0, 0, 0, &[6]);
    assert!(!bench.harts[0].wakes(&bench.board));
}

#[test]
fn interrupts_between_harts() {
    let mut bench = Bench::new(4);
    let ipi =
        |bench: &mut Bench, mask, base| bench.call(0, spi::EID_SPI, spi::SEND_IPI, &[mask, base]).0;
    let pending = |bench: &Bench| -> Vec<bool> {
        (0..4)
            .map(|hart| bench.board.lines(hart).pending() == irq::SSI)
            .collect()
    };
    assert_eq!(ipi(&mut bench, 0b101, 1), 0);
    assert_eq!(pending(&bench), [false, true, false, true]);
    assert_eq!(ipi(&mut bench, 0b11, 3), RET_ERR_INVALID_PARAM);
    assert_eq!(ipi(&mut bench, 0, u64::MAX), 0);
    assert_eq!(pending(&bench), [true; 4]);
}

#[test]
fn a_hart_starts_stops_and_starts_again() {
    let mut bench = Bench::new(2);
    let start = |bench: &mut Bench, hart, entry| {
        bench
            .call(0, hsm::EID_HSM, hsm::HART_START, &[hart, entry, 77])
            .0
    };
    assert_eq!(bench.status(0), 0);
    assert_eq!(bench.status(1), 1);
    for bad in [0, RAM + 1, RAM + (1 << 20), u64::MAX] {
        assert_eq!(start(&mut bench, 1, bad), RET_ERR_INVALID_ADDRESS);
    }
    assert_eq!(start(&mut bench, 2, RAM), RET_ERR_INVALID_PARAM);
    assert_eq!(start(&mut bench, u64::MAX, RAM), RET_ERR_INVALID_PARAM);
    assert_eq!(start(&mut bench, 0, RAM), RET_ERR_ALREADY_AVAILABLE);

    let Bench {
        sbi, harts, board, ..
    } = &mut bench;
    assert!(!sbi.start(&mut harts[1], board));
    assert_eq!(start(&mut bench, 1, RAM + 0x100), 0);
    assert_eq!(bench.status(1), 2);
    assert_ne!(bench.board.lines(1).requests() & request::YIELD, 0);
    assert_eq!(start(&mut bench, 1, RAM), RET_ERR_ALREADY_AVAILABLE);

    assert!(bench.sbi.start(&mut bench.harts[1], &bench.board));
    let hart = &bench.harts[1];
    assert_eq!((hart.pc, hart.x[10], hart.x[11]), (RAM + 0x100, 1, 77));
    assert_eq!(bench.status(1), 0);

    assert_eq!(
        bench.raw(1, hsm::EID_HSM, hsm::HART_STOP, &[]),
        Outcome::Stopped
    );
    assert_eq!(bench.status(1), 1);
    assert!(!bench.sbi.start(&mut bench.harts[1], &bench.board));
    assert_eq!(start(&mut bench, 1, RAM), 0);
    assert!(bench.sbi.start(&mut bench.harts[1], &bench.board));
}

#[test]
fn suspended_harts_wait_and_resume() {
    let mut bench = Bench::new(2);
    let suspend =
        |bench: &mut Bench, args: &[u64]| bench.raw(0, hsm::EID_HSM, hsm::HART_SUSPEND, args);
    assert_eq!(suspend(&mut bench, &[0, 0, 0]), Outcome::Wait);
    assert_eq!(bench.harts[0].pc, RAM + 4);
    assert_eq!(bench.harts[0].x[10], 0);
    assert_eq!(bench.sbi.harts[0].save().0, lifecycle::State::Suspended);
    bench.sbi.while_running(0, || {});
    assert_eq!(bench.status(0), 0);

    bench.harts[0].csrs.satp = 8 << 60;
    let args = [0x8000_0000, RAM + 0x40, 9];
    assert_eq!(suspend(&mut bench, &args), Outcome::Wait);
    let hart = &bench.harts[0];
    assert_eq!((hart.pc, hart.x[10], hart.x[11]), (RAM + 0x40, 0, 9));
    assert_eq!(hart.csrs.satp, 0);

    for (kind, error) in [
        (1, RET_ERR_INVALID_PARAM),
        (0x8000_0001, RET_ERR_INVALID_PARAM),
        (0x1000_0000, RET_ERR_NOT_SUPPORTED),
        (1 << 32, RET_ERR_INVALID_PARAM),
    ] {
        assert_eq!(suspend(&mut bench, &[kind, 0, 0]), Outcome::Run);
        assert_eq!(bench.harts[0].x[10], error as u64);
    }
    suspend(&mut bench, &[0x8000_0000, 3, 0]);
    assert_eq!(bench.harts[0].x[10], RET_ERR_INVALID_ADDRESS as u64);
}

#[test]
fn resets_reach_the_power_switch() {
    for (kind, reason, shutdown) in [
        (0, 0, Shutdown::PowerOff),
        (0, 1, Shutdown::Fail(1)),
        (1, 0, Shutdown::Reset),
        (2, 0xe000_0000, Shutdown::Reset),
    ] {
        let mut bench = Bench::new(1);
        let outcome = bench.raw(0, srst::EID_SRST, srst::SYSTEM_RESET, &[kind, reason]);
        assert_eq!(outcome, Outcome::Down);
        assert_eq!(bench.board.take_shutdown(), Some(shutdown));
    }
    let mut bench = Bench::new(1);
    for (kind, reason) in [(3, 0), (0, 2), (1 << 32, 0)] {
        let (error, _) = bench.call(0, srst::EID_SRST, srst::SYSTEM_RESET, &[kind, reason]);
        assert_eq!(error, RET_ERR_INVALID_PARAM);
    }
    assert_eq!(bench.board.take_shutdown(), None);
    assert_eq!(bench.raw(0, 8, 0, &[]), Outcome::Down);
    assert_eq!(bench.board.take_shutdown(), Some(Shutdown::PowerOff));
}

#[test]
fn the_console_writes_and_reads_guest_memory() {
    let mut bench = Bench::new(1);
    let console =
        |bench: &mut Bench, function, args: &[u64]| bench.call(0, dbcn::EID_DBCN, function, args);
    bench.board.ram().write(GuestPhys(RAM), b"hello").unwrap();
    assert_eq!(
        console(&mut bench, dbcn::CONSOLE_WRITE, &[5, RAM, 0]),
        (0, 5)
    );
    assert_eq!(
        console(&mut bench, dbcn::CONSOLE_WRITE_BYTE, &[0x121]),
        (0, 0)
    );
    assert_eq!(bench.terminal.shown(), "hello!");
    bench.terminal.type_in("typed");
    let args = [3, RAM + 0x100, 0];
    assert_eq!(console(&mut bench, dbcn::CONSOLE_READ, &args), (0, 3));
    let mut read = [0; 3];
    bench.board.ram().read(GuestPhys(RAM + 0x100), &mut read);
    assert_eq!(&read, b"typ");
    let whole = [1 << 20, RAM, 0];
    assert_eq!(console(&mut bench, dbcn::CONSOLE_WRITE, &whole), (0, 1024));
    assert_eq!(console(&mut bench, dbcn::CONSOLE_WRITE, &[0, 0, 0]), (0, 0));
    for args in [
        [5, 0x1000_0000, 0],
        [5, RAM, 1],
        [(1 << 20) + 1, RAM, 0],
        [u64::MAX, RAM, 0],
        [1, u64::MAX, u64::MAX],
    ] {
        for function in [dbcn::CONSOLE_WRITE, dbcn::CONSOLE_READ] {
            assert_eq!(
                console(&mut bench, function, &args).0,
                RET_ERR_INVALID_PARAM
            );
        }
    }
    assert_eq!(console(&mut bench, dbcn::CONSOLE_READ, &args), (0, 2));
}

#[test]
fn legacy_calls() {
    let mut bench = Bench::new(3);
    bench.harts[0].x[11] = 0xabcd;
    // Legacy calls leave a1 alone.
    assert_eq!(bench.call(0, 1, 0, &[u64::from(b'c')]), (0, 0xabcd));
    assert_eq!(bench.terminal.shown(), "c");
    assert_eq!(bench.call(0, 2, 0, &[]).0, usize::MAX);
    bench.terminal.type_in("k");
    assert_eq!(bench.call(0, 2, 0, &[]).0, usize::from(b'k'));

    let mask = RAM + 0x203;
    bench
        .board
        .ram()
        .write(GuestPhys(mask), &[0b110, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bench.call(0, 4, 0, &[mask]).0, 0);
    assert_eq!(bench.board.lines(0).pending(), 0);
    assert_eq!(bench.board.lines(1).pending(), irq::SSI);
    assert_eq!(bench.board.lines(2).pending(), irq::SSI);
    assert_eq!(bench.call(0, 4, 0, &[0]).0, 0);
    assert_eq!(bench.board.lines(0).pending(), irq::SSI);
    assert_eq!(bench.call(0, 3, 0, &[]).0, 1);
    assert_eq!(bench.board.lines(0).pending(), 0);
    for id in [5, 6, 7] {
        assert_eq!(bench.call(0, id, 0, &[mask]).0, 0);
    }
    let asked = bench.board.lines(1).requests();
    assert_ne!(asked & request::FENCE_I, 0);
    assert_ne!(asked & request::FENCE_VMA, 0);

    // A mask that cannot be read is the caller's fault.
    bench.harts[0].csrs.stvec = RAM + 0x800;
    let pc = bench.harts[0].pc;
    assert_eq!(bench.raw(0, 4, 0, &[0x1000_0000]), Outcome::Run);
    let hart = &bench.harts[0];
    assert_eq!((hart.pc, hart.csrs.sepc), (RAM + 0x800, pc));
    assert_eq!((hart.csrs.scause, hart.csrs.stval), (5, 0x1000_0000));
}

#[test]
fn fences_reach_others_and_oneself() {
    let mut bench = Bench::new(2);
    bench.harts[0].effects = Effects::empty();
    let (error, _) = bench.call(0, rfnc::EID_RFNC, rfnc::REMOTE_FENCE_I, &[0b11, 0]);
    assert_eq!(error, 0);
    assert_eq!(bench.harts[0].effects, Effects::FENCE_I);
    assert_eq!(
        bench.board.lines(1).take_requests() & request::FENCE_I,
        request::FENCE_I
    );
    let (error, _) = bench.call(
        0,
        rfnc::EID_RFNC,
        rfnc::REMOTE_SFENCE_VMA_ASID,
        &[0b10, 0, 0, u64::MAX, 3],
    );
    assert_eq!(error, 0);
    assert_eq!(bench.harts[0].effects, Effects::FENCE_I);
    assert_eq!(
        bench.board.lines(1).take_requests() & request::FENCE_VMA,
        request::FENCE_VMA
    );
    let (error, _) = bench.call(0, rfnc::EID_RFNC, rfnc::REMOTE_HFENCE_GVMA, &[1, 0]);
    assert_eq!(error, RET_ERR_NOT_SUPPORTED);
    let (error, _) = bench.call(0, rfnc::EID_RFNC, rfnc::REMOTE_FENCE_I, &[0b100, 0]);
    assert_eq!(error, RET_ERR_INVALID_PARAM);
}

/// A fence returns only when a hart that runs at the same time has taken it.
#[test]
fn fences_wait_for_harts_that_run() {
    const FENCES: u64 = 200;
    let mut bench = Bench::new(2);
    // Hart 1 loops for ever at the start of RAM: `j .`.
    bench.board.ram().store(GuestPhys(RAM), 0x0000_006f_u32);
    bench.sbi.boot(1, GuestPhys(RAM), 0);
    let (board, sbi) = (&bench.board, &bench.sbi);
    let (zero, one) = bench.harts.split_at_mut(1);
    assert!(sbi.start(&mut one[0], board));
    board.lines(1).take_requests();
    let running = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let exit = sbi.while_running(1, || {
                running.store(true, SeqCst);
                Interpreter::new().run(&mut one[0], board, u64::MAX)
            });
            assert_eq!(exit, Exit::Yield);
        });
        while !running.load(SeqCst) {
            std::thread::yield_now();
        }
        for _ in 0..FENCES {
            let hart = &mut zero[0];
            hart.x[10] = 0b10;
            hart.x[11] = 0;
            hart.x[16] = rfnc::REMOTE_SFENCE_VMA as u64;
            hart.x[17] = rfnc::EID_RFNC as u64;
            assert_eq!(sbi.call(hart, board), Outcome::Run);
            assert_eq!(hart.x[10], 0);
        }
        board.lines(1).request(request::YIELD);
    });
    // Had one returned early, the next would have been taken together with it.
    assert_eq!(one[0].counts.fences_vma, FENCES);
}

#[test]
fn counters_are_found_run_and_stop() {
    let mut bench = Bench::new(1);
    let call =
        |bench: &mut Bench, function, args: &[u64]| bench.call(0, pmu::EID_PMU, function, args);
    assert_eq!(call(&mut bench, pmu::NUM_COUNTERS, &[]), (0, 32));
    let info = |bench: &mut Bench, index| call(bench, pmu::COUNTER_GET_INFO, &[index]);
    assert_eq!(info(&mut bench, 0), (0, 63 << 12 | 0xc00));
    assert_eq!(info(&mut bench, 31), (0, 63 << 12 | 0xc1f));
    assert_eq!(info(&mut bench, 1).0, RET_ERR_INVALID_PARAM);
    assert_eq!(info(&mut bench, 32).0, RET_ERR_INVALID_PARAM);

    let all = 0xffff_ffff;
    let configure = |bench: &mut Bench, event| {
        call(bench, pmu::COUNTER_CONFIG_MATCHING, &[0, all, 2, event, 0])
    };
    // The fixed counter first, then one of the others.
    assert_eq!(configure(&mut bench, 1), (0, 0));
    assert_eq!(configure(&mut bench, 1), (0, 3));
    assert_eq!(configure(&mut bench, 2), (0, 2));
    let dtlb_read_miss = 1 << 16 | 3 << 3 | 1;
    assert_eq!(configure(&mut bench, dtlb_read_miss), (0, 4));
    assert_eq!(configure(&mut bench, 5).0, RET_ERR_NOT_SUPPORTED);
    assert_eq!(configure(&mut bench, 15 << 16).0, RET_ERR_NOT_SUPPORTED);

    let value = |bench: &Bench, index| {
        let hart = &bench.harts[0];
        hart.csrs.counters.read(index, &hart.counts)
    };
    assert_eq!(
        call(&mut bench, pmu::COUNTER_START, &[0, 0b1000, 1, 100]),
        (0, 0)
    );
    // The call itself is an instruction, of which the counter sees the end.
    assert_eq!(value(&bench, 3), 100);
    bench.call(0, base::EID_BASE, 0, &[]);
    assert_eq!(value(&bench, 3), 101);
    assert_eq!(value(&bench, 2), 0);
    let again = call(&mut bench, pmu::COUNTER_START, &[0, 0b1000, 0, 0]);
    assert_eq!(again.0, RET_ERR_ALREADY_STARTED);
    assert_eq!(call(&mut bench, pmu::COUNTER_STOP, &[3, 1, 0]), (0, 0));
    let stopped = value(&bench, 3);
    bench.call(0, base::EID_BASE, 0, &[]);
    assert_eq!(value(&bench, 3), stopped);
    let again = call(&mut bench, pmu::COUNTER_STOP, &[3, 1, 1]);
    assert_eq!(again.0, RET_ERR_ALREADY_STOPPED);
    // The reset has freed it.
    assert_eq!(configure(&mut bench, 1), (0, 3));
    for (base, mask) in [(0, 0), (0, 2), (31, 3), (64, 1), (u64::MAX, 1), (7, 1)] {
        let (error, _) = call(&mut bench, pmu::COUNTER_START, &[base, mask, 0, 0]);
        assert_eq!(error, RET_ERR_INVALID_PARAM, "{base} {mask}");
    }
}

#[test]
fn of_many_starts_at_once_one_wins() {
    let bench = Bench::new(2);
    for _ in 0..50 {
        bench.sbi.harts[1].restore(lifecycle::State::Stopped, 0);
        let won: usize = std::thread::scope(|scope| {
            let starters: Vec<_> = (0..4)
                .map(|n| {
                    let (sbi, board) = (&bench.sbi, &bench.board);
                    scope.spawn(move || {
                        let mut hart = Hart::new(0, RAM);
                        hart.x[10] = 1;
                        hart.x[11] = RAM + n * 16;
                        hart.x[12] = n * 16;
                        hart.x[16] = hsm::HART_START as u64;
                        hart.x[17] = hsm::EID_HSM as u64;
                        sbi.call(&mut hart, board);
                        usize::from(hart.x[10] == 0)
                    })
                })
                .collect();
            starters.into_iter().map(|s| s.join().unwrap()).sum()
        });
        assert_eq!(won, 1);
        let (entry, opaque) = bench.sbi.harts[1].take_start().unwrap();
        assert_eq!(entry - RAM, opaque);
    }
}

#[test]
fn state_moves_to_another_machine() {
    let mut one = Bench::new(3);
    let start = [2, RAM + 8, 5];
    one.call(0, hsm::EID_HSM, hsm::HART_START, &start);
    one.call(
        0,
        pmu::EID_PMU,
        pmu::COUNTER_CONFIG_MATCHING,
        &[0, 8, 0, 1, 0],
    );
    let mut two = Bench::new(3);
    two.sbi.restore(&one.sbi.save()).unwrap();
    assert_eq!(two.sbi.save(), one.sbi.save());
    assert_eq!(two.status(2), 2);
    assert!(two.sbi.start(&mut two.harts[2], &two.board));
    assert_eq!(two.harts[2].pc, RAM + 8);
    assert!(Bench::new(2).sbi.restore(&one.sbi.save()).is_err());
    one.sbi.reset();
    assert_eq!(one.sbi.save(), Sbi::new(3).save());
}

proptest! {
    /// Any call with any arguments is answered, whatever state the harts are in.
    #[test]
    fn hostile_calls(
        calls in prop::collection::vec(
            (
                0..3usize,
                prop_oneof![
                    0..10u64,
                    prop::sample::select(EXTENSIONS.iter().map(|e| e.id).collect::<Vec<_>>()),
                    any::<u64>(),
                ],
                prop_oneof![0..10u64, any::<u64>()],
                prop::array::uniform6(prop_oneof![
                    0..16u64,
                    any::<u64>(),
                    RAM - 8..RAM + 16,
                    (0..64u32).prop_map(|bit| 1 << bit),
                ]),
            ),
            0..60,
        ),
    ) {
        let mut bench = Bench::new(3);
        for (hart, id, function, args) in calls {
            let Bench { sbi, board, harts, .. } = &mut bench;
            if sbi.start(&mut harts[hart], board) {
                bench.raw(hart, id as usize, function as usize, &args);
            }
        }
        let other = Sbi::new(3);
        other.restore(&bench.sbi.save()).unwrap();
        prop_assert_eq!(other.save(), bench.sbi.save());
    }

    #[test]
    fn damaged_state_is_refused_or_harmless(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let sbi = Sbi::new(2);
        let before = sbi.save();
        if sbi.restore(&bytes).is_err() {
            prop_assert_eq!(sbi.save(), before);
        }
    }
}
