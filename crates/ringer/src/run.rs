//! One run of a machine, from its description to its outcome.

mod confinement;
mod obey;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ringer_hart::{Bus, Hart};
use ringer_machine::boot::Start;
use ringer_machine::clock::TICKS_PER_SECOND;
use ringer_machine::power::Shutdown;
use ringer_machine::sbi::Sbi;

use crate::agent::{News, Task};
use crate::args::ConsoleKind;
use crate::boot::BootFiles;
use crate::config::VmConfig;
use crate::control::answer::{Answer, Refused};
use crate::control::background::{self, Background};
use crate::control::{self, ReplyTo, Request};
use crate::exit::{Failure, Outcome};
use crate::gdb;
use crate::htif::{self, Htif};
use crate::input::{self, Arrival, Keyboard};
use crate::loader::{Payload, Symbols};
use crate::machine::{Machine, MachineClock, console_backend};
use crate::replay::{self, Inputs};
use crate::reverse::History;
use crate::runner::{Activity, Debugged, Engines, Gate, Seat, Stops, Threads, Vm};
use crate::semihosting::Semihosting;
use crate::signals;
use crate::snapshot::{self, Reader, Writer};
use crate::state::{self, Origin};
use crate::terminal::{self, Terminal};
use crate::trace::{Kind, Recorder, TraceSpec};
use confinement::Confinement;

/// How long a guest that was asked to power off may take.
const GRACE: Duration = Duration::from_secs(10);

/// Time for a guest to act on a SysRq command.
const SYSRQ_PAUSE: Duration = Duration::from_millis(700);

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
    check_signature(&config, &symbols)?;
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
            state::restore(&vm, &reader)?;
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
    let signature = open_signature(&config)?;
    let background = match &place {
        Some(place) if config.detached => Some(Background::new(place)?),
        _ => None,
    };
    let confinement = Confinement::of(&config, place.as_ref());
    // What is opened from here on, and threads that start from here on, are confined.
    confinement.of_files()?;
    show_console(&vm, &config);
    signals::watch(events.clone())?;
    let terminal = connect_input(&vm, &config, events.clone())?;
    if let (Some(agent), Some(task)) = (&vm.machine.agent, &config.agent) {
        agent.start(task, &vm.machine.board, &vm.events);
    }
    let server =
        listener.and_then(|listener| control::serve(listener, &config, &vm.machine, events));
    for (opened, asked) in vm.machine.networks.published().iter().zip(&config.publish) {
        if opened != asked {
            eprint!("ringer: published {opened}\r\n");
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

/// A signature can only be written of a program that says where it is.
fn check_signature(config: &VmConfig, symbols: &Symbols) -> Result<(), Failure> {
    let known = symbols.begin_signature.is_some() && symbols.end_signature.is_some();
    if config.signature.is_some() && !known {
        return Err(Failure::monitor(
            "--signature needs an ELF program with the symbols begin_signature and end_signature",
        ));
    }
    Ok(())
}

/// Opened while files still can be.
fn open_signature(config: &VmConfig) -> Result<Option<File>, Failure> {
    let open = |path: &std::path::PathBuf| {
        File::create(path).map_err(|error| {
            Failure::monitor(format_args!("cannot write {}: {error}", path.display()))
        })
    };
    config.signature.as_ref().map(open).transpose()
}

/// Starts to write the console's output; in the background only those who attach see it.
fn show_console(vm: &Vm, config: &VmConfig) {
    match config.detached {
        true => vm.machine.console.show_on(io::sink()),
        false => vm.machine.console.show_on(io::stdout()),
    };
}

fn assemble(
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

/// Lets keys reach the guest. The terminal is restored when what this returns goes.
fn connect_input(
    vm: &Arc<Vm>,
    config: &VmConfig,
    events: Sender<Event>,
) -> Result<Option<Terminal>, Failure> {
    if config.console == ConsoleKind::None {
        return Ok(None);
    }
    let terminal = Terminal::open();
    if config.replay.is_some() {
        vm.machine.console.hear_nothing();
        if terminal.is_none() {
            return Ok(None);
        }
    }
    if terminal.is_none() && config.deterministic && config.record.is_none() {
        input::read_beforehand(&vm.machine.console)?;
        return Ok(None);
    }
    terminal::raw();
    let keyboard = Keyboard {
        console: Arc::clone(&vm.machine.console),
        arrival: match &vm.machine.clock {
            MachineClock::Host(_) => Arrival::Devices(Arc::clone(&vm.machine.board)),
            MachineClock::Virtual(_) => Arrival::Runner(vm.machine.parkers.first().cloned()),
        },
        events,
    };
    keyboard.watch(terminal.is_some());
    Ok(terminal)
}

/// A guest was asked to power off, and has until then.
struct Asked {
    until: Instant,
    /// Then it is over in any case. Otherwise the machine runs on.
    insists: bool,
    /// Who waits for the end.
    waiting: Vec<ReplyTo>,
}

/// Decides what happens to a machine while it runs.
struct Conductor {
    threads: Threads,
    vm: Arc<Vm>,
    /// By which others find it, if they can.
    name: Option<String>,
    config: VmConfig,
    confinement: Confinement,
    symbols: Symbols,
    /// Where the signature goes.
    signature: Option<File>,
    /// For the guest's resets. A restored machine's are read when the first reset comes.
    files: Option<BootFiles>,
    origin: Origin,
    /// When `--timeout` runs out.
    deadline: Option<Instant>,
    /// The guest was asked to power off.
    asked: Option<Asked>,
    /// A signal asked for a save that could not be made.
    save_failed: bool,
    resets: u64,
}

impl Conductor {
    fn until_the_end(&mut self, inbox: &Receiver<Event>) -> Result<Outcome, Failure> {
        let outcome = loop {
            let grace = self.asked.as_ref().map(|asked| asked.until);
            let event = match self.deadline.into_iter().chain(grace).min() {
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(deadline) => {
                    inbox.recv_timeout(deadline.saturating_duration_since(Instant::now()))
                }
            };
            let outcome = match event {
                Ok(event) => self.handle(event)?,
                Err(_) => self.time_is_up()?,
            };
            if let Some(outcome) = outcome {
                break outcome;
            }
        };
        for reply_to in self
            .asked
            .take()
            .into_iter()
            .flat_map(|asked| asked.waiting)
        {
            reply_to(Ok(Answer::ended(&outcome)));
        }
        Ok(outcome)
    }

    fn time_is_up(&mut self) -> Result<Option<Outcome>, Failure> {
        let now = Instant::now();
        if let Some(asked) = self.asked.take_if(|asked| now >= asked.until) {
            if asked.insists {
                return Ok(Some(Outcome::Stopped(
                    "Ringer: the guest did not power off when asked",
                )));
            }
            let why = format!(
                "the guest was asked to power off and did not within {} s; it runs on, and --force ends it",
                GRACE.as_secs()
            );
            for reply_to in asked.waiting {
                reply_to(Err(Refused::because(&why)));
            }
        }
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return Ok(None);
        }
        Ok(Some(match &self.config.save {
            Some(dir) => self.save(&dir.clone())?,
            None => Outcome::TimedOut,
        }))
    }

    fn handle(&mut self, event: Event) -> Result<Option<Outcome>, Failure> {
        let runs_command = matches!(self.config.agent, Some(Task::Run(_)));
        Ok(match event {
            Event::Shutdown(Shutdown::PowerOff | Shutdown::Reset) if runs_command => {
                let why = "it went down before the command had ended".to_string();
                Some(Outcome::Crashed(why))
            }
            Event::Agent(News::Ready) => match self.config.agent.clone() {
                Some(Task::SaveWhenReady(dir)) => Some(self.save(&dir)?),
                _ => None,
            },
            Event::Agent(News::Ended(status)) => Some(Outcome::Command(status)),
            Event::Agent(News::NobodyListens) => Some(Outcome::Stopped("closed standard output")),
            Event::Shutdown(Shutdown::PowerOff) => Some(Outcome::PoweredOff),
            Event::Shutdown(Shutdown::Reset) if self.asked.is_some() => Some(Outcome::PoweredOff),
            Event::Shutdown(Shutdown::Reset) => self.reset()?,
            Event::Shutdown(Shutdown::Fail(0)) => {
                Some(Outcome::Crashed("it reported failure".to_string()))
            }
            Event::Shutdown(Shutdown::Fail(code)) => Some(Outcome::Code(code.into())),
            Event::Exit(code) => Some(Outcome::Code(code)),
            Event::Stuck => Some(Outcome::Crashed(
                "all harts wait for an interrupt, and none can come".to_string(),
            )),
            Event::Replayed => Some(Outcome::Replayed),
            Event::Diverged(why) => return Err(Failure::monitor(why)),
            Event::Quit(by) => Some(Outcome::Stopped(by)),
            Event::Signal("SIGINT") => Some(Outcome::Stopped("SIGINT")),
            Event::Signal(name) => self.asked_to_end(name)?,
            Event::Asked(request) => self.obey(request),
        })
    }

    /// The first time the guest is asked to power off, or the machine is saved; the second time
    /// it is over.
    fn asked_to_end(&mut self, signal: &'static str) -> Result<Option<Outcome>, Failure> {
        if let Some(dir) = self.config.save.clone() {
            return match self.save(&dir) {
                Err(failure) if !self.save_failed => {
                    self.save_failed = true;
                    eprint!(
                        "\r\nringer: {failure}; the guest runs on, and a second {signal} ends it\r\n"
                    );
                    Ok(None)
                }
                result => result.map(Some),
            };
        }
        let insisted = self.asked.as_ref().is_some_and(|asked| asked.insists);
        if insisted || self.threads.is_paused() {
            return Ok(Some(Outcome::Stopped(signal)));
        }
        self.ask_to_power_off().insists = true;
        Ok(None)
    }

    /// Asks the guest, unless it was asked already.
    fn ask_to_power_off(&mut self) -> &mut Asked {
        self.asked.get_or_insert_with(|| {
            ask_to_power_off(Arc::clone(&self.vm));
            Asked {
                until: Instant::now() + GRACE,
                insists: false,
                waiting: Vec::new(),
            }
        })
    }

    /// The guest wants to start again.
    fn reset(&mut self) -> Result<Option<Outcome>, Failure> {
        if let Some(limit) = self.config.resets
            && self.resets >= limit
        {
            return Ok(Some(Outcome::ResetLimit(limit)));
        }
        if let (None, Some(saved)) = (&self.files, &self.origin.saved) {
            self.files = BootFiles::restore(saved, &self.config).map_err(Failure::monitor)?;
        }
        let Some(files) = &self.files else {
            return Ok(Some(Outcome::Crashed(
                "it asked for a reset, and an older Ringer saved it without its kernel; save it \
                 again after a new start"
                    .to_string(),
            )));
        };
        self.resets += 1;
        if !self.threads.pause() {
            return Err(Failure::monitor("a hart does not stop for the reset"));
        }
        self.vm.machine.board.reset();
        self.vm.machine.console.history().set_ready(false);
        self.vm
            .renew_engines(self.vm.engine())
            .map_err(Failure::monitor)?;
        self.vm.start_harts(files)?;
        self.threads.resume();
        Ok(None)
    }

    /// Saves the machine, which then is over.
    fn save(&mut self, dir: &Path) -> Result<Outcome, Failure> {
        self.save_and(dir, |_| ())
            .map(|()| Outcome::Saved(dir.to_path_buf()))
    }

    fn save_and<T>(&mut self, dir: &Path, then: impl FnOnce(&Vm) -> T) -> Result<T, Failure> {
        let (config, symbols, files) = (&self.config, &self.symbols, self.files.as_ref());
        let origin = &self.origin;
        self.threads
            .while_still(|vm| {
                state::save(vm, config, symbols, files, origin, dir)?;
                Ok(then(vm))
            })
            .ok_or_else(|| Failure::monitor("a hart does not stop, so the machine was not saved"))?
    }

    /// What is written at the end. All harts stand still.
    fn report(&self) -> Result<(), Failure> {
        if let Some(mut file) = self.signature.as_ref() {
            let ram = self.vm.machine.board.ram();
            let text = self
                .symbols
                .begin_signature
                .zip(self.symbols.end_signature)
                .and_then(|(begin, end)| htif::signature(ram, begin, end))
                .ok_or_else(|| {
                    Failure::monitor("begin_signature and end_signature enclose no words of RAM")
                })?;
            file.write_all(text.as_bytes()).map_err(|error| {
                Failure::monitor(format_args!("cannot write the signature: {error}"))
            })?;
        }
        if self.config.stats {
            eprint!("\n{}", self.vm.stats().report());
        }
        Ok(())
    }
}

/// There is no power button on this board. What a Linux guest does hear are SysRq commands on
/// its serial console: sync, remount read-only, power off. Each starts work that the next must
/// not overtake.
fn ask_to_power_off(vm: Arc<Vm>) {
    thread::spawn(move || {
        for key in [b's', b'u', b'o'] {
            vm.send_break_and(key);
            thread::sleep(SYSRQ_PAUSE);
        }
    });
}

impl Vm {
    fn send_break_and(&self, key: u8) {
        match &self.machine.clock {
            MachineClock::Host(_) => self.machine.board.uart().send_break_and(key),
            MachineClock::Virtual(_) => {
                self.inputs.send_break_and(key);
                self.call_in();
            }
        }
    }

    /// Has what happens written down.
    fn start_trace(&self, spec: &TraceSpec) -> Result<Arc<Recorder>, Failure> {
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
    fn start_harts(&self, files: &BootFiles) -> Result<(), Failure> {
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
