//! Ways aside: code of a block that is seldom run, written behind the rest.

use super::Emitter;
use super::float_registers::{FloatRegisters, Unsaved};
use crate::assembler::{Label, Mem, Precision, Reg, Width, Xmm};
use crate::cache::LinkSite;
use crate::thunks::Note;

/// One way aside.
pub enum Aside {
    /// It is there already.
    Written,
    /// Leaves a linkable jump that is not linked.
    Unlinked { site: usize, target: u16 },
    /// A branch that is taken: puts back what was counted too much, then jumps.
    Taken {
        label: Label,
        uncounted: usize,
        target: i64,
        unsaved: Vec<Unsaved>,
        /// The register that holds the floating-point flags then.
        flags_to: Option<u8>,
    },
    /// Puts the floating-point flags in a register after all.
    Flags {
        label: Label,
        resume: Label,
        register: u8,
    },
    /// The definition executes an instruction; goes on at `resume`.
    Definition {
        label: Label,
        note: Note,
        /// Its encoding.
        bits: u32,
        resume: Label,
        /// What host registers hold that it must find in the core.
        unsaved: Vec<Unsaved>,
        /// What host registers must hold again then.
        reload: Vec<(Xmm, Mem, Precision)>,
    },
    /// The instructions of a window once more, each access checked for itself: the window is
    /// not to be had as a whole, mostly because it lies across the end of a page.
    Apart {
        label: Label,
        first: usize,
        last: usize,
        /// What is known of floating-point registers where it begins.
        floats: Box<FloatRegisters>,
        resume: Label,
        /// What host registers must hold behind it.
        reload: Vec<(Xmm, Mem, Precision)>,
    },
    /// The definition executes instruction `index`; what the block relies on does not hold.
    DefinitionAndLeave {
        label: Label,
        index: usize,
        unsaved: Vec<Unsaved>,
    },
    /// A load that follows pointers has come to another page than last time.
    OtherPage {
        label: Label,
        found: Label,
        /// Where that is remembered.
        last: Mem,
        /// By the index in `rdx`.
        delta: Mem,
        /// Where it is to go.
        to: Reg,
    },
    /// The host has made a NaN among these, which becomes the canonical one.
    CanonicalNans {
        label: Label,
        resume: Label,
        values: Vec<(Xmm, Precision)>,
    },
}

impl Emitter<'_> {
    /// Writes all that the block has come to need.
    pub(super) fn put_asides(&mut self) {
        let mut index = 0;
        // Asides may add asides.
        while index < self.aside.len() {
            let aside = std::mem::replace(&mut self.aside[index], Aside::Written);
            index += 1;
            match aside {
                Aside::Written => {}
                Aside::Unlinked { site, target } => {
                    let unlinked = self.a.offset();
                    self.set_pc(i32::from(target));
                    // `mov eax, number`; the number is filled in when the block is added.
                    self.a.mov_ri(Reg::Rax, 0x7fff_ffff);
                    let number = self.a.offset() - 4;
                    self.a.jmp_to(self.thunks.exit_link);
                    self.links.push(LinkSite {
                        site,
                        unlinked,
                        number,
                        target: self.page + u64::from(target),
                    });
                }
                Aside::Taken {
                    label,
                    uncounted,
                    target,
                    unsaved,
                    flags_to,
                } => {
                    self.a.bind(label);
                    self.save_aside(&unsaved);
                    if let Some(register) = flags_to {
                        self.read_float_flags(register);
                    }
                    self.count_back(uncounted);
                    self.go_to(target);
                }
                Aside::Definition {
                    label,
                    note,
                    bits,
                    resume,
                    unsaved,
                    reload,
                } => {
                    self.a.bind(label);
                    self.save_aside(&unsaved);
                    self.call_definition(note, bits);
                    self.reload(reload);
                    self.a.jmp(resume);
                }
                Aside::Apart {
                    label,
                    first,
                    last,
                    floats,
                    resume,
                    reload,
                } => {
                    self.a.bind(label);
                    self.floats = *floats;
                    self.apart = true;
                    self.index = first;
                    while self.index <= last {
                        self.step();
                        self.index += 1;
                    }
                    self.apart = false;
                    self.save_floats();
                    self.reload(reload);
                    self.a.jmp(resume);
                }
                Aside::DefinitionAndLeave {
                    label,
                    index,
                    unsaved,
                } => {
                    self.a.bind(label);
                    self.save_aside(&unsaved);
                    self.definition_and_leave(index);
                }
                Aside::Flags {
                    label,
                    resume,
                    register,
                } => {
                    self.a.bind(label);
                    self.read_float_flags(register);
                    self.a.jmp(resume);
                }
                Aside::OtherPage {
                    label,
                    found,
                    last,
                    delta,
                    to,
                } => {
                    self.a.bind(label);
                    self.a.mov_mr(Width::W32, last, Reg::Rdx);
                    self.a.mov_rm(Width::W64, to, delta);
                    self.a.jmp(found);
                }
                Aside::CanonicalNans {
                    label,
                    resume,
                    values,
                } => {
                    self.a.bind(label);
                    for (value, precision) in values {
                        self.make_canonical(value, precision);
                    }
                    self.a.jmp(resume);
                }
            }
        }
    }

    fn reload(&mut self, registers: Vec<(Xmm, Mem, Precision)>) {
        for (register, from, precision) in registers {
            self.a.movs_load(precision, register, from);
        }
    }
}
