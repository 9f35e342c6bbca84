//! Doing what somebody asked of a running machine.

use std::path::PathBuf;

use super::conductor::Conductor;
use crate::args::EngineKind;
use crate::control::answer::{Answer, Refused, RunState, Status};
use crate::control::prompt::{HELP, Line};
use crate::control::{Action, Reply, Request, Word};
use crate::exit::Outcome;
use crate::inspect;
use crate::runner::Vm;
use crate::state;

fn done(text: impl Into<String>) -> Reply {
    Ok(Answer::Done { text: text.into() })
}

fn refuse(why: impl std::fmt::Display) -> Reply {
    Err(Refused::because(why))
}

impl Conductor {
    /// Does it; the run may end by it.
    pub(super) fn obey(&mut self, request: Request) -> Option<Outcome> {
        let Request { action, reply_to } = request;
        let reply = match action {
            Action::Status {} => Ok(Answer::Status(self.status())),
            Action::Stats {} => self.look(|vm| Ok(Answer::Stats(vm.stats().report()))),
            Action::Harts {} => self.look(inspect::harts),
            Action::Registers { hart } => self.look(|vm| inspect::registers(vm, hart)),
            Action::Memory {
                hart,
                address,
                count,
            } => self.look(|vm| inspect::memory(vm, hart, address.0, count)),
            Action::Disassemble {
                hart,
                address,
                count,
            } => self.look(|vm| inspect::disassembly(vm, hart, number(address), count)),
            Action::HostCode { hart, address } => {
                self.look(|vm| inspect::host_code(vm, hart, number(address)))
            }
            Action::Walk { hart, address } => self.look(|vm| inspect::walk(vm, hart, address.0)),
            Action::Engine { engine: None } => Ok(Answer::Engine {
                engine: self.vm.engine(),
            }),
            Action::Engine { engine: Some(kind) } => self.switch_engine(kind),
            Action::Save { directory } => match directory.or_else(|| self.config.save.clone()) {
                Some(dir) => self.save_by_hand(dir),
                None => refuse("save needs a directory: save DIR"),
            },
            Action::Pause {} => match self.threads.pause() {
                true => done("paused; resume lets it run on"),
                false => refuse("a hart does not stop"),
            },
            Action::Resume {} => {
                self.threads.resume();
                done("running")
            }
            Action::Reset {} if self.vm.inputs.is_on_file() => {
                refuse("a recording knows of no reset from outside; let the guest reset itself")
            }
            Action::Reset {} => match self.reset() {
                Ok(None) => done("reset"),
                Ok(Some(outcome)) => {
                    reply_to(Ok(Answer::ended(&outcome)));
                    return Some(outcome);
                }
                Err(failure) => refuse(failure),
            },
            Action::Stop { force: true } => {
                let outcome = Outcome::Stopped("quit");
                reply_to(Ok(Answer::ended(&outcome)));
                return Some(outcome);
            }
            Action::Stop { force: false } if self.threads.is_paused() => {
                refuse("the machine is paused, so its guest cannot be asked; resume it first")
            }
            Action::Stop { force: false } => {
                self.ask_to_power_off().waiting.push(reply_to);
                return None;
            }
            Action::Prompt { line } => match Line::parse(&line) {
                Ok(Line::Action(action)) => {
                    return self.obey(Request { action, reply_to });
                }
                Ok(Line::Help) => done(HELP),
                Ok(Line::Console) => done(""),
                Err(why) => refuse(why),
            },
        };
        reply_to(reply);
        None
    }

    /// Looks while all harts stand still.
    fn look(&mut self, show: impl FnOnce(&Vm) -> Reply) -> Reply {
        self.threads
            .while_still(show)
            .unwrap_or_else(|| refuse("a hart does not stop"))
    }

    fn status(&self) -> Status {
        Status {
            name: self.name.clone().unwrap_or_default(),
            pid: std::process::id(),
            guest: self.config.guest(),
            state: if self.threads.is_paused() {
                RunState::Paused
            } else if self.asked.is_some() {
                RunState::Stopping
            } else {
                RunState::Running
            },
            ready: self.vm.machine.console.history().is_ready(),
            harts: self.config.harts,
            memory: self.config.memory,
            engine: self.vm.engine(),
            seconds: self.vm.started.elapsed().as_secs_f64(),
            resets: self.resets,
            published: (self.vm.machine.networks.published().iter())
                .map(ToString::to_string)
                .collect(),
        }
    }

    /// The harts go on from where they are, on engines that remember nothing.
    fn switch_engine(&mut self, kind: EngineKind) -> Reply {
        if self.vm.engine() == kind {
            return done(format!("the engine is {} already", kind.name()));
        }
        match self.threads.while_still(|vm| vm.renew_engines(kind)) {
            None => refuse("a hart does not stop"),
            Some(Err(error)) => refuse(error),
            Some(Ok(())) => done(format!("the engine is {} from here on", kind.name())),
        }
    }

    /// Saves the machine, which then goes on.
    fn save_by_hand(&mut self, directory: PathBuf) -> Reply {
        self.confinement.allows_saving(&directory)?;
        match self.save_and(&directory, |vm| state::go_on_from(vm, &directory)) {
            Ok(origin) => {
                self.origin = origin;
                Ok(Answer::Saved { directory })
            }
            Err(failure) => refuse(failure),
        }
    }
}

fn number(address: Option<Word>) -> Option<u64> {
    address.map(|word| word.0)
}
