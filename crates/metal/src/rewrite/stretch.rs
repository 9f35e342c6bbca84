//! A stretch of guest code, rewritten: instructions one after the other, from a given one until
//! a jump, or one that is left to the definition. Branches lead out of it.

use alloc::vec::Vec;

use ringer_isa::asm::register::{T0, T1, T2, ZERO};
use ringer_isa::asm::{Label, X};
use ringer_isa::table::{Class, Extension};
use ringer_isa::{Insn, Op};

use super::dispatcher::Dispatcher;
use super::window::Window;
use super::writer::{Writer, field};

/// Instructions in a stretch at most.
const MOST: u16 = 64;
/// Bytes of the guest's code in a stretch at most.
pub const LONGEST: u64 = 4 * MOST as u64;

/// `pause`: a fence of nothing before writes after, which gives the CPU away.
const PAUSE: u32 = 0x0100_000f;

/// Where in the guest's code an instruction of rewritten code belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// In the rewritten code, from its start.
    host: u32,
    /// In the guest's, from where the stretch begins.
    pub guest: u16,
    /// Instructions of the guest before it.
    pub before: u16,
}

/// Rewritten code.
#[derive(Debug)]
pub struct Stretch {
    at: u64,
    code: Vec<u8>,
    places: Vec<Place>,
}

impl Stretch {
    /// Where it must lie.
    pub fn at(&self) -> u64 {
        self.at
    }
    /// The code.
    pub fn code(&self) -> &[u8] {
        &self.code
    }
    /// Its instructions, in their order.
    pub fn places(&self) -> &[Place] {
        &self.places
    }
}

impl Place {
    /// The guest's instruction that the one `offset` bytes into rewritten code stands for, or is
    /// part of. What leads out lies behind all of them.
    pub fn find(places: &[Self], offset: u64) -> Option<Self> {
        let behind = places.partition_point(|place| u64::from(place.host) <= offset);
        places.get(behind.checked_sub(1)?).copied()
    }
}

/// Makes stretches.
#[derive(Clone, Copy, Debug)]
pub struct StretchWriter<'a> {
    /// Where they go on.
    pub dispatcher: Dispatcher,
    /// What they do with CSRs.
    pub window: &'a Window,
}

/// What becomes of a branch, behind the code.
struct SideExit {
    label: Label,
    target: u64,
    instructions: u16,
}

impl StretchWriter<'_> {
    /// Rewrites the guest's code at `pc` for address `at`. `fetch` gives the instruction at an
    /// address, or none where it cannot be rewritten; `patience` is how many instructions the
    /// guest may go on in rewritten code from the privileged instruction at an address.
    ///
    /// `None` if not even one instruction can be rewritten.
    pub fn write(
        &self,
        pc: u64,
        at: u64,
        mut fetch: impl FnMut(u64) -> Option<Insn>,
        patience: impl Fn(u64) -> u16,
    ) -> Option<Stretch> {
        let mut code = Writer::new(at, &self.dispatcher.steps);
        let go = code.asm.label_at(self.dispatcher.go);
        let define = code.asm.label_at(self.dispatcher.define);
        let mut places = Vec::with_capacity(MOST.into());
        let mut exits: Vec<SideExit> = Vec::new();
        let mut aside = Vec::new();
        let mut va = pc;
        let mut before = 0;
        loop {
            let insn = fetch(va).filter(|_| before < MOST);
            let step = insn.map(|insn| (insn, Step::of(&insn, self.window)));
            let (insn, step) = match step {
                None if before == 0 => return None,
                // What follows may be a stretch of its own.
                None => {
                    code.go(va, before, go);
                    break;
                }
                Some((_, Step::Other)) if before == 0 => return None,
                Some((_, Step::Other)) => {
                    code.go(va, before, define);
                    break;
                }
                Some(known) => known,
            };
            places.push(Place {
                host: (code.asm.here() - at) as u32,
                guest: va.wrapping_sub(pc) as u16,
                before,
            });
            let next = va.wrapping_add(insn.len.into());
            let target = va.wrapping_add_signed(insn.imm.into());
            match step {
                Step::Same if insn.len == 2 => {
                    code.asm.half(insn.bits as u16);
                }
                Step::Same => {
                    code.asm.word(insn.bits);
                }
                Step::Address => {
                    if insn.rd != 0 {
                        code.asm.li(X(insn.rd), target);
                    }
                }
                Step::Branch => {
                    let label = code.asm.label();
                    code.asm.branch(insn.op, X(insn.rs1), X(insn.rs2), label);
                    exits.push(SideExit {
                        label,
                        target,
                        instructions: before + 1,
                    });
                }
                Step::Jump => {
                    if insn.rd != 0 {
                        code.asm.li(X(insn.rd), next);
                    }
                    code.go(target, before + 1, go);
                }
                Step::JumpRegister => jump_register(&mut code, &insn, next, before + 1, go),
                Step::Csr => {
                    let label = code.asm.label();
                    code.begin();
                    code.asm.ld(T1, field!(retired), T0);
                    code.asm.addi(T1, T1, (before + patience(va)).into());
                    code.asm.sd(T1, field!(limit), T0);
                    code.asm.insn(Insn {
                        rd: T1.0,
                        ..Insn::new(Op::Auipc)
                    });
                    code.asm.sd(T1, field!(site), T0);
                    code.asm.ld(T1, field!(sites), T0);
                    code.asm.addi(T1, T1, 1);
                    code.asm.sd(T1, field!(sites), T0);
                    self.window.write(&mut code, &insn, label)?;
                    code.end();
                    aside.push(SideExit {
                        label,
                        target: va,
                        instructions: before,
                    });
                }
                Step::Other => return None,
            }
            va = next;
            before += 1;
            if matches!(step, Step::Jump | Step::JumpRegister) {
                break;
            }
        }
        for exit in exits {
            code.asm.bind(exit.label);
            code.go(exit.target, exit.instructions, go);
        }
        for exit in aside {
            code.asm.bind(exit.label);
            code.count(exit.instructions);
            code.asm.li(T1, exit.target);
            code.asm.jal(ZERO, define);
        }
        Some(Stretch {
            at,
            code: code.finish()?,
            places,
        })
    }
}

fn jump_register(code: &mut Writer<'_>, insn: &Insn, link: u64, instructions: u16, go: Label) {
    let (rd, rs1) = (X(insn.rd), X(insn.rs1));
    let same = rd == rs1 && rd != ZERO;
    if rd != ZERO && !same {
        code.asm.li(rd, link);
    }
    code.begin();
    code.count(instructions);
    code.read(rs1);
    code.asm.addi(T1, T1, insn.imm);
    code.asm.andi(T1, T1, -2);
    match rd {
        _ if !same => {}
        T0 | T1 => {
            code.asm.sd(T2, field!(shelters), T0);
            code.asm.li(T2, link);
            code.write(rd, T2, true);
            code.asm.ld(T2, field!(shelters), T0);
        }
        _ => {
            code.asm.li(rd, link);
        }
    }
    code.asm.jal(ZERO, go);
}

/// What becomes of an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// It stays as it is: it does the same in M-mode, by way of MPRV, as in U-mode.
    Same,
    /// `auipc`: a constant.
    Address,
    /// A way out, if it is taken.
    Branch,
    /// `jal`
    Jump,
    /// `jalr`
    JumpRegister,
    /// A CSR in the window.
    Csr,
    /// The definition's matter, or the guest's own code goes on.
    Other,
}

impl Step {
    fn of(insn: &Insn, window: &Window) -> Self {
        match insn.op {
            Op::Auipc => Self::Address,
            Op::Jal => Self::Jump,
            Op::Jalr => Self::JumpRegister,
            op if op.class() == Class::Branch => Self::Branch,
            Op::Fence if insn.bits != PAUSE => Self::Same,
            _ if stays(insn.op) => Self::Same,
            _ if window.takes(insn) => Self::Csr,
            _ => Self::Other,
        }
    }
}

/// Whether an instruction only computes, loads or stores. One that is not listed here is left to
/// the definition.
fn stays(op: Op) -> bool {
    use Extension as E;
    let ordinary = matches!(
        op.extension(),
        E::I | E::M
            | E::A
            | E::Zabha
            | E::Zacas
            | E::Zba
            | E::Zbb
            | E::Zbc
            | E::Zbs
            | E::Zbkb
            | E::Zbkx
            | E::Zicond
    );
    let class = matches!(
        op.class(),
        Class::Integer | Class::Load | Class::Store | Class::Atomic
    );
    ordinary && class && !op.is_float() && op != Op::Auipc
}
