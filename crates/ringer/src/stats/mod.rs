//! What a machine has done, counted by cause.

use std::time::Duration;

use ringer_hart::cause::Cause;
use ringer_hart::counter::Counts;
use ringer_machine::board::AccessCount;

use crate::io_counts::Transfers;
use crate::translator::TranslatorStats;

mod interpreter;
mod report;

pub use interpreter::InterpreterStats;
pub use report::{Counter, DeviceAccesses, Group, Report, grouped};

/// The counters of a machine's engines.
#[derive(Clone, Debug)]
pub enum EngineStats {
    /// Of the interpreters, by hart.
    Interpret(Vec<InterpreterStats>),
    /// Of the translators.
    Translate(TranslatorStats),
}

impl EngineStats {
    /// The counters of address translation.
    fn address_translation(&self, group: &mut Group) {
        match self {
            Self::Interpret(harts) => interpreter::address_translation(harts, group),
            Self::Translate(stats) => stats.address_translation(group),
        }
    }
    /// The counters of code.
    fn code(&self, group: &mut Group) {
        match self {
            Self::Interpret(harts) => interpreter::code(harts, group),
            Self::Translate(stats) => stats.code(group),
        }
    }
}

/// The counters of a whole machine.
#[derive(Clone, Debug)]
pub struct Stats {
    /// How long it has been running, pauses included.
    pub elapsed: Duration,
    /// By hart.
    pub harts: Vec<Counts>,
    /// Of the engines that run the harts, since they were made.
    pub engine: EngineStats,
    /// By device.
    pub devices: Vec<AccessCount>,
    /// What disks and network cards have transferred.
    pub io: Vec<Transfers>,
    /// Bytes of the host's memory that this process takes.
    pub resident: u64,
    /// Accesses that found nothing.
    pub faults: u64,
    /// Console output that the terminal did not take.
    pub dropped_output: u64,
}

/// Names of interrupts, by code (Privileged 3.1.15).
const fn interrupt_name(code: usize) -> &'static str {
    match code {
        1 => "supervisor software",
        2 => "virtual supervisor software",
        3 => "machine software",
        5 => "supervisor timer",
        6 => "virtual supervisor timer",
        7 => "machine timer",
        9 => "supervisor external",
        10 => "virtual supervisor external",
        11 => "machine external",
        12 => "supervisor guest external",
        13 => "counter overflow",
        _ => "other",
    }
}

impl Stats {
    /// As it is told.
    pub fn report(&self) -> Report {
        let mut work = Group::new("work");
        self.count(&mut work, "instructions", |h| h.retired);
        self.count(&mut work, "CSR instructions", |h| h.csr_accesses);
        self.count(&mut work, "SBI calls", |h| h.sbi_calls);
        self.count(&mut work, "waits for interrupt", |h| h.waits);
        self.count(&mut work, "failed store-conditionals", |h| h.failed_sc);
        let mut traps = Group::new("traps");
        for code in 0..Cause::CODES {
            self.count(&mut traps, Cause::name(code as u64), |h| {
                h.exceptions.get(code).copied().unwrap_or(0)
            });
        }
        let mut interrupts = Group::new("interrupts");
        for code in 0..ringer_hart::cause::INTERRUPT_CODES {
            self.count(&mut interrupts, interrupt_name(code), |h| {
                h.interrupts.get(code).copied().unwrap_or(0)
            });
        }
        let mut translation = Group::new("address translation");
        self.count(&mut translation, "page-table walks", |h| h.walks);
        self.engine.address_translation(&mut translation);
        self.count(&mut translation, "sfence.vma and the like", |h| {
            h.fences_vma
        });
        let mut code = Group::new("code");
        self.engine.code(&mut code);
        self.count(&mut code, "fence.i", |h| h.fences_i);
        let used = self.devices.iter().filter(|d| d.loads + d.stores > 0);
        Report {
            seconds: self.elapsed.as_secs_f64(),
            instructions: self.harts.iter().map(|hart| hart.retired).sum(),
            harts: self.harts.len(),
            groups: vec![work, traps, interrupts, translation, code],
            devices: used.map(accesses).collect(),
            io: self.io.clone(),
            resident: self.resident,
            faults: self.faults,
            dropped_output: self.dropped_output,
        }
    }
    fn count(&self, group: &mut Group, name: &str, of: impl Fn(&Counts) -> u64) {
        group.by_hart(name, self.harts.iter().map(of));
    }
}

fn accesses(count: &AccessCount) -> DeviceAccesses {
    DeviceAccesses {
        device: count.device.clone(),
        reads: count.loads,
        writes: count.stores,
    }
}
