//! What a machine has done, counted by cause, as text.

use std::fmt::{self, Write};
use std::time::Duration;

use ringer_hart::cause::Cause;
use ringer_hart::counter::Counts;
use ringer_hart::interpret::{BlockCounts, TlbCounts};
use ringer_machine::board::AccessCount;

/// The counters of one hart and of the engine that runs it.
#[derive(Clone, Debug)]
pub struct HartStats {
    /// The hart's.
    pub counts: Counts,
    /// The translation cache's.
    pub tlb: TlbCounts,
    /// The code cache's.
    pub blocks: BlockCounts,
}

/// The counters of a whole machine.
#[derive(Clone, Debug)]
pub struct Stats {
    /// How long it has been running, pauses included.
    pub elapsed: Duration,
    /// By hart.
    pub harts: Vec<HartStats>,
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
        self.total(|hart| hart.counts.retired)
    }
    fn total(&self, of: impl Fn(&HartStats) -> u64) -> u64 {
        self.harts.iter().map(of).sum()
    }
    fn line(
        &self,
        f: &mut fmt::Formatter<'_>,
        name: &str,
        of: impl Fn(&HartStats) -> u64,
    ) -> fmt::Result {
        let total = self.total(&of);
        if total == 0 {
            return Ok(());
        }
        write!(f, "  {name:<34}{:>18}", grouped(total))?;
        if self.harts.len() > 1 {
            for hart in &self.harts {
                write!(f, "{:>16}", grouped(of(hart)))?;
            }
        }
        writeln!(f)
    }
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
        self.line(f, "instructions", |h| h.counts.retired)?;
        self.line(f, "CSR instructions", |h| h.counts.csr_accesses)?;
        self.line(f, "SBI calls", |h| h.counts.sbi_calls)?;
        self.line(f, "waits for interrupt", |h| h.counts.waits)?;
        self.line(f, "failed store-conditionals", |h| h.counts.failed_sc)?;
        writeln!(f, "traps")?;
        for code in 0..Cause::CODES {
            self.line(f, Cause::name(code as u64), |h| {
                h.counts.exceptions.get(code).copied().unwrap_or(0)
            })?;
        }
        writeln!(f, "interrupts")?;
        for code in 0..ringer_hart::cause::INTERRUPT_CODES {
            self.line(f, interrupt_name(code), |h| {
                h.counts.interrupts.get(code).copied().unwrap_or(0)
            })?;
        }
        writeln!(f, "address translation")?;
        self.line(f, "page-table walks", |h| h.counts.walks)?;
        self.line(f, "TLB fills", |h| h.tlb.fills)?;
        self.line(f, "TLB flushes", |h| h.tlb.flushes)?;
        self.line(f, "TLB flushes of one page", |h| h.tlb.page_flushes)?;
        self.line(f, "sfence.vma and the like", |h| h.counts.fences_vma)?;
        writeln!(f, "code")?;
        self.line(f, "blocks decoded", |h| h.blocks.decoded)?;
        self.line(f, "blocks checked again", |h| h.blocks.revalidated)?;
        self.line(f, "code cache emptied", |h| h.blocks.dropped)?;
        self.line(f, "fence.i", |h| h.counts.fences_i)?;
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
