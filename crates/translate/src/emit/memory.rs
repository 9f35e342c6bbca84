//! Loads and stores: by way of the space's tables, which hold where pages lie in host memory.

use std::mem::offset_of;

use ringer_isa::Op;

use super::window::{self, Window};
use super::{Aside, Emitter};
use crate::assembler::{Alu, Cell, Cond, Label, Mem, Reg, Shift, Width};
use crate::core_state::{SPACE, home, x};
use crate::tables::{PAGES, Tables};

/// Holds where the window lies in host memory.
const WINDOW: Reg = Reg::Rcx;

/// What kind of access it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Load,
    Store,
}

impl Kind {
    /// Where the table lies in the space.
    fn table(self) -> i32 {
        match self {
            Self::Load => offset_of!(Tables, load) as i32,
            Self::Store => offset_of!(Tables, store) as i32,
        }
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
                    self.a.mov_rm(Width::W64, Reg::Rdx, x(insn.rs2));
                    self.a.store(cell, at, Reg::Rdx);
                }
            },
        }
        self.rejoin(done);
        true
    }

    /// Makes the access of the current load or store possible: returns its place in host
    /// memory, by way of `rax` or the window. If it is not to be had so, the definition does
    /// it, and goes on at `done`.
    pub(super) fn reach(&mut self, kind: Kind, done: Label) -> Mem {
        let insn = self.current().insn;
        if let Some(window) = self.window
            && !self.apart
            && self.index <= window.last
            && window.base == insn.rs1
            && (window.stores || kind == Kind::Load)
            && let Some(size) = window::bytes(insn.op)
            && insn.imm >= window.low
            && insn.imm + size <= window.high
        {
            return Mem::at(WINDOW, insn.imm - window.low);
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
        self.a.alu_rm(Alu::Add, Width::W64, Reg::Rax, host(kind));
        Mem::at(Reg::Rax, 0)
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
        self.a.mov_rm(Width::W64, WINDOW, host(kind));
        self.a.alu_rr(Alu::Add, Width::W64, WINDOW, Reg::Rax);
        Mem::at(WINDOW, insn.imm - window.low)
    }

    /// Checks that `size` bytes at `base + distance` lie in one page that may be accessed, else
    /// goes to `slow`. Leaves the offset in the page in `rax`, and in `rdx` the entry's place
    /// in the tables.
    pub(super) fn check(&mut self, kind: Kind, base: u8, distance: i32, size: i32, slow: Label) {
        let from = self.value(base, Reg::Rax);
        if from != Reg::Rax || distance != 0 {
            self.a.lea(Width::W64, Reg::Rax, Mem::at(from, distance));
        }
        self.check_address(kind, size, slow);
    }

    /// The same, for the address in `rax`.
    pub(super) fn check_address(&mut self, kind: Kind, size: i32, slow: Label) {
        // Bits 12 and up of the address, times the 16 bytes of an entry.
        if self.features.bmi2 {
            self.a.rorx(Width::W32, Reg::Rdx, Reg::Rax, 8);
        } else {
            self.a.mov_rr(Width::W32, Reg::Rdx, Reg::Rax);
            self.a.shift_ri(Shift::Shr, Width::W32, Reg::Rdx, 8);
        }
        self.a
            .alu_ri(Alu::And, Width::W32, Reg::Rdx, (PAGES as i32 - 1) * 16);
        // What differs from the page's address is the offset in it, if it is that page.
        self.a.alu_rm(
            Alu::Xor,
            Width::W64,
            Reg::Rax,
            Mem::indexed(SPACE, Reg::Rdx, crate::assembler::Scale::X1, kind.table()),
        );
        self.a.alu_ri(Alu::Cmp, Width::W64, Reg::Rax, 4096 - size);
        self.a.jcc(Cond::A, slow);
    }
}

/// Where the page's address in the host is, after [`Emitter::check`].
pub(super) fn host(kind: Kind) -> Mem {
    Mem::indexed(
        SPACE,
        Reg::Rdx,
        crate::assembler::Scale::X1,
        kind.table() + 8,
    )
}
