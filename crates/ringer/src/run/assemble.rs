//! Puts a machine together with its harts, and its guest into it.

use std::io::{self, IsTerminal};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use ringer_hart::Hart;
use ringer_machine::boot::Start;
use ringer_machine::clock::TICKS_PER_SECOND;
use ringer_machine::sbi::Sbi;

use super::{Event, Source};
use crate::args::ConsoleKind;
use crate::boot::BootFiles;
use crate::config::VmConfig;
use crate::exit::Failure;
use crate::htif::Htif;
use crate::loader::Symbols;
use crate::machine::{Machine, console_backend};
use crate::replay::Inputs;
use crate::reverse::History;
use crate::runner::{Activity, Debugged, Engines, Gate, Seat, Stops, Vm};
use crate::semihosting::Semihosting;
use crate::trace::{Kind, Recorder, TraceSpec};

/// The machine that `config` describes, before its guest is in it.
pub(super) fn assemble(
    config: &VmConfig,
    source: &Source,
    symbols: &Symbols,
    events: Sender<Event>,
    inputs: Inputs,
) -> Result<Vm, Failure> {
    let machine = Machine::build(config)?;
    let needs_sbi = match source {
        Source::Boot(files) => files.needs_sbi(),
        Source::Saved(reader) => reader.machine().sbi,
    };
    let console = || console_backend(config, &machine.console);
    let program = config.bios.as_ref().or(config.kernel.as_ref());
    let command_line = format!(
        "{} {}",
        program.map_or_else(|| "guest".into(), |path| path.display().to_string()),
        config.append
    );
    let semihosting = Semihosting::new(
        console(),
        command_line.trim_end().to_string(),
        config.deterministic,
    );
    let (engines, of_harts) = Engines::choose(config.engine, config.harts)?;
    let seats = of_harts
        .into_iter()
        .enumerate()
        .map(|(id, engine)| Mutex::new(Seat::new(Hart::new(id, 0), engine)));
    let htif = Htif::new(symbols, console());
    if let Some(htif) = &htif {
        machine.board.watch(htif.tohost());
    }
    Ok(Vm {
        seats: seats.collect(),
        engines: Mutex::new(engines),
        sbi: needs_sbi.then(|| Sbi::new(config.harts)),
        htif,
        semihosting: Mutex::new(semihosting),
        gate: Gate::default(),
        schedule: Mutex::default(),
        stops: Stops::default(),
        debugged: Debugged::default(),
        events,
        instructions_per_tick: config.mips * 1_000_000 / TICKS_PER_SECOND,
        interactive: config.console != ConsoleKind::None
            && config.replay.is_none()
            && (config.record.is_some() || io::stdin().is_terminal()),
        inputs,
        history: Mutex::new((config.deterministic && config.gdb.is_some()).then(History::default)),
        paced: config.record.is_some(),
        started: Instant::now(),
        machine,
    })
}

impl Vm {
    /// Has what happens written down.
    pub(super) fn start_trace(&self, spec: &TraceSpec) -> Result<Arc<Recorder>, Failure> {
        let board = &self.machine.board;
        let clock = Arc::clone(board.clock());
        let tracer = Recorder::new(spec, self.seats.len(), board.device_names(), clock)?;
        if tracer.wants(Kind::Mmio) {
            board.set_tap(tracer.clone());
        }
        for seat in &self.seats {
            crate::runner::sit(seat).watch.trace(Arc::clone(&tracer));
        }
        Ok(tracer)
    }

    /// Puts the guest's files into RAM and its harts at their start.
    pub(super) fn start_harts(&self, files: &BootFiles) -> Result<(), Failure> {
        let booted = files.boot(&self.machine.board)?;
        self.seat_harts(booted.harts);
        if let Some(sbi) = &self.sbi {
            sbi.reset();
            if let Start::Kernel { entry, device_tree } = booted.start {
                sbi.boot(0, entry, device_tree.0);
            }
            for seat in &self.seats {
                crate::runner::sit(seat).activity = Activity::Stopped;
            }
        }
        Ok(())
    }
}
