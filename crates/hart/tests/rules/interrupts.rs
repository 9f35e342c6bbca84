//! Interrupts: enabling, delegation, priority, vectors, timers, and waiting for one.

use ringer_hart::bus::irq;
use ringer_hart::csr::{mcause, menvcfg, mstatus};
use ringer_hart::{Bus, Mode};
use ringer_isa::asm::register::*;
use ringer_isa::csr as number;

use crate::rig::{HANDLER, RAM, Rig, S_HANDLER, prepared, program, run};

const ALL: u64 = irq::MEI | irq::MSI | irq::MTI | irq::SEI | irq::SSI | irq::STI;

/// Makes these interrupts pending, by whatever drives each.
fn pend(rig: &mut Rig, bits: u64) {
    let lines = rig.machine.lines(0);
    lines.raise(bits & (irq::MEI | irq::MSI | irq::SEI | irq::SSI));
    if bits & irq::MTI != 0 {
        lines.set_mtimecmp(0);
    }
    rig.hart.csrs.mip |= bits & irq::STI;
}

#[test]
fn the_most_urgent_is_taken_first() {
    let order = [irq::MEI, irq::MSI, irq::MTI, irq::SEI, irq::SSI, irq::STI];
    for (first, bit) in order.iter().enumerate() {
        let pending: u64 = order[first..].iter().sum();
        let rig = run(|rig| {
            pend(rig, pending);
            rig.set_csr(number::MIE, ALL);
            rig.hart.csrs.mstatus |= mstatus::MIE;
        });
        rig.trapped(mcause::INTERRUPT | u64::from(bit.trailing_zeros()), RAM, 0);
    }
}

#[test]
fn machine_interrupts_come_before_delegated_ones_whatever_their_number() {
    let rig = run(|rig| {
        pend(rig, irq::SEI | irq::STI);
        rig.set_csr(number::MIE, ALL);
        rig.set_csr(number::MIDELEG, irq::SEI);
        rig.hart.csrs.mstatus |= mstatus::SIE;
        rig.mode(Mode::S);
    });
    rig.trapped(mcause::INTERRUPT | 5, RAM, 0);
}

#[test]
fn enables_and_modes_say_whether_one_is_taken() {
    // Mode, mideleg, mstatus; whether it goes to M, to S, or nowhere.
    let (mie, sie) = (mstatus::MIE, mstatus::SIE);
    let cases = [
        (Mode::M, 0, 0, 'n'),
        (Mode::M, 0, mie, 'm'),
        (Mode::M, irq::SSI, mie | sie, 'n'),
        (Mode::S, 0, 0, 'm'),
        (Mode::S, irq::SSI, 0, 'n'),
        (Mode::S, irq::SSI, mie, 'n'),
        (Mode::S, irq::SSI, sie, 's'),
        (Mode::U, 0, 0, 'm'),
        (Mode::U, irq::SSI, 0, 's'),
    ];
    for (mode, mideleg, status, taken) in cases {
        let rig = run(|rig| {
            pend(rig, irq::SSI);
            rig.set_csr(number::MIE, irq::SSI);
            rig.set_csr(number::MIDELEG, mideleg);
            rig.hart.csrs.mstatus |= status;
            rig.mode(mode);
        });
        let cause = mcause::INTERRUPT | 1;
        match taken {
            'm' => rig.trapped(cause, RAM, 0),
            's' => rig.trapped_to_supervisor(cause, RAM, 0),
            _ => rig.completed(),
        }
    }
}

#[test]
fn vectored_interrupts_go_to_four_times_their_number() {
    let rig = run(|rig| {
        pend(rig, irq::MEI);
        rig.set_csr(number::MIE, ALL);
        rig.set_csr(number::MTVEC, HANDLER | 1);
        rig.hart.csrs.mstatus |= mstatus::MIE;
    });
    assert_eq!(rig.hart.pc, HANDLER + 44);
    let rig = run(|rig| {
        pend(rig, irq::SEI);
        rig.set_csr(number::MIE, ALL);
        rig.set_csr(number::MIDELEG, ALL);
        rig.set_csr(number::STVEC, S_HANDLER | 1);
        rig.mode(Mode::U);
    });
    assert_eq!(rig.hart.pc, S_HANDLER + 36);
}

#[test]
fn an_interrupt_is_taken_as_soon_as_an_instruction_enables_it() {
    // By mstatus, by mie, by mip, by mret.
    let rig = run(|rig| {
        pend(rig, irq::MSI);
        rig.set_csr(number::MIE, irq::MSI);
        rig.code.li(A0, 1);
        rig.code.csrsi(number::MSTATUS, 8).li(A0, 2);
    });
    rig.trapped(mcause::INTERRUPT | 3, RAM + 8, 0);
    let rig = run(|rig| {
        pend(rig, irq::MSI);
        rig.hart.csrs.mstatus |= mstatus::MIE;
        rig.code.csrsi(number::MIE, 8).li(A0, 2);
    });
    rig.trapped(mcause::INTERRUPT | 3, RAM + 4, 0);
    let rig = run(|rig| {
        rig.set_csr(number::MIE, irq::SSI);
        rig.hart.csrs.mstatus |= mstatus::MIE;
        rig.code.csrsi(number::MIP, 2).li(A0, 2);
    });
    rig.trapped(mcause::INTERRUPT | 1, RAM + 4, 0);
    let rig = run(|rig| {
        pend(rig, irq::MSI);
        rig.set_csr(number::MIE, irq::MSI);
        rig.set_csr(number::MEPC, RAM + 0x40);
        rig.code.mret();
    });
    rig.trapped(mcause::INTERRUPT | 3, RAM + 0x40, 0);
}

#[test]
fn a_device_that_interrupts_is_heard_after_the_access() {
    let rig = run(|rig| {
        rig.set_csr(number::MIE, ALL);
        rig.hart.csrs.mstatus |= mstatus::MIE;
        let raise = ringer_lockstep::machine::register::RAISE as i32;
        rig.code
            .li(T0, ringer_lockstep::machine::DEVICE)
            .li(T1, irq::MSI)
            .sd(T1, raise, T0)
            .li(A0, 1);
    });
    rig.trapped(mcause::INTERRUPT | 3, RAM + 12, 0);
    assert_eq!(rig.hart.x[10], 0);
}

#[test]
fn stimecmp_interrupts_the_supervisor() {
    let rig = run(|rig| {
        rig.set_csr(number::MENVCFG, menvcfg::STCE);
        rig.set_csr(number::MCOUNTEREN, 2);
        rig.set_csr(number::MIDELEG, irq::STI);
        rig.set_csr(number::MIE, irq::STI);
        rig.machine.set_time(50);
        rig.hart.csrs.mstatus |= mstatus::SIE;
        rig.mode(Mode::S);
        rig.code.csr_set(number::STIMECMP, 50, T0).li(A0, 1);
    });
    rig.trapped_to_supervisor(mcause::INTERRUPT | 5, RAM + 8, 0);
}

#[test]
fn a_timer_that_has_risen_does_not_hide_the_other() {
    let rig = prepared(|rig: &mut Rig| {
        rig.set_csr(number::MENVCFG, menvcfg::STCE);
        rig.set_csr(number::MIDELEG, irq::STI);
        rig.set_csr(number::MIE, irq::STI | irq::MTI);
        rig.hart.csrs.stimecmp = 10;
        rig.machine.lines(0).set_mtimecmp(1000);
    });
    let next = |now| rig.hart.next_timer_after(&rig.machine, now);
    assert_eq!(rig.hart.next_timer(&rig.machine), Some(10));
    assert_eq!(
        [next(5), next(10), next(999)],
        [Some(10), Some(1000), Some(1000)]
    );
    assert_eq!(next(1000), None);
}

#[test]
fn waiting_ends_with_an_interrupt_that_is_enabled_by_itself() {
    // Globally disabled: execution goes on after the wfi.
    let rig = run(|rig| {
        rig.set_csr(number::MIE, irq::MTI);
        rig.machine.lines(0).set_mtimecmp(1000);
        rig.code.wfi().csrr(A0, number::MIP).csrr(A1, number::TIME);
    });
    rig.completed();
    assert_eq!(rig.hart.x[10..=11], [irq::MTI, 1000]);
    assert_eq!(rig.hart.counts.waits, 1);
    // Pending already: no wait.
    let rig = run(|rig| {
        pend(rig, irq::SSI);
        rig.set_csr(number::MIE, irq::SSI);
        rig.set_csr(number::MIDELEG, irq::SSI);
        rig.mode(Mode::S);
        rig.code.wfi();
    });
    rig.completed();
    assert_eq!(rig.hart.counts.waits, 0);
}

#[test]
fn an_interrupt_that_ends_a_wait_returns_past_it() {
    let rig = run(|rig| {
        rig.set_csr(number::MIE, irq::MTI);
        rig.hart.csrs.mstatus |= mstatus::MIE;
        rig.machine.lines(0).set_mtimecmp(1000);
        rig.code.wfi();
    });
    rig.trapped(mcause::INTERRUPT | 7, RAM + 4, 0);
}

#[test]
fn nothing_pending_nothing_taken() {
    program(|code| {
        code.csr_set(number::MIE, ALL, T0).csrsi(number::MSTATUS, 8);
    })
    .completed();
}
