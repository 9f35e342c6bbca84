//! Performance counters: what they count, when a write shows, and how they stop.

use ringer_hart::Mode;
use ringer_hart::counter::Event;
use ringer_isa::asm::register::*;
use ringer_isa::csr as number;

use crate::rig::{program, run};

#[test]
fn instructions_retired_are_counted_one_by_one() {
    let rig = program(|code| {
        code.csrr(A0, number::MINSTRET)
            .add(ZERO, ZERO, ZERO)
            .add(ZERO, ZERO, ZERO)
            .csrr(A1, number::MINSTRET)
            .csrr(A2, number::INSTRET)
            .csrr(A3, number::MCYCLE);
    });
    assert_eq!(rig.hart.x[10..=13], [0, 3, 4, 5]);
}

#[test]
fn a_read_after_a_write_sees_the_value_written() {
    let rig = program(|code| {
        code.csrrwi(A0, number::MINSTRET, 0)
            .csrr(A0, number::MINSTRET)
            .li(T0, u64::MAX)
            .csrw(number::MINSTRET, T0)
            .csrr(A1, number::MINSTRET)
            .csrr(A2, number::MINSTRET)
            .csrwi(number::MCYCLE, 9)
            .csrr(A3, number::MCYCLE);
    });
    assert_eq!(rig.hart.x[10..=13], [0, u64::MAX, 0, 9]);
}

#[test]
fn inhibited_counters_stand_still_and_can_be_written() {
    let rig = program(|code| {
        code.csrwi(number::MCOUNTINHIBIT, 4)
            .csrwi(number::MINSTRET, 20)
            .add(ZERO, ZERO, ZERO)
            .csrr(A0, number::MINSTRET)
            .csrr(A1, number::MCYCLE)
            .csrr(A2, number::MCYCLE)
            .csrwi(number::MCOUNTINHIBIT, 0)
            .csrr(A3, number::MINSTRET)
            .csrr(A4, number::MINSTRET);
    });
    assert_eq!(rig.hart.x[10], 20);
    assert_eq!(rig.hart.x[12], rig.hart.x[11] + 1);
    assert_eq!(rig.hart.x[14], rig.hart.x[13] + 1);
    assert!(rig.hart.x[13] <= 21);
}

#[test]
fn programmable_counters_count_their_event() {
    let rig = program(|code| {
        code.li(T0, Event::CsrAccesses as u64)
            .csrw(number::MHPMEVENT3, T0)
            .csrr(A0, number::MHPMEVENT3)
            .csrwi(number::MHPMCOUNTER3, 0)
            .add(ZERO, ZERO, ZERO)
            .csrr(A1, number::MHPMCOUNTER3)
            .csrr(A2, number::HPMCOUNTER3)
            // No event: it keeps its value.
            .csrw(number::MHPMEVENT3, ZERO)
            .csrr(A3, number::MHPMCOUNTER3)
            .csrr(A4, number::MHPMCOUNTER3)
            // Any other counter can do the same.
            .li(T0, Event::Instructions as u64)
            .csrw(number::MHPMEVENT3 + 28, T0)
            .csrwi(number::MHPMCOUNTER3 + 28, 5)
            .csrr(A5, number::MHPMCOUNTER3 + 28);
    });
    rig.completed();
    assert_eq!(rig.hart.x[10], Event::CsrAccesses as u64);
    assert_eq!(rig.hart.x[12], rig.hart.x[11] + 1);
    assert_eq!(rig.hart.x[13], rig.hart.x[14]);
    assert_eq!(rig.hart.x[15], 5);
}

#[test]
fn unknown_events_select_nothing() {
    let rig = program(|code| {
        code.csr_set(number::MHPMEVENT3, 0xffff, T0)
            .csrr(A0, number::MHPMEVENT3)
            .csrr(A1, number::MHPMCOUNTER3);
    });
    assert_eq!(rig.hart.x[10..=11], [0, 0]);
}

#[test]
fn time_is_the_machines_clock() {
    let rig = run(|rig| {
        rig.machine.set_time(123_456);
        rig.set_csr(number::MCOUNTEREN, 2);
        rig.mode(Mode::S);
        rig.code.csrr(A0, number::TIME);
    });
    assert_eq!(rig.hart.x[10], 123_456);
}

#[test]
fn programmable_counters_are_shown_as_their_enables_say() {
    for (mcounteren, allowed) in [(8, true), (16, false)] {
        let rig = run(|rig| {
            rig.set_csr(number::MCOUNTEREN, mcounteren);
            rig.mode(Mode::S);
            rig.code.csrr(A0, number::HPMCOUNTER3);
        });
        assert_eq!(rig.hart.counts.exceptions[2] == 0, allowed);
    }
}
