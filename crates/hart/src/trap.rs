//! Taking traps and returning from them (Privileged 3.1.6–3.1.9, 12.1.1): the one trap entry.

use crate::bus::{Bus, irq, request};
use crate::cause::{Cause, Exception, INTERRUPT_PRIORITY};
use crate::csr::{mcause, mstatus};
use crate::hart::{Effects, Exit, Hart, Reservation};
use crate::mode::{Mode, Privilege};

impl Hart {
    /// Takes an exception raised by the instruction at `pc`, or leaves the run loop if the
    /// monitor answers it.
    pub fn raise(&mut self, exception: Exception) -> Option<Exit> {
        let code = exception.cause.code();
        if self.services.sbi && exception.cause == Cause::EcallFromS {
            self.counts.sbi_calls += 1;
            return Some(Exit::Sbi);
        }
        if let Some(count) = self.counts.exceptions.get_mut(code as usize) {
            *count += 1;
        }
        let delegated = self.csrs.medeleg >> code & 1 != 0;
        self.trap(code, exception.tval, delegated);
        None
    }

    /// Does what others asked of this hart ([`request`]): the effects are for the engine to act
    /// on. True if the hart must leave its run loop.
    pub fn attend<B: Bus + ?Sized>(&mut self, bus: &B) -> bool {
        let requests = bus.lines(self.id).take_requests();
        if requests & request::FENCE_I != 0 {
            self.counts.fences_i += 1;
            self.effects |= Effects::FENCE_I;
        }
        if requests & request::FENCE_VMA != 0 {
            self.counts.fences_vma += 1;
            self.effects |= Effects::FLUSH_TLB;
        }
        self.effects |= Effects::INTERRUPTS;
        requests & request::YIELD != 0
    }

    /// Takes the most urgent interrupt that is pending and enabled, if there is one.
    pub fn take_interrupt<B: Bus + ?Sized>(&mut self, bus: &B) -> bool {
        let status = self.csrs.mstatus;
        let machine_enabled = match self.mode.privilege {
            Privilege::Machine => status & mstatus::MIE != 0,
            _ => true,
        };
        let supervisor_enabled = match self.mode.privilege {
            Privilege::Machine => false,
            Privilege::Supervisor => status & mstatus::SIE != 0,
            Privilege::User => true,
        };
        let (mut for_machine, mut for_supervisor) = (0, 0);
        if machine_enabled {
            for_machine = self.csrs.mie & !self.csrs.mideleg;
        }
        if supervisor_enabled {
            for_supervisor = self.csrs.mie & self.csrs.mideleg;
        }
        if for_machine | for_supervisor == 0 {
            return false; // without a look at the clock, which takes time
        }
        let pending = self.interrupts_pending_at(bus, bus.recent_time(self.id));
        let (candidates, delegated) = if pending & for_machine != 0 {
            (pending & for_machine, false)
        } else if pending & for_supervisor != 0 {
            (pending & for_supervisor, true)
        } else {
            return false;
        };
        let Some(bit) = INTERRUPT_PRIORITY
            .into_iter()
            .find(|bit| candidates & bit != 0)
        else {
            return false;
        };
        let code = u64::from(bit.trailing_zeros());
        if let Some(count) = self.counts.interrupts.get_mut(code as usize) {
            *count += 1;
        }
        self.trap(mcause::INTERRUPT | code, 0, delegated);
        true
    }

    /// Whether something ends a `wfi`: an interrupt pending and enabled by itself, whatever the
    /// global enables and delegation say (3.3.3).
    pub fn wakes<B: Bus + ?Sized>(&self, bus: &B) -> bool {
        self.interrupts_pending(bus) & self.csrs.mie != 0
    }

    /// The time at which a timer interrupt that could end a `wfi` will rise, if one is set.
    pub fn next_timer<B: Bus + ?Sized>(&self, bus: &B) -> Option<u64> {
        self.timers(bus).into_iter().flatten().min()
    }

    /// As [`Hart::next_timer`], of those that have not risen at `now`: one that has, and waits
    /// until it may be taken, does not hide the other.
    pub fn next_timer_after<B: Bus + ?Sized>(&self, bus: &B, now: u64) -> Option<u64> {
        let timers = self.timers(bus).into_iter().flatten();
        timers.filter(|ticks| *ticks > now).min()
    }

    /// When the timers of M-mode and S-mode rise, if they are enabled and set.
    fn timers<B: Bus + ?Sized>(&self, bus: &B) -> [Option<u64>; 2] {
        let set = |enabled: bool, ticks: u64| (enabled && ticks != u64::MAX).then_some(ticks);
        let machine = self.csrs.mie & irq::MTI != 0;
        let supervisor =
            self.csrs.mie & irq::STI != 0 && self.csrs.menvcfg & crate::csr::menvcfg::STCE != 0;
        [
            set(machine, bus.lines(self.id).mtimecmp()),
            set(supervisor, self.csrs.stimecmp),
        ]
    }

    /// Enters the handler for `cause` (with the interrupt bit): in S-mode if the cause is
    /// delegated and the hart is not in M-mode, else in M-mode.
    fn trap(&mut self, cause: u64, tval: u64, delegated: bool) {
        let from = self.mode.privilege;
        let csrs = &mut self.csrs;
        let status = csrs.mstatus;
        let vector = if delegated && from != Privilege::Machine {
            csrs.scause = cause;
            csrs.sepc = self.pc;
            csrs.stval = tval;
            let mut new = status & !(mstatus::SIE | mstatus::SPIE | mstatus::SPP);
            if status & mstatus::SIE != 0 {
                new |= mstatus::SPIE;
            }
            if from == Privilege::Supervisor {
                new |= mstatus::SPP;
            }
            csrs.mstatus = new;
            self.mode = Mode::S;
            csrs.stvec
        } else {
            csrs.mcause = cause;
            csrs.mepc = self.pc;
            csrs.mtval = tval;
            let mut new = status & !(mstatus::MIE | mstatus::MPIE | mstatus::MPP);
            if status & mstatus::MIE != 0 {
                new |= mstatus::MPIE;
            }
            new |= (from as u64) << mstatus::MPP_SHIFT;
            csrs.mstatus = new;
            self.mode = Mode::M;
            csrs.mtvec
        };
        let base = vector & !3;
        self.pc = if vector & 3 == 1 && cause & mcause::INTERRUPT != 0 {
            base.wrapping_add(4 * (cause & !mcause::INTERRUPT))
        } else {
            base
        };
        // A handler that uses lr and sc must not complete the interrupted code's sc.
        self.reservation = Reservation::NONE;
        self.effects |= Effects::CONTEXT;
    }

    /// `mret` (3.3.2). `None`: illegal here.
    pub(crate) fn mret(&mut self) -> Option<()> {
        if self.mode.privilege != Privilege::Machine {
            return None;
        }
        let status = self.csrs.mstatus;
        let previous = Privilege::from_bits((status & mstatus::MPP) >> mstatus::MPP_SHIFT)
            .unwrap_or(Privilege::User);
        let mut new = status & !(mstatus::MIE | mstatus::MPP) | mstatus::MPIE;
        if status & mstatus::MPIE != 0 {
            new |= mstatus::MIE;
        }
        if previous != Privilege::Machine {
            new &= !mstatus::MPRV;
        }
        self.csrs.mstatus = new;
        self.resume(previous, self.csrs.mepc);
        Some(())
    }

    /// `sret` (3.3.2, TSR in 3.1.6.5). `None`: illegal here.
    pub(crate) fn sret(&mut self) -> Option<()> {
        let status = self.csrs.mstatus;
        match self.mode.privilege {
            Privilege::User => return None,
            Privilege::Supervisor if status & mstatus::TSR != 0 => return None,
            _ => {}
        }
        let previous = if status & mstatus::SPP != 0 {
            Privilege::Supervisor
        } else {
            Privilege::User
        };
        let mut new = status & !(mstatus::SIE | mstatus::SPP | mstatus::MPRV) | mstatus::SPIE;
        if status & mstatus::SPIE != 0 {
            new |= mstatus::SIE;
        }
        self.csrs.mstatus = new;
        self.resume(previous, self.csrs.sepc);
        Some(())
    }

    fn resume(&mut self, privilege: Privilege, pc: u64) {
        self.mode = Mode {
            privilege,
            virtualised: false,
        };
        self.pc = pc;
        self.reservation = Reservation::NONE;
        self.effects |= Effects::CONTEXT | Effects::INTERRUPTS;
    }
}
