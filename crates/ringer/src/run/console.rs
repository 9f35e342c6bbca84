//! The console of a run: where the guest's output is shown, and whose keys it hears.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use super::Event;
use crate::args::ConsoleKind;
use crate::config::VmConfig;
use crate::exit::Failure;
use crate::input::{self, Arrival, Keyboard};
use crate::machine::MachineClock;
use crate::runner::Vm;
use crate::terminal::{self, Terminal};

/// Starts to write the console's output; in the background only those who attach see it.
pub(super) fn show(vm: &Vm, config: &VmConfig) {
    match config.detached {
        true => vm.machine.console.show_on(io::sink()),
        false => vm.machine.console.show_on(io::stdout()),
    };
}

/// Lets keys reach the guest. The terminal is restored when what this returns goes.
pub(super) fn connect(
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
