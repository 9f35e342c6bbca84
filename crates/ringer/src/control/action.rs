//! What can be asked of a running machine. This is the only list: the monitor prompt parses into
//! it, JSON on the control socket deserialises into it, and the OpenAPI document is made from it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Word;
use crate::args::EngineKind;

/// The most words or instructions shown at once.
pub const MOST: u64 = 512;

/// One action. In JSON an object whose field `action` names it, beside its other fields:
/// `{"action": "registers", "hart": 1}`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// What the machine is and whether it runs. Does not stop it for the look.
    Status {},
    /// Counters.
    Stats {},
    /// Where every hart is.
    Harts {},
    /// One hart's registers.
    Registers {
        /// The hart.
        #[serde(default)]
        hart: usize,
    },
    /// Memory at a virtual address, as words of 8 bytes.
    Memory {
        /// Whose address space.
        #[serde(default)]
        hart: usize,
        /// Where.
        address: Word,
        /// How many words.
        #[serde(default = "a_few")]
        count: u64,
    },
    /// Memory at a virtual address, as instructions.
    Disassemble {
        /// Whose address space.
        #[serde(default)]
        hart: usize,
        /// Where; the hart's program counter unless given.
        #[serde(default)]
        address: Option<Word>,
        /// How many instructions.
        #[serde(default = "a_few")]
        count: u64,
    },
    /// The code that the translator made from a block.
    HostCode {
        /// Whose address space.
        #[serde(default)]
        hart: usize,
        /// Where; the hart's program counter unless given.
        #[serde(default)]
        address: Option<Word>,
    },
    /// How a virtual address is translated for a load, step by step.
    Walk {
        /// Whose address space.
        #[serde(default)]
        hart: usize,
        /// Which.
        address: Word,
    },
    /// Say what executes the guest's instructions, or go on with another engine.
    Engine {
        /// The one to go on with.
        #[serde(default)]
        engine: Option<EngineKind>,
    },
    /// Save the machine; it runs on.
    Save {
        /// Where; what `--save` says unless given.
        #[serde(default)]
        #[schema(value_type = Option<String>)]
        directory: Option<PathBuf>,
    },
    /// Stop the harts and the machine's time.
    Pause {},
    /// Let it run.
    Resume {},
    /// Start the guest again.
    Reset {},
    /// End the machine: ask the guest to power off, or with `force` end it at once. Answered when
    /// the machine has ended; refused if the guest does not power off, and then it runs on.
    Stop {
        /// Do not ask the guest.
        #[serde(default)]
        force: bool,
    },
    /// A line of the monitor prompt, which is answered as if it was the action that it stands for.
    Prompt {
        /// As it would be typed.
        line: String,
    },
}

/// How much is shown unless somebody says otherwise.
fn a_few() -> u64 {
    8
}
