//! What the monitor shows: two looks at a machine, and the difference.

use std::collections::VecDeque;

use crate::control::answer::{HartState, Status};
use crate::stats::{Group, Report};

/// How many speeds are remembered.
const REMEMBERED: usize = 240;

/// One look at a machine.
#[derive(Clone, Debug)]
pub struct Sample {
    pub status: Status,
    pub harts: Vec<HartState>,
    pub report: Report,
}

/// A counter and how fast it grows.
#[derive(Clone, PartialEq, Debug)]
pub struct Rate {
    /// What is counted.
    pub name: String,
    /// So far.
    pub total: u64,
    /// In a second.
    pub rate: f64,
}

/// What is shown.
#[derive(Clone, Debug)]
pub struct View {
    before: Sample,
    latest: Sample,
    /// Million instructions a second, the latest last.
    speeds: VecDeque<u64>,
    /// How many counters are above the window.
    scrolled: usize,
}

impl View {
    /// A first look, without a difference.
    pub fn new(first: Sample) -> Self {
        Self {
            before: first.clone(),
            latest: first,
            speeds: VecDeque::new(),
            scrolled: 0,
        }
    }
    /// One more look.
    pub fn add(&mut self, sample: Sample) {
        self.before = std::mem::replace(&mut self.latest, sample);
        let speed = self.per_second(
            self.before.report.instructions,
            self.latest.report.instructions,
        );
        self.speeds.push_back((speed / 1e6) as u64);
        if self.speeds.len() > REMEMBERED {
            self.speeds.pop_front();
        }
    }
    /// The latest look.
    pub fn latest(&self) -> &Sample {
        &self.latest
    }
    /// Million instructions a second over time.
    pub fn speeds(&self) -> Vec<u64> {
        self.speeds.iter().copied().collect()
    }
    /// Shows earlier counters.
    pub fn scroll_up(&mut self) {
        self.scrolled = self.scrolled.saturating_sub(1);
    }
    /// Shows later counters.
    pub fn scroll_down(&mut self) {
        self.scrolled = (self.scrolled + 1).min(self.counters().len().saturating_sub(1));
    }
    /// How many counters are above the window.
    pub fn scrolled(&self) -> usize {
        self.scrolled
    }

    /// Growth of a counter in a second.
    pub fn per_second(&self, before: u64, now: u64) -> f64 {
        let time = self.latest.report.seconds - self.before.report.seconds;
        if time <= 0.0 {
            return 0.0;
        }
        // A counter that begins anew (another engine) has no rate for once.
        now.saturating_sub(before) as f64 / time
    }

    /// Million instructions that a hart executes in a second.
    pub fn hart_speed(&self, hart: &HartState) -> f64 {
        let same = |earlier: &&HartState| earlier.hart == hart.hart;
        let before = self.before.harts.iter().find(same);
        let before = before.map_or(hart.instructions, |earlier| earlier.instructions);
        self.per_second(before, hart.instructions) / 1e6
    }

    /// All counters, under headings (without a rate) by group.
    pub fn counters(&self) -> Vec<Result<Rate, String>> {
        let mut lines = Vec::new();
        for group in &self.latest.report.groups {
            if group.counters.is_empty() {
                continue;
            }
            lines.push(Err(group.name.clone()));
            for counter in &group.counters {
                let before = value(&self.before.report.groups, &group.name, &counter.name);
                lines.push(Ok(Rate {
                    name: counter.name.clone(),
                    total: counter.total,
                    rate: self.per_second(before, counter.total),
                }));
            }
        }
        lines
    }

    /// Bytes read and written in a second, by device.
    pub fn transfers(&self) -> Vec<(String, f64, f64)> {
        let earlier = &self.before.report.io;
        (self.latest.report.io.iter())
            .map(|now| {
                let before = earlier.iter().find(|before| before.device == now.device);
                let before = before.cloned().unwrap_or_default();
                (
                    now.device.clone(),
                    self.per_second(before.read_bytes, now.read_bytes),
                    self.per_second(before.written_bytes, now.written_bytes),
                )
            })
            .collect()
    }
}

fn value(groups: &[Group], group: &str, name: &str) -> u64 {
    groups
        .iter()
        .filter(|there| there.name == group)
        .flat_map(|there| &there.counters)
        .find(|counter| counter.name == name)
        .map_or(0, |counter| counter.total)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::args::EngineKind;
    use crate::control::Word;
    use crate::control::answer::{HartActivity, RunState};
    use crate::io_counts::Transfers;

    pub fn sample(seconds: f64, instructions: u64) -> Sample {
        let mut traps = Group::new("traps");
        traps.by_hart("breakpoint", [instructions / 1000].into_iter());
        Sample {
            status: Status {
                name: "web".to_string(),
                pid: 7,
                guest: "debian".to_string(),
                state: RunState::Running,
                ready: true,
                harts: 1,
                memory: 1 << 30,
                engine: EngineKind::Translate,
                seconds,
                resets: 0,
                published: Vec::new(),
            },
            harts: vec![HartState {
                hart: 0,
                mode: "S".to_string(),
                pc: Word(0x8020_0000),
                instructions,
                activity: HartActivity::Waiting,
            }],
            report: Report {
                seconds,
                instructions,
                harts: 1,
                groups: vec![traps, Group::new("interrupts")],
                devices: Vec::new(),
                io: vec![Transfers {
                    device: "disk0".to_string(),
                    read_bytes: instructions,
                    ..Transfers::default()
                }],
                resident: 64 << 20,
                faults: 0,
                dropped_output: 0,
            },
        }
    }

    #[test]
    fn rates_are_differences_over_time() {
        let mut view = View::new(sample(10.0, 1_000_000));
        assert_eq!(view.hart_speed(&view.latest().harts[0]), 0.0);
        view.add(sample(12.0, 9_000_000));
        assert_eq!(view.hart_speed(&view.latest().harts[0]), 4.0);
        assert_eq!(view.speeds(), [4]);
        assert_eq!(view.transfers(), [("disk0".to_string(), 4e6, 0.0)]);
        let counters = view.counters();
        assert_eq!(counters[0], Err("traps".to_string()));
        assert_eq!(counters[1].as_ref().unwrap().rate, 4000.0);
        // Counted anew after a reset of the counters: no rate rather than a wrong one.
        view.add(sample(13.0, 5));
        assert_eq!(view.speeds(), [4, 0]);
        for _ in 0..10 {
            view.scroll_down();
        }
        assert!(view.scrolled() < view.counters().len().max(1));
    }
}
