//! Traces: `ringer run … --trace FILE` writes what happens in a machine, `ringer trace` shows it.

mod event;
mod file;
mod recorder;
mod show;
mod timeline;

use std::io::{self, BufWriter, ErrorKind, Write};

use crate::args::{TraceCommand, TraceFilter};
use crate::exit::Failure;
use file::TraceFile;

pub use event::{Kind, What};
pub use recorder::{Recorder, TraceSpec};

/// `ringer trace …`.
pub fn run(command: &TraceCommand) -> Result<(), Failure> {
    match command {
        TraceCommand::Show { file, filter } => {
            let mut trace = TraceFile::open(file).map_err(Failure::monitor)?;
            let mut out = BufWriter::new(io::stdout().lock());
            let shown = show::write(&mut trace, filter, &mut out).and_then(|()| out.flush());
            match shown {
                // `… | head` has seen enough.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
                result => result.map_err(Failure::monitor),
            }?;
            warn_of_damage(&trace);
        }
        TraceCommand::Timeline {
            file,
            output,
            filter,
        } => {
            let mut trace = TraceFile::open(file).map_err(Failure::monitor)?;
            let written = std::fs::File::create(output)
                .map(BufWriter::new)
                .and_then(|mut out| {
                    timeline::write(&mut trace, filter, &mut out)?;
                    out.flush()
                });
            written.map_err(|error| {
                Failure::monitor(format_args!("cannot write {}: {error}", output.display()))
            })?;
            warn_of_damage(&trace);
            eprintln!(
                "ringer: {} is for https://ui.perfetto.dev (Open trace file) or chrome://tracing",
                output.display()
            );
        }
    }
    Ok(())
}

fn warn_of_damage(trace: &TraceFile) {
    if trace.damaged {
        eprintln!("ringer: the trace breaks off in the middle of an event");
    }
}

impl TraceFilter {
    fn takes(&self, event: &event::Event) -> bool {
        self.hart.is_none_or(|hart| hart == event.hart)
            && (self.events.is_empty() || self.events.contains(&event.what.kind()))
            && seconds(event.time) >= self.from.unwrap_or(0.0)
            && self.until.is_none_or(|until| seconds(event.time) <= until)
    }
}

/// Guest time in seconds.
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / ringer_machine::clock::TICKS_PER_SECOND as f64
}

/// The name of a mode by its encoding.
fn mode(encoding: u64) -> &'static str {
    match encoding {
        0 => "U",
        1 => "S",
        3 => "M",
        _ => "?",
    }
}
