//! Standard input: keys for the guest, the escape key, and lines for the monitor prompt.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::task::Wake;
use std::thread;
use std::time::Duration;

use ringer_machine::board::Board;

use crate::console::Console;
use crate::control::prompt::{HELP, Line};
use crate::control::{Action, Request};
use crate::exit::Failure;
use crate::run::Event;
use crate::runner::Parker;
use crate::terminal::{self, ESCAPE_HELP, EscapeParser, Key};

/// How often a full queue is looked at again.
const RETRY: Duration = Duration::from_millis(100);
/// The most input that a deterministic run reads beforehand.
const BEFOREHAND: u64 = 64 << 20;

/// Reads all of standard input before the guest starts, so that when it arrives does not
/// depend on the host.
pub fn read_beforehand(console: &Console) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .take(BEFOREHAND)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::monitor(format_args!("cannot read standard input: {error}")))?;
    console.type_all(&bytes);
    Ok(())
}

/// Who wants to know that there is input.
pub enum Arrival {
    /// The devices take it up at once.
    Devices(Arc<Board>),
    /// A deterministic machine takes it up at the end of a round; it may sleep meanwhile.
    Runner(Option<Arc<Parker>>),
}

impl Arrival {
    fn tell(&self) {
        match self {
            Self::Devices(board) => board.poll(),
            Self::Runner(parker) => parker.iter().for_each(Wake::wake_by_ref),
        }
    }
}

/// Where typed bytes go, and how their arrival is made known.
pub struct Keyboard {
    /// The queue.
    pub console: Arc<Console>,
    /// Who is told that there is input.
    pub arrival: Arrival,
    /// Receives commands.
    pub events: Sender<Event>,
}

impl Keyboard {
    /// Starts to read standard input.
    pub fn watch(self, is_terminal: bool) {
        thread::spawn(move || {
            if is_terminal {
                self.read_terminal();
            } else {
                self.read_pipe();
            }
        });
    }
    /// All for the guest. The end of the pipe is no reason to stop.
    fn read_pipe(&self) {
        let mut chunk = [0; 4096];
        while let Some(bytes) = read_some(&mut chunk) {
            self.give(bytes);
        }
    }
    fn give(&self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.console.type_some(bytes, RETRY);
            bytes = bytes.get(taken..).unwrap_or_default();
            self.arrival.tell();
        }
    }
    fn read_terminal(&self) {
        let mut parser = EscapeParser::default();
        let mut chunk = [0; 4096];
        while let Some(bytes) = read_some(&mut chunk) {
            let mut plain = Vec::new();
            for &byte in bytes {
                match parser.next(byte) {
                    None => {}
                    Some(Key::Guest(byte)) => plain.push(byte),
                    Some(Key::Help | Key::Detach) => say(ESCAPE_HELP),
                    Some(Key::Quit) => drop(self.events.send(Event::Quit("Ctrl-A x"))),
                    Some(Key::Monitor) => {
                        self.give(&std::mem::take(&mut plain));
                        terminal::cooked();
                        self.prompt();
                        terminal::raw();
                    }
                }
            }
            self.give(&plain);
        }
    }
    /// Reads commands until one leads back to the console.
    fn prompt(&self) {
        say("monitor prompt: `help` lists the commands, an empty line returns to the guest");
        let mut line = String::new();
        loop {
            eprint!("ringer> ");
            let _ = io::stderr().flush();
            line.clear();
            match io::stdin().read_line(&mut line) {
                // Ctrl-D.
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            match Line::parse(&line) {
                Ok(Line::Console) => return,
                Ok(Line::Help) => eprintln!("{HELP}"),
                Ok(Line::Action(action)) => {
                    let leaves = matches!(action, Action::Stop { .. });
                    match self.ask(action) {
                        Some(text) => eprintln!("{}", text.trim_end()),
                        None => return,
                    }
                    if leaves {
                        return;
                    }
                }
                Err(why) => eprintln!("{why}"),
            }
        }
    }
    /// What is answered; nothing when the run is over.
    fn ask(&self, action: Action) -> Option<String> {
        let (sender, answer) = mpsc::channel();
        let reply_to = Box::new(move |reply| drop(sender.send(reply)));
        let request = Request { action, reply_to };
        self.events.send(Event::Asked(request)).ok()?;
        match answer.recv().ok()? {
            Ok(answer) => Some(answer.to_string()),
            Err(refused) => Some(refused.to_string()),
        }
    }
}

fn say(text: &str) {
    eprintln!("\nringer: {text}");
}

/// The next bytes of standard input; nothing at its end.
pub fn read_some(chunk: &mut [u8]) -> Option<&[u8]> {
    loop {
        // Not through `io::stdin()`'s buffer: a key must not wait for a full line.
        match rustix::io::read(rustix::stdio::stdin(), &mut *chunk) {
            Ok(0) => return None,
            Ok(len) => return chunk.get(..len),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}
