//! The monitor prompt's language: how an operator writes an action.

use clap::ValueEnum;

use super::Word;
use super::action::{Action, MOST};
use crate::args::EngineKind;

/// A line of the prompt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Line {
    /// Something to do.
    Action(Action),
    /// What there is to ask.
    Help,
    /// Back to the guest's console.
    Console,
}

/// What `help` says.
pub const HELP: &str = "\
status              what the machine is and whether it runs
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
stop                ask the guest to power off
quit                end the run at once
c, or an empty line back to the guest's console";

impl Line {
    /// Reads a line.
    pub fn parse(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some((&name, arguments)) = words.split_first() else {
            return Ok(Self::Console);
        };
        let number = |index: usize| {
            arguments
                .get(index)
                .map(|text| parse_number(text))
                .transpose()
        };
        let address = |index| {
            number(index)?
                .map(Word)
                .ok_or_else(|| format!("{name} needs an address; see help"))
        };
        let hart = |index| number(index).map(|n| n.unwrap_or(0) as usize);
        let count = |index| number(index).map(|n| n.unwrap_or(8).clamp(1, MOST));
        let (action, most) = match name {
            "help" | "h" | "?" => return Ok(Self::Help),
            "c" | "console" => return Ok(Self::Console),
            "status" => (Action::Status {}, 0),
            "stats" => (Action::Stats {}, 0),
            "harts" => (Action::Harts {}, 0),
            "regs" => (Action::Registers { hart: hart(0)? }, 1),
            "x" => {
                let (hart, address, count) = (hart(2)?, address(0)?, count(1)?);
                (
                    Action::Memory {
                        hart,
                        address,
                        count,
                    },
                    3,
                )
            }
            "disas" => {
                let (hart, address, count) = (hart(2)?, number(0)?.map(Word), count(1)?);
                (
                    Action::Disassemble {
                        hart,
                        address,
                        count,
                    },
                    3,
                )
            }
            "host" => {
                let (hart, address) = (hart(1)?, number(0)?.map(Word));
                (Action::HostCode { hart, address }, 2)
            }
            "engine" => {
                let engine = arguments
                    .first()
                    .map(|name| parse_engine(name))
                    .transpose()?;
                (Action::Engine { engine }, 1)
            }
            "walk" => {
                let (hart, address) = (hart(1)?, address(0)?);
                (Action::Walk { hart, address }, 2)
            }
            "save" => {
                let directory = arguments.first().map(Into::into);
                (Action::Save { directory }, 1)
            }
            "pause" => (Action::Pause {}, 0),
            "resume" => (Action::Resume {}, 0),
            "reset" => (Action::Reset {}, 0),
            "stop" => (Action::Stop { force: false }, 0),
            "quit" | "q" => (Action::Stop { force: true }, 0),
            other => return Err(format!("there is no command '{other}'; try help")),
        };
        if arguments.len() > most {
            return Err(format!("too many words after {name}; try help"));
        }
        Ok(Self::Action(action))
    }
}

fn parse_engine(name: &str) -> Result<EngineKind, String> {
    EngineKind::from_str(name, false)
        .map_err(|_| format!("there is no engine '{name}'; it is interpret or translate"))
}

fn parse_number(text: &str) -> Result<u64, String> {
    Word::parse(text)
        .map(|word| word.0)
        .ok_or_else(|| format!("'{text}' is not a number; write 123 or 0x7b"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood() {
        let memory = |hart, address, count| Action::Memory {
            hart,
            address: Word(address),
            count,
        };
        let host = |hart, address: Option<u64>| Action::HostCode {
            hart,
            address: address.map(Word),
        };
        for (line, action) in [
            ("  stats ", Action::Stats {}),
            ("regs", Action::Registers { hart: 0 }),
            ("regs 3", Action::Registers { hart: 3 }),
            ("x 0x80000000", memory(0, 0x8000_0000, 8)),
            ("x 16 9999 1", memory(1, 16, MOST)),
            (
                "disas",
                Action::Disassemble {
                    hart: 0,
                    address: None,
                    count: 8,
                },
            ),
            (
                "save /tmp/x",
                Action::Save {
                    directory: Some("/tmp/x".into()),
                },
            ),
            ("host", host(0, None)),
            ("host 0x80200000 1", host(1, Some(0x8020_0000))),
            ("engine", Action::Engine { engine: None }),
            (
                "engine translate",
                Action::Engine {
                    engine: Some(EngineKind::Translate),
                },
            ),
            ("stop", Action::Stop { force: false }),
            ("q", Action::Stop { force: true }),
        ] {
            assert_eq!(Line::parse(line), Ok(Line::Action(action)), "{line}");
        }
        assert_eq!(Line::parse(""), Ok(Line::Console));
        assert_eq!(Line::parse("?"), Ok(Line::Help));
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
            let error = Line::parse(line).unwrap_err();
            assert!(!error.contains('\n'));
        }
    }
}
