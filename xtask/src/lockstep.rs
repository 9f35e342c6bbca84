//! `cargo xtask lockstep`: the same program on Ringer and on QEMU, and the first instruction
//! after which their registers differ.

mod qemu;
mod random;
mod ringer;
mod rsp;
mod state;

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use elf::ElfBytes;
use elf::endian::LittleEndian;
use ringer_hart::{Exit, GuestPhys};
use ringer_machine::memory_map::RAM_BASE;

use ringer_isa::pte;

use qemu::Qemu;
use random::{Program, layout};
use ringer::Machine;

/// RAM on both sides.
const RAM: u64 = 64 << 20;
/// Steps after which a random program counts as endless.
const LONGEST: u64 = 40_000;
/// Instructions shown before a difference.
const SHOWN: usize = 8;

/// Run programs on Ringer and on QEMU side by side.
#[derive(clap::Args)]
pub struct Arguments {
    /// An ELF file, or raw bytes for 0x8000_0000; starts in M-mode.
    #[arg(required_unless_present = "random")]
    program: Option<PathBuf>,
    /// Run so many random programs instead.
    #[arg(long, value_name = "N", conflicts_with = "program")]
    random: Option<u64>,
    /// The seed of the first random program; the next ones follow.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Stop after so many instructions.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    steps: u64,
    /// Give up after so many random programs that differ.
    #[arg(long, value_name = "N", default_value_t = 1)]
    failures: u64,
    /// Compare only Ringer's own two ways to execute: without QEMU.
    #[arg(long, requires = "random")]
    without_qemu: bool,
    /// Print every instruction that a random program executes on Ringer.
    #[arg(long, requires = "random")]
    trace: bool,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<()> {
    match (&arguments.program, arguments.random) {
        (Some(path), _) => one_program(path, arguments),
        (None, Some(count)) => random_programs(count, arguments),
        (None, None) => bail!("name a program, or --random N"),
    }
}

fn start_qemu() -> Result<Qemu> {
    let version = qemu::version().with_context(|| {
        format!(
            "{} is not installed: lockstep needs version 10 or later (Debian: qemu-system-riscv)",
            qemu::QEMU
        )
    })?;
    println!("against {version}");
    Qemu::start(RAM)
}

/// Steps both sides through a program file.
fn one_program(path: &Path, arguments: &Arguments) -> Result<()> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (entry, parts) = load(&bytes)?;
    let mut qemu = start_qemu()?;
    let mut machine = Machine::new(RAM, entry)?;
    qemu.reset(entry)?;
    for (addr, bytes) in &parts {
        machine.write(*addr, bytes)?;
        qemu.write_code(*addr, bytes)?;
    }
    let part = Part {
        start: entry,
        end: None,
        limit: arguments.steps,
    };
    match step_both(&mut machine, &mut qemu, &part)? {
        Outcome::Agree(steps) => {
            println!("{steps} instructions, no difference");
            Ok(())
        }
        Outcome::Differ(report) => bail!("{report}"),
    }
}

/// What is to be in RAM: address and bytes.
type Parts = Vec<(u64, Vec<u8>)>;

/// The entry point and the contents of RAM: an ELF's segments, or the file as it is.
fn load(bytes: &[u8]) -> Result<(u64, Parts)> {
    if !bytes.starts_with(b"\x7fELF") {
        return Ok((RAM_BASE.0, vec![(RAM_BASE.0, bytes.to_vec())]));
    }
    let file = ElfBytes::<LittleEndian>::minimal_parse(bytes)?;
    let mut parts = Vec::new();
    for segment in file.segments().context("the ELF has no segments")?.iter() {
        if segment.p_type == elf::abi::PT_LOAD {
            let data = file.segment_data(&segment)?;
            parts.push((segment.p_paddr, data.to_vec()));
        }
    }
    Ok((file.ehdr.e_entry, parts))
}

enum Outcome {
    /// No difference in so many instructions.
    Agree(u64),
    /// What differs, for the reader.
    Differ(String),
}

/// The instruction that comes next on Ringer, for the reader.
fn instruction_line(machine: &Machine) -> String {
    let pc = machine.hart.pc;
    let mode = machine.hart.mode.name();
    match machine.next_instruction() {
        None => format!("  {mode:2} {pc:#018x}  cannot be fetched, or is none"),
        Some(insn) => {
            let bits = insn.bits;
            format!(
                "  {mode:2} {pc:#018x}  {bits:08x}  {}",
                insn.disassemble(pc)
            )
        }
    }
}

/// What part of a program is compared step by step.
struct Part {
    /// From when this is reached; before, QEMU holds what its reset leaves.
    start: u64,
    /// Up to this, if there is an end.
    end: Option<u64>,
    /// And no more than so many steps.
    limit: u64,
}

/// Steps both sides, comparing everything after each instruction of the part.
fn step_both(machine: &mut Machine, qemu: &mut Qemu, part: &Part) -> Result<Outcome> {
    let mut shown = VecDeque::new();
    let mut begun = false;
    for step in 0..part.limit {
        let pc = machine.hart.pc;
        begun |= pc == part.start;
        if part.end == Some(pc) {
            return Ok(Outcome::Agree(step));
        }
        let next = machine.next_instruction();
        if shown.len() == SHOWN {
            shown.pop_front();
        }
        shown.push_back(instruction_line(machine));
        let before = machine.snapshot();
        let exit = machine.step();
        qemu.step()?;
        if exit == Some(Exit::Wait) {
            return Ok(Outcome::Agree(step));
        }
        if !begun {
            continue;
        }
        let ours = machine.snapshot();
        let theirs = qemu.snapshot()?;
        let differences = ours.differences(&theirs);
        if differences.is_empty() {
            continue;
        }
        // What the clocks show is taken over.
        let read_clock = next.is_some_and(|insn| random::reads_clock(&insn));
        if read_clock && let Some(insn) = next {
            let mut adopted = ours.clone();
            adopted.x[usize::from(insn.rd)] = theirs.x[usize::from(insn.rd)];
            if adopted.differences(&theirs).is_empty() {
                machine.hart.x = adopted.x;
                continue;
            }
        }
        let mut report = format!("different after {} instructions:\n", step + 1);
        for line in &shown {
            report.push_str(&format!("{line}\n"));
        }
        for line in &differences {
            report.push_str(&format!("    {line}\n"));
        }
        if let Some(insn) = next {
            report.push_str("  operands before:\n");
            for register in [insn.rs1, insn.rs2] {
                let index = usize::from(register);
                report.push_str(&format!(
                    "    x{register} {:#x}  f{register} {:#x}\n",
                    before.x[index], before.f[index]
                ));
            }
        }
        let status = ["mstatus", "menvcfg", "satp", "medeleg"];
        for (rule, value) in state::COMPARED.iter().zip(&before.csrs) {
            let name = ringer_isa::csr::name(rule.csr).unwrap_or_default();
            if status.contains(&name) || name.starts_with("pmpcfg") {
                report.push_str(&format!("    {name} {value:#x}\n"));
            }
        }
        return Ok(Outcome::Differ(report));
    }
    Ok(Outcome::Agree(part.limit))
}

/// Runs random programs and counts.
fn random_programs(count: u64, arguments: &Arguments) -> Result<()> {
    let mut qemu = match arguments.without_qemu {
        true => None,
        false => Some(start_qemu()?),
    };
    let mut machine = Machine::new(RAM, layout::BASE)?;
    let (mut agreed, mut left_out, mut differed) = (0, 0, 0);
    let mut instructions = 0;
    for seed in arguments.seed..arguments.seed.saturating_add(count) {
        let program = Program::new(seed);
        let Some(reference) = execute(&mut machine, &program, arguments.trace)? else {
            left_out += 1;
            continue;
        };
        instructions += reference.instructions;
        let mut report = compare_interpreter(&mut machine, &program, &reference)?;
        if report.is_none()
            && let Some(qemu) = &mut qemu
        {
            report = compare_qemu(&mut machine, qemu, &program, &reference)?;
            if reference.state.has_locks() {
                *qemu = Qemu::start(RAM)?;
            }
        }
        match report {
            None => agreed += 1,
            Some(report) => {
                differed += 1;
                println!("seed {seed}: {report}");
                if differed >= arguments.failures {
                    break;
                }
            }
        }
    }
    println!(
        "{agreed} programs agree, {differed} differ, {left_out} endless or stray ones left out; \
         {instructions} instructions"
    );
    ensure!(differed == 0, "Ringer and its reference differ");
    Ok(())
}

/// How a program ended on Ringer.
struct Reference {
    state: state::Snapshot,
    memory: Vec<u8>,
    instructions: u64,
}

fn memory_of(read: impl Fn(u64, &mut [u8]) -> Result<()>) -> Result<Vec<u8>> {
    let image = (layout::IMAGE_END - layout::BASE) as usize;
    let mut memory = vec![0; image + layout::FAR_LEN as usize];
    let (near, far) = memory.split_at_mut(image);
    read(layout::BASE, near)?;
    read(layout::FAR, far)?;
    Ok(memory)
}

fn set_up(machine: &mut Machine, program: &Program) -> Result<()> {
    machine.reset(layout::BASE);
    machine.write(layout::BASE, &program.image)?;
    machine.write(layout::FAR, &[0; layout::FAR_LEN as usize])
}

fn set_up_qemu(qemu: &mut Qemu, program: &Program) -> Result<()> {
    qemu.reset(layout::BASE)?;
    let code = (layout::CODE_END - layout::BASE) as usize;
    qemu.write_code(layout::BASE, &program.image[..code])?;
    qemu.write(layout::CODE_END, &program.image[code..])?;
    qemu.write(layout::FAR, &[0; layout::FAR_LEN as usize])
}

/// Executes a program by the definition. `None` if it does not come to its end, or strays into
/// data: nobody has made sure that it does nothing there that may differ.
fn execute(machine: &mut Machine, program: &Program, trace: bool) -> Result<Option<Reference>> {
    set_up(machine, program)?;
    for steps in 0..LONGEST {
        if machine.hart.pc == layout::END && machine.in_machine_mode() {
            return Ok(Some(Reference {
                state: machine.snapshot(),
                memory: memory_of(|at, into| machine.read(at, into))?,
                instructions: steps - machine.hart.counts.interrupts_total(),
            }));
        }
        let code = GuestPhys(layout::BASE)..GuestPhys(layout::CODE_END);
        let place = machine.code_at(machine.hart.pc);
        if place.is_some_and(|place| !code.contains(&place) && machine.is_ram(place)) {
            return Ok(None);
        }
        if trace {
            println!("{}", instruction_line(machine));
        }
        if machine.step() == Some(Exit::Wait) {
            return Ok(None);
        }
    }
    Ok(None)
}

/// The first byte of memory that differs, for the reader.
fn memory_difference(ours: &[u8], theirs: &[u8], name: &str) -> Option<String> {
    let index = ours.iter().zip(theirs).position(|(a, b)| a != b)? & !7;
    let word = |bytes: &[u8]| {
        let word = bytes.get(index..index + 8).and_then(|b| b.try_into().ok());
        u64::from_le_bytes(word.unwrap_or_default())
    };
    let image = (layout::IMAGE_END - layout::BASE) as usize;
    let addr = match index < image {
        true => layout::BASE + index as u64,
        false => layout::FAR + (index - image) as u64,
    };
    Some(format!(
        "memory at {addr:#x}: {:#x}, {name} {:#x}",
        word(ours),
        word(theirs)
    ))
}

/// Runs the program on the reference interpreter, which must end as the definition does. Where
/// it does not, seeks the first instruction after which the two differ.
fn compare_interpreter(
    machine: &mut Machine,
    program: &Program,
    reference: &Reference,
) -> Result<Option<String>> {
    if interpreter_differs(machine, program, reference.instructions)?.is_none() {
        return Ok(None);
    }
    let (mut agree, mut differ) = (0, reference.instructions);
    while differ - agree > 1 {
        let middle = agree.midpoint(differ);
        match interpreter_differs(machine, program, middle)? {
            None => agree = middle,
            Some(_) => differ = middle,
        }
    }
    step_instructions(machine, program, agree)?;
    let last = instruction_line(machine);
    let lines = interpreter_differs(machine, program, differ)?.unwrap_or_default();
    Ok(Some(format!(
        "the interpreter (shown as qemu) differs from step after {differ} instructions:\n\
         {last}\n{lines}"
    )))
}

/// Executes so many instructions of a program by the definition; interrupts do not count.
fn step_instructions(machine: &mut Machine, program: &Program, instructions: u64) -> Result<()> {
    set_up(machine, program)?;
    let mut done = 0;
    while done < instructions {
        let interrupts = machine.hart.counts.interrupts_total();
        machine.step();
        done += u64::from(machine.hart.counts.interrupts_total() == interrupts);
    }
    Ok(())
}

/// What differs between the definition and the interpreter after so many instructions.
fn interpreter_differs(
    machine: &mut Machine,
    program: &Program,
    instructions: u64,
) -> Result<Option<String>> {
    step_instructions(machine, program, instructions)?;
    machine.take_interrupt();
    let state = machine.snapshot();
    let memory = memory_of(|at, into| machine.read(at, into))?;
    set_up(machine, program)?;
    machine.run(instructions);
    machine.take_interrupt();
    let mut lines = state.differences(&machine.snapshot());
    let interpreted = memory_of(|at, into| machine.read(at, into))?;
    lines.extend(memory_difference(&memory, &interpreted, "interpreter"));
    Ok((!lines.is_empty()).then(|| lines.join("\n")))
}

/// Takes over the A bits that only QEMU has set: it looks at the next page early, as the manual
/// allows (12.3.1).
fn forgive_accessed_bits(ours: &[u8], theirs: &mut [u8]) {
    let tables = (layout::TABLES - layout::BASE) as usize;
    let end = (layout::IMAGE_END - layout::BASE) as usize;
    for (ours, theirs) in ours.iter().zip(theirs).take(end).skip(tables).step_by(8) {
        if *ours ^ *theirs == pte::Pte::A as u8 {
            *theirs = *ours;
        }
    }
}

/// Runs the program on QEMU; where the ends differ, steps both to the first difference.
fn compare_qemu(
    machine: &mut Machine,
    qemu: &mut Qemu,
    program: &Program,
    reference: &Reference,
) -> Result<Option<String>> {
    set_up_qemu(qemu, program)?;
    let mut lines = match qemu.run_to(layout::END)? {
        false => vec!["QEMU does not reach the end".to_owned()],
        true => reference.state.differences(&qemu.snapshot()?),
    };
    let mut memory = memory_of(|at, into| qemu.read(at, into))?;
    forgive_accessed_bits(&reference.memory, &mut memory);
    lines.extend(memory_difference(&reference.memory, &memory, "qemu"));
    if lines.is_empty() {
        return Ok(None);
    }
    set_up(machine, program)?;
    if reference.state.has_locks() {
        *qemu = Qemu::start(RAM)?;
    }
    set_up_qemu(qemu, program)?;
    let part = Part {
        start: layout::BODY,
        end: Some(layout::END),
        limit: LONGEST,
    };
    let stepped = step_both(machine, qemu, &part)?;
    Ok(Some(match stepped {
        Outcome::Differ(report) => report,
        Outcome::Agree(steps) => format!(
            "no difference in {steps} single steps, but at the end:\n{}",
            lines.join("\n")
        ),
    }))
}
