//! One run of a machine, from its description to its outcome.

mod assemble;
mod conductor;
mod confinement;
mod console;
mod obey;
mod power_off;
mod signature;

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Instant;

use ringer_machine::power::Shutdown;

use crate::agent::News;
use crate::boot::BootFiles;
use crate::config::VmConfig;
use crate::control::background::{self, Background};
use crate::control::{self, Request};
use crate::exit::{Failure, Outcome};
use crate::gdb;
use crate::loader::{Payload, Symbols};
use crate::replay::{self, Inputs};
use crate::runner::Threads;
use crate::signals;
use crate::snapshot::{self, Reader, Writer};
use crate::state::{self, Origin};
use assemble::assemble;
use conductor::Conductor;
use confinement::Confinement;
use signature::Signature;

/// What the conductor of a run hears.
#[derive(Debug)]
pub enum Event {
    /// The guest asked to end its run.
    Shutdown(Shutdown),
    /// A test program ended with this code.
    Exit(u64),
    /// All harts wait for what cannot come.
    Stuck,
    /// A replay has come to the end of its recording.
    Replayed,
    /// A replay is not the same as what was recorded.
    Diverged(String),
    /// This process was asked to end.
    Signal(&'static str),
    /// The operator wants to end, by this key.
    Quit(&'static str),
    /// Somebody asks something of the machine.
    Asked(Request),
    /// The agent in the guest has news.
    Agent(News),
}

/// Where the guest comes from.
enum Source {
    Boot(BootFiles),
    Saved(Reader),
}

/// Runs the machine that `config` describes until it ends.
pub fn run(config: VmConfig) -> Result<Outcome, Failure> {
    if config.detach {
        return background::start().map(Outcome::Detached);
    }
    let mut config = config;
    let inputs = match (config.replay.clone(), config.record.clone()) {
        (Some(path), _) => replay::adopt(&mut config, &path)?,
        (None, Some(path)) => replay::record(&config, &path)?,
        (None, None) => Inputs::default(),
    };
    let (source, symbols) = match config.restore.clone() {
        Some(dir) => {
            let dir = snapshot::find(&dir)?;
            let reader = Reader::open(&dir).map_err(Failure::monitor)?;
            config.restore = Some(dir);
            let symbols = state::adopt(&mut config, reader.machine())?;
            (Source::Saved(reader), symbols)
        }
        None => {
            let files = BootFiles::read(&config)?;
            let symbols = files.symbols();
            (Source::Boot(files), symbols)
        }
    };
    conduct(config, source, symbols, inputs)
}

/// Runs a kernel that comes with Ringer.
pub fn run_embedded(config: VmConfig, kernel: Payload) -> Result<Outcome, Failure> {
    if config.detach {
        return background::start().map(Outcome::Detached);
    }
    if config.record.is_some() || config.replay.is_some() {
        return Err(Failure::usage(
            "the demo cannot be recorded; record a guest of yours: ringer run --kernel FILE --record FILE",
        ));
    }
    let files = BootFiles::embedded(kernel, &config);
    let inputs = Inputs::default();
    conduct(config, Source::Boot(files), Symbols::default(), inputs)
}

fn conduct(
    config: VmConfig,
    source: Source,
    symbols: Symbols,
    inputs: Inputs,
) -> Result<Outcome, Failure> {
    let signature = Signature::wanted(&config, &symbols)?;
    if config.detached {
        background::leave_terminal();
    }
    if let Some(dir) = &config.save {
        // Better refused now than when there is a machine to lose.
        drop(Writer::new(dir).map_err(Failure::monitor)?);
    }
    let place = control::claim(&config)?;
    let listener = (place.as_ref()).and_then(|place| control::listen(place, &config));
    if config.detached && listener.is_none() {
        return Err(Failure::monitor(
            "a machine in the background that nobody can reach makes no sense",
        ));
    }
    let (events, inbox) = mpsc::channel();
    let vm = Arc::new(assemble(
        &config,
        &source,
        &symbols,
        events.clone(),
        inputs,
    )?);
    let (files, saved) = match source {
        Source::Boot(files) => {
            vm.start_harts(&files)?;
            (Some(files), None)
        }
        Source::Saved(reader) => {
            state::restore(&vm, &config, &reader)?;
            (None, Some(reader))
        }
    };
    let origin = Origin {
        saved,
        tracked: true,
    };
    let debugger = config.gdb.as_ref().map(gdb::Door::open).transpose()?;
    let tracer = (config.trace.as_ref())
        .map(|spec| vm.start_trace(spec))
        .transpose()?;
    let signature = signature.map(Signature::open).transpose()?;
    let background = match &place {
        Some(place) if config.detached => Some(Background::new(place)?),
        _ => None,
    };
    let confinement = Confinement::of(&config, place.as_ref());
    // What is opened from here on, and threads that start from here on, are confined.
    confinement.of_files()?;
    console::show(&vm, &config);
    signals::watch(events.clone())?;
    let terminal = console::connect(&vm, &config, events.clone())?;
    if let (Some(agent), Some(task)) = (&vm.machine.agent, &config.agent) {
        agent.start(task, &vm.machine.board, &vm.events);
    }
    let server =
        listener.and_then(|listener| control::serve(listener, &config, &vm.machine, events));
    for (opened, asked) in vm.machine.networks.published().iter().zip(&config.publish) {
        if opened != asked {
            let name = place.as_ref().filter(|_| config.detached);
            let name = name.map_or_else(String::new, |place| format!("{}: ", place.name()));
            eprint!("ringer: {name}published {opened}\r\n");
        }
    }
    vm.machine.networks.start(&vm.machine.board);
    confinement.of_calls()?;
    let debugger = debugger.map(|door| door.serve(Arc::clone(&vm), config.gdb_wait));
    let deadline = config.timeout.map(|timeout| Instant::now() + timeout);
    let mut conductor = Conductor {
        threads: Threads::start(Arc::clone(&vm)),
        vm: Arc::clone(&vm),
        name: place.as_ref().map(|place| place.name().to_string()),
        config,
        confinement,
        symbols,
        signature,
        files,
        origin,
        deadline,
        asked: None,
        save_failed: false,
        resets: 0,
    };
    if let Some(background) = background {
        background.settle()?;
    }
    let outcome = conductor.until_the_end(&inbox);
    let stopped = conductor.threads.pause();
    vm.machine.console.close();
    if let Some(debugger) = debugger {
        debugger.finish(match &outcome {
            Ok(outcome) => outcome.status(),
            Err(failure) => failure.status(),
        });
    }
    drop(terminal);
    let written = vm.machine.write_back_disks();
    drop(server);
    drop(place);
    if stopped {
        conductor.report()?;
    }
    if let Some(tracer) = tracer {
        tracer.finish()?;
    }
    if stopped
        && vm.inputs.is_on_file()
        && let Ok(outcome) = &outcome
    {
        vm.inputs.finish(&vm, outcome)?;
    }
    vm.gate.end();
    written.and(outcome)
}
