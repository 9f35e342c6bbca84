//! Decides what happens to a machine while it runs, and when the run is over.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use ringer_hart::Bus;
use ringer_machine::power::Shutdown;

use super::Event;
use super::confinement::Confinement;
use super::power_off::Asked;
use super::signature::SignatureFile;
use crate::agent::{News, Task};
use crate::boot::BootFiles;
use crate::config::VmConfig;
use crate::control::answer::Answer;
use crate::exit::{Failure, Outcome};
use crate::loader::Symbols;
use crate::runner::{Threads, Vm};
use crate::state::{self, Origin};

/// Decides what happens to a machine while it runs.
pub(super) struct Conductor {
    pub(super) threads: Threads,
    pub(super) vm: Arc<Vm>,
    /// By which others find it, if they can.
    pub(super) name: Option<String>,
    pub(super) config: VmConfig,
    pub(super) confinement: Confinement,
    pub(super) symbols: Symbols,
    pub(super) signature: Option<SignatureFile>,
    /// For the guest's resets. A restored machine's are read when the first reset comes.
    pub(super) files: Option<BootFiles>,
    pub(super) origin: Origin,
    /// When `--timeout` runs out.
    pub(super) deadline: Option<Instant>,
    /// The guest was asked to power off.
    pub(super) asked: Option<Asked>,
    /// A signal asked for a save that could not be made.
    pub(super) save_failed: bool,
    pub(super) resets: u64,
}

impl Conductor {
    /// Handles what comes until the run is over.
    pub(super) fn until_the_end(&mut self, inbox: &Receiver<Event>) -> Result<Outcome, Failure> {
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
        if let Some(outcome) = self.give_up_asking(now) {
            return Ok(Some(outcome));
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
                Some(Task::Prepare {
                    script: None,
                    place,
                }) => Some(self.save(&place)?),
                _ => None,
            },
            Event::Agent(News::Ended(status)) => match self.config.agent.clone() {
                Some(Task::Prepare { place, .. }) if status == 0 => Some(self.save(&place)?),
                _ => Some(Outcome::Command(status)),
            },
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

    /// The guest wants to start again.
    pub(super) fn reset(&mut self) -> Result<Option<Outcome>, Failure> {
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
    pub(super) fn save(&mut self, dir: &Path) -> Result<Outcome, Failure> {
        self.save_and(dir, |_| ())
            .map(|()| Outcome::Saved(dir.to_path_buf()))
    }

    pub(super) fn save_and<T>(
        &mut self,
        dir: &Path,
        then: impl FnOnce(&Vm) -> T,
    ) -> Result<T, Failure> {
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
    pub(super) fn report(&self) -> Result<(), Failure> {
        if let Some(signature) = &self.signature {
            signature.write(self.vm.machine.board.ram())?;
        }
        if self.config.stats {
            eprint!("\n{}", self.vm.stats().report());
        }
        Ok(())
    }
}
