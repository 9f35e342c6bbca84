//! What a machine has done, counted by cause, as text.

use std::fmt::{self, Write};
use std::time::Duration;

use ringer_hart::cause::Cause;
use ringer_hart::counter::Counts;
use ringer_machine::board::AccessCount;

use crate::translator::TranslatorStats;

mod interpreter;

pub use interpreter::InterpreterStats;

/// The counters of a machine's engines.
#[derive(Clone, Debug)]
pub enum EngineStats {
    /// Of the interpreters, by hart.
    Interpret(Vec<InterpreterStats>),
    /// Of the translators.
    Translate(TranslatorStats),
}

impl EngineStats {
    /// The lines about address translation.
    fn address_translation(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interpret(harts) => interpreter::address_translation(harts, f),
            Self::Translate(stats) => stats.address_translation(f),
        }
    }
    /// The lines about code.
    fn code(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interpret(harts) => interpreter::code(harts, f),
            Self::Translate(stats) => stats.code(f),
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
    /// Instructions retired by all harts.
    pub fn instructions(&self) -> u64 {
        self.harts.iter().map(|hart| hart.retired).sum()
    }
    fn line(
        &self,
        f: &mut fmt::Formatter<'_>,
        name: &str,
        of: impl Fn(&Counts) -> u64,
    ) -> fmt::Result {
        line(f, name, self.harts.iter().map(of))
    }
}

/// A line with a total and, if there are several, the values of all harts. Nothing if there is
/// nothing to tell.
pub fn line(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    by_hart: impl Iterator<Item = u64>,
) -> fmt::Result {
    let values: Vec<u64> = by_hart.collect();
    let total: u64 = values.iter().sum();
    if total == 0 {
        return Ok(());
    }
    write!(f, "  {name:<34}{:>18}", grouped(total))?;
    if values.len() > 1 {
        for value in values {
            write!(f, "{:>16}", grouped(value))?;
        }
    }
    writeln!(f)
}

/// A number with commas.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        let speed = self.instructions() as f64 / 1e6 / seconds.max(1e-9);
        writeln!(
            f,
            "ran {seconds:.2} s, {speed:.1} million instructions a second"
        )?;
        let mut header = format!("  {:<34}{:>18}", "", "total");
        if self.harts.len() > 1 {
            for hart in 0..self.harts.len() {
                write!(header, "{:>16}", format!("hart {hart}"))?;
            }
        }
        writeln!(f, "{header}")?;
        self.line(f, "instructions", |h| h.retired)?;
        self.line(f, "CSR instructions", |h| h.csr_accesses)?;
        self.line(f, "SBI calls", |h| h.sbi_calls)?;
        self.line(f, "waits for interrupt", |h| h.waits)?;
        self.line(f, "failed store-conditionals", |h| h.failed_sc)?;
        writeln!(f, "traps")?;
        for code in 0..Cause::CODES {
            self.line(f, Cause::name(code as u64), |h| {
                h.exceptions.get(code).copied().unwrap_or(0)
            })?;
        }
        writeln!(f, "interrupts")?;
        for code in 0..ringer_hart::cause::INTERRUPT_CODES {
            self.line(f, interrupt_name(code), |h| {
                h.interrupts.get(code).copied().unwrap_or(0)
            })?;
        }
        writeln!(f, "address translation")?;
        self.line(f, "page-table walks", |h| h.walks)?;
        self.engine.address_translation(f)?;
        self.line(f, "sfence.vma and the like", |h| h.fences_vma)?;
        writeln!(f, "code")?;
        self.engine.code(f)?;
        self.line(f, "fence.i", |h| h.fences_i)?;
        writeln!(f, "device accesses{:>38}{:>16}", "reads", "writes")?;
        for device in self.devices.iter().filter(|d| d.loads + d.stores > 0) {
            writeln!(
                f,
                "  {:<34}{:>18}{:>16}",
                device.device,
                grouped(device.loads),
                grouped(device.stores)
            )?;
        }
        if self.faults > 0 {
            writeln!(
                f,
                "  {:<34}{:>18}",
                "where nothing answers",
                grouped(self.faults)
            )?;
        }
        if self.dropped_output > 0 {
            writeln!(f, "console bytes dropped: {}", grouped(self.dropped_output))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1000), "1,000");
        assert_eq!(grouped(1234567890), "1,234,567,890");
    }
}
