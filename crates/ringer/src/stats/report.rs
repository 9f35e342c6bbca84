//! Counters as they are told: in groups, with names, by hart. The same for programs and people.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::io_counts::Transfers;

/// What a machine has done.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// How long it has been running, pauses included.
    pub seconds: f64,
    /// Instructions retired by all harts.
    pub instructions: u64,
    /// How many harts it has.
    pub harts: usize,
    /// What was counted. Counters that are zero are left out.
    pub groups: Vec<Group>,
    /// Device accesses, of devices that had any.
    pub devices: Vec<DeviceAccesses>,
    /// What disks and network cards have transferred.
    pub io: Vec<Transfers>,
    /// Bytes of the host's memory that the monitor takes, the guest's RAM included.
    pub resident: u64,
    /// Accesses that found no device.
    pub faults: u64,
    /// Bytes of console output that the terminal did not take.
    pub dropped_output: u64,
}

/// Counters of one subject.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Group {
    /// The subject.
    pub name: String,
    /// What was counted.
    pub counters: Vec<Counter>,
}

/// One counter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Counter {
    /// What it counts.
    pub name: String,
    /// Of all harts.
    pub total: u64,
    /// Of each hart; empty if they share the counter.
    pub by_hart: Vec<u64>,
    /// The unit, or what it means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
}

/// How often a device was accessed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeviceAccesses {
    /// Its name.
    pub device: String,
    /// Reads of its registers.
    pub reads: u64,
    /// Writes to its registers.
    pub writes: u64,
}

impl Group {
    /// A subject of which nothing has been counted yet.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_string(),
            counters: Vec::new(),
        }
    }
    /// Adds a counter that every hart has. Left out if there is nothing to tell.
    pub fn by_hart(&mut self, name: &str, values: impl Iterator<Item = u64>) {
        let values: Vec<u64> = values.collect();
        let total = values.iter().fold(0, |sum: u64, &n| sum.saturating_add(n));
        self.add(name, total, values, None);
    }
    /// Adds a counter that the harts share.
    pub fn shared(&mut self, name: &str, total: u64) {
        self.add(name, total, Vec::new(), None);
    }
    /// Adds a counter that the harts share, with its unit or meaning.
    pub fn remarkable(&mut self, name: &str, total: u64, remark: String) {
        self.add(name, total, Vec::new(), Some(remark));
    }
    fn add(&mut self, name: &str, total: u64, by_hart: Vec<u64>, remark: Option<String>) {
        if total > 0 {
            self.counters.push(Counter {
                name: name.to_string(),
                total,
                by_hart,
                remark,
            });
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let speed = self.instructions as f64 / 1e6 / self.seconds.max(1e-9);
        writeln!(
            f,
            "ran {:.2} s, {speed:.1} million instructions a second",
            self.seconds
        )?;
        write!(f, "  {:<34}{:>18}", "", "total")?;
        if self.harts > 1 {
            for hart in 0..self.harts {
                write!(f, "{:>16}", format!("hart {hart}"))?;
            }
        }
        writeln!(f)?;
        for group in &self.groups {
            writeln!(f, "{}", group.name)?;
            for counter in &group.counters {
                writeln!(f, "{counter}")?;
            }
        }
        writeln!(f, "device accesses{:>38}{:>16}", "reads", "writes")?;
        for device in &self.devices {
            let (reads, writes) = (grouped(device.reads), grouped(device.writes));
            writeln!(f, "  {:<34}{reads:>18}{writes:>16}", device.device)?;
        }
        if self.io.iter().any(|io| io.reads + io.writes > 0) {
            writeln!(f, "bytes transferred{:>36}{:>16}", "read", "written")?;
        }
        for io in self.io.iter().filter(|io| io.reads + io.writes > 0) {
            let (read, written) = (grouped(io.read_bytes), grouped(io.written_bytes));
            writeln!(f, "  {:<34}{read:>18}{written:>16}", io.device)?;
        }
        if self.faults > 0 {
            let faults = grouped(self.faults);
            writeln!(f, "  {:<34}{faults:>18}", "where nothing answers")?;
        }
        if self.dropped_output > 0 {
            writeln!(f, "console bytes dropped: {}", grouped(self.dropped_output))?;
        }
        Ok(())
    }
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {:<34}{:>18}", self.name, grouped(self.total))?;
        if self.by_hart.len() > 1 {
            for &value in &self.by_hart {
                write!(f, "{:>16}", grouped(value))?;
            }
        }
        if let Some(remark) = &self.remark {
            write!(f, " {remark}")?;
        }
        Ok(())
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

    #[test]
    fn what_did_not_happen_is_not_told() {
        let mut group = Group::new("traps");
        group.by_hart("never", [0, 0].into_iter());
        group.by_hart("twice", [2000, 0].into_iter());
        group.remarkable("time", 5, "µs".to_string());
        assert_eq!(group.counters.len(), 2);
        let report = Report {
            seconds: 1.0,
            instructions: 5_000_000,
            harts: 2,
            groups: vec![group],
            devices: Vec::new(),
            io: Vec::new(),
            resident: 0,
            faults: 0,
            dropped_output: 0,
        };
        let text = report.to_string();
        assert!(text.contains("5.0 million instructions a second"));
        assert!(!text.contains("never") && text.contains("5 µs"));
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }
}
