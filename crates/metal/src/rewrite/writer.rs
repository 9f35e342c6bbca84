//! The steps that rewritten code is made of.

use core::mem::offset_of;

use alloc::vec::Vec;

use ringer_isa::asm::register::{T0, T1, T2, T3, ZERO};
use ringer_isa::asm::{Assembler, Label, X};
use ringer_isa::csr;

use super::frame::Frame;

/// MPP = M and MPRV: accesses of M-mode's own, until `mret`. MIE and MPIE are clear, so that no
/// interrupt comes.
pub const CLOSED: u64 = csr::mstatus::MPP | csr::mstatus::MPRV;
/// MPP = U and MPRV: loads and stores as in U-mode.
const OPEN: u64 = csr::mstatus::MPRV;
/// The interrupts of M-mode, as an immediate. It has bits above 11 too, of which none is an
/// interrupt that this monitor enables or delegates.
const MACHINE_INTERRUPTS: i32 = 0x888 - 0x1000;

/// Bytes of code for which there is memory before it is written: enough for most stretches.
const ROOM: usize = 1024;

/// A field of the [`Frame`], for loads and stores by way of `t0`.
macro_rules! field {
    ($field:ident) => {
        core::mem::offset_of!($crate::rewrite::Frame, $field) as i32
    };
}
pub(super) use field;

/// Where the registers beyond `t0` and `t1` are kept.
const SHELTER_T2: i32 = offset_of!(Frame, shelters) as i32;
const SHELTER_T3: i32 = SHELTER_T2 + 8;

/// The steps that are always the same, encoded once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Steps {
    begin: [u32; 5],
    end: [u32; 4],
    /// The middle one adds 0.
    count: [u32; 3],
}

impl Steps {
    /// Encodes them.
    pub fn new() -> Option<Self> {
        fn words<const N: usize>(write: impl FnOnce(&mut Assembler)) -> Option<[u32; N]> {
            let mut asm = Assembler::new(0);
            write(&mut asm);
            let code = asm.finish().ok()?;
            let words = code.chunks_exact(4).map(|word| word.try_into().ok());
            let words: Option<Vec<[u8; 4]>> = words.collect();
            let words: [[u8; 4]; N] = words?.try_into().ok()?;
            Some(words.map(u32::from_le_bytes))
        }
        Some(Self {
            begin: words(|asm| {
                asm.csrrw(T0, csr::MSCRATCH, T0);
                asm.csrrw(ZERO, csr::SSCRATCH, T1);
                asm.li(T1, CLOSED);
                asm.csrrw(ZERO, csr::MSTATUS, T1);
            })?,
            end: words(|asm| {
                asm.li(T1, OPEN);
                asm.csrrw(ZERO, csr::MSTATUS, T1);
                give_back(asm);
            })?,
            count: words(|asm| {
                asm.ld(T1, field!(retired), T0);
                asm.addi(T1, T1, 0);
                asm.sd(T1, field!(retired), T0);
            })?,
        })
    }
}

/// Gives `t0` and `t1` back.
fn give_back(asm: &mut Assembler) {
    asm.csrrs(T1, csr::SSCRATCH, ZERO);
    asm.csrrw(T0, csr::MSCRATCH, T0);
}

/// Writes rewritten code. Between [`Writer::begin`] and the end of the step, `t0` points to the
/// frame, `t1` is free, and accesses are the monitor's own.
pub struct Writer<'a> {
    pub asm: Assembler,
    steps: &'a Steps,
}

impl<'a> Writer<'a> {
    /// Code that will lie at `at`.
    pub fn new(at: u64, steps: &'a Steps) -> Self {
        Self {
            asm: Assembler::with_room(at, ROOM),
            steps,
        }
    }

    fn words(&mut self, words: &[u32]) {
        for word in words {
            self.asm.word(*word);
        }
    }

    /// Takes `t0` and `t1`, and switches to the monitor's memory.
    pub fn begin(&mut self) {
        self.words(&self.steps.begin);
    }

    /// Switches to the guest's memory and gives the registers back: the guest's next instruction
    /// follows.
    pub fn end(&mut self) {
        self.words(&self.steps.end);
    }

    /// Gives `t0` and `t1` back.
    pub fn give_back(&mut self) {
        give_back(&mut self.asm);
    }

    /// Takes `t2` and `t3`.
    pub fn take_more(&mut self) {
        self.asm.sd(T2, SHELTER_T2, T0).sd(T3, SHELTER_T3, T0);
    }

    /// Gives `t2` and `t3` back.
    pub fn give_more_back(&mut self) {
        self.asm.ld(T2, SHELTER_T2, T0).ld(T3, SHELTER_T3, T0);
    }

    /// `t1` becomes the guest's `register`. `t2` and `t3` may be taken, but must not have changed.
    pub fn read(&mut self, register: X) {
        match register {
            T0 => self.asm.csrrs(T1, csr::MSCRATCH, ZERO),
            T1 => self.asm.csrrs(T1, csr::SSCRATCH, ZERO),
            _ => self.asm.addi(T1, register, 0),
        };
    }

    /// The guest's `register` becomes what `from` holds. `t2` and `t3` are taken if `more`.
    pub fn write(&mut self, register: X, from: X, more: bool) {
        match register {
            ZERO => return,
            T0 => self.asm.csrrw(ZERO, csr::MSCRATCH, from),
            T1 => self.asm.csrrw(ZERO, csr::SSCRATCH, from),
            T2 if more => self.asm.sd(from, SHELTER_T2, T0),
            T3 if more => self.asm.sd(from, SHELTER_T3, T0),
            _ => self.asm.addi(register, from, 0),
        };
    }

    /// Counts instructions of the guest, fewer than 2048.
    pub fn count(&mut self, instructions: u16) {
        let [load, add, store] = self.steps.count;
        if instructions > 0 {
            self.words(&[load, add | u32::from(instructions) << 20, store]);
        }
    }

    /// The guest goes on at `target`, by way of `then`; `instructions` were executed.
    pub fn go(&mut self, target: u64, instructions: u16, then: Label) {
        self.begin();
        self.count(instructions);
        self.asm.li(T1, target);
        self.asm.jal(ZERO, then);
    }

    /// To `label` if the monitor's hart has an interrupt for it. `by` is free.
    pub fn unless_interrupted(&mut self, by: X, label: Label) {
        self.asm.csrrs(by, csr::MIP, ZERO);
        self.asm.andi(by, by, MACHINE_INTERRUPTS);
        self.asm.bne(by, ZERO, label);
    }

    /// The code, if all of it could be written.
    pub fn finish(self) -> Option<Vec<u8>> {
        self.asm.finish().ok()
    }
}
