//! What a hart does between two runs of its engine: whoever drives harts, a thread on Linux or
//! the scheduler on bare metal, asks here whether there is anything to run.

use ringer_hart::{Bus, Hart};

use crate::board::Board;
use crate::sbi::{Outcome, Sbi};

/// What a hart is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activity {
    /// Executing instructions.
    Running,
    /// Waiting for an interrupt.
    Waiting,
    /// Stopped: another hart's SBI call starts it.
    Stopped,
}

impl Activity {
    /// Whether there is something to run; ends a wait or a stop that is over.
    pub fn wake(&mut self, hart: &mut Hart, board: &Board, sbi: Option<&Sbi>) -> bool {
        let lines = board.lines(hart.id);
        match self {
            Self::Running => {}
            // Requests are taken by the engine; `wfi` may end for no reason.
            Self::Waiting if lines.has_requests() || hart.wakes(board) => *self = Self::Running,
            Self::Waiting => {}
            Self::Stopped => {
                lines.take_requests();
                if sbi.is_some_and(|sbi| sbi.start(hart, board)) {
                    *self = Self::Running;
                }
            }
        }
        *self == Self::Running
    }

    /// The time at which a timer ends what the hart does now, if it sleeps and one is set.
    pub fn alarm(self, hart: &Hart, board: &Board) -> Option<u64> {
        match self {
            Self::Stopped => None,
            _ => hart.next_timer(board),
        }
    }
}

impl From<Outcome> for Activity {
    /// What a hart does after an SBI call.
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Run | Outcome::Down => Self::Running,
            Outcome::Wait => Self::Waiting,
            Outcome::Stopped => Self::Stopped,
        }
    }
}
