//! Loads and stores: by way of the space's tables, which hold where pages lie in host memory.

use std::mem::offset_of;

use ringer_hart::PAGE_SHIFT;
use ringer_isa::Op;

use super::Emitter;
use super::aside::Aside;
use super::window::{self, Window};
use crate::assembler::{Alu, Cell, Cond, Label, Mem, Reg, Scale, Shift, Width};
use crate::core_state::{SPACE, home, last_page, x};
use crate::tables::{PAGES, PageTable, Tables};

/// Leads from the base register's value to the window in host memory.
const WINDOW: Reg = Reg::Rcx;

/// What kind of access it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Load,
    Store,
}

impl Kind {
    /// The entry's tag in the table, by the index in `rdx`.
    fn tag(self) -> Mem {
        self.entry(Reg::Rdx, offset_of!(PageTable, tags))
    }
    /// The entry's delta.
    fn delta(self) -> Mem {
        self.delta_by(Reg::Rdx)
    }
    /// The same, by the index in another register.
    fn delta_by(self, index: Reg) -> Mem {
        self.entry(index, offset_of!(PageTable, deltas))
    }
    fn entry(self, index: Reg, array: usize) -> Mem {
        let table = match self {
            Self::Load => offset_of!(Tables, load),
            Self::Store => offset_of!(Tables, store),
        };
        Mem::indexed(SPACE, index, Scale::X8, (table + array) as i32)
    }
}

impl Emitter<'_> {
    /// The current instruction, if it is a plain load or store.
    pub(super) fn memory_access(&mut self) -> bool {
        let insn = self.current().insn;
        let (kind, cell, signed) = match insn.op {
            Op::Lb => (Kind::Load, Cell::B, true),
            Op::Lh => (Kind::Load, Cell::H, true),
            Op::Lw => (Kind::Load, Cell::W, true),
            Op::Ld => (Kind::Load, Cell::D, false),
            Op::Lbu => (Kind::Load, Cell::B, false),
            Op::Lhu => (Kind::Load, Cell::H, false),
            Op::Lwu => (Kind::Load, Cell::W, false),
            Op::Sb => (Kind::Store, Cell::B, false),
            Op::Sh => (Kind::Store, Cell::H, false),
            Op::Sw => (Kind::Store, Cell::W, false),
            Op::Sd => (Kind::Store, Cell::D, false),
            _ => return false,
        };
        let done = self.a.label();
        let at = self.reach(kind, done);
        match kind {
            Kind::Load => {
                let to = self.result(insn.rd);
                if signed {
                    self.a.load_sx(cell, to, at);
                } else {
                    self.a.load_zx(cell, to, at);
                }
                self.set(insn.rd, to);
            }
            Kind::Store => match home(insn.rs2) {
                Some(value) => self.a.store(cell, at, value),
                None if insn.rs2 == 0 => self.a.store_i(cell, at, 0),
                None => {
                    self.a.mov_rm(Width::W64, Reg::Rax, x(insn.rs2));
                    self.a.store(cell, at, Reg::Rax);
                }
            },
        }
        self.rejoin(done);
        true
    }

    /// Makes the access of the current load or store possible: returns its place in host
    /// memory, by way of `rdx` or the window. If it is not to be had so, the definition does
    /// it, and goes on at `done`.
    pub(super) fn reach(&mut self, kind: Kind, done: Label) -> Mem {
        let insn = self.current().insn;
        if let Some(window) = self.window
            && !self.apart
            && self.index <= window.last
            && window.base == insn.rs1
            && (window.stores || kind == Kind::Load)
            && let Some(size) = window::bytes(insn.op)
            && let moved = window.moved(self.steps, self.index)
            && insn.imm + moved >= window.low
            && insn.imm + moved + size <= window.high
        {
            return match home(insn.rs1) {
                Some(base) => Mem::indexed(WINDOW, base, Scale::X1, insn.imm),
                // It is where the base register pointed when the window was opened.
                None => Mem::at(WINDOW, insn.imm + moved),
            };
        }
        let free = !self.apart && self.window.is_none_or(|window| self.index > window.last);
        if free {
            self.window = self.window_from_here();
            if let Some(window) = self.window {
                return self.open(window);
            }
        }
        let slow = self.definition_aside(done);
        let size = window::bytes(insn.op).unwrap_or(8);
        self.check(kind, insn.rs1, insn.imm, size, slow);
        self.find_delta(kind, Reg::Rdx);
        self.by_base(Reg::Rdx, insn.rs1, insn.imm)
    }

    /// After [`Emitter::check`]: loads the entry's delta.
    ///
    /// If the address has just been loaded, the next access waits for the index, and then for
    /// the delta. So where a loop follows pointers the delta is that of the page reached last
    /// time, if a comparison says that it is the same one: the host predicts that, and waits for
    /// the address alone.
    fn find_delta(&mut self, kind: Kind, to: Reg) {
        if !self.follows_pointers() {
            return self.a.mov_rm(Width::W64, to, kind.delta());
        }
        let site = (self.page >> PAGE_SHIFT) as usize + usize::from(self.current().at / 2);
        let last = last_page(site);
        let (other, found) = (self.a.label(), self.a.label());
        self.a.alu_rm(Alu::Cmp, Width::W32, Reg::Rdx, last);
        self.a.jcc(Cond::Ne, other);
        self.a.mov_rm(Width::W32, to, last);
        self.a.mov_rm(Width::W64, to, kind.delta_by(to));
        self.a.bind(found);
        self.aside.push(Aside::OtherPage {
            label: other,
            found,
            last,
            delta: kind.delta(),
            to,
        });
    }

    /// The place in host memory at `distance` from a base register; `delta` holds what was found
    /// in the table, and may be changed.
    fn by_base(&mut self, delta: Reg, base: u8, distance: i32) -> Mem {
        match home(base) {
            Some(base) => Mem::indexed(delta, base, Scale::X1, distance),
            None => {
                if base != 0 {
                    self.a.alu_rm(Alu::Add, Width::W64, delta, x(base));
                }
                Mem::at(delta, distance)
            }
        }
    }

    /// Opens a window at its first access.
    fn open(&mut self, window: Window) -> Mem {
        let insn = self.current().insn;
        let kind = if window.stores {
            Kind::Store
        } else {
            Kind::Load
        };
        let (slow, behind) = (self.a.label(), self.a.label());
        self.window_end = Some((window.last, behind));
        self.floats.window_opens();
        self.aside.push(Aside::Apart {
            label: slow,
            first: self.index,
            last: window.last,
            floats: Box::new(self.floats.clone()),
            resume: behind,
            reload: Vec::new(),
        });
        self.check(
            kind,
            window.base,
            window.low,
            window.high - window.low,
            slow,
        );
        self.find_delta(kind, WINDOW);
        self.by_base(WINDOW, window.base, insn.imm)
    }

    /// Checks that `size` bytes at `base + distance` lie in one page that may be accessed, else
    /// goes to `slow`. Leaves the offset in the page in `rax`, and in `rdx` the index in the tables.
    pub(super) fn check(&mut self, kind: Kind, base: u8, distance: i32, size: i32, slow: Label) {
        match home(base) {
            Some(from) if distance != 0 => {
                self.a.lea(Width::W64, Reg::Rax, Mem::at(from, distance));
            }
            _ => {
                self.copy(Reg::Rax, base);
                if distance != 0 {
                    self.a.alu_ri(Alu::Add, Width::W64, Reg::Rax, distance);
                }
            }
        }
        self.check_address(kind, size, slow);
    }

    /// The same, for the address in `rax`.
    pub(super) fn check_address(&mut self, kind: Kind, size: i32, slow: Label) {
        // Bits 12 to 31 of the address are the index.
        self.a.mov_rr(Width::W32, Reg::Rdx, Reg::Rax);
        self.a
            .shift_ri(Shift::Shr, Width::W32, Reg::Rdx, PAGE_SHIFT as u8);
        // What differs from the page's address is the offset in it, if it is that page.
        self.a.alu_rm(Alu::Xor, Width::W64, Reg::Rax, kind.tag());
        self.a.alu_ri(Alu::Cmp, Width::W64, Reg::Rax, 4096 - size);
        self.a.jcc(Cond::A, slow);
    }

    /// After [`Emitter::check_address`]: `rax` becomes the address in the host.
    pub(super) fn host_address(&mut self, kind: Kind) {
        // The tag and the offset make the guest's address again.
        self.a.alu_rm(Alu::Xor, Width::W64, Reg::Rax, kind.tag());
        self.a.alu_rm(Alu::Add, Width::W64, Reg::Rax, kind.delta());
    }
}

const _: () = assert!(PAGES == 1 << (32 - PAGE_SHIFT));
