//! Looking into a machine that stands still: the answers to actions that only look.

use ringer_hart::GuestVirt;
use ringer_hart::cause::Cause;
use ringer_hart::translate::Access;
use ringer_isa::{decode, length};

use crate::control::action::MOST;
use crate::control::answer::{
    Answer, HartState, MemoryWord, Refused, Register, Registers, Walk, WalkStep,
};
use crate::control::{Reply, Word};
use crate::runner::{HartMemory, Seat, Vm, sit};
use crate::semihosting::GuestMemory;
use crate::translator::listing;

/// Names of the integer registers in the calling convention.
const NAMES: [&str; 32] = [
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4",
    "a5", "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4",
    "t5", "t6",
];

fn with_hart(vm: &Vm, hart: usize, show: impl FnOnce(&Seat) -> Reply) -> Reply {
    match vm.seats.get(hart) {
        Some(seat) => show(&sit(seat)),
        None => Err(Refused::because(format_args!(
            "there is no hart {hart}; the last is {}",
            vm.seats.len() - 1
        ))),
    }
}

fn memory_of<'a>(vm: &'a Vm, seat: &'a Seat) -> HartMemory<'a> {
    HartMemory {
        hart: &seat.hart,
        board: &vm.machine.board,
    }
}

/// Where every hart is.
pub fn harts(vm: &Vm) -> Reply {
    let harts = vm.seats.iter().map(|seat| {
        let seat = sit(seat);
        HartState {
            hart: seat.hart.id,
            mode: seat.hart.mode.name().to_string(),
            pc: Word(seat.hart.pc),
            instructions: seat.hart.counts.retired,
            activity: seat.activity.into(),
        }
    });
    Ok(Answer::Harts {
        harts: harts.collect(),
    })
}

/// A hart's registers.
pub fn registers(vm: &Vm, hart: usize) -> Reply {
    let register = |(name, value): (&str, u64)| Register {
        name: name.to_string(),
        value: Word(value),
    };
    with_hart(vm, hart, |seat| {
        let hart = &seat.hart;
        let csrs = &hart.csrs;
        let shown = [
            ("mstatus", csrs.mstatus),
            ("mtvec", csrs.mtvec),
            ("mepc", csrs.mepc),
            ("mcause", csrs.mcause),
            ("mtval", csrs.mtval),
            ("mie", csrs.mie),
            ("medeleg", csrs.medeleg),
            ("mideleg", csrs.mideleg),
            ("stvec", csrs.stvec),
            ("sepc", csrs.sepc),
            ("scause", csrs.scause),
            ("stval", csrs.stval),
            ("satp", csrs.satp),
            ("stimecmp", csrs.stimecmp),
            ("fcsr", csrs.fcsr),
        ];
        Ok(Answer::Registers(Registers {
            hart: hart.id,
            mode: hart.mode.name().to_string(),
            pc: Word(hart.pc),
            x: NAMES.into_iter().zip(hart.x).map(register).collect(),
            csrs: shown.into_iter().map(register).collect(),
        }))
    })
}

/// Memory at a virtual address, as 8-byte words.
pub fn memory(vm: &Vm, hart: usize, address: u64, count: u64) -> Reply {
    with_hart(vm, hart, |seat| {
        let memory = memory_of(vm, seat);
        let word = |index| {
            let at = address.wrapping_add(8 * index);
            let mut bytes = [0; 8];
            MemoryWord {
                address: Word(at),
                value: memory
                    .read(at, &mut bytes)
                    .then_some(Word(u64::from_le_bytes(bytes))),
            }
        };
        Ok(Answer::Memory {
            words: (0..count.min(MOST)).map(word).collect(),
        })
    })
}

/// Memory at a virtual address, as instructions.
pub fn disassembly(vm: &Vm, hart: usize, address: Option<u64>, count: u64) -> Reply {
    with_hart(vm, hart, |seat| {
        let memory = memory_of(vm, seat);
        let mut at = address.unwrap_or(seat.hart.pc);
        let mut lines = Vec::new();
        for _ in 0..count.min(MOST) {
            let Some(bits) = fetch(&memory, at) else {
                lines.push(format!("{at:#018x}:  not readable RAM"));
                break;
            };
            let marker = if at == seat.hart.pc { '>' } else { ' ' };
            lines.push(format!("{marker}{}", instruction(at, bits)));
            at = at.wrapping_add(if length(bits as u16) == 4 { 4 } else { 2 });
        }
        Ok(Answer::Listing { lines })
    })
}

/// The instruction at `at`; of a short one the upper half is zero.
fn fetch(memory: &HartMemory<'_>, at: u64) -> Option<u32> {
    let mut parcels = [0; 4];
    let (first, second) = parcels.split_at_mut(2);
    let long = |first: &[u8]| length(u16::from_le_bytes([first[0], first[1]])) == 4;
    if !memory.read(at, first) || long(first) && !memory.read(at.wrapping_add(2), second) {
        return None;
    }
    Some(u32::from_le_bytes(parcels))
}

/// A line for the instruction at `at`, whose bytes (or more) are `bits`.
pub fn instruction(at: u64, bits: u32) -> String {
    let text = match decode(bits) {
        Some(insn) => insn.disassemble(at).to_string(),
        None => "unknown".to_string(),
    };
    if length(bits as u16) == 4 {
        format!("{at:#018x}:  {bits:08x}  {text}")
    } else {
        format!("{at:#018x}:  {:04x}      {text}", bits & 0xffff)
    }
}

/// The block that the translator has made of the code at an address.
pub fn host_code(vm: &Vm, hart: usize, address: Option<u64>) -> Reply {
    with_hart(vm, hart, |seat| {
        let code = vm
            .code()
            .ok_or_else(|| Refused::because("the engine is interpret, which makes no host code"))?;
        let address = address.unwrap_or(seat.hart.pc);
        let text = listing(&code, &vm.machine.board, &seat.hart, address);
        Ok(Answer::Listing {
            lines: text.lines().map(str::to_string).collect(),
        })
    })
}

/// How an address is translated for a load.
pub fn walk(vm: &Vm, hart: usize, address: u64) -> Reply {
    with_hart(vm, hart, |seat| {
        let mut steps = Vec::new();
        let context = seat.hart.data_context();
        let result = seat.hart.inspect(
            &*vm.machine.board,
            GuestVirt(address),
            Access::Load,
            &context,
            |step| {
                steps.push(WalkStep {
                    level: step.level,
                    entry_at: Word(step.entry_at.0),
                    entry: Word(step.entry.0),
                });
            },
        );
        let (found, exception) = match result {
            Ok(found) => (Some(found), None),
            Err(exception) => (None, Some(Cause::name(exception.cause.code()).to_string())),
        };
        Ok(Answer::Walk(Walk {
            steps,
            physical: found.as_ref().map(|found| Word(found.phys.0)),
            page_size: found
                .map(|found| found.leaf_size)
                .filter(|&size| size != u64::MAX),
            exception,
        }))
    })
}
