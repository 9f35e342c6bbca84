//! Hart state management (SBI 2.0, 9): starting, stopping and suspending harts, and what the
//! SBI knows of each.

use core::hint;
use core::sync::atomic::{
    AtomicBool, AtomicU32,
    Ordering::{Relaxed, SeqCst},
    fence,
};

use ringer_hart::hart::Effects;
use ringer_hart::{Bus, GuestPhys};
use ringer_isa::csr::mstatus;
use sbi_spec::binary::Error;
use sbi_spec::hsm::{
    HART_GET_STATUS, HART_START, HART_STOP, HART_SUSPEND, hart_state, suspend_type,
};

use super::{Answer, Call, DONE, Reply, wake};
use crate::lock::Lock;

/// The state of a hart.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, minicbor::Encode, minicbor::Decode)]
pub(super) enum State {
    /// Does not run, and can be started.
    #[default]
    #[n(0)]
    Stopped,
    /// Is to start, and has not yet.
    #[n(1)]
    StartPending {
        /// Where.
        #[n(0)]
        entry: u64,
        /// With this in `a1`.
        #[n(1)]
        opaque: u64,
    },
    /// Runs.
    #[n(2)]
    Started,
    /// Waits for an interrupt, as it has asked for.
    #[n(3)]
    Suspended,
}

impl State {
    fn number(self) -> usize {
        match self {
            State::Stopped => hart_state::STOPPED,
            State::StartPending { .. } => hart_state::START_PENDING,
            State::Started => hart_state::STARTED,
            State::Suspended => hart_state::SUSPENDED,
        }
    }
}

/// What the SBI knows of one hart.
#[derive(Default)]
pub(super) struct Control {
    state: Lock<State>,
    /// Inside [`Control::while_running`].
    running: AtomicBool,
    /// The performance counters in use. Only the hart itself changes them.
    counters: AtomicU32,
}

impl Default for Lock<State> {
    fn default() -> Self {
        Lock::new(State::default())
    }
}

impl Control {
    pub(super) fn save(&self) -> (State, u32) {
        (*self.state.lock(), self.counters.load(Relaxed))
    }
    pub(super) fn restore(&self, state: State, counters: u32) {
        *self.state.lock() = state;
        self.counters.store(counters, Relaxed);
    }
    pub(super) fn is_started(&self) -> bool {
        matches!(*self.state.lock(), State::Started | State::Suspended)
    }
    /// The entry and the value for `a1` of a start that was asked for; the hart has started.
    pub(super) fn take_start(&self) -> Option<(u64, u64)> {
        let mut state = self.state.lock();
        let State::StartPending { entry, opaque } = *state else {
            return None;
        };
        *state = State::Started;
        self.counters.store(0, Relaxed);
        Some((entry, opaque))
    }
    pub(super) fn counters(&self) -> u32 {
        self.counters.load(Relaxed)
    }
    pub(super) fn set_counters(&self, counters: u32) {
        self.counters.store(counters, Relaxed);
    }

    pub(super) fn while_running<T>(&self, run: impl FnOnce() -> T) -> T {
        {
            let mut state = self.state.lock();
            if *state == State::Suspended {
                *state = State::Started;
            }
        }
        self.running.store(true, SeqCst);
        // Either the hart sees a request made before this, at the start of its run, or the
        // requester sees that it runs, and waits.
        fence(SeqCst);
        let result = run();
        self.running.store(false, SeqCst);
        result
    }
    /// Waits until `done`, or until the hart is not in the middle of running: then it looks at
    /// its requests before it executes anything.
    pub(super) fn wait_for(&self, done: impl Fn() -> bool) {
        fence(SeqCst);
        while self.running.load(SeqCst) && !done() {
            hint::spin_loop();
            #[cfg(feature = "std")]
            std::thread::yield_now();
        }
    }
}

pub(super) fn answer(call: Call<'_>) -> Reply {
    let [first, second, third, ..] = call.args;
    match call.function as usize {
        HART_START => start(&call, first, second, third),
        HART_STOP => stop(&call),
        HART_GET_STATUS => {
            let state = *control(&call, first)?.state.lock();
            Ok(Answer::Value(state.number() as u64))
        }
        // The type is a 32-bit number, in a register.
        HART_SUSPEND => match u32::try_from(first) {
            Ok(kind) => suspend(call, kind, second, third),
            Err(_) => Err(Error::InvalidParam),
        },
        _ => Err(Error::NotSupported),
    }
}

fn control<'a>(call: &Call<'a>, hart: u64) -> Result<&'a Control, Error<u64>> {
    let sbi = call.sbi;
    usize::try_from(hart)
        .ok()
        .and_then(|id| sbi.harts.get(id))
        .ok_or(Error::InvalidParam)
}

/// Whether a hart can begin to execute at `entry`.
fn executable(call: &Call<'_>, entry: u64) -> bool {
    entry & 1 == 0 && call.board.ram().offset(GuestPhys(entry), 2).is_some()
}

fn start(call: &Call<'_>, hart: u64, entry: u64, opaque: u64) -> Reply {
    let control = control(call, hart)?;
    if !executable(call, entry) {
        return Err(Error::InvalidAddress);
    }
    {
        // Of several harts that start the same one, the first has it.
        let mut state = control.state.lock();
        if *state != State::Stopped {
            return Err(Error::AlreadyAvailable);
        }
        *state = State::StartPending { entry, opaque };
    }
    wake(call.board, hart as usize);
    DONE
}

fn stop(call: &Call<'_>) -> Reply {
    let control = control(call, call.hart.id as u64)?;
    *control.state.lock() = State::Stopped;
    Ok(Answer::Stop)
}

fn suspend(call: Call<'_>, kind: u32, resume: u64, opaque: u64) -> Reply {
    let control = control(&call, call.hart.id as u64)?;
    match kind {
        suspend_type::RETENTIVE => {
            call.hart.x[10] = 0;
            call.hart.x[11] = 0;
            call.hart.return_from_call();
        }
        // All that a hart loses in this sleep is what it must set up anew when it resumes
        // (table 10): it stands at its entry before it falls asleep.
        suspend_type::NON_RETENTIVE => {
            if !executable(&call, resume) {
                return Err(Error::InvalidAddress);
            }
            let hart = call.hart;
            hart.return_from_call();
            hart.pc = resume;
            hart.x[10] = hart.id as u64;
            hart.x[11] = opaque;
            hart.csrs.satp = 0;
            hart.csrs.mstatus &= !mstatus::SIE;
            hart.effects |= Effects::CONTEXT | Effects::INTERRUPTS;
        }
        // Further types are for platforms that have deeper sleeps; the rest is reserved.
        0x1000_0000..=0x7fff_ffff | 0x9000_0000..=0xffff_ffff => return Err(Error::NotSupported),
        _ => return Err(Error::InvalidParam),
    }
    *control.state.lock() = State::Suspended;
    Ok(Answer::Wait)
}
