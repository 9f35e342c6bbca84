//! What can be typed at the monitor's prompt.

use core::fmt;

/// Keys after Ctrl-A, and the commands they stand for.
pub const KEYS: &[(u8, Command<'static>, &str)] = &[
    (b'h', Command::Help, "this help"),
    (b'l', Command::List, "list the guests"),
    (b'a', Command::All, "show all guests, line by line"),
    (b'p', Command::Pause(None), "pause the guest in front"),
    (b'c', Command::Resume(None), "let it go on"),
    (b'r', Command::Reset(None), "reset it"),
    (b's', Command::Stats(None), "its exits, by cause"),
    (b't', Command::Tables(None), "its shadow page tables"),
    (b'q', Command::Quit, "stop all guests and switch off"),
];

/// A command. A guest is named by name or number; without one, the guest in front is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command<'a> {
    /// Say what there is.
    Help,
    /// List the guests.
    List,
    /// Show all guests.
    All,
    /// Bring a guest to the front: the terminal is its own.
    Switch(&'a str),
    /// Stop its harts where they are.
    Pause(Option<&'a str>),
    /// Let them go on.
    Resume(Option<&'a str>),
    /// Start it from the beginning, also one that is off.
    Reset(Option<&'a str>),
    /// Switch it off.
    Off(Option<&'a str>),
    /// What brought it into the monitor.
    Stats(Option<&'a str>),
    /// Its shadow page tables.
    Tables(Option<&'a str>),
    /// Switch the machine off.
    Quit,
}

/// What was typed is no command.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoCommand<'a> {
    /// Its first word is none.
    #[error("{0}: no such command; `help` lists them")]
    Unknown(&'a str),
    /// It needs a guest.
    #[error("{0}: which guest? `list` names them")]
    Which(&'a str),
    /// There is more than it needs.
    #[error("{0}: one word too many")]
    Surplus(&'a str),
}

/// What `help` says.
pub struct Help;

impl fmt::Display for Help {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Ctrl-A, then")?;
        for (key, _, what) in KEYS {
            writeln!(f, "  {}      {what}", char::from(*key))?;
        }
        f.write_str(
            "  0 to 9 bring that guest to the front
  n      the next guest
  Ctrl-A send Ctrl-A to the guest
  :      type a command:
    list | all | switch GUEST | pause [GUEST] | resume [GUEST] | reset [GUEST] | off [GUEST]
    stats [GUEST] | tables [GUEST] | help | quit
",
        )
    }
}

impl<'a> Command<'a> {
    /// Reads a line.
    pub fn parse(line: &'a str) -> Result<Self, NoCommand<'a>> {
        let mut words = line.split_ascii_whitespace();
        let name = words.next().unwrap_or("help");
        let guest = words.next();
        if words.next().is_some() {
            return Err(NoCommand::Surplus(name));
        }
        let alone = |command| match guest {
            None => Ok(command),
            Some(_) => Err(NoCommand::Surplus(name)),
        };
        match name {
            "help" => alone(Self::Help),
            "list" => alone(Self::List),
            "all" => alone(Self::All),
            "quit" => alone(Self::Quit),
            "switch" => guest.map(Self::Switch).ok_or(NoCommand::Which(name)),
            "pause" => Ok(Self::Pause(guest)),
            "resume" => Ok(Self::Resume(guest)),
            "reset" => Ok(Self::Reset(guest)),
            "off" => Ok(Self::Off(guest)),
            "stats" => Ok(Self::Stats(guest)),
            "tables" => Ok(Self::Tables(guest)),
            other => Err(NoCommand::Unknown(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read() {
        assert_eq!(Command::parse("  list "), Ok(Command::List));
        assert_eq!(Command::parse(""), Ok(Command::Help));
        assert_eq!(Command::parse("pause"), Ok(Command::Pause(None)));
        assert_eq!(Command::parse("off vm1"), Ok(Command::Off(Some("vm1"))));
        assert_eq!(Command::parse("switch 2"), Ok(Command::Switch("2")));
    }

    #[test]
    fn errors_say_what_to_do() {
        let said = |line| Command::parse(line).unwrap_err().to_string();
        assert_eq!(said("stop it"), "stop: no such command; `help` lists them");
        assert_eq!(said("switch"), "switch: which guest? `list` names them");
        assert_eq!(said("list 1"), "list: one word too many");
        assert_eq!(said("pause a b"), "pause: one word too many");
    }

    #[test]
    fn every_key_is_in_the_help() {
        let help = Help.to_string();
        for (key, _, what) in KEYS {
            assert!(help.contains(what), "{}", char::from(*key));
        }
    }
}
