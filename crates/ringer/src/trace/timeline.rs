//! A trace as JSON that Perfetto and chrome://tracing show: a line for each hart with what it
//! does, and a mark for everything else.

use std::io::{self, Write};

use serde::Serialize;

use super::event::{Event, What};
use super::file::TraceFile;
use super::show::{describe, name, sbi_extension};
use crate::args::TraceFilter;
use ringer_hart::cause::{Cause, interrupt_name};
use ringer_machine::clock::NANOS_PER_TICK;

/// One entry of the format ("Trace Event Format", JSON array).
#[derive(Serialize)]
struct Entry<'a> {
    name: &'a str,
    #[serde(rename = "cat", skip_serializing_if = "Option::is_none")]
    category: Option<&'a str>,
    /// The kind of entry: `X` lasts, `i` does not, `M` gives names.
    ph: &'a str,
    /// Microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    /// How far the mark reaches: `t`, the thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'a str>,
    pid: u32,
    tid: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<Arguments>,
}

#[derive(Serialize)]
struct Arguments {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    what: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<u64>,
}

/// The one process: the machine.
const MACHINE: u32 = 1;

struct Timeline<'a, W> {
    out: &'a mut W,
    first: bool,
}

impl<W: Write> Timeline<'_, W> {
    fn put(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        let before = if std::mem::take(&mut self.first) {
            "[\n"
        } else {
            ",\n"
        };
        self.out.write_all(before.as_bytes())?;
        serde_json::to_writer(&mut *self.out, entry).map_err(io::Error::from)
    }
    fn name(&mut self, kind: &str, hart: usize, name: String) -> io::Result<()> {
        self.put(&Entry {
            name: kind,
            category: None,
            ph: "M",
            ts: None,
            dur: None,
            s: None,
            pid: MACHINE,
            tid: hart,
            args: Some(Arguments {
                name: Some(name),
                what: None,
                instructions: None,
            }),
        })
    }
    /// What a hart did from one time to another.
    fn span(&mut self, hart: usize, doing: &str, from: u64, until: u64) -> io::Result<()> {
        self.put(&Entry {
            name: doing,
            category: Some("sched"),
            ph: "X",
            ts: Some(micros(from)),
            dur: Some(micros(until.saturating_sub(from))),
            s: None,
            pid: MACHINE,
            tid: hart,
            args: None,
        })
    }
    fn mark(&mut self, event: &Event, trace: &TraceFile) -> io::Result<()> {
        let label = match event.what {
            What::Trap { cause, .. } => Cause::name(cause).to_string(),
            What::Interrupt { cause, .. } => interrupt_name(cause).to_string(),
            What::Load { device, .. } => format!("load {}", trace.device(device)),
            What::Store { device, .. } => format!("store {}", trace.device(device)),
            What::Sbi { extension, .. } => format!("SBI {}", sbi_extension(extension)),
            what => name(&what).to_string(),
        };
        self.put(&Entry {
            name: &label,
            category: Some(event.what.kind().name()),
            ph: "i",
            ts: Some(micros(event.time)),
            dur: None,
            s: Some("t"),
            pid: MACHINE,
            tid: event.hart,
            args: Some(Arguments {
                name: None,
                what: Some(describe(event, trace)),
                instructions: Some(event.instructions),
            }),
        })
    }
}

fn micros(ticks: u64) -> f64 {
    ticks as f64 * NANOS_PER_TICK as f64 / 1000.0
}

/// Writes the entries of the events that the filter takes.
pub fn write(trace: &mut TraceFile, filter: &TraceFilter, out: &mut impl Write) -> io::Result<()> {
    let mut timeline = Timeline { out, first: true };
    timeline.name("process_name", 0, "machine".to_string())?;
    let harts = trace.header.harts;
    for hart in 0..harts {
        timeline.name("thread_name", hart, format!("hart {hart}"))?;
    }
    // What each hart does, and since when.
    let mut doing: Vec<Option<(&str, u64)>> = vec![None; harts];
    let mut last = 0;
    while let Some(event) = trace.next() {
        if !filter.takes(&event) {
            continue;
        }
        last = event.time;
        let now = match event.what {
            What::Runs => "running",
            What::Waits => "waiting",
            What::Stops => "stopped",
            _ => {
                timeline.mark(&event, trace)?;
                continue;
            }
        };
        if let Some(hart) = doing.get_mut(event.hart)
            && let Some((then, since)) = hart.replace((now, event.time))
        {
            timeline.span(event.hart, then, since, event.time)?;
        }
    }
    for (hart, doing) in doing.into_iter().enumerate() {
        if let Some((doing, since)) = doing {
            timeline.span(hart, doing, since, last)?;
        }
    }
    out.write_all(b"\n]\n")
}
