//! Every instruction that the assembler writes is decoded by `iced-x86`, and must be the one
//! that was asked for, in every register and every form of address.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

mod flow;
mod forms;
mod integer;
mod mistakes;
mod vector;

use iced_x86::{
    Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter, MemorySizeOptions, NumberBase,
};
use ringer_translate::assembler::{Assembler, Cell, Mem, Reg, Scale, Width, Xmm};

/// Where the code of most tests is at run time.
const ADDRESS: u64 = 0x7f12_3456_7000;

const WIDTHS: [Width; 2] = [Width::W32, Width::W64];
const CELLS: [Cell; 4] = [Cell::B, Cell::H, Cell::W, Cell::D];

/// Constants around the limits of the short form and of the long one.
const IMMEDIATES: [i32; 12] = [
    0,
    1,
    -1,
    42,
    127,
    128,
    255,
    -128,
    -129,
    0x1234_5678,
    i32::MAX,
    i32::MIN,
];

/// The instructions in `code`, which is at `address`.
fn decoded(code: &[u8], address: u64) -> Vec<Instruction> {
    Decoder::with_ip(64, code, address, DecoderOptions::NONE)
        .into_iter()
        .collect()
}

/// Prints instructions; creating the formatter is dear.
struct Printer(IntelFormatter);

impl Printer {
    fn new() -> Self {
        let mut formatter = IntelFormatter::new();
        let options = formatter.options_mut();
        options.set_number_base(NumberBase::Decimal);
        options.set_signed_immediate_operands(true);
        options.set_memory_size_options(MemorySizeOptions::Always);
        options.set_space_after_operand_separator(true);
        options.set_always_show_scale(true);
        options.set_show_branch_size(false);
        // `imul eax, eax, 3` keeps its three operands.
        options.set_use_pseudo_ops(false);
        Self(formatter)
    }

    fn text(&mut self, instruction: &Instruction) -> String {
        let mut text = String::new();
        self.0.format(instruction, &mut text);
        text
    }
}

/// Assembles one instruction after the other and compares each with its text.
struct Checker {
    printer: Printer,
    assembler: Assembler,
}

impl Checker {
    fn new() -> Self {
        Self {
            printer: Printer::new(),
            assembler: Assembler::new(ADDRESS),
        }
    }

    /// What `write` writes is one instruction and reads `expected`. Returns its length.
    #[track_caller]
    fn is(&mut self, expected: &str, write: impl FnOnce(&mut Assembler)) -> usize {
        self.assembler.reset(ADDRESS);
        write(&mut self.assembler);
        self.assembler.finish().unwrap();
        let code = self.assembler.code();
        let instructions = decoded(code, ADDRESS);
        let texts: Vec<_> = instructions
            .iter()
            .map(|instruction| self.printer.text(instruction))
            .collect();
        assert_eq!(texts, [expected], "{code:02x?}");
        code.len()
    }
}

/// Name of the part of a register that has this size.
fn part(cell: Cell, register: Reg) -> String {
    let number = usize::from(register.number());
    let old = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"];
    match (cell, old.get(number)) {
        (Cell::B, Some(name)) if number < 4 => format!("{}l", &name[..1]),
        (Cell::B, Some(name)) => format!("{name}l"),
        (Cell::H, Some(name)) => (*name).to_string(),
        (Cell::W, Some(name)) => format!("e{name}"),
        (Cell::D, Some(name)) => format!("r{name}"),
        (Cell::B, None) => format!("r{number}b"),
        (Cell::H, None) => format!("r{number}w"),
        (Cell::W, None) => format!("r{number}d"),
        (Cell::D, None) => format!("r{number}"),
    }
}

fn cell(width: Width) -> Cell {
    match width {
        Width::W32 => Cell::W,
        Width::W64 => Cell::D,
    }
}

/// Name of a register in an operation of this width.
fn name(width: Width, register: Reg) -> String {
    part(cell(width), register)
}

/// Text of an address.
fn address(mem: Mem) -> String {
    let mut text = format!("[{}", part(Cell::D, mem.base));
    if let Some((index, scale)) = mem.index {
        text += &format!("+{}*{}", part(Cell::D, index), 1 << scale as u8);
    }
    if mem.disp != 0 {
        text += &format!("{:+}", mem.disp);
    }
    text + "]"
}

/// Text of a memory operand.
fn place(cell: Cell, mem: Mem) -> String {
    let size = match cell {
        Cell::B => "byte",
        Cell::H => "word",
        Cell::W => "dword",
        Cell::D => "qword",
    };
    format!("{size} ptr {}", address(mem))
}

/// Every pair of registers.
fn pairs() -> impl Iterator<Item = (Reg, Reg)> {
    Reg::ALL
        .into_iter()
        .flat_map(|a| Reg::ALL.into_iter().map(move |b| (a, b)))
}

/// Every vector register.
fn xmms() -> impl Iterator<Item = Xmm> {
    (0..16).map(Xmm)
}

/// Every pair of vector registers.
fn xmm_pairs() -> impl Iterator<Item = (Xmm, Xmm)> {
    xmms().flat_map(|a| xmms().map(move |b| (a, b)))
}

fn xmm(register: Xmm) -> String {
    format!("xmm{}", register.0)
}

/// A few addresses of each form: all bases without an index, all indices without a displacement.
fn some_places() -> Vec<Mem> {
    let mut places = Vec::new();
    for base in Reg::ALL {
        for disp in [0, 8, -128, 0x1000] {
            places.push(Mem::at(base, disp));
        }
        if base != Reg::Rsp {
            places.push(Mem::indexed(Reg::Rbp, base, Scale::X4, 0));
            places.push(Mem::indexed(Reg::R12, base, Scale::X1, -5));
        }
    }
    places
}

/// Every base with every index and scale, and displacements around the limits of their size.
fn all_places() -> Vec<Mem> {
    let scales = [Scale::X1, Scale::X2, Scale::X4, Scale::X8];
    let mut places = Vec::new();
    for base in Reg::ALL {
        for disp in IMMEDIATES {
            places.push(Mem::at(base, disp));
            for index in Reg::ALL.into_iter().filter(|&index| index != Reg::Rsp) {
                for scale in scales {
                    places.push(Mem::indexed(base, index, scale, disp));
                }
            }
        }
    }
    places
}
