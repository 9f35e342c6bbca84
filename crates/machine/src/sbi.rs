//! The monitor's own SBI (RISC-V Supervisor Binary Interface 2.0), for guests whose kernel is
//! started without firmware. An `ecall` from S-mode ends the run of a hart with [`Exit::Sbi`];
//! [`Sbi::call`] answers it.
//!
//! Numbers come from `sbi-spec`. The `rustsbi` crate was not taken: it answers for the physical
//! hart it runs on and hands memory over as host pointers, while our harts are data.
//!
//! [`Exit::Sbi`]: ringer_hart::Exit::Sbi

mod base;
mod console;
mod fence;
mod ipi;
mod legacy;
mod lifecycle;
mod performance;
mod reset;
mod target;
mod timer;

use alloc::string::ToString;
use alloc::vec::Vec;

use ringer_hart::bus::{irq, request};
use ringer_hart::persist::{Persist, PersistError, decode, encode};
use ringer_hart::{Bus, GuestPhys, Hart, HartId};
use sbi_spec::binary::{Error, SbiRet};

use crate::board::Board;
use lifecycle::Control;

/// What a call yields: a value for `a1`, a change in how the hart runs, or an error code.
type Reply = Result<Answer, Error<u64>>;

enum Answer {
    /// The call succeeded; `a1` holds this.
    Value(u64),
    /// The hart goes on with its registers as they are now, once an interrupt wakes it.
    Wait,
    /// The hart has stopped.
    Stop,
    /// The machine is going down; the call does not return.
    Down,
}

const DONE: Reply = Ok(Answer::Value(0));

/// What whoever runs the hart does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Go on running it.
    Run,
    /// It sleeps until an interrupt, as after [`ringer_hart::Exit::Wait`].
    Wait,
    /// It has stopped: do not run it before [`Sbi::start`] says so.
    Stopped,
    /// The machine is going down: [`Board::take_shutdown`].
    Down,
}

/// A call, with all that an answer may touch.
struct Call<'a> {
    sbi: &'a Sbi,
    board: &'a Board,
    hart: &'a mut Hart,
    function: u64,
    /// `a0` to `a5`.
    args: [u64; 6],
}

/// The SBI of one machine.
pub struct Sbi {
    harts: Vec<Control>,
}

#[derive(minicbor::Encode, minicbor::Decode)]
struct State {
    #[n(0)]
    harts: Vec<lifecycle::State>,
    /// For each hart the counters in use, a bit for each.
    #[n(1)]
    counters: Vec<u32>,
}

/// An SBI extension, as `probe_extension` and calls find it.
struct Extension {
    id: u64,
    answer: fn(Call<'_>) -> Reply,
}

/// What is there.
const EXTENSIONS: [Extension; 8] = [
    Extension {
        id: sbi_spec::base::EID_BASE as u64,
        answer: base::answer,
    },
    Extension {
        id: sbi_spec::time::EID_TIME as u64,
        answer: timer::answer,
    },
    Extension {
        id: sbi_spec::spi::EID_SPI as u64,
        answer: ipi::answer,
    },
    Extension {
        id: sbi_spec::rfnc::EID_RFNC as u64,
        answer: fence::answer,
    },
    Extension {
        id: sbi_spec::hsm::EID_HSM as u64,
        answer: lifecycle::answer,
    },
    Extension {
        id: sbi_spec::srst::EID_SRST as u64,
        answer: reset::answer,
    },
    Extension {
        id: sbi_spec::dbcn::EID_DBCN as u64,
        answer: console::answer,
    },
    Extension {
        id: sbi_spec::pmu::EID_PMU as u64,
        answer: performance::answer,
    },
];

fn extension(id: u64) -> Option<&'static Extension> {
    EXTENSIONS.iter().find(|extension| extension.id == id)
}

impl Sbi {
    /// The SBI of a machine with `harts` harts, all of them stopped.
    pub fn new(harts: usize) -> Self {
        Self {
            harts: (0..harts).map(|_| Control::default()).collect(),
        }
    }

    /// Back to all harts stopped.
    pub fn reset(&self) {
        for control in &self.harts {
            control.restore(lifecycle::State::Stopped, 0);
        }
    }

    /// Lets a stopped hart be started at `entry` with `opaque` in `a1`: the boot hart's start.
    pub fn boot(&self, hart: HartId, entry: GuestPhys, opaque: u64) {
        if let Some(control) = self.harts.get(hart) {
            control.restore(
                lifecycle::State::StartPending {
                    entry: entry.0,
                    opaque,
                },
                0,
            );
        }
    }

    /// For a stopped hart: if someone has started it, puts it at its entry. True if it is to
    /// run. Whoever starts a hart asks it to yield ([`request::YIELD`]), so a sleeping thread
    /// need only look here when it is woken.
    pub fn start(&self, hart: &mut Hart, board: &Board) -> bool {
        let Some(control) = self.harts.get(hart.id) else {
            return false;
        };
        if let Some((entry, opaque)) = control.take_start() {
            board.lines(hart.id).lower(irq::SSI);
            hart.start_supervisor(entry, opaque);
        }
        control.is_started()
    }

    /// Runs a hart. Other harts' remote fences wait for those that run in here, until they have
    /// taken the request; so an engine acts on what it takes before it executes anything.
    pub fn while_running<T>(&self, hart: HartId, run: impl FnOnce() -> T) -> T {
        match self.harts.get(hart) {
            Some(control) => control.while_running(run),
            None => run(),
        }
    }

    /// Answers the call that `hart` stands at.
    pub fn call(&self, hart: &mut Hart, board: &Board) -> Outcome {
        let x = &hart.x;
        let (function, id) = (x[16], x[17]);
        let args = [x[10], x[11], x[12], x[13], x[14], x[15]];
        let call = Call {
            sbi: self,
            board,
            hart,
            function,
            args,
        };
        if id <= legacy::LAST {
            return legacy::call(call, id);
        }
        let reply = match extension(id) {
            Some(extension) => (extension.answer)(call),
            None => Err(Error::NotSupported),
        };
        let returned = match reply {
            Ok(Answer::Value(value)) => SbiRet::success(value),
            Ok(Answer::Wait) => return Outcome::Wait,
            Ok(Answer::Stop) => return Outcome::Stopped,
            Ok(Answer::Down) => return Outcome::Down,
            Err(error) => SbiRet::from(error),
        };
        hart.x[10] = returned.error;
        hart.x[11] = returned.value;
        hart.return_from_call();
        Outcome::Run
    }
}

impl Persist for Sbi {
    fn save(&self) -> Vec<u8> {
        let (harts, counters) = self.harts.iter().map(Control::save).unzip();
        encode(&State { harts, counters })
    }
    fn restore(&self, bytes: &[u8]) -> Result<(), PersistError> {
        let part = "the SBI";
        let saved: State = decode(part, bytes)?;
        if saved.harts.len() != self.harts.len() || saved.counters.len() != self.harts.len() {
            let reason = "another number of harts".to_string();
            return Err(PersistError::Mismatch { part, reason });
        }
        let states = saved.harts.into_iter().zip(saved.counters);
        for (control, (state, counters)) in self.harts.iter().zip(states) {
            control.restore(state, counters);
        }
        Ok(())
    }
}

/// Asks whoever runs `hart` to look here.
fn wake(board: &Board, hart: HartId) {
    if let Some(lines) = board.all_lines().get(hart) {
        lines.request(request::YIELD);
    }
}

#[cfg(test)]
mod tests;
