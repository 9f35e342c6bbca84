//! Record and replay: a deterministic machine runs the same way again if what comes from outside
//! comes at the same moments. That is written down, and given back.

mod fingerprint;
mod origin;
mod tape;

use std::cmp::Ordering;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::config::VmConfig;
use crate::exit::{Failure, Outcome};
use crate::run::Event;
use crate::runner::{Seat, Vm, sit};
use origin::Origin;
use tape::{Entry, Fingerprint, Tape};

pub use tape::TapeError;

/// How many rounds there are between two checks.
const CHECK_EVERY: u64 = 4096;

/// What a deterministic machine hears from outside.
#[derive(Default)]
pub struct Inputs {
    tape: Mutex<Tape>,
    /// SysRq keys that wait for the end of the round.
    breaks: Mutex<Vec<u8>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes `config` describe the machine that was recorded in this file.
pub fn adopt(config: &mut VmConfig, path: &Path) -> Result<Inputs, Failure> {
    let (origin, tape) = Tape::open(path).map_err(Failure::monitor)?;
    origin.adopt(config)?;
    Ok(Inputs {
        tape: Mutex::new(tape),
        breaks: Mutex::default(),
    })
}

/// Inputs that are written to this file.
pub fn record(config: &VmConfig, path: &Path) -> Result<Inputs, Failure> {
    let origin = Origin::of(config)?;
    let tape = Tape::record(path, &origin).map_err(|error| {
        Failure::monitor(format_args!(
            "cannot write the recording {}: {error}",
            path.display()
        ))
    })?;
    Ok(Inputs {
        tape: Mutex::new(tape),
        breaks: Mutex::default(),
    })
}

impl Inputs {
    fn tape(&self) -> MutexGuard<'_, Tape> {
        lock(&self.tape)
    }
    /// Whether another run is replayed.
    pub fn is_replay(&self) -> bool {
        self.tape().is_replay()
    }
    /// Whether they are written to a file, or come from one.
    pub fn is_on_file(&self) -> bool {
        let tape = self.tape();
        tape.is_recorded() || tape.is_replay()
    }
    /// A break and a SysRq key are to reach the serial port.
    pub fn send_break_and(&self, key: u8) {
        lock(&self.breaks).push(key);
    }
    /// Whether the machine, or the one that was recorded, has been beyond this round.
    pub fn knows_more(&self, round: u64) -> bool {
        self.tape().knows(round + 1)
    }
    /// When the harts, all waiting in this round, were woken before their next timer.
    pub fn woken(&self, round: u64) -> Option<u64> {
        let mut tape = self.tape();
        let Some(Entry::Woken { ticks, .. }) = tape.due(round) else {
            return None;
        };
        let ticks = *ticks;
        tape.pass();
        Some(ticks)
    }
    /// They are woken now.
    pub fn wake(&self, round: u64, ticks: u64) {
        self.tape().add(Entry::Woken { round, ticks });
    }
    /// The place on the tape.
    pub fn place(&self) -> usize {
        self.tape().place()
    }
    /// The machine is taken back to where this was the place.
    pub fn rewind(&self, place: usize) {
        self.tape().rewind(place);
    }
    /// Whether something waits to come in.
    pub fn wait(&self, vm: &Vm) -> bool {
        vm.machine.console.has_typed() || !lock(&self.breaks).is_empty()
    }

    /// The end of a round: what came in then comes in again, or what waits outside comes in.
    pub fn take(&self, vm: &Vm, round: u64, seats: &[MutexGuard<'_, Seat>]) {
        let mut tape = self.tape();
        while let Some(entry) = tape.due(round) {
            match entry {
                Entry::Check { state, .. } => {
                    let found = fingerprint::of_harts(vm, seats);
                    if found != *state {
                        let why = differs(round, state, &found);
                        vm.tell(Event::Diverged(why));
                        return;
                    }
                }
                Entry::Woken { .. } | Entry::End { .. } => break,
                input => give(vm, input),
            }
            tape.pass();
        }
        if tape.knows(round) || tape.is_replay() {
            return;
        }
        let bytes = vm.machine.console.take_typed();
        let keys = (!bytes.is_empty()).then_some(Entry::Keys { round, bytes });
        let breaks = std::mem::take(&mut *lock(&self.breaks));
        let breaks = breaks.into_iter().map(|key| Entry::Break { round, key });
        for input in keys.into_iter().chain(breaks) {
            give(vm, &input);
            tape.add(input);
        }
        if round % CHECK_EVERY == CHECK_EVERY - 1 {
            let state = fingerprint::of_harts(vm, seats);
            tape.add(Entry::Check { round, state });
        }
        tape.note_round(round);
    }

    /// Whether the replayed run was ended from outside before this turn; or breaks off.
    pub fn ends_before(&self, round: u64, turns: usize) -> bool {
        let tape = self.tape();
        if !tape.is_replay() {
            return false;
        }
        match tape.ending() {
            Some(Entry::End {
                round: last,
                turns: over,
                ..
            }) => (round, turns as u64) >= (*last, *over),
            _ => !tape.knows(round),
        }
    }

    /// The run is over, and its harts stand still. A recording is completed; a replay is compared
    /// with what was recorded.
    pub fn finish(&self, vm: &Vm, outcome: &Outcome) -> Result<(), Failure> {
        let mut tape = self.tape();
        let schedule = vm.schedule();
        let (round, turns) = (schedule.round, schedule.turns() as u64);
        let seats: Vec<_> = vm.seats.iter().map(sit).collect();
        let whole = !seats.iter().any(|seat| seat.watch.is_in_turn());
        let state = || whole.then(|| fingerprint::of_machine(vm, &seats));
        if tape.is_recorded() {
            let (state, how) = (state(), outcome.to_string());
            tape.add(Entry::End {
                round,
                turns,
                state,
                how,
            });
            return match tape.take_error() {
                None => Ok(()),
                Some(error) => Err(Failure::monitor(format_args!(
                    "the recording is not complete: {error}"
                ))),
            };
        }
        let Some(Entry::End {
            round: last,
            turns: over,
            state: recorded,
            how,
        }) = tape.ending()
        else {
            return Ok(());
        };
        let how = how.replace(char::is_control, "?");
        match (round, turns).cmp(&(*last, *over)) {
            Ordering::Less if !is_by_itself(outcome) => Ok(()),
            Ordering::Less | Ordering::Greater => Err(Failure::monitor(format_args!(
                "the replay differs from the recording: it ended in round {round}, and the recording in round {last}: {how}"
            ))),
            Ordering::Equal => {
                let found = state();
                if let (Some(recorded), Some(found)) = (recorded, &found)
                    && recorded != found
                {
                    return Err(Failure::monitor(differs(round, recorded, found)));
                }
                eprintln!(
                    "ringer: the replay ends as the recording did, after {} instructions: {}",
                    crate::stats::grouped(fingerprint::of_harts(vm, &seats).instructions),
                    how
                );
                Ok(())
            }
        }
    }
}

/// Whether the guest has brought this about, and not the operator.
fn is_by_itself(outcome: &Outcome) -> bool {
    !matches!(
        outcome,
        Outcome::Stopped(_) | Outcome::StayedOn { .. } | Outcome::TimedOut | Outcome::Saved(_)
    )
}

/// Something comes in.
fn give(vm: &Vm, input: &Entry) {
    match input {
        Entry::Keys { bytes, .. } => vm.machine.console.admit(bytes),
        Entry::Break { key, .. } => vm.machine.board.uart().send_break_and(*key),
        Entry::Woken { .. } | Entry::Check { .. } | Entry::End { .. } => {}
    }
}

fn differs(round: u64, recorded: &Fingerprint, found: &Fingerprint) -> String {
    format!(
        "the replay differs from the recording: at the end of round {round} the harts have executed {} instructions, and {} then; the last check before was {CHECK_EVERY} rounds earlier at most",
        found.instructions, recorded.instructions
    )
}
