//! The monitor prompt's language: what the operator can ask of a running machine.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::args::EngineKind;

/// One command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// What there is to ask.
    Help,
    /// Counters.
    Stats,
    /// Where every hart is.
    Harts,
    /// One hart's registers.
    Regs(usize),
    /// Memory as words: hart, address, how many.
    Examine(usize, u64, u64),
    /// Memory as instructions: hart, address (none for the pc), how many.
    Disassemble(usize, Option<u64>, u64),
    /// The code that the translator made from a block: hart, address (none for the pc).
    Host(usize, Option<u64>),
    /// Show the engine, or switch to another.
    Engine(Option<EngineKind>),
    /// The page-table walk of an address, step by step.
    Translate(usize, u64),
    /// Save the machine.
    Save(Option<PathBuf>),
    /// Stop the machine's time.
    Pause,
    /// Let it run.
    Resume,
    /// Start the guest again.
    Reset,
    /// End the run.
    Quit,
    /// Back to the guest's console.
    Console,
}

/// What `help` says.
pub const HELP: &str = "\
stats               counts of instructions, traps, TLB fills, device accesses, interrupts
harts               where every hart is and what it does
regs [HART]         a hart's registers
x ADDR [N] [HART]   N 8-byte words of memory at a virtual address
disas [ADDR] [N] [HART]
                    N instructions, at the program counter unless said otherwise
host [ADDR] [HART]  the translated block there: guest code, and the host code made from it
walk ADDR [HART]    how an address is translated, step by step
engine [interpret|translate]
                    show what executes the guest, or go on with the other
save [DIR]          save the machine; `ringer run --restore DIR` goes on with it
pause, resume       stop and start the machine and its time
reset               start the guest again
quit                end the run
c, or an empty line back to the guest's console";

/// The most words or instructions shown at once.
const MOST: u64 = 512;

impl Command {
    /// Reads a line.
    pub fn parse(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some((&name, arguments)) = words.split_first() else {
            return Ok(Self::Console);
        };
        let number = |index: usize, otherwise: Option<u64>| match arguments.get(index) {
            Some(text) => parse_number(text),
            None => otherwise.ok_or_else(|| format!("{name} needs an address; see help")),
        };
        let hart = |index| number(index, Some(0)).map(|n| n as usize);
        let count = |index| number(index, Some(8)).map(|n| n.clamp(1, MOST));
        let (command, most) = match name {
            "help" | "h" | "?" => (Self::Help, 0),
            "stats" => (Self::Stats, 0),
            "harts" => (Self::Harts, 0),
            "regs" => (Self::Regs(hart(0)?), 1),
            "x" => (Self::Examine(hart(2)?, number(0, None)?, count(1)?), 3),
            "disas" => {
                let address = arguments.first().map(|a| parse_number(a)).transpose()?;
                (Self::Disassemble(hart(2)?, address, count(1)?), 3)
            }
            "host" => {
                let address = arguments.first().map(|a| parse_number(a)).transpose()?;
                (Self::Host(hart(1)?, address), 2)
            }
            "engine" => {
                let kind = arguments
                    .first()
                    .map(|name| parse_engine(name))
                    .transpose()?;
                (Self::Engine(kind), 1)
            }
            "walk" => (Self::Translate(hart(1)?, number(0, None)?), 2),
            "save" => (Self::Save(arguments.first().map(PathBuf::from)), 1),
            "pause" => (Self::Pause, 0),
            "resume" => (Self::Resume, 0),
            "reset" => (Self::Reset, 0),
            "quit" | "q" => (Self::Quit, 0),
            "c" | "console" => (Self::Console, 0),
            other => return Err(format!("there is no command '{other}'; try help")),
        };
        if arguments.len() > most {
            return Err(format!("too many words after {name}; try help"));
        }
        Ok(command)
    }
}

fn parse_engine(name: &str) -> Result<EngineKind, String> {
    EngineKind::from_str(name, false)
        .map_err(|_| format!("there is no engine '{name}'; it is interpret or translate"))
}

fn parse_number(text: &str) -> Result<u64, String> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(&hex.replace('_', ""), 16),
        None => text.parse(),
    }
    .map_err(|_| format!("'{text}' is not a number; write 123 or 0x7b"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_understood() {
        for (line, command) in [
            ("", Command::Console),
            ("  stats ", Command::Stats),
            ("regs", Command::Regs(0)),
            ("regs 3", Command::Regs(3)),
            ("x 0x80000000", Command::Examine(0, 0x8000_0000, 8)),
            ("x 16 9999 1", Command::Examine(1, 16, MOST)),
            ("disas", Command::Disassemble(0, None, 8)),
            ("save /tmp/x", Command::Save(Some("/tmp/x".into()))),
            ("host", Command::Host(0, None)),
            ("host 0x80200000 1", Command::Host(1, Some(0x8020_0000))),
            ("engine", Command::Engine(None)),
            (
                "engine translate",
                Command::Engine(Some(EngineKind::Translate)),
            ),
            ("q", Command::Quit),
        ] {
            assert_eq!(Command::parse(line), Ok(command), "{line}");
        }
        for line in [
            "nonsense",
            "x",
            "x 0xzz",
            "regs -1",
            "pause now",
            "regs 1 2",
            "engine steam",
            "host 0x80200000 1 2",
        ] {
            let error = Command::parse(line).unwrap_err();
            assert!(!error.contains('\n'));
        }
    }
}
