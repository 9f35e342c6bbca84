//! RV64 as gdb sees it: the numbers of its registers and the description of all it has.

use std::fmt::Write;
use std::num::NonZeroUsize;

use gdbstub::arch::{Arch, RegId, Registers};
use ringer_hart::{Bus, Hart, Mode};
use ringer_isa::csr;

/// The architecture.
pub enum Riscv64 {}

impl Arch for Riscv64 {
    type Usize = u64;
    type Registers = Core;
    type BreakpointKind = usize;
    type RegId = Register;
}

/// The registers that gdb reads all at once.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Core {
    /// `x0` to `x31`.
    pub x: [u64; 32],
    /// The program counter.
    pub pc: u64,
}

impl Registers for Core {
    type ProgramCounter = u64;
    fn pc(&self) -> u64 {
        self.pc
    }
    fn gdb_serialize(&self, mut write_byte: impl FnMut(Option<u8>)) {
        for register in self.x.iter().chain([&self.pc]) {
            register
                .to_le_bytes()
                .into_iter()
                .for_each(|byte| write_byte(Some(byte)));
        }
    }
    fn gdb_deserialize(&mut self, bytes: &[u8]) -> Result<(), ()> {
        let (words, _) = bytes.as_chunks::<8>();
        if words.len() < self.x.len() + 1 {
            return Err(());
        }
        let registers = self.x.iter_mut().chain([&mut self.pc]);
        for (register, word) in registers.zip(words) {
            *register = u64::from_le_bytes(*word);
        }
        Ok(())
    }
}

/// One register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Register {
    /// An integer register.
    X(u8),
    /// The program counter.
    Pc,
    /// A floating-point register.
    F(u8),
    /// A control and status register.
    Csr(u16),
    /// The privilege mode.
    Privilege,
}

/// gdb's numbers: integer registers from 0, the program counter, floating-point registers, CSRs.
mod number {
    pub const PC: usize = 32;
    pub const F: usize = 33;
    pub const CSR: usize = 65;
    pub const PRIVILEGE: usize = CSR + 4096;
}

impl RegId for Register {
    fn from_raw_id(id: usize) -> Option<(Self, Option<NonZeroUsize>)> {
        let register = match id {
            0..number::PC => Self::X(id as u8),
            number::PC => Self::Pc,
            number::F..number::CSR => Self::F((id - number::F) as u8),
            number::CSR..number::PRIVILEGE => Self::Csr((id - number::CSR) as u16),
            number::PRIVILEGE => Self::Privilege,
            _ => return None,
        };
        Some((register, NonZeroUsize::new(8)))
    }
}

/// The integer registers by the names that gdb expects.
const INTEGER: [&str; 32] = [
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "fp", "s1", "a0", "a1", "a2", "a3", "a4",
    "a5", "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4",
    "t5", "t6",
];

/// The floating-point registers by the names that gdb expects.
const FLOAT: [&str; 32] = [
    "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "fs0", "fs1", "fa0", "fa1", "fa2",
    "fa3", "fa4", "fa5", "fa6", "fa7", "fs2", "fs3", "fs4", "fs5", "fs6", "fs7", "fs8", "fs9",
    "fs10", "fs11", "ft8", "ft9", "ft10", "ft11",
];

/// The CSRs that belong to floating point.
const FLOAT_CSRS: [u16; 3] = [csr::FFLAGS, csr::FRM, csr::FCSR];

/// What gdb asks for as `target.xml`: every register that the hart has, by name. Without the word
/// that there is no operating system, gdb takes it for a Linux process and steps by breakpoints.
pub fn describe<B: Bus + ?Sized>(hart: &Hart, bus: &B) -> String {
    let mut out = String::from(
        "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n\
         <target version=\"1.0\"><architecture>riscv:rv64</architecture>\n\
         <osabi>none</osabi>\n\
         <feature name=\"org.gnu.gdb.riscv.cpu\">\n",
    );
    for (number, name) in INTEGER.iter().enumerate() {
        let kind = match *name {
            "ra" => "code_ptr",
            "sp" | "gp" | "tp" | "fp" => "data_ptr",
            _ => "int",
        };
        register(&mut out, name, number, kind);
    }
    register(&mut out, "pc", number::PC, "code_ptr");
    out.push_str("</feature>\n<feature name=\"org.gnu.gdb.riscv.fpu\">\n");
    out.push_str(
        "<union id=\"riscv_double\"><field name=\"float\" type=\"ieee_single\"/>\
         <field name=\"double\" type=\"ieee_double\"/></union>\n",
    );
    for (number, name) in FLOAT.iter().enumerate() {
        register(&mut out, name, number::F + number, "riscv_double");
    }
    for number in FLOAT_CSRS {
        register(
            &mut out,
            csr::name(number).unwrap_or("?"),
            csr_number(number),
            "int",
        );
    }
    out.push_str("</feature>\n<feature name=\"org.gnu.gdb.riscv.csr\">\n");
    let mut probe = hart.clone();
    probe.mode = Mode::M;
    for (number, name) in csr::ALL {
        if !FLOAT_CSRS.contains(number) && probe.csr(bus, *number, None).is_ok() {
            register(&mut out, name, csr_number(*number), "int");
        }
    }
    out.push_str("</feature>\n<feature name=\"org.gnu.gdb.riscv.virtual\">\n");
    register(&mut out, "priv", number::PRIVILEGE, "int");
    out.push_str("</feature>\n</target>\n");
    out
}

fn csr_number(csr: u16) -> usize {
    number::CSR + usize::from(csr)
}

fn register(out: &mut String, name: &str, number: usize, kind: &str) {
    let _ = writeln!(
        out,
        "<reg name=\"{name}\" bitsize=\"64\" type=\"{kind}\" regnum=\"{number}\"/>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_a_register_or_none() {
        assert_eq!(Register::from_raw_id(31).unwrap().0, Register::X(31));
        assert_eq!(Register::from_raw_id(32).unwrap().0, Register::Pc);
        assert_eq!(Register::from_raw_id(33).unwrap().0, Register::F(0));
        let satp = csr_number(csr::SATP);
        assert_eq!(
            Register::from_raw_id(satp).unwrap().0,
            Register::Csr(csr::SATP)
        );
        assert_eq!(Register::from_raw_id(4161).unwrap().0, Register::Privilege);
        assert!(Register::from_raw_id(4162).is_none());
        assert!(Register::from_raw_id(usize::MAX).is_none());
    }

    #[test]
    fn core_registers_come_back() {
        let mut core = Core {
            pc: 0x8020_0000,
            ..Core::default()
        };
        core.x[31] = u64::MAX;
        let mut bytes = Vec::new();
        core.gdb_serialize(|byte| bytes.extend(byte));
        let mut back = Core::default();
        assert_eq!(back.gdb_deserialize(&bytes), Ok(()));
        assert_eq!(back, core);
        assert_eq!(back.gdb_deserialize(&bytes[1..]), Err(()));
    }
}
