//! One terminal for all guests. It shows either one guest as it is, or all of them line by line,
//! each line with the guest's name; what is typed goes to one guest, or to the prompt.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use ringer_machine::backend::ConsoleBackend;
use spin::Mutex;

use crate::hardware::serial::Serial;

/// Typed bytes that wait for a guest, or for the monitor to look at them, at most.
pub const TYPED_AHEAD: usize = 4096;
/// The latest output of each guest, shown when the terminal turns to it.
const REMEMBERED: usize = 4096;
/// A line that was begun is shown when it was found the same so often: it may be a prompt. A guest
/// that others keep from running has a right to end its lines.
const LOOKS: u32 = 5;
/// A line of a guest that is longer is shown in parts.
const LONG_LINE: usize = 400;

/// What the terminal shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    /// Every guest, line by line.
    All,
    /// One guest, as it is.
    Only(usize),
}

/// What is known of one guest's terminal.
#[derive(Default)]
struct Terminal {
    name: String,
    /// Output since the last line that was shown.
    line: Vec<u8>,
    /// How often that was looked at since there was more of it.
    looks: u32,
    /// Output, the latest.
    recent: VecDeque<u8>,
    typed: VecDeque<u8>,
}

struct Inside {
    view: View,
    terminals: Vec<Terminal>,
    /// Whether the last byte shown ended a line.
    at_line_start: bool,
}

/// The terminal.
pub struct Console {
    serial: Option<Serial>,
    inside: Mutex<Inside>,
}

impl Console {
    /// The terminal behind `serial`, for guests with these names.
    pub fn new(serial: Option<Serial>, names: &[&str]) -> Self {
        let terminals = names.iter().map(|name| Terminal {
            name: String::from(*name),
            ..Terminal::default()
        });
        let view = if names.len() == 1 {
            View::Only(0)
        } else {
            View::All
        };
        Self {
            serial,
            inside: Mutex::new(Inside {
                view,
                terminals: terminals.collect(),
                at_line_start: true,
            }),
        }
    }
    fn send(&self, inside: &mut Inside, bytes: &[u8]) {
        let Some(serial) = &self.serial else {
            return;
        };
        for byte in bytes {
            serial.send(*byte);
            inside.at_line_start = *byte == b'\n';
        }
    }
    /// Shows what a guest has written.
    pub fn write(&self, guest: usize, bytes: &[u8]) {
        let mut inside = self.inside.lock();
        let view = inside.view;
        let Some(terminal) = inside.terminals.get_mut(guest) else {
            return;
        };
        terminal.recent.extend(bytes);
        let surplus = terminal.recent.len().saturating_sub(REMEMBERED);
        terminal.recent.drain(..surplus);
        match view {
            View::Only(shown) if shown == guest => self.send(&mut inside, bytes),
            View::Only(_) => {}
            View::All => {
                for byte in bytes {
                    let Some(terminal) = inside.terminals.get_mut(guest) else {
                        return;
                    };
                    terminal.line.push(*byte);
                    terminal.looks = 0;
                    if *byte == b'\n' || terminal.line.len() >= LONG_LINE {
                        self.show_line(&mut inside, guest);
                    }
                }
            }
        }
    }
    /// Shows the line that a guest has begun.
    fn show_line(&self, inside: &mut Inside, guest: usize) {
        let Some(terminal) = inside.terminals.get_mut(guest) else {
            return;
        };
        let line = core::mem::take(&mut terminal.line);
        let name = terminal.name.clone();
        if line.is_empty() {
            return;
        }
        if !inside.at_line_start {
            self.send(inside, b"\r\n");
        }
        self.send(inside, name.as_bytes());
        self.send(inside, b"| ");
        self.send(inside, &line);
    }
    /// Shows lines that were begun and not ended: prompts.
    pub fn show_prompts(&self) {
        let mut inside = self.inside.lock();
        if inside.view == View::All {
            for guest in 0..inside.terminals.len() {
                let Some(terminal) = inside.terminals.get_mut(guest) else {
                    return;
                };
                terminal.looks = terminal.looks.saturating_add(1);
                if terminal.looks >= LOOKS {
                    self.show_line(&mut inside, guest);
                }
            }
        }
    }
    /// Whether lines were begun and not shown.
    pub fn has_prompts(&self) -> bool {
        let inside = self.inside.lock();
        inside.view == View::All && inside.terminals.iter().any(|t| !t.line.is_empty())
    }
    /// Turns the terminal to something else; of a guest, its latest output is shown again.
    pub fn set_view(&self, view: View) {
        let mut inside = self.inside.lock();
        for guest in 0..inside.terminals.len() {
            match view {
                View::All => self.show_line(&mut inside, guest),
                View::Only(_) => {
                    if let Some(terminal) = inside.terminals.get_mut(guest) {
                        terminal.line.clear();
                    }
                }
            }
        }
        inside.view = view;
        if let View::Only(guest) = view
            && let Some(terminal) = inside.terminals.get(guest)
        {
            let recent: Vec<u8> = terminal.recent.iter().copied().collect();
            self.send(&mut inside, &recent);
        }
    }
    /// Shows what the monitor itself has to say, from the start of a line.
    pub fn say(&self, words: fmt::Arguments<'_>) {
        let mut inside = self.inside.lock();
        let start = if inside.at_line_start { "" } else { "\n" };
        let words = format_args!("{start}{words}");
        // Writing to a terminal does not fail.
        let _ = fmt::Write::write_fmt(&mut Lines(self, &mut inside), words);
    }
    /// Goes on with what was said last.
    pub fn continue_line(&self, words: fmt::Arguments<'_>) {
        let mut inside = self.inside.lock();
        let _ = fmt::Write::write_fmt(&mut Lines(self, &mut inside), words);
    }
    /// Shows what is typed at the prompt.
    pub fn echo(&self, bytes: &[u8]) {
        let mut inside = self.inside.lock();
        self.send(&mut inside, bytes);
    }
    /// A byte typed for a guest; dropped if the guest does not read.
    pub fn typed(&self, guest: usize, byte: u8) {
        let mut inside = self.inside.lock();
        if let Some(terminal) = inside.terminals.get_mut(guest)
            && terminal.typed.len() < TYPED_AHEAD
        {
            terminal.typed.push_back(byte);
        }
    }
    /// A byte that came in on the real port.
    pub fn receive(&self) -> Option<u8> {
        self.serial.as_ref()?.receive()
    }
}

/// The monitor's own lines: they end as terminals want it.
struct Lines<'a>(&'a Console, &'a mut Inside);
impl fmt::Write for Lines<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.0.send(self.1, b"\r");
            }
            self.0.send(self.1, &[byte]);
        }
        Ok(())
    }
}

/// A guest's end of the terminal.
pub struct GuestConsole {
    console: Arc<Console>,
    guest: usize,
}

impl GuestConsole {
    /// The end of guest `guest`.
    pub fn new(console: Arc<Console>, guest: usize) -> Self {
        Self { console, guest }
    }
}

impl ConsoleBackend for GuestConsole {
    fn write(&mut self, bytes: &[u8]) {
        self.console.write(self.guest, bytes);
    }
    fn read(&mut self, into: &mut [u8]) -> usize {
        let mut inside = self.console.inside.lock();
        let Some(terminal) = inside.terminals.get_mut(self.guest) else {
            return 0;
        };
        let count = terminal.typed.len().min(into.len());
        for (to, from) in into.iter_mut().zip(terminal.typed.drain(..count)) {
            *to = from;
        }
        count
    }
}
