//! From guest code to host code: a block at a time.
//!
//! A block begins at one place in RAM and goes on, through branches that are not taken, to an
//! indirect jump, a call, the end of its page or [`MOST`] instructions. It is entered at its
//! *far* entry, with the virtual address in `rax`, or at its *near* entry from a block in the
//! same page. Wherever the block is left or the definition asked, all guest state is where it
//! belongs: registers with a home in it, all others in the core. On the straight way that is so
//! of all but floating-point registers, which ways aside put in their places first.
//!
//! `rax` and `rdx` are free for each instruction; `rcx` may hold a window (see `memory.rs`).

mod aside;
mod atomics;
mod block;
mod cache_block;
mod convert;
mod crossing;
mod division;
mod fence;
mod float;
mod float_registers;
mod integer;
mod jump;
mod memory;
mod pointers;
mod quiet;
mod reservation;
mod rounding;
mod skip;
mod status;
mod system;
mod window;

use ringer_hart::{PAGE_SHIFT, PAGE_SIZE, Privilege};
use ringer_isa::Class;

use crate::assembler::{Alu, Assembler, Cond, Label, Mem, Reg, Width};
use crate::cache::LinkSite;
use crate::core_state::{LEFT, PAGE, PC, home, x};
use crate::features::Features;
use crate::known::KnownInstructions;
use crate::thunks::{Note, Thunks};
use aside::Aside;
pub use block::Translation;
use block::{CROSSING, Step};
use float_registers::{FloatRegisters, LoopRegisters};
use quiet::FlagsAside;
use window::Window;

/// What was emitted, beside the code itself in the assembler.
#[derive(Debug)]
pub struct Emitted {
    /// Offset of the near entry.
    pub near: usize,
    /// Offset of the far entry.
    pub far: usize,
    /// The jumps that can be linked.
    pub links: Vec<LinkSite>,
    /// How many guest instructions there are.
    pub instructions: u32,
}

/// What a stretch of a block's host code is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// The entries and the budget.
    Entry,
    /// The instruction at this place in the page. If nothing is there, the code of the one before
    /// covers it.
    Instruction(u16),
    /// The way on behind the last instruction.
    Onward,
    /// The way out for want of budget.
    Budget,
    /// What is seldom run.
    Asides,
}

/// Where a stretch of a block's host code begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// What it is for.
    pub purpose: Purpose,
    /// Its offset.
    pub at: usize,
}

impl Translation {
    /// More bytes than any block's code takes.
    pub const MOST_BYTES: usize = 48 << 10;

    /// Writes the host code for `address` into `a`, and where what begins into `marks`. `None`
    /// means a mistake of the translator, and the definition takes over.
    pub fn emit(
        &self,
        a: &mut Assembler,
        address: u64,
        thunks: &Thunks,
        features: &Features,
        known: &KnownInstructions,
        marks: Option<&mut Vec<Mark>>,
    ) -> Option<Emitted> {
        a.reset(address);
        let near = a.label();
        let mut emitter = Emitter {
            a,
            thunks,
            features,
            known,
            marks,
            privilege: self.key.privilege(),
            page: self.key.page() << PAGE_SHIFT,
            steps: &self.steps,
            first: (self.key.offset() & (PAGE_SIZE - 1)) as u16,
            count: self.count(),
            crosses: self.crosses,
            index: 0,
            near,
            aside: Vec::new(),
            links: Vec::new(),
            window: None,
            window_end: None,
            floats: FloatRegisters::default(),
            flags_aside: Vec::new(),
            float_unit_expected: false,
            float_on_expected: false,
            diverted: false,
            apart: false,
            turn: None,
            loop_registers: None,
        };
        let (far, near) = emitter.block();
        let links = emitter.links;
        a.finish().ok()?;
        Some(Emitted {
            near,
            far,
            links,
            instructions: self.count() as u32,
        })
    }
}

/// A loop's further turns: registers are in place already, and the floating-point unit is ready.
#[derive(Clone, Copy)]
struct Turn {
    /// Where it begins, once its instructions are counted.
    begin: Label,
    /// Where to go if they may not be executed any more.
    budget: Label,
}

/// Emits one block.
struct Emitter<'a> {
    a: &'a mut Assembler,
    thunks: &'a Thunks,
    features: &'a Features,
    known: &'a KnownInstructions,
    /// Wanted by those who show the code.
    marks: Option<&'a mut Vec<Mark>>,
    /// What the block runs with.
    privilege: Privilege,
    /// Offset in RAM of the page.
    page: u64,
    steps: &'a [Step],
    /// Where in the page the block begins.
    first: u16,
    /// How many instructions it has.
    count: usize,
    crosses: bool,
    /// The instruction that is being emitted.
    index: usize,
    near: Label,
    /// Of a loop that computes with floating-point numbers.
    turn: Option<Turn>,
    loop_registers: Option<LoopRegisters>,
    aside: Vec<Aside>,
    links: Vec<LinkSite>,
    window: Option<Window>,
    /// The last instruction of the window, and where the definition goes on behind it.
    window_end: Option<(usize, Label)>,
    floats: FloatRegisters,
    /// Where the flags were not looked at though the guest does.
    flags_aside: Vec<FlagsAside>,
    /// The block has made sure that the floating-point unit is ready.
    float_unit_expected: bool,
    /// The block has made sure that it is on.
    float_on_expected: bool,
    /// Results of integer instructions go to `rax` instead of their register.
    diverted: bool,
    /// Windows are not used: see [`Aside::Apart`].
    apart: bool,
}

impl Emitter<'_> {
    /// Whether the last instruction leads back to the first.
    fn is_loop(&self) -> bool {
        self.steps.last().is_some_and(|last| {
            last.insn.op.class() == Class::Branch && last.target() == i64::from(self.first)
        })
    }

    /// The whole block; returns the offsets of its far and its near entry.
    fn block(&mut self) -> (usize, usize) {
        let count = self.count as i32;
        self.mark(Purpose::Entry);
        let far = self.a.offset();
        self.a
            .alu_ri(Alu::And, Width::W64, Reg::Rax, -(PAGE_SIZE as i32));
        self.a.mov_mr(Width::W64, PAGE, Reg::Rax);
        let near = self.a.offset();
        self.a.bind(self.near);
        let budget = self.a.label();
        if self.is_loop()
            && let Some(registers) = float::loop_registers(self.steps, self.features)
        {
            self.enter_loop(&registers);
            self.loop_registers = Some(registers);
        }
        let unsaved = self.floats.unsaved();
        self.a.alu_ri(Alu::Sub, Width::W64, LEFT, count);
        self.a.jcc(Cond::B, budget);
        if let Some(registers) = &self.loop_registers {
            // Looked at once for all turns: none of the loop's instructions changes it.
            if registers.are_only_stored() {
                self.expect_float_on();
            } else {
                self.expect_float_unit();
            }
            let begin = self.a.bind_here();
            self.turn = Some(Turn { begin, budget });
        }

        let mut falls_through = true;
        let mut index = 0;
        while index < self.steps.len() {
            self.index = index;
            self.mark(Purpose::Instruction(self.steps[index].at));
            falls_through = self.step();
            // The instruction may have been emitted together with the next one.
            for together in index + 1..=self.index {
                self.mark(Purpose::Instruction(self.steps[together].at));
            }
            index = self.index;
            if let Some((last, label)) = self.window_end
                && last == index
            {
                self.floats.window_ends();
                self.rejoin(label);
                self.window_end = None;
            }
            index += 1;
        }
        if falls_through && self.crosses {
            self.mark(Purpose::Instruction(CROSSING));
            self.reaches_over();
        } else if falls_through && let Some(last) = self.steps.last() {
            let next = if last.followed {
                last.target()
            } else {
                i64::from(last.end())
            };
            self.mark(Purpose::Onward);
            self.save_floats();
            self.go_to(next);
        }

        self.mark(Purpose::Budget);
        self.a.bind(budget);
        self.save_aside(&unsaved);
        self.a.alu_ri(Alu::Add, Width::W64, LEFT, count);
        self.set_pc(i32::from(self.first));
        self.a.jmp_to(self.thunks.exit_budget);
        self.mark(Purpose::Asides);
        self.put_asides();
        (far, near)
    }

    /// What is emitted from here on is for this.
    fn mark(&mut self, purpose: Purpose) {
        let at = self.a.offset();
        if let Some(marks) = &mut self.marks {
            marks.push(Mark { purpose, at });
        }
    }

    /// The instruction at the page's end, which reaches into the next one.
    fn reaches_over(&mut self) {
        let note = Note {
            at: CROSSING,
            len: 4,
            uncounted: 1,
            known: false,
        };
        self.save_floats();
        self.call_definition(note, 0);
        self.go_to(i64::from(CROSSING) + 4);
    }

    /// The instruction after the current one.
    fn next(&self) -> Option<Step> {
        self.steps.get(self.index + 1).copied()
    }

    fn current(&self) -> Step {
        self.steps[self.index]
    }

    /// How many instructions from the current one on have been counted on entry.
    fn uncounted(&self) -> usize {
        self.count - self.index
    }

    /// Emits the current instruction. False if nothing falls through behind it.
    fn step(&mut self) -> bool {
        let step = self.current();
        let insn = step.insn;
        if step.followed {
            return true;
        }
        match insn.op.class() {
            Class::Branch if self.skip() => {}
            Class::Branch => self.branch(),
            Class::Integer if self.shift_pair(&insn) => {}
            Class::Jump => {
                self.jump();
                return false;
            }
            Class::Integer if self.integer(&insn) => {}
            Class::Load | Class::Store if self.memory_access() => {}
            Class::Load | Class::Store if self.float_memory_access() => {}
            Class::Float if self.float_instruction() => {}
            Class::Atomic if self.atomic(&insn) || self.reservation(&insn) => {}
            Class::Csr if self.csr_instruction(&insn) => {}
            Class::CacheBlock if self.cache_block(&insn) => {}
            Class::Fence if self.fence(&insn) => {}
            Class::System if self.crossing() => {}
            _ => self.definition(),
        }
        true
    }

    /// Has the current instruction executed by the definition, on the straight way.
    fn definition(&mut self) {
        let insn = self.current().insn;
        let number = self.known.number(&insn);
        let note = Note {
            known: number.is_some(),
            ..self.note(self.index)
        };
        self.save_floats();
        self.call_definition(note, number.unwrap_or(insn.bits));
        self.forget_floats();
        let insn = self.current().insn;
        if insn.op.format().writes_float() {
            self.float_was_set(insn.rd);
        }
    }

    /// The definition executes instruction `index`, and generated code is left behind it.
    fn definition_and_leave(&mut self, index: usize) {
        let end = self.steps[index].end();
        let note = self.note(index);
        let bits = self.steps[index].insn.bits;
        self.call_definition(note, bits);
        self.count_back(self.count - index - 1);
        self.address_of(Reg::Rax, i32::from(end));
        self.a.jmp_to(self.thunks.exit_jump);
    }

    /// Has the definition execute the instruction that `note` and `name` say.
    fn call_definition(&mut self, note: Note, name: u32) {
        self.a.mov_ri(Reg::Rax, note.pack().into());
        self.a.mov_ri(Reg::Rdx, name.into());
        self.a.call_to(self.thunks.fallback);
    }

    /// Names instruction `index`.
    fn note(&self, index: usize) -> Note {
        let step = self.steps[index];
        Note {
            at: step.at,
            len: step.insn.len,
            uncounted: (self.count - index) as u8,
            known: false,
        }
    }

    /// A way aside on which the definition executes the current instruction; it goes on at
    /// `resume`.
    fn definition_aside(&mut self, resume: Label) -> Label {
        let label = self.a.label();
        let note = self.note(self.index);
        self.aside.push(Aside::Definition {
            label,
            note,
            bits: self.current().insn.bits,
            resume,
            unsaved: self.floats.unsaved(),
            reload: Vec::new(),
        });
        label
    }

    /// `pc` becomes this place in the page.
    fn set_pc(&mut self, at: i32) {
        self.a.mov_rm(Width::W64, Reg::Rax, PAGE);
        if at != 0 {
            self.a.alu_ri(Alu::Add, Width::W64, Reg::Rax, at);
        }
        self.a.mov_mr(Width::W64, PC, Reg::Rax);
    }

    /// Instructions that were counted on entry are not executed after all.
    fn count_back(&mut self, uncounted: usize) {
        if uncounted != 0 {
            self.a.alu_ri(Alu::Add, Width::W64, LEFT, uncounted as i32);
        }
    }

    /// An integer register as it can be used: its home, or else `scratch`, loaded with it.
    fn value(&mut self, register: u8, scratch: Reg) -> Reg {
        if let Some(home) = home(register) {
            return home;
        }
        if register == 0 {
            self.a.mov_ri(scratch, 0);
        } else {
            self.a.mov_rm(Width::W64, scratch, x(register));
        }
        scratch
    }

    /// Puts an integer register's value into `to`.
    fn copy(&mut self, to: Reg, register: u8) {
        let from = self.value(register, to);
        if from != to {
            self.a.mov_rr(Width::W64, to, from);
        }
    }

    /// Where the result for `rd` is best computed; [`Emitter::set`] puts it in its place.
    fn result(&self, rd: u8) -> Reg {
        match home(rd) {
            Some(home) if !self.diverted => home,
            _ => Reg::Rax,
        }
    }

    /// `rd` becomes the value in `from`.
    fn set(&mut self, rd: u8, from: Reg) {
        if self.diverted {
            if from != Reg::Rax {
                self.a.mov_rr(Width::W64, Reg::Rax, from);
            }
            return;
        }
        match home(rd) {
            Some(home) if home == from => {}
            Some(home) => self.a.mov_rr(Width::W64, home, from),
            None if rd != 0 => self.a.mov_mr(Width::W64, x(rd), from),
            None => {}
        }
    }

    /// `rax` becomes the virtual address of this place, counted from the page's start.
    fn address_of(&mut self, to: Reg, at: i32) {
        self.a.mov_rm(Width::W64, to, PAGE);
        if at != 0 {
            self.a.lea(Width::W64, to, Mem::at(to, at));
        }
    }
}
