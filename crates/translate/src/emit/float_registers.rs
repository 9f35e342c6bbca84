//! Floating-point registers in a block: each has its place in the core, which is always up to
//! date; those used last are also in registers of the host, so that they need not be loaded.

use super::{Aside, Emitter};
use crate::assembler::{Label, Mem, Precision, Xmm};
use crate::core_state::f;

/// Host registers for single values; the ones before them are free for each instruction.
const FIRST: u8 = 2;
const COUNT: usize = 14;

/// Free for each instruction.
pub const SCRATCH: Xmm = Xmm(0);
/// As well.
pub const SECOND_SCRATCH: Xmm = Xmm(1);

/// What a host register holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    register: u8,
    precision: Precision,
}

/// What is known of the floating-point registers at a point in a block.
#[derive(Clone, Debug, Default)]
pub struct FloatRegisters {
    held: [Option<Held>; COUNT],
    /// Registers known to hold a properly boxed single, by bit.
    boxed: u32,
    /// The same, when the window was opened.
    boxed_before: u32,
    /// The next host register to be used.
    next: usize,
    /// In a loop: which host register each register has for itself.
    places: Option<[u8; 32]>,
}

/// Floating-point registers that a loop uses.
#[derive(Debug, Default)]
pub struct LoopRegisters {
    /// All of them, with what they hold.
    used: Vec<Held>,
    /// Those whose value comes from before the loop, or from its last turn.
    live: Vec<Held>,
}

impl LoopRegisters {
    /// Takes note of an instruction. False if the loop's registers cannot stay in places of
    /// their own.
    pub fn add(&mut self, sources: &[(u8, Precision)], result: Option<(u8, Precision)>) -> bool {
        let held = |&(register, precision): &(u8, Precision)| Held {
            register,
            precision,
        };
        for source in sources.iter().map(held) {
            if !self.used.contains(&source) {
                self.live.push(source);
                self.used.push(source);
            }
        }
        if let Some(result) = result.as_ref().map(held)
            && !self.used.contains(&result)
        {
            self.used.push(result);
        }
        let registers = self
            .used
            .iter()
            .fold(0u32, |set, held| set | 1 << held.register);
        // None both as a single and as a double.
        registers.count_ones() as usize == self.used.len() && self.used.len() <= COUNT
    }
}

fn xmm(index: usize) -> Xmm {
    Xmm(FIRST + index as u8)
}

impl FloatRegisters {
    /// Nothing is in host registers any more.
    pub fn forget(&mut self) {
        self.held = [None; COUNT];
    }

    /// A window begins, which may be executed in another way as a whole.
    pub fn window_opens(&mut self) {
        self.boxed_before = self.boxed;
    }

    /// A window ends: what was only checked inside it is not known behind it.
    pub fn window_ends(&mut self) {
        self.boxed &= self.boxed_before;
        for held in &mut self.held {
            if let Some(Held {
                register,
                precision: Precision::Single,
            }) = held
                && self.boxed >> *register & 1 == 0
            {
                *held = None;
            }
        }
    }

    fn find(&self, wanted: Held) -> Option<Xmm> {
        self.held
            .iter()
            .position(|held| *held == Some(wanted))
            .map(xmm)
    }

    fn release(&mut self, register: u8) {
        for held in &mut self.held {
            if held.is_some_and(|held| held.register == register) {
                *held = None;
            }
        }
    }

    /// A host register for `held`, not one of `busy`; in a loop its own one.
    fn take(&mut self, held: Held, busy: &[Xmm]) -> Xmm {
        if let Some(places) = &self.places {
            let index = usize::from(places[usize::from(held.register & 31)]);
            self.held[index] = Some(held);
            return xmm(index);
        }
        loop {
            let index = self.next;
            self.next = (self.next + 1) % COUNT;
            if !busy.contains(&xmm(index)) {
                self.held[index] = Some(held);
                return xmm(index);
            }
        }
    }

    /// What must be loaded to be in this state again.
    fn loads(&self) -> Vec<(Xmm, Mem, Precision)> {
        let all = self.held.iter().enumerate();
        all.filter_map(|(index, held)| {
            held.map(|held| (xmm(index), f(held.register), held.precision))
        })
        .collect()
    }
}

impl Emitter<'_> {
    /// Floating-point register `register` in a register of the host. Of a single it must be
    /// known that it is boxed.
    pub(super) fn float(&mut self, register: u8, precision: Precision, busy: &[Xmm]) -> Xmm {
        let wanted = Held {
            register,
            precision,
        };
        if let Some(found) = self.floats.find(wanted) {
            return found;
        }
        let to = self.floats.take(wanted, busy);
        self.a.movs_load(precision, to, f(register));
        to
    }

    /// A host register for the result of an instruction, which [`Emitter::set_float`] then
    /// makes the value of its register.
    pub(super) fn float_result(&mut self, register: u8, precision: Precision, busy: &[Xmm]) -> Xmm {
        self.floats.release(register);
        let held = Held {
            register,
            precision,
        };
        self.floats.take(held, busy)
    }

    /// Stores the result in `from` to its register's place.
    pub(super) fn set_float(&mut self, register: u8, precision: Precision, from: Xmm) {
        self.a.movs_store(precision, f(register), from);
        match precision {
            Precision::Double => self.floats.boxed &= !(1 << register),
            Precision::Single => self.box_single(register),
        }
    }

    /// The upper half of a register that holds a single is all ones.
    pub(super) fn box_single(&mut self, register: u8) {
        if self.floats.boxed >> register & 1 == 0 {
            let Mem { base, disp, .. } = f(register);
            self.a
                .store_i(crate::assembler::Cell::W, Mem::at(base, disp + 4), -1);
        }
        self.floats.boxed |= 1 << register;
    }

    /// The block is a loop with these registers: each gets a place of its own, and those that
    /// are live are loaded.
    pub(super) fn enter_loop(&mut self, registers: &LoopRegisters) {
        let mut places = [0; 32];
        for (index, held) in registers.used.iter().enumerate() {
            places[usize::from(held.register & 31)] = index as u8;
        }
        self.floats.places = Some(places);
        for held in &registers.live {
            self.float(held.register, held.precision, &[]);
        }
    }

    /// Before the loop's next turn: what is live must be in its place. Leaves the flags alone.
    pub(super) fn repeat_loop(&mut self, registers: &LoopRegisters) {
        for held in &registers.live {
            self.float(held.register, held.precision, &[]);
        }
    }

    /// The register was written in its place, behind the back of the host registers.
    pub(super) fn float_was_set(&mut self, register: u8) {
        self.floats.release(register);
        self.floats.boxed &= !(1 << register);
    }

    /// Floating-point register `register`, if it is in a register of the host.
    pub(super) fn held_float(&self, register: u8, precision: Precision) -> Option<Xmm> {
        self.floats.find(Held {
            register,
            precision,
        })
    }

    /// Makes sure that these registers hold boxed singles.
    pub(super) fn expect_boxed(&mut self, registers: &[u8]) {
        for &register in registers {
            if self.floats.boxed >> register & 1 == 0 {
                let Mem { base, disp, .. } = f(register);
                self.a.alu_mi(
                    crate::assembler::Alu::Cmp,
                    crate::assembler::Width::W32,
                    Mem::at(base, disp + 4),
                    -1,
                );
                let unboxed = self.leave_aside();
                self.a.jcc(crate::assembler::Cond::Ne, unboxed);
                self.floats.boxed |= 1 << register;
            }
        }
    }

    /// Binds `label`, where the definition goes on: host registers must hold there what they
    /// hold on the straight way.
    pub(super) fn rejoin(&mut self, label: Label) {
        self.a.bind(label);
        let loads = self.floats.loads();
        for aside in &mut self.aside {
            match aside {
                Aside::Definition { resume, reload, .. } | Aside::Apart { resume, reload, .. }
                    if *resume == label =>
                {
                    reload.clone_from(&loads);
                }
                _ => {}
            }
        }
    }
}
