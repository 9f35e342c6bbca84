//! Signals to this process: asked to end, or stopped and continued by the shell.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;

use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGXFSZ};
use signal_hook::iterator::Signals;

use crate::bus_error;
use crate::exit::Failure;
use crate::run::Event;
use crate::terminal;

/// Turns signals into events, and keeps the terminal right over Ctrl-Z and `fg`.
pub fn watch(events: Sender<Event>) -> Result<(), Failure> {
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGCONT]).map_err(Failure::monitor)?;
    bus_error::watch()?;
    // A file that may not grow any more is an error like a full disk, not the end.
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map_err(Failure::monitor)?;
    thread::spawn(move || {
        for signal in signals.forever() {
            match signal {
                SIGTSTP => {
                    terminal::suspend();
                    // Stops this process here; SIGCONT comes when it goes on.
                    let _ = signal_hook::low_level::emulate_default_handler(SIGTSTP);
                }
                SIGCONT => terminal::reapply(),
                SIGINT => drop(events.send(Event::Signal("SIGINT"))),
                SIGHUP => drop(events.send(Event::Signal("SIGHUP"))),
                _ => drop(events.send(Event::Signal("SIGTERM"))),
            }
        }
    });
    Ok(())
}
