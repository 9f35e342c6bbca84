//! Writing a trace while the machine runs.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringer_hart::{Hart, HartId, Width};
use ringer_machine::board::AccessTap;
use ringer_machine::clock::Clock;

use super::event::{Before, Event, Kind, What};
use super::file::Header;
use crate::exit::Failure;
use crate::size::Size;

/// What is to be traced, and where to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceSpec {
    /// The file.
    pub path: PathBuf,
    /// The kinds of events.
    pub kinds: Vec<Kind>,
    /// How many bytes the file may have.
    pub limit: u64,
}

/// A trace that is being written. Whatever harts do at the same time is put in some order.
pub struct Recorder {
    kinds: Vec<Kind>,
    clock: Arc<dyn Clock>,
    /// For each hart what it had retired when that was last known: devices cannot ask.
    retired: Box<[AtomicU64]>,
    devices: Vec<String>,
    output: Mutex<Output>,
    path: PathBuf,
}

struct Output {
    before: Before,
    file: BufWriter<File>,
    written: u64,
    limit: u64,
    /// Events there was no room for.
    left_out: u64,
    failed: Option<io::Error>,
}

impl Recorder {
    /// Makes the file for a machine with these harts and devices.
    pub fn new(
        spec: &TraceSpec,
        harts: usize,
        devices: Vec<String>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, Failure> {
        let cannot = |error| cannot_write(&spec.path, &error);
        let mut file = BufWriter::with_capacity(1 << 18, File::create(&spec.path).map_err(cannot)?);
        let header = Header {
            harts,
            devices: devices.clone(),
        };
        let written = header.write(&mut file).map_err(cannot)?;
        Ok(Arc::new(Self {
            kinds: spec.kinds.clone(),
            clock,
            retired: (0..harts).map(|_| AtomicU64::new(0)).collect(),
            devices,
            output: Mutex::new(Output {
                before: Before::new(harts),
                file,
                written,
                limit: spec.limit,
                left_out: 0,
                failed: None,
            }),
            path: spec.path.clone(),
        }))
    }
    /// Whether events of this kind are wanted.
    pub fn wants(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }
    /// Whether harts must run under somebody's eyes.
    pub fn needs_eyes(&self) -> bool {
        self.kinds.iter().any(|kind| kind.needs_eyes())
    }
    /// Something has happened to a hart.
    pub fn tell(&self, hart: &Hart, what: What) {
        if let Some(retired) = self.retired.get(hart.id) {
            retired.store(hart.counts.retired, Relaxed);
        }
        if self.wants(what.kind()) {
            self.write(hart.id, hart.counts.retired, what);
        }
    }
    fn write(&self, hart: HartId, instructions: u64, what: What) {
        let time = self.clock.ticks();
        let event = Event {
            hart,
            time,
            instructions,
            what,
        };
        self.output().write(&event);
    }
    fn output(&self) -> MutexGuard<'_, Output> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Completes the file.
    pub fn finish(&self) -> Result<(), Failure> {
        let mut output = self.output();
        let flushed = output.file.flush();
        if let Some(error) = output.failed.take().or(flushed.err()) {
            return Err(cannot_write(&self.path, &error));
        }
        if output.left_out > 0 {
            eprintln!(
                "ringer: the trace {} is full; {} events after its {} were left out (--trace-limit)",
                self.path.display(),
                output.left_out,
                Size(output.limit)
            );
        }
        Ok(())
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::monitor(format_args!(
        "cannot write the trace {}: {error}",
        path.display()
    ))
}

impl Output {
    fn write(&mut self, event: &Event) {
        if self.failed.is_some() || self.written >= self.limit {
            self.left_out += 1;
            return;
        }
        let mut bytes = [0; 80];
        let mut rest = &mut bytes[..];
        // An event has at most 2 + 7 × 10 bytes.
        let _ = self.before.write(event, &mut rest);
        let len = 80 - rest.len();
        self.written += len as u64;
        // The guest runs on without a trace when the disk is full; the end of the run says so.
        self.failed = self
            .file
            .write_all(bytes.get(..len).unwrap_or_default())
            .err();
    }
}

impl AccessTap for Recorder {
    fn access(
        &self,
        hart: HartId,
        device: &str,
        offset: u64,
        width: Width,
        value: u64,
        store: bool,
    ) {
        let retired = self
            .retired
            .get(hart)
            .map_or(0, |retired| retired.load(Relaxed));
        let number = self.devices.iter().position(|known| known == device);
        let (device, bytes) = (number.unwrap_or(0) as u64, width.bytes());
        let what = if store {
            What::Store {
                device,
                offset,
                bytes,
                value,
            }
        } else {
            What::Load {
                device,
                offset,
                bytes,
                value,
            }
        };
        self.write(hart, retired, what);
    }
}
