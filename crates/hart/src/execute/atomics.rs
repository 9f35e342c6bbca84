//! The A extension, Zabha among it: reservations and read-modify-writes, in one atomic step on
//! the host, so that harts on several host threads agree.

use core::sync::atomic::{Ordering, fence};

use ringer_isa::{Insn, Op};

use super::{Execution, Flow, word};
use crate::bus::{Bus, Width};
use crate::cause::Exception;
use crate::hart::{Hart, Reservation};
use crate::memory::TranslationCache;
use crate::ram::Cell;
use crate::translate::Access;

/// The `aq` bit in an atomic's `rm`.
const ACQUIRE: u8 = 2;
/// The `rl` bit.
const RELEASE: u8 = 1;

/// What an AMO writes, given what was there and the register operand.
type Combine = fn(u64, u64) -> u64;

/// How an AMO sees memory: the width, and how its signed comparisons extend.
#[derive(Clone, Copy)]
enum Size {
    Byte,
    Half,
    Word,
    Double,
}

impl Size {
    fn sign_extend(self, value: u64) -> u64 {
        match self {
            Self::Byte => value as i8 as u64,
            Self::Half => value as i16 as u64,
            Self::Word => value as i32 as u64,
            Self::Double => value,
        }
    }
}

impl Hart {
    /// Executes `insn` if it is an atomic.
    pub(super) fn execute_atomic<B: Bus + ?Sized, T: TranslationCache>(
        &mut self,
        bus: &B,
        cache: &mut T,
        insn: &Insn,
    ) -> Option<Execution> {
        use Size::{Byte, Double, Half, Word};

        // Operands come sign-extended, so that one comparison serves all widths: sign extension
        // keeps the order of signed and of unsigned values alike.
        let swap: Combine = |_, b| b;
        let add: Combine = u64::wrapping_add;
        let xor: Combine = |a, b| a ^ b;
        let and: Combine = |a, b| a & b;
        let or: Combine = |a, b| a | b;
        let min: Combine = |a, b| (a as i64).min(b as i64) as u64;
        let max: Combine = |a, b| (a as i64).max(b as i64) as u64;
        let minu: Combine = u64::min;
        let maxu: Combine = u64::max;

        let (size, combine) = match insn.op {
            Op::LrW => return Some(self.load_reserved::<u32, B, T>(bus, cache, insn, Width::Word)),
            Op::LrD => {
                return Some(self.load_reserved::<u64, B, T>(bus, cache, insn, Width::Double));
            }
            Op::ScW => {
                return Some(self.store_conditional::<u32, B, T>(bus, cache, insn, Width::Word));
            }
            Op::ScD => {
                return Some(self.store_conditional::<u64, B, T>(bus, cache, insn, Width::Double));
            }
            Op::AmoswapB => (Byte, swap),
            Op::AmoswapH => (Half, swap),
            Op::AmoswapW => (Word, swap),
            Op::AmoswapD => (Double, swap),
            Op::AmoaddB => (Byte, add),
            Op::AmoaddH => (Half, add),
            Op::AmoaddW => (Word, add),
            Op::AmoaddD => (Double, add),
            Op::AmoxorB => (Byte, xor),
            Op::AmoxorH => (Half, xor),
            Op::AmoxorW => (Word, xor),
            Op::AmoxorD => (Double, xor),
            Op::AmoandB => (Byte, and),
            Op::AmoandH => (Half, and),
            Op::AmoandW => (Word, and),
            Op::AmoandD => (Double, and),
            Op::AmoorB => (Byte, or),
            Op::AmoorH => (Half, or),
            Op::AmoorW => (Word, or),
            Op::AmoorD => (Double, or),
            Op::AmominB => (Byte, min),
            Op::AmominH => (Half, min),
            Op::AmominW => (Word, min),
            Op::AmominD => (Double, min),
            Op::AmomaxB => (Byte, max),
            Op::AmomaxH => (Half, max),
            Op::AmomaxW => (Word, max),
            Op::AmomaxD => (Double, max),
            Op::AmominuB => (Byte, minu),
            Op::AmominuH => (Half, minu),
            Op::AmominuW => (Word, minu),
            Op::AmominuD => (Double, minu),
            Op::AmomaxuB => (Byte, maxu),
            Op::AmomaxuH => (Half, maxu),
            Op::AmomaxuW => (Word, maxu),
            Op::AmomaxuD => (Double, maxu),
            _ => return None,
        };
        let result = match size {
            Byte => self.read_modify_write::<u8, B, T>(bus, cache, insn, size, combine),
            Half => self.read_modify_write::<u16, B, T>(bus, cache, insn, size, combine),
            Word => self.read_modify_write::<u32, B, T>(bus, cache, insn, size, combine),
            Double => self.read_modify_write::<u64, B, T>(bus, cache, insn, size, combine),
        };
        Some(result)
    }

    fn read_modify_write<C: Cell, B: Bus + ?Sized, T: TranslationCache>(
        &mut self,
        bus: &B,
        cache: &mut T,
        insn: &Insn,
        size: Size,
        combine: Combine,
    ) -> Execution {
        let va = self.xr(insn.rs1);
        let operand = size.sign_extend(self.xr(insn.rs2));
        // Faults of the read half are a store's too (unprivileged 13.4).
        let offset = self.locate_atomic(bus, cache, va, C::BYTES, Access::Store)?;
        let fault = || Exception::new(Access::Store.access_fault(), va);
        let mut old = bus.ram().load_at::<C>(offset).ok_or_else(fault)?;
        loop {
            let new = combine(size.sign_extend(old.into()), operand);
            match bus
                .ram()
                .compare_exchange_at(offset, old, C::truncate(new))
                .ok_or_else(fault)?
            {
                Ok(_) => break,
                Err(current) => old = current,
            }
        }
        self.set_x(insn.rd, size.sign_extend(old.into()));
        Ok(Flow::Next)
    }

    fn load_reserved<C: Cell, B: Bus + ?Sized, T: TranslationCache>(
        &mut self,
        bus: &B,
        cache: &mut T,
        insn: &Insn,
        width: Width,
    ) -> Execution {
        let va = self.xr(insn.rs1);
        let offset = self.locate_atomic(bus, cache, va, C::BYTES, Access::Load)?;
        let fault = || Exception::new(Access::Load.access_fault(), va);
        // With both aq and rl no earlier store may be seen to happen after it either.
        if insn.rm & RELEASE != 0 {
            fence(Ordering::SeqCst);
        }
        let value: u64 = bus.ram().load_at::<C>(offset).ok_or_else(fault)?.into();
        if insn.rm & ACQUIRE != 0 {
            fence(Ordering::SeqCst);
        }
        let addr = bus.ram().base().offset(offset);
        self.reservation = Reservation::new(addr, width, value);
        self.set_x(insn.rd, if C::BYTES == 4 { word(value) } else { value });
        Ok(Flow::Next)
    }

    fn store_conditional<C: Cell, B: Bus + ?Sized, T: TranslationCache>(
        &mut self,
        bus: &B,
        cache: &mut T,
        insn: &Insn,
        width: Width,
    ) -> Execution {
        let va = self.xr(insn.rs1);
        // The address is checked even when the sc will fail, so that faults do not depend on
        // the reservation.
        let offset = self.locate_atomic(bus, cache, va, C::BYTES, Access::Store)?;
        let addr = bus.ram().base().offset(offset);
        let new = C::truncate(self.xr(insn.rs2));
        let reservation = core::mem::replace(&mut self.reservation, Reservation::NONE);
        let stored = match reservation.of(addr, width) {
            Some(value) => bus
                .ram()
                .compare_exchange_at(offset, C::truncate(value), new)
                .ok_or_else(|| Exception::new(Access::Store.access_fault(), va))?
                .is_ok(),
            None => false,
        };
        if !stored {
            self.counts.failed_sc += 1;
        }
        self.set_x(insn.rd, u64::from(!stored));
        Ok(Flow::Next)
    }
}
