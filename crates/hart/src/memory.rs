//! How a hart reaches memory: translate, ask the PMP, then RAM or the bus. Misaligned loads and
//! stores work; those that cross a page are two accesses.

use crate::address::{GuestPhys, GuestVirt, PAGE_SIZE};
use crate::bus::{Bus, Width, request};
use crate::cause::{Cause, Exception};
use crate::hart::{Effects, Hart};
use crate::pmp::PageVerdict;
use crate::ram::Cell;
use crate::translate::{Access, AccessContext, Translation};

/// A cache of translations to RAM that an engine may bring along. What it holds must be what
/// [`Hart::translate`] and the PMP would say.
pub trait TranslationCache {
    /// The offset in RAM of an aligned access of `bytes` at `va`, if known to be allowed now.
    ///
    /// A store to a place found here is not noted in [`CodePages`](crate::CodePages). So where
    /// these are watched, a cache answers for [`Access::Store`] only if it knows of another way
    /// that the page holds no code, or that the change will be seen; else it says `None`, and
    /// the access goes the slow way, which notes it after the write. (Noting it here would be
    /// before the write, and too early.) The interpreter's cache need not care: it compares
    /// suspect blocks with memory.
    fn find(&self, access: Access, va: u64, bytes: u64) -> Option<u64>;
    /// The page at `va` leads to the RAM page at `offset`; all of it may be accessed so.
    fn fill(&mut self, access: Access, va: u64, offset: u64, found: &Translation);
}

/// No cache: every access is translated anew. For `step` on bare metal.
#[derive(Clone, Copy, Debug)]
pub struct NoCache;

impl TranslationCache for NoCache {
    #[inline(always)]
    fn find(&self, _: Access, _: u64, _: u64) -> Option<u64> {
        None
    }
    #[inline(always)]
    fn fill(&mut self, _: Access, _: u64, _: u64, _: &Translation) {}
}

/// The bytes of a cache block: what `cbo.*` works on.
pub const CACHE_BLOCK: u64 = 64;

impl Hart {
    /// Loads a zero-extended integer.
    #[inline(always)]
    pub(crate) fn load<C: Cell, B: Bus + ?Sized, T: TranslationCache>(
        &mut self,
        bus: &B,
        cache: &mut T,
        va: u64,
    ) -> Result<u64, Exception> {
        if let Some(offset) = cache.find(Access::Load, va, C::BYTES)
            && let Some(value) = bus.ram().load_at::<C>(offset)
        {
            return Ok(value.into());
        }
        self.load_slow(bus, cache, va, width_of::<C>())
    }

    /// Stores the low bits of `value`.
    #[inline(always)]
    pub(crate) fn store<C: Cell, B: Bus + ?Sized, T: TranslationCache>(
        &mut self,
        bus: &B,
        cache: &mut T,
        va: u64,
        value: u64,
    ) -> Result<(), Exception> {
        if let Some(offset) = cache.find(Access::Store, va, C::BYTES)
            && bus.ram().store_at(offset, C::truncate(value)).is_some()
        {
            return Ok(());
        }
        self.store_slow(bus, cache, va, width_of::<C>(), value)
    }

    #[cold]
    #[inline(never)]
    fn load_slow<B: Bus + ?Sized, T: TranslationCache>(
        &mut self,
        bus: &B,
        cache: &mut T,
        va: u64,
        width: Width,
    ) -> Result<u64, Exception> {
        let bytes = width.bytes();
        if va & (bytes - 1) != 0 {
            let mut buffer = [0; 8];
            let parts = self.locate_misaligned(bus, cache, va, bytes, Access::Load)?;
            let mut rest = &mut buffer[..];
            for (part_va, phys, len) in parts {
                let (head, tail) = rest.split_at_mut(len);
                bus.ram()
                    .read(phys, head)
                    .ok_or_else(|| Exception::new(Cause::LoadAccess, part_va))?;
                rest = tail;
            }
            return Ok(u64::from_le_bytes(buffer));
        }
        let phys = self.locate(bus, cache, va, bytes, Access::Load)?;
        let ram = bus.ram();
        let value = match width {
            Width::Byte => ram.load::<u8>(phys).map(u64::from),
            Width::Half => ram.load::<u16>(phys).map(u64::from),
            Width::Word => ram.load::<u32>(phys).map(u64::from),
            Width::Double => ram.load::<u64>(phys),
        };
        if let Some(value) = value {
            return Ok(value);
        }
        self.counts.device_loads += 1;
        self.effects |= Effects::DEVICE;
        let value = bus.load(self.id, phys, width);
        value
            .map(|v| v & width.mask())
            .map_err(|_| Exception::new(Cause::LoadAccess, va))
    }

    #[cold]
    #[inline(never)]
    fn store_slow<B: Bus + ?Sized, T: TranslationCache>(
        &mut self,
        bus: &B,
        cache: &mut T,
        va: u64,
        width: Width,
        value: u64,
    ) -> Result<(), Exception> {
        let bytes = width.bytes();
        if va & (bytes - 1) != 0 {
            // Both pages must be writable before anything is written.
            let parts = self.locate_misaligned(bus, cache, va, bytes, Access::Store)?;
            for (part_va, phys, len) in parts {
                bus.ram()
                    .offset(phys, len as u64)
                    .ok_or_else(|| Exception::new(Cause::StoreAccess, part_va))?;
            }
            let buffer = value.to_le_bytes();
            let mut rest = &buffer[..];
            for (part_va, phys, len) in parts {
                let (head, tail) = rest.split_at(len);
                bus.ram()
                    .write(phys, head)
                    .ok_or_else(|| Exception::new(Cause::StoreAccess, part_va))?;
                rest = tail;
            }
            return Ok(());
        }
        let phys = self.locate(bus, cache, va, bytes, Access::Store)?;
        let ram = bus.ram();
        let done = match width {
            Width::Byte => ram.store(phys, value as u8),
            Width::Half => ram.store(phys, value as u16),
            Width::Word => ram.store(phys, value as u32),
            Width::Double => ram.store(phys, value),
        };
        if done.is_some() {
            if bus.watched_page() == Some(phys.page()) {
                bus.lines(self.id).request(request::YIELD);
            }
            return Ok(());
        }
        self.counts.device_stores += 1;
        self.effects |= Effects::DEVICE;
        bus.store(self.id, phys, width, value & width.mask())
            .map_err(|_| Exception::new(Cause::StoreAccess, va))
    }

    /// Where the parts of a misaligned access lie: address, physical address, length. The
    /// second part is empty unless the access crosses a page. Faults name the address of the
    /// part that failed (Privileged 3.1.16).
    fn locate_misaligned<B: Bus + ?Sized, T: TranslationCache>(
        &mut self,
        bus: &B,
        cache: &mut T,
        va: u64,
        bytes: u64,
        access: Access,
    ) -> Result<[(u64, GuestPhys, usize); 2], Exception> {
        let first = bytes.min(PAGE_SIZE - GuestVirt(va).page_offset());
        let second = bytes - first;
        let low = self.locate(bus, cache, va, first, access)?;
        if second == 0 {
            return Ok([(va, low, first as usize), (va, low, 0)]);
        }
        let next = va.wrapping_add(first);
        let high = self.locate(bus, cache, next, second, access)?;
        Ok([(va, low, first as usize), (next, high, second as usize)])
    }

    /// Translates a data access that stays inside one page, asks the PMP, and lets the cache
    /// learn of it.
    pub(crate) fn locate<B: Bus + ?Sized, T: TranslationCache>(
        &mut self,
        bus: &B,
        cache: &mut T,
        va: u64,
        bytes: u64,
        access: Access,
    ) -> Result<GuestPhys, Exception> {
        // A cached page may be accessed so at every byte, and this access does not leave it.
        if let Some(offset) = cache.find(access, va, 1) {
            return Ok(bus.ram().base().offset(offset));
        }
        let context = self.data_context();
        self.locate_in(bus, cache, va, bytes, access, &context)
    }

    fn locate_in<B: Bus + ?Sized, T: TranslationCache>(
        &mut self,
        bus: &B,
        cache: &mut T,
        va: u64,
        bytes: u64,
        access: Access,
        context: &AccessContext,
    ) -> Result<GuestPhys, Exception> {
        if context.satp != 0 {
            self.counts.walks += 1;
        }
        let found = self.translate(bus, GuestVirt(va), access, context)?;
        let privilege = context.mode.privilege;
        if !self.csrs.pmp.allows(found.phys, bytes, access, privilege) {
            return Err(Exception::new(access.access_fault(), va));
        }
        let watched = access == Access::Store && bus.watched_page() == Some(found.phys.page());
        if !watched
            && let Some(offset) = bus.ram().offset(found.phys.page(), PAGE_SIZE)
            && self.csrs.pmp.page(found.phys, access, privilege) == PageVerdict::Allowed
        {
            cache.fill(access, va, offset, &found);
        }
        Ok(found.phys)
    }

    /// Where an atomic access lies in RAM. Atomics must be aligned, and only RAM has them.
    pub(crate) fn locate_atomic<B: Bus + ?Sized, T: TranslationCache>(
        &mut self,
        bus: &B,
        cache: &mut T,
        va: u64,
        bytes: u64,
        access: Access,
    ) -> Result<u64, Exception> {
        if let Some(offset) = cache.find(access, va, bytes) {
            return Ok(offset);
        }
        if va & (bytes - 1) != 0 {
            return Err(Exception::new(access.misaligned(), va));
        }
        let phys = self.locate(bus, cache, va, bytes, access)?;
        bus.ram()
            .offset(phys, bytes)
            .ok_or_else(|| Exception::new(access.access_fault(), va))
    }

    /// Fetches the instruction at `pc`: 16 bits, or 32 if the low bits say so. Each parcel is
    /// an access of its own, as the second may lie in another page.
    pub(crate) fn fetch<B: Bus + ?Sized, T: TranslationCache>(
        &mut self,
        bus: &B,
        cache: &mut T,
    ) -> Result<u32, Exception> {
        let low = self.fetch_parcel(bus, cache, self.pc)?;
        if ringer_isa::length(low) == 2 {
            return Ok(u32::from(low));
        }
        let high = self.fetch_parcel(bus, cache, self.pc.wrapping_add(2))?;
        Ok(u32::from(low) | u32::from(high) << 16)
    }

    fn fetch_parcel<B: Bus + ?Sized, T: TranslationCache>(
        &mut self,
        bus: &B,
        cache: &mut T,
        va: u64,
    ) -> Result<u16, Exception> {
        if let Some(offset) = cache.find(Access::Fetch, va, 2)
            && let Some(parcel) = bus.ram().load_at::<u16>(offset)
        {
            return Ok(parcel);
        }
        let phys = self.locate_code(bus, cache, va)?;
        match bus.ram().load::<u16>(phys) {
            Some(parcel) => Ok(parcel),
            None => bus
                .fetch(phys)
                .map_err(|_| Exception::new(Cause::FetchAccess, va)),
        }
    }

    /// The physical address that code at `va` is fetched from.
    pub fn locate_code<B: Bus + ?Sized, T: TranslationCache>(
        &mut self,
        bus: &B,
        cache: &mut T,
        va: u64,
    ) -> Result<GuestPhys, Exception> {
        let context = self.fetch_context();
        self.locate_in(bus, cache, va, 2, Access::Fetch, &context)
    }
}

const fn width_of<C: Cell>() -> Width {
    match C::BYTES {
        1 => Width::Byte,
        2 => Width::Half,
        4 => Width::Word,
        _ => Width::Double,
    }
}
