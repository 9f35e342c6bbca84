//! The ways into generated code and out of it: a few hand-written stretches that all blocks
//! share, generated once.
//!
//! The host's stack while generated code runs, from [`core_state::STACK`] downwards: pairs of a
//! guest return address and the host address to go on at, one for each guest call that has not
//! returned (see `emit/jump.rs`). They only ever are a guess, dropped at every exit.

use crate::assembler::{Alu, AssembleError, Assembler, Cond, Mem, Reg, Width};
use crate::core_state::{
    AT_HOME, BIAS, CORE, Core, LEFT, LEFT_FIELD, PC, SPACE, SPACE_FIELD, STACK, home, x,
};

/// What [`Thunks::enter`] returns, unless it is the number of a link to be made.
pub mod exit {
    /// To an address, in `pc`, that there is no code for.
    pub const JUMP: u64 = 1 << 32;
    /// The next block has more instructions than are left.
    pub const BUDGET: u64 = 2 << 32;
    /// An instruction did what Rust must look at; all is in the core.
    pub const LOOK: u64 = 3 << 32;
}

/// What a helper says of how to go on, where it is not the address of other code.
pub mod go_on {
    /// Behind the instructions that it has executed.
    pub const BEHIND: u64 = 0;
    /// Not in generated code: Rust has to look.
    pub const NOT: u64 = 1;
}

/// Addresses of the thunks.
#[derive(Clone, Copy, Debug)]
pub struct Thunks {
    /// `extern "sysv64" fn(core, code, va) -> u64`: runs the code.
    pub enter: u64,
    /// Leaves with `rax`, the number of a link, as result.
    pub exit_link: u64,
    /// Goes on at the address in `rax`, for which no code is remembered.
    pub exit_jump: u64,
    /// Leaves since too few instructions are left.
    pub exit_budget: u64,
    /// Called: executes an instruction by its definition; `eax` and `edx` say which ([`Note`]).
    pub fallback: u64,
}

/// Which instruction of a block the definition is asked to execute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Note {
    /// Where in its page it lies.
    pub at: u16,
    /// How many bytes it has.
    pub len: u8,
    /// How many instructions of the block, with it, have been counted but not executed.
    pub uncounted: u8,
    /// It is named by its number among the known ones, not by its encoding.
    pub known: bool,
}

/// Where [`Note::known`] is packed.
const KNOWN: u32 = 1 << 23;

impl Note {
    /// As one word.
    pub fn pack(self) -> u32 {
        let known = if self.known { KNOWN } else { 0 };
        u32::from(self.at) | u32::from(self.len) << 16 | u32::from(self.uncounted) << 24 | known
    }
    /// From that word.
    pub fn unpack(word: u32) -> Self {
        let [low, high, len, uncounted] = (word & !KNOWN).to_le_bytes();
        Self {
            known: word & KNOWN != 0,
            at: u16::from_le_bytes([low, high]),
            len,
            uncounted,
        }
    }
}

/// Executes instructions for generated code; says how to [`go_on`].
pub type Fallback = unsafe extern "sysv64" fn(core: *mut Core, note: u32, name: u32) -> u64;

/// Finds the code for the address in `pc`; says where it is, or [`go_on::NOT`].
pub type FindJump = unsafe extern "sysv64" fn(core: *mut Core) -> u64;

/// Registers that the host's functions preserve, in the order they are pushed.
const PRESERVED: [Reg; 6] = [Reg::Rbp, Reg::Rbx, Reg::R12, Reg::R13, Reg::R14, Reg::R15];
/// Room on the stack for the mark at its base; keeps it aligned to 16.
const BASE: i32 = 24;

fn load_homes(a: &mut Assembler) {
    for register in AT_HOME {
        if let Some(at) = home(register) {
            a.mov_rm(Width::W64, at, x(register));
        }
    }
}

fn store_homes(a: &mut Assembler) {
    for register in AT_HOME {
        if let Some(at) = home(register) {
            a.mov_mr(Width::W64, x(register), at);
        }
    }
}

fn leave(a: &mut Assembler) {
    a.mov_rm(Width::W64, Reg::Rsp, STACK);
    a.alu_ri(Alu::Add, Width::W64, Reg::Rsp, BASE);
    for register in PRESERVED.into_iter().rev() {
        a.pop_r(register);
    }
    a.ret();
}

impl Thunks {
    /// Writes the thunks into `a`.
    pub fn assemble(
        a: &mut Assembler,
        fallback: Fallback,
        jump: FindJump,
    ) -> Result<Self, AssembleError> {
        let enter = a.address();
        for register in PRESERVED {
            a.push_r(register);
        }
        a.alu_ri(Alu::Sub, Width::W64, Reg::Rsp, BASE);
        // No return address is odd, so this ends the chain of guesses. But a program may have
        // put just this number where it returns to: then it goes to `odd`.
        let odd = a.label();
        a.lea_label(Reg::Rax, odd);
        a.mov_mr(Width::W64, Mem::at(Reg::Rsp, 0), Reg::Rax);
        a.mov_mi(Width::W64, Mem::at(Reg::Rsp, 8), 1);
        a.lea(Width::W64, CORE, Mem::at(Reg::Rdi, BIAS as i32));
        a.mov_rr(Width::W64, Reg::Rcx, Reg::Rsi);
        a.mov_rr(Width::W64, Reg::Rax, Reg::Rdx);
        a.mov_mr(Width::W64, STACK, Reg::Rsp);
        let run = a.bind_here();
        a.mov_rm(Width::W64, SPACE, SPACE_FIELD);
        a.mov_rm(Width::W64, LEFT, LEFT_FIELD);
        load_homes(a);
        a.jmp_r(Reg::Rcx);

        a.align(16);
        // A return to address 1, whose lowest bit does not count.
        a.bind(odd);
        a.mov_ri(Reg::Rax, 0);
        let exit_jump = a.address();
        a.mov_mr(Width::W64, PC, Reg::Rax);
        store_homes(a);
        a.mov_mr(Width::W64, LEFT_FIELD, LEFT);
        // A call has put half a guess on the stack, so all of them go.
        a.mov_rm(Width::W64, Reg::Rsp, STACK);
        a.lea(Width::W64, Reg::Rdi, Mem::at(CORE, -(BIAS as i32)));
        a.mov_ri(Reg::Rax, jump as usize as u64);
        a.call_r(Reg::Rax);
        let (elsewhere, nowhere) = (a.label(), a.label());
        a.alu_ri(Alu::Cmp, Width::W64, Reg::Rax, go_on::NOT as i32);
        a.jcc(Cond::Ne, elsewhere);
        a.mov_ri(Reg::Rax, exit::JUMP);
        a.jmp(nowhere);

        let exit_budget = a.address();
        a.mov_ri(Reg::Rax, exit::BUDGET);
        let exit_link = a.address();
        store_homes(a);
        a.mov_mr(Width::W64, LEFT_FIELD, LEFT);
        a.bind(nowhere);
        leave(a);

        a.align(16);
        let fallback_at = a.address();
        store_homes(a);
        a.mov_mr(Width::W64, LEFT_FIELD, LEFT);
        a.lea(Width::W64, Reg::Rdi, Mem::at(CORE, -(BIAS as i32)));
        a.mov_rr(Width::W32, Reg::Rsi, Reg::Rax);
        // A window (see `emit/window.rs`) lives on; this also aligns the stack.
        a.push_r(Reg::Rcx);
        a.mov_ri(Reg::Rax, fallback as usize as u64);
        a.call_r(Reg::Rax);
        a.pop_r(Reg::Rcx);
        let look = a.label();
        a.alu_ri(Alu::Cmp, Width::W64, Reg::Rax, go_on::NOT as i32);
        a.jcc(Cond::E, look);
        a.jcc(Cond::A, elsewhere);
        load_homes(a);
        a.mov_rm(Width::W64, SPACE, SPACE_FIELD);
        a.ret();

        a.bind(elsewhere);
        a.mov_rr(Width::W64, Reg::Rcx, Reg::Rax);
        a.mov_rm(Width::W64, Reg::Rsp, STACK);
        a.mov_rm(Width::W64, Reg::Rax, PC);
        a.jmp(run);

        a.bind(look);
        // The registers are in the core already, changed by the instruction.
        a.mov_ri(Reg::Rax, exit::LOOK);
        leave(a);
        a.finish()?;
        Ok(Self {
            enter,
            exit_link,
            exit_jump,
            exit_budget,
            fallback: fallback_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Note;

    #[test]
    fn notes_come_back() {
        let note = Note {
            at: 0xffe,
            len: 4,
            uncounted: 64,
            known: true,
        };
        assert_eq!(Note::unpack(note.pack()), note);
    }
}
