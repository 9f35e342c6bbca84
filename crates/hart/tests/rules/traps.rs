//! Taking traps and returning from them.

use ringer_hart::Mode;
use ringer_hart::csr::mstatus;
use ringer_isa::asm::register::*;
use ringer_isa::{Op, csr as number};

use crate::rig::{HANDLER, RAM, S_HANDLER, program, run};

#[test]
fn ecall_names_the_mode_it_came_from() {
    for (mode, cause) in [(Mode::U, 8), (Mode::S, 9), (Mode::M, 11)] {
        let rig = run(|rig| {
            rig.mode(mode);
            rig.code.ecall();
        });
        rig.trapped(cause, RAM, 0);
        assert_eq!(
            (rig.hart.csrs.mstatus & mstatus::MPP) >> mstatus::MPP_SHIFT,
            mode.privilege as u64
        );
        assert_eq!(rig.hart.counts.exceptions[cause as usize], 1);
    }
}

#[test]
fn delegated_exceptions_go_to_supervisor_mode_unless_they_come_from_machine_mode() {
    for (mode, status) in [(Mode::U, 0), (Mode::S, mstatus::SPP)] {
        let rig = run(|rig| {
            rig.set_csr(number::MEDELEG, 0xffff);
            rig.hart.csrs.mstatus |= mstatus::SIE;
            rig.mode(mode);
            rig.code.half(0);
        });
        rig.trapped_to_supervisor(2, RAM, 0);
        let status_now = rig.hart.csrs.mstatus;
        assert_eq!(status_now & mstatus::SPP, status);
        assert_eq!(status_now & mstatus::SIE, 0);
        assert_ne!(status_now & mstatus::SPIE, 0);
    }
    let rig = run(|rig| {
        rig.set_csr(number::MEDELEG, 0xffff);
        rig.code.half(0);
    });
    rig.trapped(2, RAM, 0);
}

#[test]
fn a_trap_to_machine_mode_keeps_the_interrupt_enable_aside() {
    let rig = run(|rig| {
        rig.hart.csrs.mstatus |= mstatus::MIE;
        rig.code.ecall();
    });
    let status = rig.hart.csrs.mstatus;
    assert_eq!(status & mstatus::MIE, 0);
    assert_ne!(status & mstatus::MPIE, 0);
}

#[test]
fn illegal_instructions_show_their_encoding() {
    program(|code| {
        code.word(0xffff_ffff);
    })
    .trapped(2, RAM, 0xffff_ffff);
    // Compressed: 16 bits only, whatever follows.
    program(|code| {
        code.half(0).half(0x1234);
    })
    .trapped(2, RAM, 0);
    program(|code| {
        code.half(0x8002).half(0xffff); // c.jr x0
    })
    .trapped(2, RAM, 0x8002);
}

#[test]
fn breakpoints_show_their_address() {
    program(|code| {
        code.ebreak();
    })
    .trapped(3, RAM, RAM);
    program(|code| {
        code.half(1).half(0x9002); // c.nop, c.ebreak
    })
    .trapped(3, RAM + 2, RAM + 2);
}

#[test]
fn an_instruction_that_traps_does_not_retire() {
    let rig = program(|code| {
        code.csrr(A0, number::MINSTRET).ecall();
    });
    assert_eq!(rig.hart.x[usize::from(A0.0)], 0);
    let mut handled = run(|rig| {
        rig.machine.write(HANDLER, &0xb020_2573u32.to_le_bytes()); // csrr a0, minstret
        rig.code.add(ZERO, ZERO, ZERO).ecall();
    });
    assert_eq!(handled.hart.x[usize::from(A0.0)], 1);
    assert!(handled.csr(number::MINSTRET) > 1);
}

#[test]
fn mret_goes_where_mpp_says_and_leaves_the_least_privilege_there() {
    for (mpp, mode) in [(0, Mode::U), (1, Mode::S), (3, Mode::M)] {
        let rig = run(|rig| {
            let status = mpp << mstatus::MPP_SHIFT | mstatus::MPIE | mstatus::MPRV;
            rig.hart.csrs.mstatus |= status;
            rig.set_csr(number::MEPC, S_HANDLER);
            rig.code.mret();
        });
        assert_eq!(rig.hart.mode, mode);
        assert_eq!(rig.hart.pc, S_HANDLER);
        let status = rig.hart.csrs.mstatus;
        assert_eq!(status & mstatus::MPP, 0);
        assert_ne!(status & mstatus::MIE, 0);
        assert_ne!(status & mstatus::MPIE, 0);
        assert_eq!(status & mstatus::MPRV != 0, mode == Mode::M);
    }
}

#[test]
fn sret_goes_where_spp_says() {
    for (spp, mode) in [(0, Mode::U), (mstatus::SPP, Mode::S)] {
        for from in [Mode::S, Mode::M] {
            let rig = run(|rig| {
                rig.hart.csrs.mstatus |= spp | mstatus::SPIE | mstatus::MPRV;
                rig.set_csr(number::SEPC, S_HANDLER);
                rig.mode(from);
                rig.code.sret();
            });
            assert_eq!((rig.hart.mode, rig.hart.pc), (mode, S_HANDLER));
            let status = rig.hart.csrs.mstatus;
            assert_eq!(status & (mstatus::SPP | mstatus::MPRV), 0);
            assert_ne!(status & mstatus::SIE, 0);
            assert_ne!(status & mstatus::SPIE, 0);
        }
    }
}

#[test]
fn returns_are_illegal_below_their_mode() {
    for (mode, op, bits) in [
        (Mode::S, Op::Mret, 0x3020_0073),
        (Mode::U, Op::Mret, 0x3020_0073),
        (Mode::U, Op::Sret, 0x1020_0073),
    ] {
        run(|rig| {
            rig.mode(mode);
            rig.code.op(op);
        })
        .trapped(2, RAM, bits);
    }
}

#[test]
fn machine_mode_can_trap_what_a_supervisor_does() {
    let cases = [
        (mstatus::TSR, 0x1020_0073u32), // sret
        (mstatus::TW, 0x1050_0073),     // wfi
        (mstatus::TVM, 0x1200_0073),    // sfence.vma
        (mstatus::TVM, 0x1600_0073),    // sinval.vma
        (mstatus::TVM, 0x1800_2573),    // csrr a0, satp
        (mstatus::TVM, 0x1800_1073),    // csrw satp, x0
    ];
    for (bit, word) in cases {
        run(|rig| {
            rig.hart.csrs.mstatus |= bit;
            rig.mode(Mode::S);
            rig.code.word(word);
        })
        .trapped(2, RAM, word.into());
    }
    // Not what belongs to no field, and not in M-mode.
    run(|rig| {
        rig.hart.csrs.mstatus |= mstatus::TVM | mstatus::TSR;
        rig.mode(Mode::S);
        rig.code.sfence_w_inval().sfence_inval_ir();
    })
    .completed();
    run(|rig| {
        rig.hart.csrs.mstatus |= mstatus::TVM;
        rig.code
            .sfence_vma(ZERO, ZERO)
            .sinval_vma(ZERO, ZERO)
            .csrr(A0, number::SATP);
    })
    .completed();
}

#[test]
fn user_mode_may_neither_fence_translations_nor_wait() {
    for op in [
        Op::SfenceVma,
        Op::SinvalVma,
        Op::SfenceWInval,
        Op::SfenceInvalIr,
        Op::Wfi,
    ] {
        let rig = run(|rig| {
            rig.mode(Mode::U);
            rig.code.op(op);
        });
        assert_eq!(rig.hart.csrs.mcause, 2, "{op:?}");
    }
    run(|rig| {
        rig.mode(Mode::U);
        rig.code.wrs_nto().wrs_sto().fence();
    })
    .completed();
}

#[test]
fn exceptions_ignore_vectoring() {
    run(|rig| {
        rig.set_csr(number::MTVEC, HANDLER | 1);
        rig.code.ecall();
    })
    .trapped(11, RAM, 0);
}

#[test]
fn a_trap_within_a_block_has_done_what_came_before_and_nothing_after() {
    let rig = program(|code| {
        code.li(A0, 1).li(A1, 2).ebreak().li(A0, 3);
    });
    rig.trapped(3, RAM + 8, RAM + 8);
    assert_eq!((rig.hart.x[10], rig.hart.x[11]), (1, 2));
}

#[test]
fn mop_writes_zero_and_hints_do_nothing() {
    let rig = program(|code| {
        code.li(A0, 7)
            .li(A1, 7)
            .i(Op::MopR, A0, A1, 31)
            .half(0x6081) // c.mop.1
            .half(0x0001)
            .ori(ZERO, A1, 0x20); // prefetch.i
    });
    rig.completed();
    assert_eq!(rig.hart.x[10], 0);
}
