//! The state of a virtual hart.

use bitflags::bitflags;
use ringer_isa::csr::mstatus;

use crate::address::{GuestPhys, GuestVirt};
use crate::bus::{HartId, Width};
use crate::cause::{Cause, Exception};
use crate::counter::Counts;
use crate::csr::Csrs;
use crate::extensions::Paging;
use crate::mode::Mode;

bitflags! {
    /// What an instruction did that reaches beyond the hart's registers. `step` adds to them;
    /// the engine that runs the hart takes them and acts, before the next instruction.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Effects: u32 {
        /// Translations may have changed: heed [`Hart::fence`].
        const FENCE_VMA = 1 << 0;
        /// All cached translations are void (PMP, `menvcfg`).
        const FLUSH_TLB = 1 << 1;
        /// Predecoded code is void: `fence.i`.
        const FENCE_I = 1 << 2;
        /// The mode, `satp` or the status bits that govern accesses changed.
        const CONTEXT = 1 << 3;
        /// Interrupts may have become pending or enabled: sample them.
        const INTERRUPTS = 1 << 4;
        /// A device was touched; it may have raised wires or asked for something.
        const DEVICE = 1 << 5;
    }
}

/// The operands of the last `sfence.vma` or `sinval.vma`; `None` stands for `x0`: all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AddressFence {
    /// Only translations of this address.
    pub va: Option<GuestVirt>,
    /// Only those of this address space, global ones excepted.
    pub asid: Option<u16>,
}

/// What `lr` has reserved, if anything. The layout is fixed so that generated code can reach it.
///
/// `sc` succeeds when the place still holds the value that `lr` saw, checked and written in one
/// atomic step. A value that went away and came back is not noticed: the same choice as QEMU
/// makes, and what lets stores of other harts run at full speed.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Reservation {
    /// How many bytes: 4 or 8; 0 if nothing is reserved, whatever the rest says.
    pub bytes: u64,
    /// Where.
    pub addr: GuestPhys,
    /// What was there.
    pub value: u64,
}

impl Reservation {
    /// None.
    pub const NONE: Self = Self {
        bytes: 0,
        addr: GuestPhys(0),
        value: 0,
    };

    /// Of `width` at `addr`, where `value` was.
    pub const fn new(addr: GuestPhys, width: Width, value: u64) -> Self {
        Self {
            bytes: width.bytes(),
            addr,
            value,
        }
    }

    /// What was there, if this place is reserved.
    pub fn of(&self, addr: GuestPhys, width: Width) -> Option<u64> {
        (self.bytes == width.bytes() && self.addr == addr).then_some(self.value)
    }
}

/// Who answers what the guest cannot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Services {
    /// The monitor is the guest's SBI: an `ecall` from S-mode leaves the run loop.
    pub sbi: bool,
    /// The semihosting sequence around `ebreak` leaves the run loop.
    pub semihosting: bool,
}

/// Why a hart stopped executing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// The instruction budget is used up.
    Budget,
    /// A `wfi` that has nothing to wake it yet; `pc` is past it.
    Wait,
    /// A hint that the hart spins until another has done something (`pause`, `wrs.nto`,
    /// `wrs.sto`); `pc` is past it. A good moment to let others have the CPU.
    Pause,
    /// An `ecall` from S-mode for the monitor's SBI; `pc` is at it. Answer with
    /// [`Hart::return_from_call`].
    Sbi,
    /// A semihosting call; `pc` is at the `ebreak`. Answer with [`Hart::return_from_call`].
    Semihosting,
    /// Someone asked for the hart's attention ([`crate::bus::request::YIELD`]).
    Yield,
}

/// A virtual hart.
#[derive(Clone, Debug)]
pub struct Hart {
    /// Its number, `mhartid`.
    pub id: HartId,
    /// Integer registers; `x[0]` is always 0.
    pub x: [u64; 32],
    /// Floating-point registers; narrower values are NaN-boxed.
    pub f: [u64; 32],
    /// The address of the next instruction.
    pub pc: u64,
    /// The current mode.
    pub mode: Mode,
    /// The CSRs.
    pub csrs: Csrs,
    /// What `lr` holds reserved.
    pub reservation: Reservation,
    /// The exception of an instruction that has just trapped.
    pub(crate) exception: Exception,
    /// Effects since they were last taken.
    pub effects: Effects,
    /// The operands of the fence in `effects`.
    pub fence: AddressFence,
    /// Running totals.
    pub counts: Counts,
    /// What the monitor answers for this hart.
    pub services: Services,
    /// The page tables it has.
    pub paging: Paging,
}

impl Hart {
    /// A hart as it is after reset, about to fetch from `pc` in M-mode.
    pub fn new(id: HartId, pc: u64) -> Self {
        Self {
            id,
            x: [0; 32],
            f: [0; 32],
            pc,
            mode: Mode::M,
            csrs: Csrs::default(),
            reservation: Reservation::NONE,
            exception: Exception {
                cause: Cause::IllegalInstruction,
                tval: 0,
            },
            effects: Effects::empty(),
            fence: AddressFence::default(),
            counts: Counts::default(),
            services: Services::default(),
            paging: Paging::default(),
        }
    }

    /// Puts the hart where firmware leaves it for a kernel (SBI 2.0, 3): S-mode, everything
    /// delegated, memory open, counters readable, `a0` the hart's id and `a1` `opaque`.
    /// The monitor answers its SBI calls.
    pub fn start_supervisor(&mut self, pc: u64, opaque: u64) {
        use crate::bus::irq;
        use crate::csr::menvcfg;

        let counts = core::mem::take(&mut self.counts);
        let (services, paging) = (self.services, self.paging);
        *self = Self::new(self.id, pc);
        self.paging = paging;
        self.counts = counts;
        self.services = Services {
            sbi: true,
            ..services
        };
        self.mode = Mode::S;
        // All exceptions but the environment call from S-mode, which is for the SBI.
        self.csrs.medeleg = 0xb1ff;
        self.csrs.mideleg = irq::SSI | irq::STI | irq::SEI;
        self.csrs.mcounteren = 0xffff_ffff;
        self.csrs.menvcfg = menvcfg::STCE
            | menvcfg::PBMTE
            | menvcfg::ADUE
            | menvcfg::CBZE
            | menvcfg::CBCFE
            | menvcfg::CBIE
            | menvcfg::FIOM;
        self.csrs.pmp.open();
        self.x[10] = self.id as u64;
        self.x[11] = opaque;
        self.effects = Effects::all();
    }

    /// Returns from a call that left the run loop ([`Exit::Sbi`], [`Exit::Semihosting`]): goes
    /// on after the 4-byte instruction. The results are already in the registers.
    pub fn return_from_call(&mut self) {
        self.pc = self.pc.wrapping_add(4);
        self.counts.retired = self.counts.retired.wrapping_add(1);
    }

    /// Takes the effects that wait to be acted on.
    #[inline]
    pub fn take_effects(&mut self) -> Effects {
        core::mem::take(&mut self.effects)
    }

    /// Reads an integer register.
    #[inline(always)]
    pub(crate) fn xr(&self, register: u8) -> u64 {
        self.x[usize::from(register & 31)]
    }

    /// Writes an integer register; writes to `x0` vanish.
    #[inline(always)]
    pub(crate) fn set_x(&mut self, register: u8, value: u64) {
        self.x[usize::from(register & 31)] = value;
        self.x[0] = 0;
    }

    /// Reads a floating-point register.
    #[inline(always)]
    pub(crate) fn fr(&self, register: u8) -> u64 {
        self.f[usize::from(register & 31)]
    }

    /// Writes a floating-point register and notes that the unit's state is dirty.
    #[inline(always)]
    pub(crate) fn set_f(&mut self, register: u8, value: u64) {
        self.f[usize::from(register & 31)] = value;
        self.csrs.mstatus |= mstatus::FS;
    }
}
