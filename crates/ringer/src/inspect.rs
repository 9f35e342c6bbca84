//! Looking into a machine that stands still, for the monitor prompt.

use std::fmt::Write;

use ringer_hart::GuestVirt;
use ringer_hart::translate::Access;
use ringer_isa::{decode, length};

use crate::runner::{Activity, HartMemory, Seat, Vm, sit};
use crate::semihosting::GuestMemory;
use crate::stats::grouped;
use crate::translator::listing;

/// Names of the integer registers in the calling convention.
const NAMES: [&str; 32] = [
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4",
    "a5", "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4",
    "t5", "t6",
];

fn with_hart(vm: &Vm, hart: usize, show: impl FnOnce(&Seat) -> String) -> String {
    match vm.seats.get(hart) {
        Some(seat) => show(&sit(seat)),
        None => format!(
            "there is no hart {hart}; the last is {}",
            vm.seats.len() - 1
        ),
    }
}

fn memory_of<'a>(vm: &'a Vm, seat: &'a Seat) -> HartMemory<'a> {
    HartMemory {
        hart: &seat.hart,
        board: &vm.machine.board,
    }
}

/// One line for every hart.
pub fn harts(vm: &Vm) -> String {
    let mut out = String::new();
    for seat in &vm.seats {
        let seat = sit(seat);
        let doing = match seat.activity {
            Activity::Running => "running",
            Activity::Waiting => "waiting for an interrupt",
            Activity::Stopped => "stopped",
        };
        let _ = writeln!(
            out,
            "hart {}  {:<2} pc {:#018x}  {:>18} instructions  {doing}",
            seat.hart.id,
            seat.hart.mode.name(),
            seat.hart.pc,
            grouped(seat.hart.counts.retired),
        );
    }
    out
}

/// A hart's registers.
pub fn registers(vm: &Vm, hart: usize) -> String {
    with_hart(vm, hart, |seat| {
        let hart = &seat.hart;
        let csrs = &hart.csrs;
        let mut out = String::new();
        let _ = writeln!(out, "pc   {:#018x}  mode {}", hart.pc, hart.mode.name());
        for (index, (name, value)) in NAMES.iter().zip(hart.x).enumerate() {
            let end = if index % 4 == 3 { "\n" } else { "  " };
            let _ = write!(out, "{name:<4} {value:#018x}{end}");
        }
        for (name, value) in [
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
        ] {
            let _ = writeln!(out, "{name:<9} {value:#018x}");
        }
        out
    })
}

/// Memory at a virtual address, as 8-byte words.
pub fn memory(vm: &Vm, hart: usize, address: u64, count: u64) -> String {
    with_hart(vm, hart, |seat| {
        let memory = memory_of(vm, seat);
        let mut out = String::new();
        for index in 0..count {
            let at = address.wrapping_add(8 * index);
            if index % 2 == 0 {
                let _ = write!(out, "{at:#018x}:");
            }
            let mut bytes = [0; 8];
            if memory.read(at, &mut bytes) {
                let _ = write!(out, "  {:#018x}", u64::from_le_bytes(bytes));
            } else {
                let _ = write!(out, "  {:<18}", "not readable RAM");
            }
            if index % 2 == 1 || index + 1 == count {
                out.push('\n');
            }
        }
        out
    })
}

/// Memory at a virtual address, as instructions.
pub fn disassembly(vm: &Vm, hart: usize, address: Option<u64>, count: u64) -> String {
    with_hart(vm, hart, |seat| {
        let memory = memory_of(vm, seat);
        let mut at = address.unwrap_or(seat.hart.pc);
        let mut out = String::new();
        for _ in 0..count {
            let mut parcels = [0; 4];
            let (first, second) = parcels.split_at_mut(2);
            if !memory.read(at, first) {
                let _ = writeln!(out, "{at:#018x}:  not readable RAM");
                break;
            }
            let len = length(u16::from_le_bytes([first[0], first[1]]));
            if len == 4 && !memory.read(at.wrapping_add(2), second) {
                let _ = writeln!(out, "{at:#018x}:  not readable RAM");
                break;
            }
            let marker = if at == seat.hart.pc { '>' } else { ' ' };
            let text = instruction(at, u32::from_le_bytes(parcels));
            let _ = writeln!(out, "{marker}{text}");
            at = at.wrapping_add(if len == 4 { 4 } else { 2 });
        }
        out
    })
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
pub fn host_code(vm: &Vm, hart: usize, address: Option<u64>) -> String {
    with_hart(vm, hart, |seat| match vm.code() {
        Some(code) => {
            let address = address.unwrap_or(seat.hart.pc);
            listing(&code, &vm.machine.board, &seat.hart, address)
        }
        None => "the engine is interpret, which makes no host code".to_string(),
    })
}

/// How an address is translated for a load.
pub fn walk(vm: &Vm, hart: usize, address: u64) -> String {
    with_hart(vm, hart, |seat| {
        let mut out = String::new();
        let context = seat.hart.data_context();
        let result = seat.hart.inspect(
            &*vm.machine.board,
            GuestVirt(address),
            Access::Load,
            &context,
            |step| {
                let _ = writeln!(
                    out,
                    "level {}: entry at {} is {:#018x}",
                    step.level, step.entry_at, step.entry.0
                );
            },
        );
        match result {
            Ok(found) if found.leaf_size == u64::MAX => {
                let _ = writeln!(out, "not translated: physical {}", found.phys);
            }
            Ok(found) => {
                let size = crate::size::Size(found.leaf_size);
                let _ = writeln!(out, "physical {}, in a page of {size}", found.phys);
            }
            Err(exception) => {
                let name = ringer_hart::cause::Cause::name(exception.cause.code());
                let _ = writeln!(out, "{name}");
            }
        }
        out
    })
}
