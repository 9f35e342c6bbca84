//! What RISC-V instructions, CSRs and page-table entries look like: data, no behaviour.
#![no_std]

extern crate alloc;

mod alias;
pub mod asm;
mod compressed;
pub mod csr;
mod decode;
mod disassemble;
mod encode;
mod extension;
mod format;
mod insn;
mod moves;
pub mod pte;
pub mod register;
pub mod table;

pub use decode::{decode, length};
pub use disassemble::Disassembly;
pub use encode::encode;
pub use insn::Insn;
pub use table::{Class, Extension, Format, Op};
