//! The PLIC (RISC-V Platform-Level Interrupt Controller Specification 1.0.0): 95 level-triggered
//! sources, and for every hart one context for M-mode and one for S-mode, in this order.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use ringer_hart::bus::irq;
use ringer_hart::persist::{Persist, PersistError, decode, encode};
use ringer_hart::{BusFault, Lines, Width};

use crate::device::{Device, InterruptController};
use crate::lock::Lock;

/// One more than the highest source; source 0 means "none".
pub const SOURCES: usize = 96;
/// The highest priority; the lowest, 0, means "never".
const MAX_PRIORITY: u32 = 7;
const WORDS: usize = SOURCES / 32;

const PENDING: u64 = 0x1000;
const ENABLE: u64 = 0x2000;
const ENABLE_STRIDE: u64 = 0x80;
const CONTEXT: u64 = 0x20_0000;
const CONTEXT_STRIDE: u64 = 0x1000;

/// One bit for each source.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
struct Set([u32; WORDS]);

impl Set {
    fn contains(self, source: u32) -> bool {
        self.0
            .get(source as usize / 32)
            .is_some_and(|word| word >> (source % 32) & 1 != 0)
    }
    /// Puts the source in or takes it out; true if that changed anything.
    fn set(&mut self, source: u32, present: bool) -> bool {
        let Some(word) = self.0.get_mut(source as usize / 32) else {
            return false;
        };
        let before = *word;
        let bit = 1 << (source % 32);
        *word = if present { before | bit } else { before & !bit };
        *word != before
    }
    fn word(self, index: u64) -> u32 {
        usize::try_from(index)
            .ok()
            .and_then(|i| self.0.get(i))
            .map_or(0, |word| *word)
    }
    /// The sources in both sets, ascending.
    fn both(self, other: Self) -> impl Iterator<Item = u32> {
        (0..WORDS as u32).flat_map(move |index| {
            let mut word = self.word(u64::from(index)) & other.word(u64::from(index));
            core::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros())?;
                word &= word - 1;
                Some(index * 32 + bit)
            })
        })
    }
    fn overlaps(self, other: Self) -> bool {
        self.both(other).next().is_some()
    }
}

/// One target of interrupts: a hart in M-mode, or in S-mode.
#[derive(Clone, Default, minicbor::Encode, minicbor::Decode)]
struct Context {
    #[n(0)]
    enabled: Set,
    #[n(1)]
    threshold: u32,
}

#[derive(Clone, minicbor::Encode, minicbor::Decode)]
struct State {
    #[n(0)]
    priorities: Vec<u32>,
    /// The wires as they are.
    #[n(1)]
    levels: Set,
    /// Requests that the gateways have passed on and nobody has claimed.
    #[n(2)]
    pending: Set,
    /// Claimed and not completed: the gateway holds back further requests.
    #[n(3)]
    in_service: Set,
    #[n(4)]
    contexts: Vec<Context>,
}

impl State {
    fn new(contexts: usize) -> Self {
        Self {
            priorities: vec![0; SOURCES],
            levels: Set::default(),
            pending: Set::default(),
            in_service: Set::default(),
            contexts: vec![Context::default(); contexts],
        }
    }
    fn priority(&self, source: u32) -> u32 {
        self.priorities
            .get(source as usize)
            .map_or(0, |priority| *priority)
    }
    /// The pending and enabled source of the highest priority; of equal ones, the lowest.
    fn best(&self, context: &Context) -> Option<(u32, u32)> {
        let mut best = None;
        let mut best_priority = 0;
        for source in self.pending.both(context.enabled) {
            let priority = self.priority(source);
            if priority > best_priority {
                best = Some((source, priority));
                best_priority = priority;
            }
        }
        best
    }
    fn notifies(&self, context: &Context) -> bool {
        self.best(context)
            .is_some_and(|(_, priority)| priority > context.threshold)
    }
    fn claim(&mut self, context: usize) -> u32 {
        // The threshold holds back notifications only, not claims (PLIC 7).
        let best = self.contexts.get(context).and_then(|c| self.best(c));
        let Some((source, _)) = best else {
            return 0;
        };
        self.pending.set(source, false);
        self.in_service.set(source, true);
        source
    }
    fn complete(&mut self, context: usize, source: u32) {
        // Whether this context claimed it is not checked, but it must be enabled (PLIC 8).
        let enabled = (self.contexts.get(context)).is_some_and(|c| c.enabled.contains(source));
        if enabled && self.in_service.set(source, false) && self.levels.contains(source) {
            self.pending.set(source, true);
        }
    }
    /// Why this cannot be the state of a PLIC with `contexts` contexts.
    fn error(&self, contexts: usize) -> Option<PersistError> {
        let part = "plic";
        if self.contexts.len() != contexts {
            let reason = "another number of harts".to_string();
            return Some(PersistError::Mismatch { part, reason });
        }
        let sets = [self.levels, self.pending, self.in_service];
        let enabled = self.contexts.iter().map(|context| context.enabled);
        let reason = if self.priorities.len() != SOURCES || self.priority(0) != 0 {
            "another number of sources"
        } else if self.priorities.iter().any(|p| *p > MAX_PRIORITY)
            || (self.contexts.iter()).any(|c| c.threshold > MAX_PRIORITY)
        {
            "a priority out of range"
        } else if sets.into_iter().chain(enabled).any(|set| set.contains(0)) {
            "source 0 in use"
        } else if self.pending.overlaps(self.in_service) {
            "a source both pending and in service"
        } else {
            return None;
        };
        let reason = reason.to_string();
        Some(PersistError::Damaged { part, reason })
    }
}

enum Register {
    Priority(usize),
    Pending(u64),
    Enable(usize, usize),
    Threshold(usize),
    Claim(usize),
    Nothing,
}

fn register(offset: u64) -> Register {
    let index = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    match offset {
        0..PENDING => Register::Priority(index(offset / 4)),
        PENDING..ENABLE => Register::Pending((offset - PENDING) / 4),
        ENABLE..CONTEXT => Register::Enable(
            index((offset - ENABLE) / ENABLE_STRIDE),
            index((offset - ENABLE) % ENABLE_STRIDE / 4),
        ),
        _ => {
            let context = index((offset - CONTEXT) / CONTEXT_STRIDE);
            match (offset - CONTEXT) % CONTEXT_STRIDE {
                0 => Register::Threshold(context),
                4 => Register::Claim(context),
                _ => Register::Nothing,
            }
        }
    }
}

/// The PLIC.
pub struct Plic {
    lines: Arc<[Lines]>,
    state: Lock<State>,
}

impl Plic {
    /// The PLIC of the harts with these lines.
    pub fn new(lines: Arc<[Lines]>) -> Self {
        let state = Lock::new(State::new(2 * lines.len()));
        Self { lines, state }
    }
    /// Drives the wires into the harts as `state` demands.
    fn notify(&self, state: &State) {
        let pairs = state.contexts.chunks_exact(2);
        for (lines, contexts) in self.lines.iter().zip(pairs) {
            for (context, wire) in contexts.iter().zip([irq::MEI, irq::SEI]) {
                let notifies = state.notifies(context);
                if notifies != (lines.pending() & wire != 0) {
                    lines.set(wire, notifies);
                }
            }
        }
    }
}

impl InterruptController for Plic {
    fn set_level(&self, source: u32, level: bool) {
        if source == 0 {
            return;
        }
        let mut state = self.state.lock();
        // A gateway passes one request on, and none until that is completed; a request once
        // passed on stays even if the wire falls (PLIC 1.4, "Interrupt Gateways").
        if state.levels.set(source, level)
            && level
            && !state.in_service.contains(source)
            && state.pending.set(source, true)
        {
            self.notify(&state);
        }
    }
}

impl Device for Plic {
    fn name(&self) -> &str {
        "plic"
    }
    fn load(&self, offset: u64, width: Width) -> Result<u64, BusFault> {
        if width != Width::Word {
            return Err(BusFault);
        }
        let mut state = self.state.lock();
        let value = match register(offset) {
            Register::Priority(source) => state.priorities.get(source).copied(),
            Register::Pending(word) => Some(state.pending.word(word)),
            Register::Enable(context, word) => {
                (state.contexts.get(context)).map(|context| context.enabled.word(word as u64))
            }
            Register::Threshold(context) => {
                state.contexts.get(context).map(|context| context.threshold)
            }
            Register::Claim(context) => {
                let source = state.claim(context);
                if source != 0 {
                    self.notify(&state);
                }
                Some(source)
            }
            Register::Nothing => None,
        };
        Ok(u64::from(value.unwrap_or(0)))
    }
    fn store(&self, offset: u64, width: Width, value: u64) -> Result<(), BusFault> {
        if width != Width::Word {
            return Err(BusFault);
        }
        let value = value as u32;
        let mut state = self.state.lock();
        match register(offset) {
            Register::Priority(0) => {}
            Register::Priority(source) => {
                if let Some(priority) = state.priorities.get_mut(source) {
                    *priority = value & MAX_PRIORITY;
                }
            }
            Register::Enable(context, index) => {
                let word = (state.contexts.get_mut(context))
                    .and_then(|context| context.enabled.0.get_mut(index));
                if let Some(word) = word {
                    *word = if index == 0 { value & !1 } else { value };
                }
            }
            Register::Threshold(context) => {
                if let Some(context) = state.contexts.get_mut(context) {
                    context.threshold = value & MAX_PRIORITY;
                }
            }
            Register::Claim(context) => state.complete(context, value),
            Register::Pending(_) | Register::Nothing => {}
        }
        self.notify(&state);
        Ok(())
    }
    /// The wires keep their levels: the devices that drive them are reset on their own.
    fn reset(&self) {
        let mut state = self.state.lock();
        let levels = state.levels;
        *state = State {
            levels,
            pending: levels,
            ..State::new(2 * self.lines.len())
        };
        self.notify(&state);
    }
}

impl Persist for Plic {
    fn save(&self) -> Vec<u8> {
        encode(&*self.state.lock())
    }
    fn restore(&self, bytes: &[u8]) -> Result<(), PersistError> {
        let saved: State = decode("plic", bytes)?;
        if let Some(error) = saved.error(2 * self.lines.len()) {
            return Err(error);
        }
        let mut state = self.state.lock();
        *state = saved;
        self.notify(&state);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    fn plic(harts: usize) -> (Plic, Arc<[Lines]>) {
        let lines: Arc<[Lines]> = (0..harts).map(|_| Lines::new()).collect();
        (Plic::new(lines.clone()), lines)
    }
    fn read(plic: &Plic, offset: u64) -> u32 {
        plic.load(offset, Width::Word).unwrap() as u32
    }
    fn write(plic: &Plic, offset: u64, value: u32) {
        plic.store(offset, Width::Word, u64::from(value)).unwrap();
    }
    fn enable(context: u64, word: u64) -> u64 {
        ENABLE + context * ENABLE_STRIDE + 4 * word
    }
    fn threshold(context: u64) -> u64 {
        CONTEXT + context * CONTEXT_STRIDE
    }
    fn claim(context: u64) -> u64 {
        threshold(context) + 4
    }

    #[test]
    fn an_interrupt_from_wire_to_completion() {
        let (plic, lines) = plic(2);
        write(&plic, 4 * 10, 1);
        write(&plic, enable(3, 0), 1 << 10);
        plic.set_level(10, true);
        assert_eq!(lines[0].pending(), 0);
        assert_eq!(lines[1].pending(), irq::SEI);
        assert_eq!(read(&plic, PENDING), 1 << 10);
        assert_eq!(read(&plic, claim(3)), 10);
        assert_eq!(lines[1].pending(), 0);
        assert_eq!(read(&plic, PENDING), 0);
        assert_eq!(read(&plic, claim(3)), 0);
        // The wire is still high: a new request only after completion.
        write(&plic, claim(3), 10);
        assert_eq!(lines[1].pending(), irq::SEI);
        assert_eq!(read(&plic, claim(3)), 10);
        plic.set_level(10, false);
        write(&plic, claim(3), 10);
        assert_eq!(lines[1].pending(), 0);
    }

    #[test]
    fn contexts_are_m_then_s_of_each_hart() {
        let (plic, lines) = plic(2);
        write(&plic, 4, 1);
        plic.set_level(1, true);
        for (context, hart, wire) in [
            (0, 0, irq::MEI),
            (1, 0, irq::SEI),
            (2, 1, irq::MEI),
            (3, 1, irq::SEI),
        ] {
            write(&plic, enable(context, 0), 2);
            assert_eq!(lines[hart].pending(), wire);
            write(&plic, enable(context, 0), 0);
            assert_eq!(lines[hart].pending(), 0);
        }
    }

    #[test]
    fn a_request_passed_on_outlives_its_wire() {
        let (plic, lines) = plic(1);
        write(&plic, 4 * 5, 1);
        write(&plic, enable(0, 0), 1 << 5);
        plic.set_level(5, true);
        plic.set_level(5, false);
        assert_eq!(lines[0].pending(), irq::MEI);
        assert_eq!(read(&plic, claim(0)), 5);
    }

    #[test]
    fn threshold_holds_back_notification_but_not_claims() {
        let (plic, lines) = plic(1);
        write(&plic, 4 * 5, 3);
        write(&plic, enable(1, 0), 1 << 5);
        write(&plic, threshold(1), 3);
        plic.set_level(5, true);
        assert_eq!(lines[0].pending(), 0);
        write(&plic, threshold(1), 2);
        assert_eq!(lines[0].pending(), irq::SEI);
        write(&plic, threshold(1), 7);
        assert_eq!(read(&plic, claim(1)), 5);
    }

    #[test]
    fn completion_needs_the_source_enabled() {
        let (plic, lines) = plic(1);
        write(&plic, 4 * 5, 1);
        write(&plic, enable(0, 0), 1 << 5);
        plic.set_level(5, true);
        assert_eq!(read(&plic, claim(0)), 5);
        write(&plic, enable(0, 0), 0);
        write(&plic, claim(0), 5);
        write(&plic, enable(0, 0), 1 << 5);
        assert_eq!(lines[0].pending(), 0);
        write(&plic, claim(0), 5);
        assert_eq!(lines[0].pending(), irq::MEI);
    }

    #[test]
    fn registers_keep_only_what_exists() {
        let (plic, _) = plic(1);
        for offset in [
            0,
            4,
            4 * 95,
            4 * 96,
            enable(0, 0),
            enable(0, 2),
            enable(0, 3),
        ] {
            write(&plic, offset, u32::MAX);
        }
        write(&plic, threshold(0), u32::MAX);
        write(&plic, threshold(2), 1);
        write(&plic, PENDING, u32::MAX);
        assert_eq!(read(&plic, 0), 0);
        assert_eq!(read(&plic, 4), 7);
        assert_eq!(read(&plic, 4 * 95), 7);
        assert_eq!(read(&plic, 4 * 96), 0);
        assert_eq!(read(&plic, enable(0, 0)), !1);
        assert_eq!(read(&plic, enable(0, 2)), !0);
        assert_eq!(read(&plic, enable(0, 3)), 0);
        assert_eq!(read(&plic, threshold(0)), 7);
        assert_eq!(read(&plic, threshold(2)), 0);
        assert_eq!(read(&plic, PENDING), 0);
        assert_eq!(plic.load(0, Width::Double), Err(BusFault));
        assert_eq!(plic.store(0, Width::Byte, 0), Err(BusFault));
    }

    #[derive(Clone, Debug)]
    enum Action {
        Wire(u32, bool),
        Priority(u32, u32),
        Enable(u64, u64, u32),
        Threshold(u64, u32),
        Claim(u64),
        Complete(u64, u32),
    }

    fn action() -> impl Strategy<Value = Action> {
        let source = 0..100u32;
        let context = 0..5u64;
        prop_oneof![
            (source.clone(), any::<bool>()).prop_map(|(s, l)| Action::Wire(s, l)),
            (source.clone(), any::<u32>()).prop_map(|(s, p)| Action::Priority(s, p)),
            (context.clone(), 0..4u64, any::<u32>()).prop_map(|(c, w, v)| Action::Enable(c, w, v)),
            (context.clone(), 0..9u32).prop_map(|(c, t)| Action::Threshold(c, t)),
            context.clone().prop_map(Action::Claim),
            (context, source).prop_map(|(c, s)| Action::Complete(c, s)),
        ]
    }

    proptest! {
        /// Whatever happens: the wires into the harts are what the registers say; a claim
        /// yields the best source, which is not claimed twice before it is completed; a high
        /// wire is either pending or in service.
        #[test]
        fn invariants(actions in prop::collection::vec(action(), 1..200)) {
            let (plic, lines) = plic(2);
            let mut in_service = BTreeSet::new();
            let mut wires = BTreeSet::new();
            let is_enabled = |context: u64, source: u32| {
                context < 4
                    && read(&plic, enable(context, u64::from(source / 32))) >> (source % 32) & 1
                        == 1
            };
            let is_pending = |source: u32| {
                read(&plic, PENDING + 4 * u64::from(source / 32)) >> (source % 32) & 1 == 1
            };
            let candidates = |context: u64| -> Vec<(u32, u32)> {
                let mut all: Vec<(u32, u32)> = (1..96u32)
                    .filter(|s| is_pending(*s) && is_enabled(context, *s))
                    .map(|s| (7 - read(&plic, 4 * u64::from(s)), s))
                    .filter(|(rank, _)| *rank < 7)
                    .collect();
                all.sort();
                all
            };
            for action in actions {
                match action {
                    Action::Wire(source, level) => {
                        plic.set_level(source, level);
                        if level && (1..96).contains(&source) {
                            wires.insert(source);
                        } else {
                            wires.remove(&source);
                        }
                    }
                    Action::Priority(source, value) => write(&plic, 4 * u64::from(source), value),
                    Action::Enable(c, word, value) => write(&plic, enable(c, word), value),
                    Action::Threshold(context, value) => write(&plic, threshold(context), value),
                    Action::Claim(context) => {
                        let expected = candidates(context).first().map_or(0, |(_, s)| *s);
                        let claimed = read(&plic, claim(context));
                        prop_assert_eq!(claimed, expected);
                        if claimed != 0 {
                            prop_assert!(in_service.insert(claimed));
                            prop_assert!(!is_pending(claimed));
                        }
                    }
                    Action::Complete(context, source) => {
                        let counts = is_enabled(context, source);
                        write(&plic, claim(context), source);
                        if counts {
                            in_service.remove(&source);
                        }
                    }
                }
                for source in &wires {
                    prop_assert!(is_pending(*source) != in_service.contains(source));
                }
                for context in 0..4u64 {
                    let best = candidates(context).first().map_or(0, |(rank, _)| 7 - rank);
                    let wire = if context % 2 == 0 { irq::MEI } else { irq::SEI };
                    let high = lines[context as usize / 2].pending() & wire != 0;
                    prop_assert_eq!(high, best > read(&plic, threshold(context)));
                }
            }
        }
    }

    #[test]
    fn impossible_state_is_refused() {
        let (plic, _) = plic(1);
        let with = |change: fn(&mut State)| {
            let mut state = State::new(2);
            change(&mut state);
            plic.restore(&encode(&state))
        };
        assert!(with(|_| {}).is_ok());
        assert!(with(|s| s.contexts.truncate(1)).is_err());
        assert!(with(|s| s.priorities.truncate(1)).is_err());
        assert!(with(|s| s.priorities[3] = 8).is_err());
        assert!(with(|s| s.priorities[0] = 1).is_err());
        assert!(with(|s| s.contexts[1].threshold = 8).is_err());
        assert!(with(|s| s.pending.0[0] = 1).is_err());
        assert!(with(|s| (s.pending.0[0], s.in_service.0[0]) = (2, 2)).is_err());
    }

    #[test]
    fn conforms() {
        conformance::check(|| Arc::new(plic(3).0), crate::memory_map::PLIC.len);
    }
}
