//! What a machine answers to actions: data for programs, and the same as text for people.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Word;
use crate::args::EngineKind;
use crate::exit::Outcome;
use crate::runner::Activity;
use crate::stats::{Report, grouped};

/// Why something was not done, in one line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{error}")]
pub struct Refused {
    /// The reason, and what to do.
    pub error: String,
}

impl Refused {
    /// For this reason.
    pub fn because(why: impl fmt::Display) -> Self {
        Self {
            error: why.to_string(),
        }
    }
}

/// The answer to an action. In JSON an object whose field `answer` says what it is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// It was done; there is nothing to say but this.
    Done {
        /// In words.
        text: String,
    },
    /// What the machine is and whether it runs.
    Status(Status),
    /// Counters.
    Stats(Report),
    /// Where every hart is.
    Harts {
        /// By number.
        harts: Vec<HartState>,
    },
    /// One hart's registers.
    Registers(Registers),
    /// Words of memory.
    Memory {
        /// In order.
        words: Vec<MemoryWord>,
    },
    /// Instructions, of the guest or the host.
    Listing {
        /// One for each instruction or remark.
        lines: Vec<String>,
    },
    /// How an address is translated.
    Walk(Walk),
    /// What executes the guest's instructions.
    Engine {
        /// Now.
        engine: EngineKind,
    },
    /// The machine has ended.
    Ended {
        /// How, in words.
        outcome: String,
        /// The exit status of its `ringer run`.
        status: u8,
    },
    /// The machine was saved.
    Saved {
        /// Where.
        #[schema(value_type = String)]
        directory: PathBuf,
    },
}

/// What a machine is and whether it runs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The machine's name.
    pub name: String,
    /// Ringer's process.
    pub pid: u32,
    /// What it was started from.
    pub guest: String,
    /// Whether it runs.
    pub state: RunState,
    /// The guest has said that it is ready (see `--ready`).
    pub ready: bool,
    /// How many harts it has.
    pub harts: usize,
    /// Bytes of RAM.
    pub memory: u64,
    /// What executes its instructions.
    pub engine: EngineKind,
    /// Seconds since it was started.
    pub seconds: f64,
    /// How often the guest was started again.
    pub resets: u64,
    /// Ports of this computer that lead to the guest's, as behind `--publish`.
    #[serde(default)]
    pub published: Vec<String>,
}

/// Whether a machine runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// It does.
    Running,
    /// The operator has stopped it, and its time.
    Paused,
    /// The guest was asked to power off.
    Stopping,
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopping => "stopping",
        })
    }
}

/// Where a hart is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct HartState {
    /// Its number.
    pub hart: usize,
    /// M, S or U.
    pub mode: String,
    /// Its program counter.
    pub pc: Word,
    /// Instructions it has retired.
    pub instructions: u64,
    /// What it does.
    pub activity: HartActivity,
}

/// What a hart does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HartActivity {
    /// It executes instructions.
    Running,
    /// It waits for an interrupt.
    Waiting,
    /// It was stopped, or never started.
    Stopped,
}

impl From<Activity> for HartActivity {
    fn from(activity: Activity) -> Self {
        match activity {
            Activity::Running => Self::Running,
            Activity::Waiting => Self::Waiting,
            Activity::Stopped => Self::Stopped,
        }
    }
}

impl fmt::Display for HartActivity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::Waiting => "waiting for an interrupt",
            Self::Stopped => "stopped",
        })
    }
}

/// One hart's registers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Registers {
    /// The hart.
    pub hart: usize,
    /// M, S or U.
    pub mode: String,
    /// Its program counter.
    pub pc: Word,
    /// The integer registers, x0 first, by their names in the calling convention.
    pub x: Vec<Register>,
    /// Control and status registers.
    pub csrs: Vec<Register>,
}

/// A register.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Register {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub value: Word,
}

/// A word of memory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct MemoryWord {
    /// Its virtual address.
    pub address: Word,
    /// What it holds; nothing if that is no readable RAM.
    pub value: Option<Word>,
}

/// How a virtual address is translated.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Walk {
    /// The page-table entries that were read, from the root.
    pub steps: Vec<WalkStep>,
    /// The physical address, if there is one.
    pub physical: Option<Word>,
    /// The size of the page; nothing if addresses are not translated.
    pub page_size: Option<u64>,
    /// The exception that a load would raise.
    pub exception: Option<String>,
}

/// A page-table entry on the way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct WalkStep {
    /// Its level; 0 is the last.
    pub level: u32,
    /// Where it is.
    pub entry_at: Word,
    /// What it holds.
    pub entry: Word,
}

impl Answer {
    /// The machine has ended like this.
    pub fn ended(outcome: &Outcome) -> Self {
        Self::Ended {
            outcome: outcome.to_string(),
            status: outcome.status(),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done { text } => f.write_str(text),
            Self::Status(status) => status.fmt(f),
            Self::Stats(stats) => stats.fmt(f),
            Self::Harts { harts } => harts.iter().try_for_each(|hart| writeln!(f, "{hart}")),
            Self::Registers(registers) => registers.fmt(f),
            Self::Memory { words } => show_memory(words, f),
            Self::Listing { lines } => lines.iter().try_for_each(|line| writeln!(f, "{line}")),
            Self::Walk(walk) => walk.fmt(f),
            Self::Engine { engine } => f.write_str(engine.name()),
            Self::Ended { outcome, .. } => f.write_str(outcome),
            Self::Saved { directory } => write!(
                f,
                "saved to {0}; resume with `ringer run --restore {0}`",
                directory.display()
            ),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ready = if self.ready { "ready" } else { "not ready yet" };
        writeln!(f, "{} (process {}): {}", self.name, self.pid, self.guest)?;
        writeln!(
            f,
            "{}, {ready}, for {:.1} s; {} resets",
            self.state, self.seconds, self.resets
        )?;
        writeln!(
            f,
            "{} harts, {} of RAM, engine {}",
            self.harts,
            crate::size::Size(self.memory),
            self.engine.name()
        )?;
        (self.published.iter()).try_for_each(|port| writeln!(f, "published {port}"))
    }
}

impl fmt::Display for HartState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "hart {}  {:<2} pc {}  {:>18} instructions  {}",
            self.hart,
            self.mode,
            self.pc,
            grouped(self.instructions),
            self.activity,
        )
    }
}

impl fmt::Display for Registers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "pc   {}  mode {}", self.pc, self.mode)?;
        for (index, Register { name, value }) in self.x.iter().enumerate() {
            let end = if index % 4 == 3 { "\n" } else { "  " };
            write!(f, "{name:<4} {value}{end}")?;
        }
        for Register { name, value } in &self.csrs {
            writeln!(f, "{name:<9} {value}")?;
        }
        Ok(())
    }
}

fn show_memory(words: &[MemoryWord], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for pair in words.chunks(2) {
        if let Some(first) = pair.first() {
            write!(f, "{}:", first.address)?;
        }
        for word in pair {
            match word.value {
                Some(value) => write!(f, "  {value}")?,
                None => write!(f, "  {:<18}", "not readable RAM")?,
            }
        }
        writeln!(f)?;
    }
    Ok(())
}

impl fmt::Display for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            let (at, entry) = (step.entry_at, step.entry);
            writeln!(f, "level {}: entry at {at} is {entry}", step.level)?;
        }
        match (self.physical, self.page_size, &self.exception) {
            (Some(at), Some(size), _) => {
                writeln!(f, "physical {at}, in a page of {}", crate::size::Size(size))
            }
            (Some(at), None, _) => writeln!(f, "not translated: physical {at}"),
            (None, _, Some(exception)) => writeln!(f, "{exception}"),
            (None, _, None) => Ok(()),
        }
    }
}
