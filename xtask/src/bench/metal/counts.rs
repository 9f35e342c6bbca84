//! What a run counted: read from what our machine, the monitor and the benchmark print.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// The counts of one run, or the difference of two.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Instructions that the machine executed.
    pub instructions: u64,
    /// Of these, the guest's own, if there is a monitor.
    pub guest: u64,
    /// What brought the guest into the monitor.
    pub exits: u64,
    /// The same by cause.
    pub causes: BTreeMap<String, Cause>,
    /// Exits by the CSR that was named, for the busiest ones.
    pub csrs: BTreeMap<String, u64>,
}

/// The exits for one reason.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Cause {
    pub exits: u64,
    /// Instructions of the monitor for all of them; it prints the mean without its fraction.
    pub instructions: u64,
}

impl Counts {
    /// Reads `--stats` of our machine, and below it the monitor's own if there is one.
    pub fn read(console: &str, stats: &str) -> Result<Self> {
        let mut counts = Self {
            instructions: machine_instructions(stats)?,
            ..Self::default()
        };
        for line in console.lines() {
            counts.line(line.trim_end());
        }
        Ok(counts)
    }

    /// A line of the monitor: `  COUNT WHAT`, where WHAT is `exits`, `CAUSE, N instructions each`
    /// or a CSR's name; or `GUEST: COUNT instructions, …`, which comes first.
    fn line(&mut self, line: &str) {
        if let Some((_, rest)) = line.split_once(": ")
            && let Some((count, _)) = rest.split_once(" instructions, ")
            && let Ok(count) = count.parse()
        {
            self.guest = count;
            return;
        }
        let Some((count, what)) = line.trim_start().split_once(' ') else {
            return;
        };
        let (true, Ok(count)) = (line.starts_with("  "), count.parse::<u64>()) else {
            return;
        };
        if what == "exits" {
            self.exits = count;
        } else if let Some((name, each)) = (what.strip_suffix(" instructions each"))
            .and_then(|rest| rest.rsplit_once(", "))
            .and_then(|(name, each)| Some((name, each.parse::<u64>().ok()?)))
        {
            let instructions = count.saturating_mul(each);
            let cause = Cause {
                exits: count,
                instructions,
            };
            self.causes.insert(name.to_owned(), cause);
        } else if !what.contains(' ') {
            self.csrs.insert(what.to_owned(), count);
        }
    }

    /// What this run did more than a shorter one.
    pub fn since(&self, shorter: &Self) -> Result<Self> {
        let less = |long: u64, short: u64, what: &str| {
            long.checked_sub(short)
                .with_context(|| format!("the longer run has fewer {what}"))
        };
        let causes = self.causes.iter().map(|(name, cause)| {
            let before = shorter.causes.get(name).copied().unwrap_or_default();
            let cause = Cause {
                exits: cause.exits.saturating_sub(before.exits),
                instructions: cause.instructions.saturating_sub(before.instructions),
            };
            (name.clone(), cause)
        });
        // Only the busiest are printed: one that was not among them before is left out.
        let csrs = self.csrs.iter().filter_map(|(name, count)| {
            let before = shorter.csrs.get(name)?;
            Some((name.clone(), count.saturating_sub(*before)))
        });
        Ok(Self {
            instructions: less(self.instructions, shorter.instructions, "instructions")?,
            guest: less(self.guest, shorter.guest, "instructions of the guest")?,
            exits: less(self.exits, shorter.exits, "exits")?,
            causes: causes.collect(),
            csrs: csrs.collect(),
        })
    }
}

/// The line `instructions 1,234,567` of `ringer run --stats`.
fn machine_instructions(stats: &str) -> Result<u64> {
    let line = stats
        .lines()
        .find_map(|line| line.trim().strip_prefix("instructions "))
        .context("our machine printed no count of instructions")?;
    let digits: String = line.chars().filter(char::is_ascii_digit).collect();
    digits.parse().context("our machine's count is no number")
}

/// The lines `count NAME ROUNDS TICKS` of the benchmark.
pub fn ticks(console: &str) -> BTreeMap<String, Ticks> {
    let lines = console.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["count", name, rounds, ticks] = words[..] else {
            return None;
        };
        let (rounds, ticks) = (rounds.parse().ok()?, ticks.parse().ok()?);
        Some((name.to_owned(), Ticks { rounds, ticks }))
    });
    lines.collect()
}

/// How far the machine's timer went in some rounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticks {
    pub rounds: u64,
    pub ticks: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: &str = "\
count start            1            147323699\r
count fork           20              5241600\r
debian: 2014676378 instructions, 100955 of them in rewritten code
        467646 exits
        315843 CSR, 858 instructions each
            309205 sstatus
              6023 0x5c0
          6155 sret, mret, 770 instructions each
ringer: all guests are off; switching off
";

    #[test]
    fn counts_are_read() {
        let stats =
            "ran 5.82 s\n   total\n  instructions    3,145,468,085\n  CSR instructions  5\n";
        let counts = Counts::read(CONSOLE, stats).unwrap();
        assert_eq!(counts.instructions, 3_145_468_085);
        assert_eq!((counts.guest, counts.exits), (2_014_676_378, 467_646));
        let returns = Cause {
            exits: 6155,
            instructions: 6155 * 770,
        };
        assert_eq!(counts.causes["sret, mret"], returns);
        assert_eq!(counts.causes.len(), 2);
        assert_eq!(counts.csrs["sstatus"], 309_205);
        assert_eq!(counts.csrs.len(), 2);
        assert!(Counts::read(CONSOLE, "").is_err());
    }

    #[test]
    fn differences_are_by_cause() {
        let cause = |exits| Cause {
            exits,
            instructions: exits * 10,
        };
        let run = |exits| Counts {
            instructions: exits * 100,
            guest: exits * 50,
            exits,
            causes: BTreeMap::from([("CSR".to_owned(), cause(exits))]),
            csrs: BTreeMap::from([("satp".to_owned(), exits)]),
        };
        assert_eq!(run(7).since(&run(4)).unwrap(), run(3));
        assert!(run(4).since(&run(7)).is_err());
    }

    #[test]
    fn ticks_are_read() {
        let ticks = ticks(CONSOLE);
        let fork = Ticks {
            rounds: 20,
            ticks: 5_241_600,
        };
        assert_eq!(ticks.len(), 2);
        assert_eq!(ticks["fork"], fork);
    }
}
