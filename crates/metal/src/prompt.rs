//! What is typed: to the guest in front, or after Ctrl-A to the monitor.

use alloc::string::String;
use alloc::vec::Vec;

use ringer_machine::device::Device;
use ringer_metal::command::{Command, Help, KEYS};
use ringer_metal::schedule::State;

use crate::console::View;
use crate::guest::{Guest, Life, Order};
use crate::monitor::Monitor;

const CTRL_A: u8 = 1;
const CTRL_C: u8 = 3;
const BACKSPACE: [u8; 2] = [8, 127];
/// The longest line that is read.
const LINE: usize = 200;
/// Mappings of a shadow that are shown.
const MAPPINGS: usize = 24;

/// Where what is typed goes.
enum Mode {
    /// To the guest.
    Guest,
    /// One key to the monitor.
    Key,
    /// A line to the monitor.
    Line(Vec<u8>),
}

/// The state of what is being typed.
pub struct Prompt {
    mode: Mode,
    /// The guest in front, to whom typing goes.
    front: usize,
}

impl Default for Prompt {
    fn default() -> Self {
        Self {
            mode: Mode::Guest,
            front: 0,
        }
    }
}

impl Prompt {
    /// A byte was typed.
    pub fn typed(&mut self, monitor: &Monitor, byte: u8) {
        match core::mem::replace(&mut self.mode, Mode::Guest) {
            Mode::Guest if byte == CTRL_A => self.mode = Mode::Key,
            Mode::Guest => self.pass_on(monitor, byte),
            Mode::Key => self.key(monitor, byte),
            Mode::Line(line) => self.line(monitor, line, byte),
        }
    }

    fn pass_on(&self, monitor: &Monitor, byte: u8) {
        monitor.console.typed(self.front, byte);
        if let Some(guest) = monitor.guests.get(self.front) {
            guest.board.uart().poll();
        }
    }

    fn key(&mut self, monitor: &Monitor, key: u8) {
        match key {
            CTRL_A => self.pass_on(monitor, CTRL_A),
            b':' => {
                monitor.console.say(format_args!("ringer> "));
                self.mode = Mode::Line(Vec::new());
            }
            b'n' => {
                let next = self.front + 1;
                self.switch(monitor, if next < monitor.guests.len() { next } else { 0 });
            }
            b'0'..=b'9' => match monitor.guests.get(usize::from(key - b'0')) {
                Some(guest) => self.switch(monitor, guest.number),
                None => self.execute(monitor, Command::List),
            },
            key => {
                let known = KEYS.iter().find(|(known, _, _)| *known == key);
                self.execute(
                    monitor,
                    known.map_or(Command::Help, |(_, command, _)| *command),
                );
            }
        }
    }

    fn line(&mut self, monitor: &Monitor, mut line: Vec<u8>, byte: u8) {
        match byte {
            b'\r' | b'\n' => {
                monitor.console.say(format_args!(""));
                let text = String::from_utf8_lossy(&line).into_owned();
                match Command::parse(&text) {
                    Ok(command) => self.execute(monitor, command),
                    Err(error) => monitor.console.say(format_args!("{error}\n")),
                }
                return;
            }
            CTRL_C => {
                monitor.console.say(format_args!(""));
                return;
            }
            byte if BACKSPACE.contains(&byte) => {
                let erased = line.pop().map(|_| b"\x08 \x08".as_slice());
                monitor.console.echo(erased.unwrap_or_default());
            }
            byte if line.len() < LINE && byte >= b' ' => {
                line.push(byte);
                monitor.console.echo(&[byte]);
            }
            _ => {}
        }
        self.mode = Mode::Line(line);
    }

    fn switch(&mut self, monitor: &Monitor, guest: usize) {
        self.front = guest;
        if let Some(guest) = monitor.guests.get(guest) {
            (monitor.console).say(format_args!("ringer: {} is in front\n", guest.name()));
        }
        monitor.console.set_view(View::Only(guest));
    }

    /// The guest that a command names, or the one in front.
    fn find<'m>(&self, monitor: &'m Monitor, name: Option<&str>) -> Option<&'m Guest> {
        let found = match name {
            None => monitor.guests.get(self.front),
            Some(name) => monitor
                .guests
                .iter()
                .find(|guest| guest.name() == name || name.parse() == Ok(guest.number)),
        };
        if found.is_none() {
            let name = name.unwrap_or_default();
            monitor
                .console
                .say(format_args!("{name}: no such guest; `list` names them\n"));
        }
        found
    }

    fn execute(&mut self, monitor: &Monitor, command: Command<'_>) {
        let console = &monitor.console;
        match command {
            Command::Help => console.say(format_args!("{Help}")),
            Command::List => list(monitor, self.front),
            Command::All => console.set_view(View::All),
            Command::Quit => {
                console.say(format_args!("ringer: switching off\n"));
                monitor.platform.power.off(0);
            }
            Command::Switch(name) => {
                if let Some(guest) = self.find(monitor, Some(name)) {
                    self.switch(monitor, guest.number);
                }
            }
            Command::Pause(name) => {
                if let Some(guest) = self.find(monitor, name) {
                    monitor.pause(guest);
                }
            }
            Command::Resume(name) => {
                if let Some(guest) = self.find(monitor, name) {
                    monitor.resume(guest);
                }
            }
            Command::Reset(name) => {
                if let Some(guest) = self.find(monitor, name) {
                    monitor.order(guest, Order::Reset);
                }
            }
            Command::Off(name) => {
                if let Some(guest) = self.find(monitor, name) {
                    monitor.order(guest, Order::Off(0));
                }
            }
            Command::Stats(name) => {
                if let Some(guest) = self.find(monitor, name) {
                    monitor.show_exits(guest);
                }
            }
            Command::Tables(name) => {
                if let Some(guest) = self.find(monitor, name) {
                    show_tables(monitor, guest);
                }
            }
        }
    }
}

fn list(monitor: &Monitor, front: usize) {
    let console = &monitor.console;
    for guest in &monitor.guests {
        let life = match *guest.life.lock() {
            Life::Running => "running",
            Life::Paused => "paused",
            Life::Off(0) => "off",
            Life::Off(_) => "failed",
        };
        let mark = if guest.number == front { '*' } else { ' ' };
        console.say(format_args!(
            "{mark}{} {:<12} {life:<8} {} harts, {} MiB, share {}",
            guest.number,
            guest.name(),
            guest.harts.len(),
            guest.description.memory >> 20,
            guest.description.share,
        ));
        for number in monitor.numbers(guest) {
            // Nobody waits for the schedule while this is shown.
            let usage = monitor.schedule.lock().usage(number);
            let Some((ticks, state)) = usage else {
                continue;
            };
            let ms = ticks / (monitor.platform.timebase / 1000).max(1);
            match state {
                State::Running { cpu, .. } => {
                    console.continue_line(format_args!("; {ms} ms, on CPU {cpu}"));
                }
                State::Ready => console.continue_line(format_args!("; {ms} ms, ready")),
                State::Waiting(_) => console.continue_line(format_args!("; {ms} ms, waits")),
            }
        }
        console.continue_line(format_args!("\n"));
    }
}

fn show_tables(monitor: &Monitor, guest: &Guest) {
    let console = &monitor.console;
    for (id, hart) in guest.harts.iter().enumerate() {
        let Some(hart) = hart.try_lock() else {
            console.say(format_args!(
                "hart {id} runs: pause the guest to see its tables\n"
            ));
            continue;
        };
        let shadow = &hart.shadow;
        let (used, all) = shadow.tables_in_use();
        let counts = shadow.counts();
        console.say(format_args!(
            "{} hart {id}: {used} of {all} tables in use\n{counts:#?}\n",
            guest.name()
        ));
        for root in shadow.roots() {
            console.say(format_args!("  root {}: {:?}\n", root.slot, root.context));
            for mapping in shadow.mappings(&root).take(MAPPINGS) {
                console.say(format_args!("    {mapping:?}\n"));
            }
        }
    }
}
