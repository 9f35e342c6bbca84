//! Control of a running machine: one typed action enum, which the monitor prompt, the control
//! socket and the commands `ps`, `stop`, `console` … all speak. docs/CONTROL.md explains it.

pub mod action;
pub mod answer;
mod attach;
pub mod background;
mod patient;
pub mod place;
pub mod prompt;
pub mod routes;
pub mod server;
mod word;

use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use crate::args::ConsoleKind;
use crate::config::VmConfig;
use crate::exit::Failure;
use crate::machine::Machine;
use crate::run::Event;
use attach::Attachable;
use place::{Folder, PlaceError, Summary};
use routes::Routes;

pub use action::Action;
pub use answer::{Answer, Refused};
pub use place::Place;
pub use server::Server;
pub use word::Word;

/// What came of an action.
pub type Reply = Result<Answer, Refused>;

/// Where the reply to an action goes, whoever asked.
pub type ReplyTo = Box<dyn FnOnce(Reply) + Send>;

/// Something that was asked of a machine, and who waits for the reply.
pub struct Request {
    /// What is to be done.
    pub action: Action,
    /// Called exactly once, unless the machine has ended.
    pub reply_to: ReplyTo,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.action.fmt(f)
    }
}

/// Finds a place for a machine. A name that is taken or impossible is refused; else a machine
/// that cannot be controlled runs all the same, and a line says so.
pub fn claim(config: &VmConfig) -> Result<Option<Place>, Failure> {
    if !config.control {
        return Ok(None);
    }
    let place = Folder::open()
        .and_then(|folder| folder.claim(config.name.as_deref(), &config.default_name()));
    match place {
        Ok(place) => Ok(Some(place)),
        Err(error @ PlaceError::InUse { .. }) => Err(Failure::monitor(error)),
        Err(error @ PlaceError::BadName(_)) => Err(Failure::usage(error)),
        Err(error) if config.detached => Err(Failure::monitor(error)),
        Err(error) => {
            regret(&error);
            Ok(None)
        }
    }
}

/// Opens a machine's control socket; nobody answers there yet.
pub fn listen(place: &Place, config: &VmConfig) -> Option<UnixListener> {
    let summary = Summary {
        guest: config.guest(),
        harts: config.harts,
        memory: config.memory,
    };
    place.listen(&summary).map_err(|error| regret(&error)).ok()
}

/// Starts to answer there.
pub fn serve(
    listener: UnixListener,
    config: &VmConfig,
    machine: &Machine,
    events: Sender<Event>,
) -> Option<Server> {
    let console = Attachable {
        console: Arc::clone(&machine.console),
        board: Arc::clone(&machine.board),
        takes_keys: !config.deterministic && config.console != ConsoleKind::None,
    };
    Server::start(listener, Routes { events, console })
        .map_err(|error| regret(&error))
        .ok()
}

fn regret(why: &dyn std::fmt::Display) {
    eprintln!("ringer: no control socket for this machine (--no-control expects none): {why}");
}
