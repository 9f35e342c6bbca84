//! The commands for machines that run already: each finds the machine by its name and talks to its
//! control socket.

mod args;
mod console;
mod list;
mod monitor;
mod peer;
mod saved;
mod simple;

pub use args::ClientCommand;

use crate::control::place::{Folder, Found};
use crate::exit::Failure;

/// Runs a command; returns the exit status.
pub fn run(command: ClientCommand) -> Result<u8, Failure> {
    let folder = Folder::open().map_err(Failure::monitor)?;
    match command {
        ClientCommand::Ps(args) => list::run(&folder, &args),
        ClientCommand::Console(args) => console::run(&folder, &args),
        ClientCommand::Stop(args) => simple::stop(&folder, &args),
        ClientCommand::Stats(args) => simple::stats(&folder, &args),
        ClientCommand::Wait(args) => simple::wait(&folder, &args),
        ClientCommand::Monitor(args) => monitor::run(&folder, &args),
        ClientCommand::Save(args) => saved::save(&folder, &args),
        ClientCommand::Clone(args) => saved::clone(&folder, &args),
        ClientCommand::Snapshot(command) => saved::snapshot(&command),
    }
}

/// Whether a machine in the background had something to say before it ended.
fn has_last_words(folder: &Folder, name: &str) -> bool {
    std::fs::metadata(folder.log(name)).is_ok_and(|log| log.len() > 0)
}

/// The machine of this name; without a name the only one there is.
fn find(folder: &Folder, name: Option<&str>) -> Result<Found, Failure> {
    let mut machines = folder.machines().map_err(Failure::monitor)?;
    let names: Vec<_> = machines.iter().map(|found| found.name.as_str()).collect();
    let names = names.join(", ");
    match name {
        Some(name) => match machines.iter().position(|found| found.name == name) {
            Some(index) => Ok(machines.swap_remove(index)),
            None if has_last_words(folder, name) => Err(Failure::monitor(format_args!(
                "no machine called '{name}' runs any more; what it said last is in {}",
                folder.log(name).display()
            ))),
            None if machines.is_empty() => Err(Failure::monitor(format_args!(
                "no machine called '{name}' runs, nor any other; `ringer run --name {name} …` starts one"
            ))),
            None => Err(Failure::monitor(format_args!(
                "no machine called '{name}' runs; there are: {names}"
            ))),
        },
        None if machines.len() > 1 => Err(Failure::usage(format_args!(
            "several machines run, so say which: {names}"
        ))),
        None => machines
            .pop()
            .ok_or_else(|| Failure::monitor("no machine runs; `ringer run` starts one")),
    }
}
