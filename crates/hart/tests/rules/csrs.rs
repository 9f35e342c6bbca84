//! CSRs: which exist, who may reach them, and what they hold after a write.

use ringer_hart::Mode;
use ringer_hart::bus::irq;
use ringer_hart::csr::{menvcfg, mstatus};
use ringer_isa::asm::register::*;
use ringer_isa::{Insn, Op, csr as number};

use crate::rig::{RAM, program, run};

/// Writes all ones and then zero to a CSR, and returns what each left.
fn writable(csr: u16) -> (u64, u64) {
    let rig = program(|code| {
        code.li(T0, u64::MAX)
            .csrw(csr, T0)
            .csrr(A0, csr)
            .csrw(csr, ZERO)
            .csrr(A1, csr);
    });
    rig.completed();
    (rig.hart.x[10], rig.hart.x[11])
}

#[test]
fn a_reserved_trap_vector_mode_leaves_the_mode_alone() {
    for csr in [number::MTVEC, number::STVEC] {
        let rig = program(|code| {
            code.li(T0, 0x1001)
                .csrw(csr, T0)
                .li(T0, 0x2002)
                .csrw(csr, T0)
                .csrr(A0, csr)
                .li(T0, 0x3000)
                .csrw(csr, T0)
                .li(T0, 0x4003)
                .csrw(csr, T0)
                .csrr(A1, csr);
        });
        rig.completed();
        assert_eq!((rig.hart.x[10], rig.hart.x[11]), (0x2001, 0x4000));
    }
}

#[test]
fn registers_hold_what_their_fields_can() {
    let all = u64::MAX;
    let xl = 0xa_0000_0000;
    let dirty = mstatus::SD | xl;
    let cases = [
        (number::MSCRATCH, all, 0),
        (number::SSCRATCH, all, 0),
        (number::MEPC, all - 1, 0),
        (number::SEPC, all - 1, 0),
        (number::MTVAL, all, 0),
        (number::STVAL, all, 0),
        (number::MCAUSE, all, 0),
        (number::SCAUSE, all, 0),
        (number::MTVEC, all - 3, 0),
        (number::STVEC, all - 3, 0),
        (number::MEDELEG, 0xb3ff, 0),
        (number::MIDELEG, 0x222, 0),
        (number::MIE, 0xaaa, 0),
        (number::MCOUNTEREN, 0xffff_ffff, 0),
        (number::SCOUNTEREN, 0xffff_ffff, 0),
        (number::MCOUNTINHIBIT, 0xffff_fffd, 0),
        (number::MENVCFG, 0xe000_0000_0000_00f1, 0),
        (number::SENVCFG, 0xf1, 0),
        (number::STIMECMP, all, 0),
        (number::FCSR, 0xff, 0),
        (number::FRM, 7, 0),
        (number::FFLAGS, 0x1f, 0),
        (number::MSTATUS, 0x7e79aa | dirty, xl),
        (
            number::SSTATUS,
            0xc6122 | mstatus::SD | 0x2_0000_0000,
            0x2_0000_0000,
        ),
        (number::PMPADDR0 + 15, (1 << 54) - 1, 0),
        (number::MISA, 0x8000_0000_0014_112f, 0x8000_0000_0014_112f),
        (number::TSELECT, 0, 0),
        (number::TDATA1, 0, 0),
        (number::MHPMEVENT3, 0, 0),
    ];
    for (csr, ones, zeroes) in cases {
        let found = writable(csr);
        assert_eq!(found, (ones, zeroes), "{csr:#x}: {found:x?}");
    }
}

#[test]
fn reserved_values_are_not_taken() {
    let held = |csr: u16, value: u64| {
        let rig = program(|code| {
            code.csr_set(csr, value, T0).csrr(A0, csr);
        });
        rig.hart.x[10]
    };
    // MPP = 2 is no mode.
    assert_eq!(
        held(number::MSTATUS, 2 << mstatus::MPP_SHIFT) & mstatus::MPP,
        0
    );
    assert_eq!(held(number::MENVCFG, 2 << menvcfg::CBIE_SHIFT), 0);
    assert_eq!(held(number::SENVCFG, 3 << menvcfg::CBIE_SHIFT), 0x30);
    assert_eq!(held(number::MTVEC, RAM | 2), RAM);
    // W without R.
    assert_eq!(held(number::PMPCFG0 + 2, 0x0a1a_02ff), 0x0818_009f);
    // satp: a mode that does not exist changes nothing.
    assert_eq!(held(number::SATP, 7 << 60 | 5), 0);
    assert_eq!(held(number::SATP, 11 << 60 | 5), 0);
    for mode in [8u64, 9, 10] {
        let value = mode << 60 | 0xffff << 44 | 0xfff_ffff_ffff;
        // Written in M-mode, where it changes nothing at once.
        assert_eq!(held(number::SATP, value), value);
    }
}

#[test]
fn csr_instructions_read_then_write_and_skip_writes_of_nothing() {
    let rig = program(|code| {
        code.csrrwi(A0, number::MSCRATCH, 21)
            .csrrsi(A1, number::MSCRATCH, 10)
            .csrrci(A2, number::MSCRATCH, 3)
            .li(T0, u64::MAX)
            .csrrc(A3, number::MSCRATCH, T0)
            .csrrs(A4, number::MSCRATCH, T0)
            .csrrw(T0, number::MSCRATCH, T0)
            // Reads of read-only registers by instructions that could write.
            .csrrs(A5, number::MHARTID, ZERO)
            .csrrci(A6, number::MVENDORID, 0);
    });
    rig.completed();
    assert_eq!(rig.hart.x[10..=14], [0, 21, 31, 28, 0]);
    assert_eq!(rig.hart.x[5], u64::MAX);
}

#[test]
fn read_only_registers_refuse_any_write() {
    for (op, rs1) in [
        (Op::Csrrw, ZERO.0),
        (Op::Csrrwi, 0),
        (Op::Csrrs, T0.0),
        (Op::Csrrsi, 1),
        (Op::Csrrc, T0.0), // although t0 is 0
    ] {
        for csr in [number::MHARTID, number::CYCLE, number::TIME] {
            let rig = program(|code| {
                code.insn(Insn {
                    rd: A0.0,
                    rs1,
                    imm: csr.into(),
                    ..Insn::new(op)
                });
            });
            assert_eq!(rig.hart.csrs.mcause, 2, "{op:?}");
            assert_eq!(rig.hart.csrs.mepc, RAM);
        }
    }
}

#[test]
fn registers_are_out_of_reach_below_their_mode() {
    let reads = |mode: Mode, csr: u16| {
        let rig = run(|rig| {
            rig.mode(mode);
            rig.code.csrr(A0, csr);
        });
        rig.hart.counts.exceptions[2] == 0
    };
    assert!(reads(Mode::M, number::MSTATUS));
    assert!(!reads(Mode::S, number::MSTATUS));
    assert!(reads(Mode::S, number::SSTATUS));
    assert!(!reads(Mode::U, number::SSTATUS));
    assert!(reads(Mode::U, number::FCSR));
}

#[test]
fn what_is_not_there_is_illegal_even_in_machine_mode() {
    let missing = [
        0x000,
        0x008,
        0x015,
        0x11f,
        0x280,
        0x320 + 1,
        0x3a1,
        0x3a3,
        0x3a4,
        0x3c0,
        0x600,
        0x680,
        0x643,
        0x744,
        0x747,
        0x7b0,
        0x800,
        0xc20,
        0xc80,
        0xda0,
        0xe12,
        0xf16,
        0xfff,
    ];
    for csr in missing {
        let rig = program(|code| {
            code.csrr(A0, csr);
        });
        assert_eq!(rig.hart.csrs.mcause, 2, "{csr:#x}");
    }
}

#[test]
fn counters_are_readable_as_the_modes_above_allow() {
    for (mode, mcounteren, scounteren, allowed) in [
        (Mode::S, 0, 7, false),
        (Mode::S, 7, 0, true),
        (Mode::U, 7, 0, false),
        (Mode::U, 0, 7, false),
        (Mode::U, 7, 7, true),
        (Mode::M, 0, 0, true),
    ] {
        for csr in [number::CYCLE, number::TIME, number::INSTRET] {
            let rig = run(|rig| {
                rig.set_csr(number::MCOUNTEREN, mcounteren);
                rig.set_csr(number::SCOUNTEREN, scounteren);
                rig.mode(mode);
                rig.code.csrr(A0, csr);
            });
            assert_eq!(
                rig.hart.counts.exceptions[2] == 0,
                allowed,
                "{mode:?} {csr:#x}"
            );
        }
    }
}

#[test]
fn stimecmp_takes_stce_and_the_right_to_read_time() {
    for (mode, stce, tm, allowed) in [
        (Mode::M, 0, 0, true),
        (Mode::S, menvcfg::STCE, 2, true),
        (Mode::S, 0, 2, false),
        (Mode::S, menvcfg::STCE, 0, false),
        (Mode::U, menvcfg::STCE, 2, false),
    ] {
        let rig = run(|rig| {
            rig.set_csr(number::MENVCFG, stce);
            rig.set_csr(number::MCOUNTEREN, tm);
            rig.mode(mode);
            rig.code.csrr(A0, number::STIMECMP);
        });
        assert_eq!(rig.hart.counts.exceptions[2] == 0, allowed, "{mode:?}");
    }
}

#[test]
fn sstatus_is_a_window_on_mstatus() {
    let rig = run(|rig| {
        rig.hart.csrs.mstatus |= mstatus::MIE | mstatus::TVM;
        rig.mode(Mode::S);
        rig.code
            .csr_set(number::SSTATUS, u64::MAX, T0)
            .csrr(A0, number::SSTATUS);
    });
    let status = rig.hart.csrs.mstatus;
    assert_eq!(
        status & (mstatus::MIE | mstatus::TVM),
        mstatus::MIE | mstatus::TVM
    );
    assert_eq!(
        status & (mstatus::MPP | mstatus::MPRV | mstatus::TW | mstatus::MPIE),
        0
    );
    assert_ne!(status & mstatus::SUM, 0);
    assert_eq!(
        rig.hart.x[10] & (mstatus::MIE | mstatus::TVM | mstatus::SXL),
        0
    );
}

#[test]
fn sie_and_sip_show_what_is_delegated() {
    let rig = run(|rig| {
        rig.set_csr(number::MIDELEG, irq::SSI);
        rig.set_csr(number::MIE, irq::MSI | irq::SEI);
        rig.set_csr(number::MIP, irq::SEI | irq::STI | irq::SSI);
        rig.code
            .csrr(A0, number::SIP)
            .csrr(A1, number::SIE)
            .csr_set(number::SIE, u64::MAX, T0)
            .csrr(A2, number::SIE)
            .csrr(A3, number::MIE)
            .csrw(number::SIP, ZERO)
            .csrr(A4, number::MIP);
    });
    rig.completed();
    let (ssi, sei, sti, msi) = (irq::SSI, irq::SEI, irq::STI, irq::MSI);
    assert_eq!(
        rig.hart.x[10..=14],
        [ssi, 0, ssi, msi | sei | ssi, sei | sti]
    );
}

#[test]
fn machine_mode_sets_supervisor_interrupts_and_no_others() {
    let rig = program(|code| {
        code.csr_set(number::MIP, u64::MAX, T0)
            .csrr(A0, number::MIP)
            .csrw(number::MIP, ZERO)
            .csrr(A1, number::MIP);
    });
    assert_eq!(rig.hart.x[10..=11], [0x222, 0]);
}

#[test]
fn a_driven_external_interrupt_is_not_copied_into_its_own_bit() {
    let rig = run(|rig| {
        use ringer_hart::Bus;
        rig.machine.lines(0).raise(irq::SEI);
        rig.code
            .csrrsi(A0, number::MIP, 2) // reads SEIP as 1, must not write it back
            .li(T0, ringer_lockstep::machine::DEVICE)
            .li(T1, irq::SEI)
            .sd(T1, ringer_lockstep::machine::register::LOWER as i32, T0)
            .csrr(A1, number::MIP);
    });
    assert_eq!(rig.hart.x[10..=11], [irq::SEI, irq::SSI]);
}

#[test]
fn with_sstc_the_timer_bit_only_tells_of_stimecmp() {
    let rig = run(|rig| {
        rig.set_csr(number::MENVCFG, menvcfg::STCE);
        rig.machine.set_time(100);
        rig.code
            .csr_set(number::STIMECMP, 101, T0)
            .csr_set(number::MIP, irq::STI, T0)
            .csrr(A0, number::MIP)
            .csr_set(number::STIMECMP, 100, T0)
            .csrr(A1, number::MIP);
    });
    assert_eq!(rig.hart.x[10..=11], [0, irq::STI]);
}

#[test]
fn floating_point_registers_are_illegal_while_the_unit_is_off() {
    for csr in [number::FFLAGS, number::FRM, number::FCSR] {
        let rig = run(|rig| {
            rig.hart.csrs.mstatus &= !mstatus::FS;
            rig.code.csrr(A0, csr);
        });
        assert_eq!(rig.hart.csrs.mcause, 2);
    }
    let rig = run(|rig| {
        rig.hart.csrs.mstatus &= !mstatus::FS;
        rig.hart.csrs.mstatus |= 1 << mstatus::FS_SHIFT;
        rig.code.csrr(A0, number::FCSR).csrr(A1, number::MSTATUS);
        rig.code
            .csrwi(number::FRM, 3)
            .csrr(A2, number::MSTATUS)
            .csrr(A3, number::FCSR);
    });
    let [_, before, after, fcsr] = rig.hart.x[10..=13] else {
        panic!("four registers")
    };
    assert_eq!(before & (mstatus::FS | mstatus::SD), 1 << mstatus::FS_SHIFT);
    assert_eq!(
        after & (mstatus::FS | mstatus::SD),
        mstatus::FS | mstatus::SD
    );
    assert_eq!(fcsr, 0x60);
}
