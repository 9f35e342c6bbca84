//! Hardware performance counters (Zicntr, Zihpm; Privileged 3.1.10–3.1.13), and the running
//! totals of what a hart has done, which they are windows onto.

use minicbor::{Decode, Encode};

use crate::cause::{Cause, INTERRUPT_CODES};

/// Index of `mcycle` among the counters.
pub const CYCLE: usize = 0;
/// Index of `minstret` among the counters.
pub const INSTRET: usize = 2;
/// How many counters there are, index 1 (`time`) being none.
pub const COUNTERS: usize = 32;

/// What a hart has done since it was made. Never goes back; the guest's counters are offsets
/// into these, statistics print them.
#[derive(Clone, Debug, Default, Encode, Decode)]
pub struct Counts {
    /// Instructions retired.
    #[n(0)]
    pub retired: u64,
    /// Exceptions taken, by cause.
    #[n(1)]
    pub exceptions: [u64; Cause::CODES],
    /// Interrupts taken, by code.
    #[n(2)]
    pub interrupts: [u64; INTERRUPT_CODES],
    /// Page-table walks done for fetches, loads and stores.
    #[n(3)]
    pub walks: u64,
    /// Loads from devices.
    #[n(4)]
    pub device_loads: u64,
    /// Stores to devices.
    #[n(5)]
    pub device_stores: u64,
    /// `sfence.vma` and its relatives, local and remote.
    #[n(6)]
    pub fences_vma: u64,
    /// `fence.i`, local and remote.
    #[n(7)]
    pub fences_i: u64,
    /// CSR instructions.
    #[n(8)]
    pub csr_accesses: u64,
    /// `wfi` that had to wait.
    #[n(9)]
    pub waits: u64,
    /// Failed `sc`.
    #[n(10)]
    pub failed_sc: u64,
    /// SBI calls answered by the monitor.
    #[n(11)]
    pub sbi_calls: u64,
}

impl Counts {
    /// All exceptions.
    pub fn exceptions_total(&self) -> u64 {
        self.exceptions.iter().sum()
    }
    /// All interrupts.
    pub fn interrupts_total(&self) -> u64 {
        self.interrupts.iter().sum()
    }
    /// Whether a hart can have come to these in a lifetime, so that sums of them and further
    /// counting cannot overflow.
    pub(crate) fn plausible(&self) -> bool {
        let single = [
            self.retired,
            self.walks,
            self.device_loads,
            self.device_stores,
            self.fences_vma,
            self.fences_i,
            self.csr_accesses,
            self.waits,
            self.failed_sc,
            self.sbi_calls,
        ];
        let all = self.exceptions.iter().chain(&self.interrupts);
        all.chain(&single).all(|count| *count < 1 << 56)
    }
}

/// What a programmable counter can count: the values of `mhpmevent`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Event {
    /// Nothing: the counter stands still.
    None = 0,
    /// Cycles.
    Cycles = 1,
    /// Instructions retired.
    Instructions = 2,
    /// Exceptions taken.
    Exceptions = 3,
    /// Interrupts taken.
    Interrupts = 4,
    /// Page-table walks (misses of the address translation cache).
    Walks = 5,
    /// Loads from and stores to devices.
    DeviceAccesses = 6,
    /// CSR instructions.
    CsrAccesses = 7,
    /// Address-translation fences.
    Fences = 8,
    /// Failed `sc`.
    FailedSc = 9,
}

impl Event {
    /// All events that count something.
    pub const ALL: [Self; 9] = [
        Self::Cycles,
        Self::Instructions,
        Self::Exceptions,
        Self::Interrupts,
        Self::Walks,
        Self::DeviceAccesses,
        Self::CsrAccesses,
        Self::Fences,
        Self::FailedSc,
    ];

    /// From a value written to `mhpmevent`; what is unknown counts nothing.
    pub fn from_selector(value: u64) -> Self {
        Self::ALL
            .into_iter()
            .find(|e| *e as u64 == value)
            .unwrap_or(Self::None)
    }

    fn total(self, counts: &Counts) -> u64 {
        match self {
            Self::None => 0,
            // One instruction, one cycle: the definition has no pipeline.
            Self::Cycles | Self::Instructions => counts.retired,
            Self::Exceptions => counts.exceptions_total(),
            Self::Interrupts => counts.interrupts_total(),
            Self::Walks => counts.walks,
            Self::DeviceAccesses => counts.device_loads.wrapping_add(counts.device_stores),
            Self::CsrAccesses => counts.csr_accesses,
            Self::Fences => counts.fences_vma.wrapping_add(counts.fences_i),
            Self::FailedSc => counts.failed_sc,
        }
    }
}

/// All counters of a hart: `value = base + total(event)`, or `base` while inhibited.
#[derive(Clone, Debug, Encode, Decode)]
pub struct CounterFile {
    #[n(0)]
    base: [u64; COUNTERS],
    #[n(1)]
    events: [u64; COUNTERS],
    #[n(2)]
    inhibited: u64,
}

impl Default for CounterFile {
    fn default() -> Self {
        let mut events = [Event::None as u64; COUNTERS];
        events[CYCLE] = Event::Cycles as u64;
        events[INSTRET] = Event::Instructions as u64;
        Self {
            base: [0; COUNTERS],
            events,
            inhibited: 0,
        }
    }
}

impl CounterFile {
    /// Makes a file that came from outside obey its own rules.
    pub(crate) fn legalise(&mut self) {
        let fixed = Self::default();
        for (index, event) in self.events.iter_mut().enumerate() {
            *event = match index {
                0..=2 => fixed.events[index],
                _ => Event::from_selector(*event) as u64,
            };
        }
        self.inhibited &= 0xffff_fffd;
    }

    fn running_total(&self, index: usize, counts: &Counts) -> u64 {
        if self.inhibited >> index & 1 != 0 {
            return 0;
        }
        let selector = self.events.get(index).copied().unwrap_or(0);
        Event::from_selector(selector).total(counts)
    }

    /// The value of counter `index`.
    pub fn read(&self, index: usize, counts: &Counts) -> u64 {
        let base = self.base.get(index).copied().unwrap_or(0);
        base.wrapping_add(self.running_total(index, counts))
    }

    /// Sets counter `index`, by the instruction that is about to retire: the next one reads
    /// `value` (Privileged 3.1.10), so what this one will add is taken off beforehand.
    pub fn write(&mut self, index: usize, value: u64, counts: &Counts) {
        let mut total = self.running_total(index, counts);
        if total_moves_at_retirement(self.events.get(index).copied().unwrap_or(0))
            && self.inhibited >> index & 1 == 0
        {
            total = total.wrapping_add(1);
        }
        self.set_base(index, value.wrapping_sub(total));
    }

    fn set_base(&mut self, index: usize, base: u64) {
        if let Some(slot) = self.base.get_mut(index) {
            *slot = base;
        }
    }

    /// The value of `mhpmevent` for counter `index`.
    pub fn event(&self, index: usize) -> u64 {
        self.events.get(index).copied().unwrap_or(0)
    }

    /// Selects what counter `index` counts; its value stays.
    pub fn set_event(&mut self, index: usize, selector: u64, counts: &Counts) {
        let value = self.read(index, counts);
        if let Some(event) = self.events.get_mut(index) {
            *event = Event::from_selector(selector) as u64;
        }
        self.set_base(index, value.wrapping_sub(self.running_total(index, counts)));
    }

    /// `mcountinhibit`.
    pub fn inhibited(&self) -> u64 {
        self.inhibited
    }

    /// Writes `mcountinhibit`: counters stop and go on where they are. There is no bit 1, as
    /// `time` cannot be stopped.
    pub fn set_inhibited(&mut self, mask: u64, counts: &Counts) {
        let mask = mask & 0xffff_fffd;
        for index in 0..COUNTERS {
            let value = self.read(index, counts);
            self.inhibited = self.inhibited & !(1 << index) | mask & 1 << index;
            self.set_base(index, value.wrapping_sub(self.running_total(index, counts)));
        }
    }
}

fn total_moves_at_retirement(selector: u64) -> bool {
    selector == Event::Cycles as u64 || selector == Event::Instructions as u64
}
