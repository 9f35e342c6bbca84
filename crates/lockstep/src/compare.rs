//! Running one program by the definition and by an engine, and saying where they part.

use std::fmt::Write as _;

use ringer_hart::counter::Counts;
use ringer_hart::{Bus, Exit, Hart};

use crate::coverage::Coverage;
use crate::generate::Program;
use crate::machine::Machine;
use crate::reference::{Engine, Reference};

/// How a program went that both engines agree on.
#[derive(Clone, Debug)]
pub struct Agreement {
    /// What the hart did.
    pub counts: Counts,
    /// What it did that is easy to get wrong.
    pub coverage: Coverage,
    /// Whether the program was given up half-way since it ran unfenced code.
    pub given_up: bool,
}

/// Where two engines part.
#[derive(Clone, Debug)]
pub struct Difference {
    /// After which turn of the program.
    pub turn: usize,
    /// What differs, one thing a line: the definition's first.
    pub what: String,
}

/// Runs `program` by the definition and by `engine`, and compares everything that a guest can
/// notice at the end of each turn.
pub fn run(program: &Program, engine: &mut dyn Engine) -> Result<Agreement, Difference> {
    let (machine_a, mut a) = program.start();
    let (machine_b, mut b) = program.start();
    let mut reference = Reference::new(&machine_a);
    let mut given_up = false;
    for (turn, at) in program.turns.iter().enumerate() {
        for machine in [&machine_a, &machine_b] {
            machine.set_time(machine.time().wrapping_add(at.ticks));
            machine.lines(0).raise(at.raise);
        }
        let exit_a = reference.run(&mut a, &machine_a, at.budget);
        if reference.ran_stale_code() {
            given_up = true;
            break;
        }
        let exit_b = engine.run(&mut b, &machine_b, at.budget);
        let mut what = String::new();
        if exit_a != exit_b {
            let _ = writeln!(what, "exit: {exit_a:?} and {exit_b:?}");
        }
        compare_harts(&a, &b, &mut what);
        compare_machines(&machine_a, &machine_b, &mut what);
        if !what.is_empty() {
            return Err(Difference { turn, what });
        }
        for hart in [&mut a, &mut b] {
            if matches!(exit_a, Exit::Sbi | Exit::Semihosting) {
                hart.x[10] = at.ticks;
                hart.return_from_call();
            }
        }
    }
    Ok(Agreement {
        counts: a.counts,
        coverage: reference.coverage().clone(),
        given_up,
    })
}

/// Compares all state of two harts but what is an engine's own: how often it walked.
pub fn compare_harts(a: &Hart, b: &Hart, what: &mut String) {
    let bare = |hart: &Hart| {
        let mut hart = hart.clone();
        hart.counts.walks = 0;
        hart.effects = ringer_hart::hart::Effects::empty();
        hart.fence = Default::default();
        hart
    };
    let (a, b) = (bare(a), bare(b));
    if a.save() == b.save() {
        return;
    }
    let (a, b) = (format!("{a:#x?}"), format!("{b:#x?}"));
    for (number, (a, b)) in a.lines().zip(b.lines()).enumerate() {
        if a != b {
            let _ = writeln!(what, "hart, line {number}: {} and {}", a.trim(), b.trim());
        }
    }
}

/// Compares the memory, the wires and what was done to the device.
pub fn compare_machines(a: &Machine, b: &Machine, what: &mut String) {
    let cells = (0..a.ram().len()).step_by(8);
    let both = cells.map(|at| (at, a.ram().load_at::<u64>(at), b.ram().load_at::<u64>(at)));
    for (at, a_cell, b_cell) in both.filter(|(_, a, b)| a != b).take(8) {
        let addr = a.ram().base().offset(at);
        let _ = writeln!(what, "memory {addr}: {a_cell:x?} and {b_cell:x?}");
    }
    let (log_a, log_b) = (a.take_accesses(), b.take_accesses());
    if log_a != log_b {
        let _ = writeln!(what, "device accesses: {log_a:x?} and {log_b:x?}");
    }
    let wires = |machine: &Machine| {
        let lines = machine.lines(0);
        let wires = (lines.pending(), lines.mtimecmp(), lines.requests());
        (wires, machine.time())
    };
    if wires(a) != wires(b) {
        let _ = writeln!(what, "wires: {:x?} and {:x?}", wires(a), wires(b));
    }
}
