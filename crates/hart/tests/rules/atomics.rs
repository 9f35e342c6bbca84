//! Atomic memory operations and reservations.

use ringer_isa::Op;
use ringer_isa::asm::Assembler;
use ringer_isa::asm::Ordering::Relaxed;
use ringer_isa::asm::register::*;
use ringer_lockstep::assembled;
use ringer_lockstep::machine::DEVICE;

use crate::rig::{DATA, HANDLER, RAM, program, run};

/// What an AMO leaves in the register and in memory.
fn amo(op: Op, memory: u64, operand: u64) -> (u64, u64) {
    let rig = run(|rig| {
        rig.machine.write_u64(DATA, memory);
        rig.code
            .li(T0, DATA)
            .li(T1, operand)
            .atomic(op, A0, T1, T0, Relaxed);
    });
    rig.completed();
    (rig.hart.x[10], rig.machine.read_u64(DATA))
}

#[test]
fn operations_of_doublewords() {
    let (m, r) = (0xf000_0000_0000_000f, 0x7fff_0000_0000_00f1);
    for (op, result) in [
        (Op::AmoswapD, r),
        (Op::AmoaddD, 0x6fff_0000_0000_0100),
        (Op::AmoxorD, m ^ r),
        (Op::AmoandD, m & r),
        (Op::AmoorD, m | r),
        (Op::AmominD, m),
        (Op::AmomaxD, r),
        (Op::AmominuD, r),
        (Op::AmomaxuD, m),
    ] {
        assert_eq!(amo(op, m, r), (m, result), "{op:?}");
    }
}

#[test]
fn operations_of_words_extend_their_result_and_leave_the_rest_of_memory() {
    let memory = 0x1111_1111_8000_0001;
    let old = 0xffff_ffff_8000_0001;
    for (op, operand, word) in [
        (Op::AmoswapW, 0xffff_ffff_0000_0002, 2u64),
        (Op::AmoaddW, 0x8000_0000, 1),
        (Op::AmoxorW, u64::MAX, 0x7fff_fffe),
        (Op::AmoandW, 0xffff_ffff_0000_0000, 0),
        (Op::AmoorW, 2, 0x8000_0003),
        (Op::AmominW, 0x1_0000_0000, 0x8000_0001),
        (Op::AmomaxW, 0x1_0000_0000, 0),
        (Op::AmominuW, 0xffff_ffff_7fff_ffff, 0x7fff_ffff),
        (Op::AmomaxuW, 0xffff_ffff_7fff_ffff, 0x8000_0001),
    ] {
        let expected = (old, 0x1111_1111_0000_0000 | word);
        assert_eq!(amo(op, memory, operand), expected, "{op:?}");
    }
}

#[test]
fn operations_of_halves_and_bytes() {
    let memory = 0x1111_1111_1111_8081;
    for (op, operand, old, half) in [
        (Op::AmoaddB, 0x17f, 0xffff_ffff_ffff_ff81, 0x8000u64),
        (Op::AmomaxB, 0x100, 0xffff_ffff_ffff_ff81, 0x8000),
        (Op::AmomaxuB, 0x7f, 0xffff_ffff_ffff_ff81, 0x8081),
        (Op::AmoswapB, 0x1ff, 0xffff_ffff_ffff_ff81, 0x80ff),
        (Op::AmoaddH, 0x7f7f, 0xffff_ffff_ffff_8081, 0x0000),
        (Op::AmominH, 0x10000, 0xffff_ffff_ffff_8081, 0x8081),
        (Op::AmominuH, 5, 0xffff_ffff_ffff_8081, 5),
        (Op::AmoandH, 0xff, 0xffff_ffff_ffff_8081, 0x81),
    ] {
        let expected = (old, 0x1111_1111_1111_0000 | half);
        assert_eq!(amo(op, memory, operand), expected, "{op:?}");
    }
}

#[test]
fn one_register_can_be_everything() {
    let rig = run(|rig| {
        rig.code
            .li(A0, DATA)
            .atomic(Op::AmoswapD, A0, A0, A0, Relaxed);
    });
    rig.completed();
    assert_eq!((rig.hart.x[10], rig.machine.read_u64(DATA)), (0, DATA));
}

#[test]
fn misaligned_atomics_trap() {
    for (op, offset, cause) in [
        (Op::LrW, 2, 4),
        (Op::LrD, 4, 4),
        (Op::ScW, 1, 6),
        (Op::ScD, 4, 6),
        (Op::AmoaddW, 2, 6),
        (Op::AmoaddD, 4, 6),
        (Op::AmoaddH, 1, 6),
    ] {
        let rig = program(|code| {
            code.li(T0, DATA + offset).atomic(op, A0, ZERO, T0, Relaxed);
        });
        assert_eq!(
            (rig.hart.csrs.mcause, rig.hart.csrs.mtval),
            (cause, DATA + offset),
            "{op:?}"
        );
    }
    assert_eq!(amo(Op::AmoaddB, 0, 1).1, 1);
}

#[test]
fn only_memory_has_atomics() {
    for (op, cause) in [(Op::LrW, 5), (Op::ScW, 7), (Op::AmoaddW, 7)] {
        for address in [DEVICE, 0x2000_0000] {
            let rig = program(|code| {
                code.li(T0, address).atomic(op, A0, ZERO, T0, Relaxed);
            });
            assert_eq!(
                (rig.hart.csrs.mcause, rig.hart.csrs.mtval),
                (cause, address)
            );
        }
    }
}

#[test]
fn sc_succeeds_after_lr_and_once_only() {
    let rig = run(|rig| {
        rig.machine.write_u64(DATA, 0x8000_0000);
        rig.code
            .li(T0, DATA)
            .li(T1, 7)
            .atomic(Op::LrW, A0, ZERO, T0, Relaxed)
            .atomic(Op::ScW, A1, T1, T0, Relaxed)
            .atomic(Op::ScW, A2, T1, T0, Relaxed)
            .atomic(Op::LrD, A3, ZERO, T0, Relaxed)
            .atomic(Op::ScD, A4, ZERO, T0, Relaxed);
    });
    rig.completed();
    assert_eq!(rig.hart.x[10..=14], [0xffff_ffff_8000_0000, 0, 1, 7, 0]);
    assert_eq!(rig.machine.read_u64(DATA), 0);
    assert_eq!(rig.hart.counts.failed_sc, 1);
}

#[test]
fn sc_fails_elsewhere_and_after_a_change() {
    let rig = program(|code| {
        code.li(T0, DATA)
            .li(T1, 7)
            .li(T2, DATA + 8)
            .atomic(Op::LrD, A0, ZERO, T0, Relaxed)
            .atomic(Op::ScD, A0, T1, T2, Relaxed) // another place
            .atomic(Op::ScD, A1, T1, T0, Relaxed) // which used the reservation up
            .atomic(Op::LrD, A2, ZERO, T0, Relaxed)
            .sd(T1, 0, T0)
            .atomic(Op::ScD, A2, T2, T0, Relaxed) // changed meanwhile
            .atomic(Op::LrW, A3, ZERO, T0, Relaxed)
            .atomic(Op::ScD, A3, T2, T0, Relaxed); // another width
    });
    rig.completed();
    assert_eq!(rig.hart.x[10..=13], [1, 1, 1, 1]);
    assert_eq!(rig.machine.read_u64(DATA), 7);
    assert_eq!(rig.machine.read_u64(DATA + 8), 0);
}

#[test]
fn a_trap_gives_the_reservation_up() {
    let rig = run(|rig| {
        // The handler goes on after the ecall.
        let mut handler = Assembler::new(HANDLER);
        handler
            .csrr(T6, ringer_isa::csr::MEPC)
            .addi(T6, T6, 4)
            .csrw(ringer_isa::csr::MEPC, T6)
            .li(T6, 3 << 11)
            .csrs(ringer_isa::csr::MSTATUS, T6)
            .mret();
        rig.machine.write(handler.base(), &assembled(handler));
        rig.code
            .li(T0, DATA)
            .atomic(Op::LrD, A0, ZERO, T0, Relaxed)
            .ecall()
            .atomic(Op::ScD, A0, T0, T0, Relaxed);
    });
    assert_eq!(rig.hart.x[10], 1);
    assert_eq!(rig.machine.read_u64(DATA), 0);
    assert_ne!(rig.hart.csrs.mepc, RAM);
}
