//! What rewritten code finds by `mscratch`. The first three fields are those of trap.s.

use core::mem::offset_of;

/// Addresses of guest code whose rewritten form can be jumped to at once, a power of two.
pub const SLOTS: usize = 256;
/// No address of code.
pub const NOWHERE: u64 = u64::MAX;
/// CSRs that rewritten code reaches: the status register and the plain ones.
pub const CSRS: usize = 6;

/// Where the rewritten form of the guest's code at `va` begins.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// In the guest.
    pub va: u64,
    /// In the monitor.
    pub code: u64,
    /// Not 0 once it has been jumped to.
    pub used: u64,
    _unused: u64,
}

impl Slot {
    const EMPTY: Self = Self {
        va: NOWHERE,
        code: 0,
        used: 0,
        _unused: 0,
    };
}

/// The memory at `mscratch` while a guest's code runs, be it its own or rewritten.
#[repr(C)]
#[derive(Debug)]
pub struct Frame {
    /// The monitor's stack pointer.
    pub stack: u64,
    /// The guest's registers.
    pub registers: u64,
    /// A place for one register on the way out.
    pub shelter: u64,
    /// Where the guest goes on, when rewritten code has come to an end.
    pub next: u64,
    /// Instructions of the guest that were executed in rewritten form.
    pub retired: u64,
    /// As [`Frame::retired`]: beyond so many, the guest's code runs as it is.
    pub limit: u64,
    /// The instruction, in rewritten code, that has set the limit; 0 if none has.
    pub site: u64,
    /// Privileged instructions that rewritten code has executed.
    pub sites: u64,
    /// Places for registers.
    pub shelters: [u64; 2],
    /// Not 0 if nothing is pending that an interrupt enable would let through.
    pub quiet: u64,
    /// What the CSRs of the window hold, as the definition reads them.
    pub csrs: [u64; CSRS],
    /// What is known of code.
    pub(super) slots: [Slot; SLOTS],
    /// The slots that are not empty, and how many.
    used: [u8; SLOTS],
    many: usize,
}

impl Default for Frame {
    fn default() -> Self {
        Self {
            stack: 0,
            registers: 0,
            shelter: 0,
            next: 0,
            retired: 0,
            limit: 0,
            site: 0,
            sites: 0,
            shelters: [0; 2],
            quiet: 0,
            csrs: [0; CSRS],
            slots: [Slot::EMPTY; SLOTS],
            used: [0; SLOTS],
            many: 0,
        }
    }
}

impl Frame {
    /// The slot for code at `va`. The dispatcher finds it in the same way.
    pub fn slot_of(va: u64) -> usize {
        (va >> 1) as usize & (SLOTS - 1)
    }
    /// Lets rewritten code jump from now on to `code` for the guest's code at `va`: that is where
    /// a stretch made from it lies.
    pub fn learn(&mut self, va: u64, code: u64) {
        let index = Self::slot_of(va);
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        if slot.va == NOWHERE
            && let Some(place) = self.used.get_mut(self.many)
        {
            *place = index as u8;
            self.many += 1;
        }
        *slot = Slot {
            va,
            code,
            ..Slot::EMPTY
        };
    }
    /// Whether rewritten code can jump to the code for what is at `va`.
    pub fn knows(&self, va: u64) -> bool {
        let slot = self.slots.get(Self::slot_of(va));
        slot.is_some_and(|slot| slot.va == va)
    }
    /// Whether rewritten code has jumped to the code for what is at `va`.
    pub fn has_used(&self, va: u64) -> bool {
        let slot = self.slots.get(Self::slot_of(va));
        slot.is_some_and(|slot| slot.va == va && slot.used != 0)
    }
    /// Forgets where rewritten code is.
    pub fn forget(&mut self) {
        for index in self.used.iter().take(self.many) {
            if let Some(slot) = self.slots.get_mut(usize::from(*index)) {
                *slot = Slot::EMPTY;
            }
        }
        self.many = 0;
    }
}

// What trap.s knows, and what the dispatcher's loads can reach.
const _: () = assert!(offset_of!(Frame, stack) == 0);
const _: () = assert!(offset_of!(Frame, registers) == 8);
const _: () = assert!(offset_of!(Frame, shelter) == 16);
const _: () = assert!(offset_of!(Frame, slots) + 16 < 2048);
