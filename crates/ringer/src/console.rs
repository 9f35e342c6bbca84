//! The guest's serial console on this process's standard input and output, and for those who
//! attach to it.

mod history;

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ringer_machine::backend::ConsoleBackend;

pub use history::{History, Piece};

/// Typed bytes that wait for the guest; the reader of standard input stops when it is full.
const INPUT_ROOM: usize = 64 << 10;
/// Output that waits for the terminal.
const OUTPUT_ROOM: usize = 256 << 10;
/// How long a guest is held up by a terminal that takes nothing, before output is dropped.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long the end of the run waits for the last output to be taken.
const FAREWELL: Duration = Duration::from_secs(2);

/// Both directions of a console, shared between the device, the threads that read and write,
/// and the monitor.
pub struct Console {
    input: Mutex<Input>,
    /// Input was taken, or the console closed.
    input_taken: Condvar,
    output: Mutex<Output>,
    /// Output was queued, or the console closed.
    output_queued: Condvar,
    /// Output was taken.
    output_taken: Condvar,
    /// What was written last.
    history: History,
    /// Never drop output: a repeatable run must not depend on the terminal's speed.
    lossless: bool,
}

/// How far the guest has come with its console.
pub struct Place {
    written: u64,
    /// What it could read.
    input: VecDeque<u8>,
}

#[derive(Default)]
struct Input {
    /// What the guest can read.
    bytes: VecDeque<u8>,
    /// Of a deterministic machine: what waits until it is admitted.
    typed: Vec<u8>,
    /// What is typed is thrown away.
    deaf: bool,
}

#[derive(Default)]
struct Output {
    bytes: VecDeque<u8>,
    /// How many bytes the guest has written so far, and the most that it ever had: more than the
    /// first if it was taken back in time. What it writes again is not shown again.
    written: u64,
    shown: u64,
    /// Being written by the thread right now.
    in_flight: bool,
    closed: bool,
    /// The terminal took nothing for [`PATIENCE`]; output is dropped until it does again.
    stalled: bool,
    dropped: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Console {
    /// A console whose guest is ready once it has written `ready`.
    pub fn new(lossless: bool, ready: &str) -> Arc<Self> {
        Arc::new(Self {
            input: Mutex::default(),
            input_taken: Condvar::new(),
            output: Mutex::default(),
            output_queued: Condvar::new(),
            output_taken: Condvar::new(),
            history: History::new(ready),
            lossless,
        })
    }
    /// Starts the thread that writes the output to `sink`. It ends after [`Console::close`].
    pub fn show_on(self: &Arc<Self>, sink: impl Write + Send + 'static) -> JoinHandle<()> {
        let console = Arc::clone(self);
        thread::spawn(move || console.drain(sink))
    }
    /// The device's end.
    pub fn port(self: &Arc<Self>) -> ConsolePort {
        ConsolePort(Arc::clone(self))
    }
    /// Puts typed bytes into the queue, whatever its length. For input that is complete before
    /// the guest starts.
    pub fn type_all(&self, bytes: &[u8]) {
        lock(&self.input).bytes.extend(bytes);
    }
    /// Puts typed bytes into the queue; waits at most `patience` for room and returns how many
    /// bytes were taken.
    pub fn type_some(&self, bytes: &[u8], patience: Duration) -> usize {
        let full = |input: &Input| input.bytes.len() + input.typed.len() >= INPUT_ROOM;
        let input = lock(&self.input);
        let (mut input, _) = self
            .input_taken
            .wait_timeout_while(input, patience, |input| full(input))
            .unwrap_or_else(PoisonError::into_inner);
        if input.deaf {
            return bytes.len();
        }
        let waiting = input.bytes.len() + input.typed.len();
        let room = INPUT_ROOM.saturating_sub(waiting).min(bytes.len());
        let taken = bytes.iter().take(room);
        if self.lossless {
            input.typed.extend(taken);
        } else {
            input.bytes.extend(taken);
        }
        room
    }
    /// Whether typed bytes wait.
    pub fn has_input(&self) -> bool {
        !lock(&self.input).bytes.is_empty()
    }
    /// Whether bytes wait to be admitted to a deterministic machine.
    pub fn has_typed(&self) -> bool {
        !lock(&self.input).typed.is_empty()
    }
    /// Those that do.
    pub fn take_typed(&self) -> Vec<u8> {
        std::mem::take(&mut lock(&self.input).typed)
    }
    /// Lets bytes reach the guest of a deterministic machine.
    pub fn admit(&self, bytes: &[u8]) {
        lock(&self.input).bytes.extend(bytes);
    }
    /// Throws away what is typed from here on: the guest hears what it heard in another run.
    pub fn hear_nothing(&self) {
        lock(&self.input).deaf = true;
    }
    /// Waits until what was written so far is taken, but not for ever; then no more is accepted.
    pub fn close(&self) {
        let output = lock(&self.output);
        let farewell = if self.lossless {
            Duration::MAX
        } else {
            FAREWELL
        };
        let mut output = wait_until(&self.output_taken, output, farewell, |output| {
            output.bytes.is_empty() && !output.in_flight
        });
        output.closed = true;
        self.history.close();
        self.output_queued.notify_all();
        self.output_taken.notify_all();
    }
    /// How many bytes were dropped since the terminal did not take them.
    pub fn dropped(&self) -> u64 {
        lock(&self.output).dropped
    }

    /// What was written last.
    pub fn history(&self) -> &History {
        &self.history
    }

    fn drain(&self, mut sink: impl Write) {
        loop {
            let mut output = lock(&self.output);
            while output.bytes.is_empty() && !output.closed {
                output = self
                    .output_queued
                    .wait(output)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if output.closed {
                return;
            }
            let chunk: Vec<u8> = output.bytes.drain(..).collect();
            output.in_flight = true;
            drop(output);
            let result = sink.write_all(&chunk).and_then(|()| sink.flush());
            let mut output = lock(&self.output);
            output.in_flight = false;
            output.stalled = false;
            // A reader that went away (a closed pipe) takes nothing ever again.
            output.closed |= result.is_err();
            self.output_taken.notify_all();
        }
    }

    /// What a machine that is taken back in time finds here again.
    pub fn place(&self) -> Place {
        Place {
            written: lock(&self.output).written,
            input: lock(&self.input).bytes.clone(),
        }
    }
    /// The machine is taken back.
    pub fn go_to(&self, place: &Place) {
        lock(&self.output).written = place.written;
        lock(&self.input).bytes.clone_from(&place.input);
    }

    fn write(&self, bytes: &[u8]) {
        let mut output = lock(&self.output);
        let known = output.shown - output.written;
        output.written += bytes.len() as u64;
        output.shown = output.shown.max(output.written);
        drop(output);
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let bytes = bytes.get(known..).unwrap_or_default();
        self.history.add(bytes);
        let patience = if self.lossless {
            Duration::MAX
        } else {
            PATIENCE
        };
        let mut rest = bytes;
        let mut output = lock(&self.output);
        while !rest.is_empty() {
            if output.closed {
                return;
            }
            let room = OUTPUT_ROOM
                .saturating_sub(output.bytes.len())
                .min(rest.len());
            let (now, later) = rest.split_at(room);
            output.bytes.extend(now);
            rest = later;
            self.output_queued.notify_one();
            if rest.is_empty() {
                return;
            }
            if output.stalled {
                output.dropped = output.dropped.saturating_add(rest.len() as u64);
                return;
            }
            output = wait_until(&self.output_taken, output, patience, |output| {
                output.closed || output.bytes.len() < OUTPUT_ROOM
            });
            output.stalled = output.bytes.len() >= OUTPUT_ROOM;
        }
    }

    fn read(&self, into: &mut [u8]) -> usize {
        let queue = &mut lock(&self.input).bytes;
        let len = queue.len().min(into.len());
        for (to, from) in into.iter_mut().zip(queue.drain(..len)) {
            *to = from;
        }
        if len > 0 {
            self.input_taken.notify_all();
        }
        len
    }
}

fn wait_until<'a, T>(
    condvar: &Condvar,
    mut guard: MutexGuard<'a, T>,
    patience: Duration,
    done: impl Fn(&T) -> bool,
) -> MutexGuard<'a, T> {
    let deadline = Instant::now().checked_add(patience);
    while !done(&guard) {
        guard = match deadline {
            None => condvar.wait(guard).unwrap_or_else(PoisonError::into_inner),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return guard;
                }
                condvar
                    .wait_timeout(guard, left)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        };
    }
    guard
}

/// The console as a serial device sees it.
pub struct ConsolePort(Arc<Console>);

impl ConsoleBackend for ConsolePort {
    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }
    fn read(&mut self, into: &mut [u8]) -> usize {
        self.0.read(into)
    }
}

/// A console that is not connected.
pub struct NoConsole;

impl ConsoleBackend for NoConsole {
    fn write(&mut self, _bytes: &[u8]) {}
    fn read(&mut self, _into: &mut [u8]) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    struct Sink(mpsc::Sender<Vec<u8>>);
    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.send(bytes.to_vec());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// A terminal that takes nothing until it is told to.
    struct Stuck(mpsc::Receiver<()>);
    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn everything_written_before_close_arrives() {
        let (sender, receiver) = mpsc::channel();
        let console = Console::new(false, "");
        let thread = console.show_on(Sink(sender));
        let mut port = console.port();
        let text: Vec<u8> = (0..1_000_000u32).map(|n| n as u8).collect();
        for part in text.chunks(777) {
            port.write(part);
        }
        console.close();
        thread.join().unwrap();
        assert_eq!(receiver.iter().flatten().collect::<Vec<u8>>(), text);
        port.write(b"late");
        assert_eq!(console.dropped(), 0);
    }

    #[test]
    fn a_stuck_terminal_holds_the_guest_up_only_once() {
        let (go, stuck) = mpsc::channel();
        let console = Console::new(false, "");
        let thread = console.show_on(Stuck(stuck));
        let mut port = console.port();
        let start = Instant::now();
        for _ in 0..40 {
            port.write(&[b'x'; OUTPUT_ROOM / 10]);
        }
        assert!(start.elapsed() < PATIENCE * 3);
        assert!(console.dropped() > 0);
        drop(go);
        console.close();
        thread.join().unwrap();
    }

    #[test]
    fn input_is_bounded_and_in_order() {
        let console = Console::new(false, "");
        let thread = console.show_on(std::io::sink());
        let bytes = vec![b'k'; INPUT_ROOM + 10];
        assert_eq!(console.type_some(&bytes, Duration::ZERO), INPUT_ROOM);
        assert_eq!(console.type_some(b"z", Duration::from_millis(1)), 0);
        let mut port = console.port();
        let mut some = [0; 16];
        assert_eq!(port.read(&mut some), 16);
        assert_eq!(console.type_some(b"z", Duration::ZERO), 1);
        console.close();
        thread.join().unwrap();
    }
}
