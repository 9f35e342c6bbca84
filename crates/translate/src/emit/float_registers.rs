//! Floating-point registers in a block: those used last are in registers of the host. Results
//! stay there; they go to their places in the core only where the block is left or the definition
//! is asked, which is mostly on ways aside.
//!
//! The same holds for making NaNs canonical. A NaN makes every result that is computed from it a
//! NaN, so one look at the last of a chain tells of all of them.

use super::Emitter;
use super::aside::Aside;
use crate::assembler::{Alu, Cell, Cond, Label, Mem, Precision, Reg, Width, Xmm};
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

/// Results that may wait for being looked at: each takes room on every way aside.
const MOST_UNCHECKED: u32 = 4;
/// Results outside loops that may wait for being put in their places, for the same reason.
const MOST_UNSAVED: u32 = 8;

/// What is known of the floating-point registers at a point in a block. Sets of host registers
/// are by bit.
#[derive(Clone, Debug, Default)]
pub struct FloatRegisters {
    held: [Option<Held>; COUNT],
    /// Host registers whose value is not yet in its place in the core.
    dirty: u16,
    /// Those among them that may hold a NaN other than the canonical one.
    unchecked: u16,
    /// For each of those, the others that cannot be NaNs if it is none.
    implied: [u16; COUNT],
    /// Registers known to hold a properly boxed single, by bit.
    boxed: u32,
    /// The same, when the window was opened, and those written since.
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
    /// Those that it writes, by bit.
    written: u32,
}

impl LoopRegisters {
    /// Whether the loop does nothing with floating-point registers but to store them.
    pub fn are_only_stored(&self) -> bool {
        self.used.is_empty()
    }

    /// Takes note of an instruction. False if the loop's registers cannot stay in places of
    /// their own.
    pub fn add(
        &mut self,
        sources: [Option<(u8, Precision)>; 3],
        result: Option<(u8, Precision)>,
    ) -> bool {
        let held = |(register, precision)| Held {
            register,
            precision,
        };
        for used in sources.into_iter().flatten().chain(result).map(held) {
            if !self.used.contains(&used) {
                self.used.push(used);
            }
        }
        if let Some((register, _)) = result {
            self.written |= 1 << register;
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

/// A value in a host register that belongs in its place in the core.
#[derive(Clone, Copy, Debug)]
pub struct Unsaved {
    from: Xmm,
    held: Held,
    /// It may be a NaN other than the canonical one.
    unchecked: bool,
}

fn indices(set: u16) -> impl Iterator<Item = usize> {
    (0..COUNT).filter(move |index| set >> index & 1 != 0)
}

impl FloatRegisters {
    /// Nothing is in host registers any more.
    fn forget(&mut self) {
        debug_assert_eq!(self.dirty, 0, "a result would be lost");
        self.held = [None; COUNT];
    }

    /// A window begins, which may be executed in another way as a whole.
    pub fn window_opens(&mut self) {
        self.boxed_before = self.boxed;
    }

    /// A window ends: what was only checked inside it is not known behind it.
    pub fn window_ends(&mut self) {
        self.boxed &= self.boxed_before;
    }

    fn find(&self, wanted: Held) -> Option<usize> {
        self.held.iter().position(|held| *held == Some(wanted))
    }

    /// The register need not hold a boxed single any more.
    fn not_boxed(&mut self, register: u8) {
        self.boxed &= !(1 << register);
        self.boxed_before &= !(1 << register);
    }

    /// What the host register held is of no use any more.
    fn drop(&mut self, index: usize) {
        self.held[index] = None;
        self.dirty &= !(1 << index);
        self.unchecked &= !(1 << index);
        for implied in &mut self.implied {
            *implied &= !(1 << index);
        }
    }

    fn release(&mut self, register: u8) {
        for index in 0..COUNT {
            if self.held[index].is_some_and(|held| held.register == register) {
                self.drop(index);
            }
        }
    }

    /// Of no NaN in these host registers need be feared any more, nor in those that they imply.
    fn are_checked(&mut self, set: u16) {
        let implied = indices(set).fold(set, |all, index| all | self.implied[index]);
        self.unchecked &= !implied;
    }

    /// Those of a set that do not follow from another one of it.
    fn leading(&self, set: u16) -> u16 {
        let follow = indices(set).fold(0, |all, index| all | self.implied[index]);
        set & !follow
    }

    /// What must be loaded to be in this state again.
    fn loads(&self) -> Vec<(Xmm, Mem, Precision)> {
        let all = self.held.iter().enumerate();
        all.filter_map(|(index, held)| {
            held.map(|held| (xmm(index), f(held.register), held.precision))
        })
        .collect()
    }

    /// What must go to the core before anybody looks there.
    pub fn unsaved(&self) -> Vec<Unsaved> {
        indices(self.dirty)
            .filter_map(|index| {
                Some(Unsaved {
                    from: xmm(index),
                    held: self.held[index]?,
                    unchecked: self.unchecked >> index & 1 != 0,
                })
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
            return xmm(found);
        }
        // As the other precision it may be there, too.
        self.save_float(register);
        let index = self.room_for(register, busy);
        self.floats.held[index] = Some(wanted);
        self.a.movs_load(precision, xmm(index), f(register));
        xmm(index)
    }

    /// A host register for `register`, not one of `busy`; in a loop its own one. What it holds
    /// is saved.
    fn room_for(&mut self, register: u8, busy: &[Xmm]) -> usize {
        if let Some(places) = &self.floats.places {
            return usize::from(places[usize::from(register & 31)]);
        }
        let from_next = (0..COUNT).map(|distance| (self.floats.next + distance) % COUNT);
        let usable: Vec<usize> = from_next
            .filter(|index| !busy.contains(&xmm(*index)))
            .collect();
        let empty = usable
            .iter()
            .find(|index| self.floats.held[**index].is_none());
        let index = empty.or(usable.first()).copied().unwrap_or(0);
        self.floats.next = (index + 1) % COUNT;
        if let Some(held) = self.floats.held[index] {
            self.save_float(held.register);
            self.floats.drop(index);
        }
        index
    }

    /// Makes room for the result of the current instruction, so that to take it later costs no
    /// code. To be called when all operands are in their registers, and before ways aside.
    pub(super) fn make_room(&mut self, register: u8, busy: &[Xmm]) {
        if self.floats.places.is_none() {
            let index = self.room_for(register, busy);
            self.floats.next = index;
        }
    }

    /// A host register for the result of an instruction, which [`Emitter::set_float`] then
    /// makes the value of its register. There must be room for it.
    pub(super) fn float_result(&mut self, register: u8, precision: Precision) -> Xmm {
        let index = match &self.floats.places {
            Some(places) => usize::from(places[usize::from(register & 31)]),
            None => self.floats.next,
        };
        self.floats.release(register);
        self.floats.held[index] = Some(Held {
            register,
            precision,
        });
        xmm(index)
    }

    /// The result that [`Emitter::float_result`] has made room for is there.
    pub(super) fn set_float(&mut self, register: u8, precision: Precision) {
        let result = Held {
            register,
            precision,
        };
        if let Some(index) = self.floats.find(result) {
            self.floats.dirty |= 1 << index;
            let others = self.floats.dirty & !(1 << index);
            if self.floats.places.is_none()
                && others.count_ones() >= MOST_UNSAVED
                && let Some(held) = indices(others).find_map(|index| self.floats.held[index])
            {
                self.save_float(held.register);
            }
        }
        match precision {
            Precision::Double => self.floats.not_boxed(register),
            Precision::Single => self.box_single(register),
        }
    }

    /// What a computation with these operands will imply if its result is no NaN.
    pub(super) fn implied_by(&self, operands: &[Xmm]) -> u16 {
        let of = |operand: &Xmm| {
            let index = usize::from(operand.0 - FIRST);
            match self.floats.unchecked >> index & 1 {
                0 => 0,
                _ => 1 << index | self.floats.implied[index],
            }
        };
        operands.iter().fold(0, |all, operand| all | of(operand))
    }

    /// The result of a computation is there; it may be a NaN, which then becomes the canonical
    /// one, sooner or later. `implied` is of its operands.
    pub(super) fn set_computed(&mut self, register: u8, precision: Precision, implied: u16) {
        self.set_float(register, precision);
        let result = Held {
            register,
            precision,
        };
        if let Some(index) = self.floats.find(result) {
            // An operand may have given its place to the result.
            let others = implied & self.floats.unchecked;
            self.floats.implied[index] = others & !(1 << index);
            self.floats.unchecked |= 1 << index;
        }
        if self.floats.unchecked.count_ones() > MOST_UNCHECKED {
            self.check_floats(self.floats.unchecked);
        }
    }

    /// No NaN was found among the operands of a comparison.
    pub(super) fn operands_are_numbers(&mut self, implied: u16) {
        self.floats.are_checked(implied);
    }

    /// NaNs in these host registers become the canonical one. Changes the flags, and `rax` if
    /// there are any.
    fn check_floats(&mut self, set: u16) {
        let leading = self.floats.leading(set & self.floats.unchecked);
        for precision in [Precision::Single, Precision::Double] {
            let is_such = |index: &usize| {
                self.floats.held[*index].is_some_and(|held| held.precision == precision)
            };
            let these: Vec<usize> = indices(leading).filter(is_such).collect();
            for pair in these.chunks(2) {
                let (label, resume) = (self.a.label(), self.a.label());
                let (first, last) = (pair[0], pair[pair.len() - 1]);
                self.a.ucomis(precision, xmm(first), xmm(last));
                self.a.jcc(Cond::P, label);
                self.a.bind(resume);
                let all = self.floats.implied[first] | self.floats.implied[last];
                let all = (all | 1 << first | 1 << last) & self.floats.unchecked;
                let values = indices(all)
                    .filter_map(|index| Some((xmm(index), self.floats.held[index]?.precision)));
                self.aside.push(Aside::CanonicalNans {
                    label,
                    resume,
                    values: values.collect(),
                });
                self.floats.are_checked(all);
            }
        }
    }

    /// If `register` is in a host register, it holds no NaN but the canonical one.
    pub(super) fn check_float(&mut self, register: u8) {
        for index in 0..COUNT {
            if self.floats.held[index].is_some_and(|held| held.register == register) {
                self.check_floats(1 << index);
            }
        }
    }

    /// Puts a result in its place in the core.
    pub(super) fn save_float(&mut self, register: u8) {
        self.check_float(register);
        for index in indices(self.floats.dirty) {
            if let Some(held) = self.floats.held[index]
                && held.register == register
            {
                self.a.movs_store(held.precision, f(register), xmm(index));
                self.floats.dirty &= !(1 << index);
            }
        }
    }

    /// Puts all results in their places: the block is left. Changes the flags and `rax`.
    pub(super) fn save_floats(&mut self) {
        self.check_floats(self.floats.unchecked);
        for Unsaved { from, held, .. } in self.floats.unsaved() {
            self.a.movs_store(held.precision, f(held.register), from);
        }
        self.floats.dirty = 0;
    }

    /// The same on a way aside, which leaves the straight way as it is.
    pub(super) fn save_aside(&mut self, unsaved: &[Unsaved]) {
        for value in unsaved {
            if value.unchecked {
                self.make_canonical(value.from, value.held.precision);
            }
            let place = f(value.held.register);
            self.a.movs_store(value.held.precision, place, value.from);
        }
    }

    /// A NaN becomes the canonical one. Changes the flags and `rax`.
    pub(super) fn make_canonical(&mut self, value: Xmm, precision: Precision) {
        let number = self.a.label();
        self.a.ucomis(precision, value, value);
        self.a.jcc_short(Cond::Np, number);
        self.a.mov_ri(Reg::Rax, super::float::nan(precision));
        self.a.movq_xr(value, Reg::Rax);
        self.a.bind(number);
    }

    /// The definition has executed the current instruction on the straight way.
    pub(super) fn forget_floats(&mut self) {
        self.floats.forget();
    }

    /// The upper half of a register that holds a single is all ones.
    fn box_single(&mut self, register: u8) {
        if self.floats.boxed >> register & 1 == 0 {
            let Mem { base, disp, .. } = f(register);
            self.a.store_i(Cell::W, Mem::at(base, disp + 4), -1);
        }
        self.floats.boxed |= 1 << register;
        // It is written on every way through a window.
        self.floats.boxed_before |= 1 << register;
    }

    /// The block is a loop with these registers: each gets a place of its own, and all are
    /// loaded. When its next turn begins, any that the loop writes may be out of date in the
    /// core.
    pub(super) fn enter_loop(&mut self, registers: &LoopRegisters) {
        let mut places = [0; 32];
        for (index, held) in registers.used.iter().enumerate() {
            places[usize::from(held.register & 31)] = index as u8;
        }
        self.floats.places = Some(places);
        self.load_for_loop(registers);
        for (index, held) in registers.used.iter().enumerate() {
            if registers.written >> held.register & 1 != 0 {
                self.floats.dirty |= 1 << index;
            }
        }
    }

    fn load_for_loop(&mut self, registers: &LoopRegisters) {
        for held in &registers.used {
            self.float(held.register, held.precision, &[]);
        }
    }

    /// Before the loop's next turn: all registers must be in their places, without doubtful
    /// NaNs. Changes the flags and `rax`.
    pub(super) fn repeat_loop(&mut self, registers: &LoopRegisters) {
        self.check_floats(self.floats.unchecked);
        self.load_for_loop(registers);
    }

    /// The register was written in its place, behind the back of the host registers.
    pub(super) fn float_was_set(&mut self, register: u8) {
        self.floats.release(register);
        self.floats.not_boxed(register);
    }

    /// Floating-point register `register`, if it is in a register of the host, and no doubtful
    /// NaN. Otherwise its place in the core has it.
    pub(super) fn settled_float(&mut self, register: u8, precision: Precision) -> Option<Xmm> {
        self.check_float(register);
        let found = self.floats.find(Held {
            register,
            precision,
        });
        if found.is_none() {
            self.save_float(register);
        }
        found.map(xmm)
    }

    /// Makes sure that these registers hold boxed singles.
    pub(super) fn expect_boxed(&mut self, registers: &[u8]) {
        for &register in registers {
            if self.floats.boxed >> register & 1 == 0 {
                self.save_float(register);
                let Mem { base, disp, .. } = f(register);
                self.a
                    .alu_mi(Alu::Cmp, Width::W32, Mem::at(base, disp + 4), -1);
                let unboxed = self.leave_aside();
                self.a.jcc(Cond::Ne, unboxed);
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
