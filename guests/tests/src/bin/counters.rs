//! Counters: they count, can be written and stopped, and who may read them.
#![no_std]
#![no_main]

use bare::csr;
use core::hint::black_box;
use tests::trap::{self, Mode, cause, run_in};
use tests::{Checks, bare_test, paging};

bare_test!("counters", run);

const CYCLE: usize = 1 << 0;
const TIME: usize = 1 << 1;
const INSTRET: usize = 1 << 2;
const MTIME: usize = 0x200_bff8;

fn run(t: &mut Checks) {
    paging::open_pmp();
    counting(t);
    stopping(t);
    permission(t);
}

fn work() {
    for i in 0..10_000 {
        black_box(i);
    }
}

fn counting(t: &mut Checks) {
    let (cycles, instructions, time) = (csr::read!(mcycle), csr::read!(minstret), csr::read!(time));
    work();
    t.ok("mcycle counts", csr::read!(mcycle) > cycles);
    t.ok(
        "minstret counts 10000 rounds",
        csr::read!(minstret) - instructions > 10_000,
    );
    while csr::read!(time) == time {}
    t.ok("time counts", csr::read!(time) > time);
    let before = csr::read!(time);
    let device = trap::load(MTIME);
    let after = csr::read!(time);
    t.ok("time is mtime", before <= device && device <= after);

    csr::write!(mcycle, 1 << 60);
    t.ok(
        "mcycle is writable",
        csr::read!(mcycle) - (1 << 60) < 1 << 32,
    );
    csr::write!(minstret, 1 << 50);
    t.ok(
        "minstret is writable",
        csr::read!(minstret) - (1 << 50) < 1 << 32,
    );
    t.ok("cycle shows mcycle", csr::read!(cycle) >= 1 << 60);
    t.ok("instret shows minstret", csr::read!(instret) >= 1 << 50);
}

fn stopping(t: &mut Checks) {
    csr::write!(mcountinhibit, CYCLE | INSTRET);
    t.eq(
        "mcountinhibit keeps CY and IR",
        csr::read!(mcountinhibit) & 7,
        CYCLE | INSTRET,
    );
    let (cycles, instructions) = (csr::read!(mcycle), csr::read!(minstret));
    work();
    t.eq("mcycle stands", csr::read!(mcycle), cycles);
    t.eq("minstret stands", csr::read!(minstret), instructions);
    csr::write!(mcountinhibit, TIME);
    t.eq("time cannot be stopped", csr::read!(mcountinhibit) & 7, 0);
    work();
    t.ok("mcycle goes on", csr::read!(mcycle) > cycles);
}

extern "C" fn read_cycle(_: usize) -> usize {
    csr::read!(cycle)
}

extern "C" fn read_time(_: usize) -> usize {
    csr::read!(time)
}

extern "C" fn read_instret(_: usize) -> usize {
    csr::read!(instret)
}

fn permission(t: &mut Checks) {
    let counters: [(usize, extern "C" fn(usize) -> usize); 3] = [
        (CYCLE, read_cycle),
        (TIME, read_time),
        (INSTRET, read_instret),
    ];
    for (bit, read) in counters {
        // (mcounteren, scounteren, S may, U may)
        for (machine, supervisor, s_may, u_may) in [
            (0, 0, false, false),
            (0, 7, false, false),
            (7, 0, true, false),
            (7, 7, true, true),
            (bit, bit, true, true),
            (7 & !bit, 7, false, false),
        ] {
            csr::write!(mcounteren, machine);
            csr::write!(scounteren, supervisor);
            for (mode, may) in [(Mode::S, s_may), (Mode::U, u_may)] {
                trap::take();
                run_in(mode, read, 0);
                let got = trap::take();
                if may {
                    t.passes("an allowed counter", got);
                } else {
                    t.eq(
                        "a forbidden counter",
                        got.map_or(0, |g| g.cause),
                        cause::ILLEGAL,
                    );
                }
            }
        }
    }
}
