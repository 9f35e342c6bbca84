//! The disassembler: how instructions are written in assembly language.

use core::fmt;

use crate::alias;
use crate::csr;
use crate::insn::Insn;
use crate::register;
use crate::table::{Format, Op};

/// An instruction together with its address; prints jump targets as addresses.
#[derive(Clone, Copy, Debug)]
pub struct Disassembly {
    insn: Insn,
    pc: u64,
}

impl Insn {
    /// For printing the instruction as it is at address `pc`.
    pub fn disassemble(self, pc: u64) -> Disassembly {
        Disassembly { insn: self, pc }
    }
}

impl fmt::Display for Disassembly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(&self.insn, Some(self.pc), f)
    }
}

/// Jump targets are relative: `.+8`.
impl fmt::Display for Insn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(self, None, f)
    }
}

/// How the operands of a format are written: a letter stands for a field, anything else for
/// itself.
///
/// `d`, `s` and `t` are the integer registers rd, rs1 and rs2; `D`, `S`, `T` and `R` the
/// floating-point registers rd, rs1, rs2 and rs3; `i` is the immediate, `u` its upper 20 bits,
/// `p` a jump target, `c` a CSR, `z` the number in rs1, `k` a constant of `fli`, `f` the sets of
/// a fence, `m` a comma and the rounding mode unless that is dynamic.
pub(crate) struct Operands;

impl Operands {
    pub(crate) const fn of(format: Format) -> &'static str {
        match format {
            Format::R | Format::MayBeBinary => "d,s,t",
            Format::RUnary | Format::MayBeUnary => "d,s",
            Format::I | Format::Shift64 | Format::Shift32 => "d,s,i",
            Format::Load | Format::JumpRegister => "d,i(s)",
            Format::Store => "t,i(s)",
            Format::Branch => "s,t,p",
            Format::Jump => "d,p",
            Format::Upper => "d,u",
            Format::Fence => "f",
            Format::Csr => "d,c,s",
            Format::CsrImmediate => "d,c,z",
            Format::System | Format::MayBeCompressed => "",
            Format::AddressFence => "s,t",
            Format::CacheBlock => "(s)",
            Format::GuestLoad | Format::LoadReserved => "d,(s)",
            Format::GuestStore => "t,(s)",
            Format::Atomic | Format::AtomicPair => "d,t,(s)",
            Format::FloatLoad => "D,i(s)",
            Format::FloatStore => "T,i(s)",
            Format::Float => "D,S,T",
            Format::FloatRounded => "D,S,Tm",
            Format::FloatUnaryRounded => "D,Sm",
            Format::FloatFused => "D,S,T,Rm",
            Format::FloatCompare => "d,S,T",
            Format::FloatToInteger => "d,S",
            Format::FloatToIntegerRounded => "d,Sm",
            Format::IntegerToFloat => "D,s",
            Format::IntegerToFloatRounded => "D,sm",
            Format::FloatConstant => "D,k",
        }
    }
}

fn write(insn: &Insn, pc: Option<u64>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if let Some(name) = prefetch(insn) {
        return write!(f, "{name} {}({})", insn.imm & !31, integer(insn.rs1));
    }
    let (mnemonic, operands) = match alias::find(insn) {
        Some(alias) => (alias.mnemonic, alias.operands),
        None => (insn.op.mnemonic(), Operands::of(insn.op.format())),
    };
    f.write_str(mnemonic)?;
    match insn.op.format() {
        Format::MayBeUnary | Format::MayBeBinary | Format::MayBeCompressed => {
            write!(f, ".{}", insn.imm)?;
        }
        Format::Atomic | Format::AtomicPair | Format::LoadReserved => {
            f.write_str(["", ".rl", ".aq", ".aqrl"][usize::from(insn.rm & 3)])?;
        }
        _ => {}
    }
    if !operands.is_empty() {
        f.write_str(" ")?;
    }
    for letter in operands.chars() {
        match letter {
            'd' => f.write_str(integer(insn.rd))?,
            's' => f.write_str(integer(insn.rs1))?,
            't' => f.write_str(integer(insn.rs2))?,
            'D' => f.write_str(float(insn.rd))?,
            'S' => f.write_str(float(insn.rs1))?,
            'T' => f.write_str(float(insn.rs2))?,
            'R' => f.write_str(float(insn.rs3))?,
            'i' => write!(f, "{}", insn.imm)?,
            'u' => write!(f, "{:#x}", insn.imm as u32 >> 12)?,
            'p' => match pc {
                Some(pc) => write!(f, "{:#x}", pc.wrapping_add_signed(i64::from(insn.imm)))?,
                None => write!(f, ".{:+}", insn.imm)?,
            },
            'c' => match u16::try_from(insn.imm).ok().and_then(csr::name) {
                Some(name) => f.write_str(name)?,
                None => write!(f, "{:#x}", insn.imm)?,
            },
            'z' => write!(f, "{}", insn.rs1)?,
            'k' => f.write_str(CONSTANTS[usize::from(insn.rs1 & 31)])?,
            'f' => {
                fence_set(insn.imm >> 4, f)?;
                f.write_str(", ")?;
                fence_set(insn.imm, f)?;
            }
            'm' => rounding_mode(insn, f)?,
            ',' => f.write_str(", ")?,
            other => fmt::Write::write_char(f, other)?,
        }
    }
    if insn.op == Op::FcvtmodWD {
        f.write_str(", rtz")
    } else {
        Ok(())
    }
}

fn integer(number: u8) -> &'static str {
    register::INTEGER[usize::from(number & 31)]
}

fn float(number: u8) -> &'static str {
    register::FLOAT[usize::from(number & 31)]
}

/// Prefetches are `ori` to x0, the kind in the low bits of the offset (Zicbop).
fn prefetch(insn: &Insn) -> Option<&'static str> {
    match (insn.op, insn.rd, insn.imm & 31) {
        (Op::Ori, 0, 0) => Some("prefetch.i"),
        (Op::Ori, 0, 1) => Some("prefetch.r"),
        (Op::Ori, 0, 3) => Some("prefetch.w"),
        _ => None,
    }
}

fn fence_set(set: i32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if set & 15 == 0 {
        return f.write_str("0");
    }
    for (bit, letter) in [(8, "i"), (4, "o"), (2, "r"), (1, "w")] {
        if set & bit != 0 {
            f.write_str(letter)?;
        }
    }
    Ok(())
}

fn rounding_mode(insn: &Insn, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    // Conversions that are always exact are assembled with rne, and nobody writes it.
    let exact = matches!(
        insn.op,
        Op::FcvtDS | Op::FcvtDW | Op::FcvtDWu | Op::FcvtSH | Op::FcvtDH
    );
    if insn.rm == if exact { 0 } else { 7 } {
        return Ok(());
    }
    let name = ["rne", "rtz", "rdn", "rup", "rmm", "5", "6", "dyn"][usize::from(insn.rm & 7)];
    write!(f, ", {name}")
}

/// What `fli` can load (Zfa).
const CONSTANTS: [&str; 32] = [
    "-1.0",
    "min",
    "1.52587890625e-05",
    "3.0517578125e-05",
    "0.00390625",
    "0.0078125",
    "0.0625",
    "0.125",
    "0.25",
    "0.3125",
    "0.375",
    "0.4375",
    "0.5",
    "0.625",
    "0.75",
    "0.875",
    "1.0",
    "1.25",
    "1.5",
    "1.75",
    "2.0",
    "2.5",
    "3.0",
    "4.0",
    "8.0",
    "16.0",
    "128.0",
    "256.0",
    "32768.0",
    "65536.0",
    "inf",
    "nan",
];
