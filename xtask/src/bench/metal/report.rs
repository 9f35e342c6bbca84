//! The counts as Markdown: one table of ratios and bars, one of exits by cause.

use std::fmt::Write;

use anyhow::Result;
use xshell::Shell;

use super::Counted;
use super::counts::Counts;
use super::machine::Place;
use super::rows::{Bar, Row, Work};
use crate::bench::machine::QEMU;
use crate::bench::report::{commit, qemu_version};
use crate::toolchain::have;

/// Instructions in a tick of the timer on QEMU: 10 MHz, and by `shift=0` one instruction each ns.
const QEMU_TICK: f64 = 100.0;
/// Causes with a smaller part of the monitor's instructions are summed up as `others`.
const LEAST_PART: f64 = 0.005;

/// The whole report.
pub fn write(sh: &Shell, rows: &[&Row], counted: &Counted) -> Result<String> {
    let mut text = String::from(
        "# The bare-metal monitor, counted\n\nWritten by `cargo xtask bench --metal`.\n\n",
    );
    writeln!(text, "- Ringer {}", commit(sh))?;
    if have(QEMU) {
        writeln!(text, "- {}", qemu_version(sh)?)?;
    }
    text.push_str(
        "- Instructions that the machine executes for one round of work, by a guest on bare \
         hardware and by the same guest on the monitor, which needs more for itself. Nothing is \
         timed: our machine in deterministic mode and QEMU with `-icount shift=0,sleep=off` count \
         the same on every run. One hart.\n\
         - *Our machine*: the difference of two runs, one with twice the rounds of the other. Its \
         timer goes on by one tick of 100 ns every 100 instructions, as on a CPU of 1000 MIPS \
         (`--mips 1000`). Bare, Linux has our built-in SBI below it, which takes no instructions of the machine.\n\
         - *QEMU*: by the guest's timer, a tick every 100 instructions: as on a CPU of 1000 MIPS. \
         Bare, Linux has OpenSBI below it. What a benchmark does once is counted too (`stream` fills \
         its arrays). Rows in which the guest waits are left empty: the timer goes on meanwhile. \
         The boot is until the first process starts.\n\
         - *Exits* are counted by the monitor.\n",
    );
    for failure in &counted.failures {
        writeln!(text, "- **Failed:** {}", failure.replace('\n', " "))?;
    }
    text.push('\n');
    ratios(&mut text, rows, counted)?;
    text.push_str("\n## Exits by cause\n\nFor one round, with the monitor's instructions for each exit of the cause. *The guest* and *outside of exits* (entering the guest, scheduling, starting up) are instructions without an exit.\n\n");
    causes(&mut text, rows, counted)?;
    Ok(text)
}

fn ratios(text: &mut String, rows: &[&Row], counted: &Counted) -> Result<()> {
    text.push_str(
        "| one round | bare | monitor | ÷ | exits | asked | QEMU: bare | monitor | ÷ |\n\
         |---|---:|---:|---:|---:|---|---:|---:|---:|\n",
    );
    for row in rows {
        write!(text, "| {} |", row.title)?;
        match (
            ours(row, counted, Place::Bare),
            ours(row, counted, Place::Monitor),
        ) {
            (Some(bare), Some(monitor)) => {
                let (a, b) = (
                    each(row, bare.instructions),
                    each(row, monitor.instructions),
                );
                let exits = each(row, monitor.exits);
                write!(
                    text,
                    " {} | {} | {} | {} | {} |",
                    number(a),
                    number(b),
                    ratio(b / a),
                    number(exits),
                    verdict(row.bar, b / a, exits)
                )?;
            }
            _ => text.push_str(" | | | | |"),
        }
        match (
            qemu(row, counted, Place::Bare),
            qemu(row, counted, Place::Monitor),
        ) {
            (Some(a), Some(b)) => {
                let mut met = verdict(row.bar, b / a, f64::NAN);
                if !met.is_empty() {
                    met.insert_str(0, ", ");
                }
                writeln!(
                    text,
                    " {} | {} | {}{met} |",
                    number(a),
                    number(b),
                    ratio(b / a)
                )?;
            }
            _ => text.push_str(" | | |\n"),
        }
    }
    Ok(())
}

fn causes(text: &mut String, rows: &[&Row], counted: &Counted) -> Result<()> {
    text.push_str(
        "| one round | instructions | of them | exits × instructions each |\n|---|---:|---|---|\n",
    );
    for row in rows {
        let Some(counts) = ours(row, counted, Place::Monitor) else {
            continue;
        };
        let in_exits: u64 = counts.causes.values().map(|cause| cause.instructions).sum();
        let outside = (counts.instructions).saturating_sub(in_exits.saturating_add(counts.guest));
        let part =
            |instructions: u64| 100.0 * instructions as f64 / (counts.instructions as f64).max(1.0);
        write!(
            text,
            "| {} | {} | the guest {:.1} %, exits {:.1} %, outside of exits {:.1} % |",
            row.title,
            number(each(row, counts.instructions)),
            part(counts.guest),
            part(in_exits),
            part(outside)
        )?;
        let mut causes: Vec<_> = counts.causes.iter().collect();
        causes.sort_by_key(|(_, cause)| std::cmp::Reverse(cause.instructions));
        let mut cells = Vec::new();
        let mut others = 0;
        for (name, cause) in causes {
            if (cause.instructions as f64) < LEAST_PART * in_exits as f64 {
                others += cause.exits;
                continue;
            }
            let mut cell = format!(
                "{name} {} × {:.0}",
                number(each(row, cause.exits)),
                cause.instructions as f64 / cause.exits.max(1) as f64
            );
            if name == "CSR" {
                write!(cell, " ({})", csrs(row, counts, cause.exits))?;
            }
            cells.push(cell);
        }
        if others > 0 {
            cells.push(format!("others {}", number(each(row, others))));
        }
        writeln!(text, " {} |", cells.join("; "))?;
    }
    Ok(())
}

/// The busiest CSRs, with a hundredth of all of these exits at least.
fn csrs(row: &Row, counts: &Counts, all: u64) -> String {
    let mut csrs: Vec<_> = counts.csrs.iter().collect();
    csrs.sort_by_key(|(_, exits)| std::cmp::Reverse(**exits));
    let shown = csrs.into_iter().filter(|(_, exits)| **exits * 100 >= all);
    let shown = shown.map(|(name, exits)| format!("{name} {}", number(each(row, *exits))));
    shown.collect::<Vec<_>>().join(", ")
}

fn ours<'a>(row: &Row, counted: &'a Counted, place: Place) -> Option<&'a Counts> {
    counted.ours.get(&(row.name, place))
}

/// A round's part of what all of them took.
fn each(row: &Row, all: u64) -> f64 {
    all as f64 / row.difference().unwrap_or(1) as f64
}

/// Instructions for a round on QEMU.
fn qemu(row: &Row, counted: &Counted, place: Place) -> Option<f64> {
    let name = match row.work {
        // From reset until the first process.
        Work::Boot => "start",
        _ => row.name,
    };
    let counted = counted.qemu.get(&place)?.get(name)?;
    Some(counted.ticks as f64 * QEMU_TICK / counted.rounds as f64)
}

/// What is asked, and whether it is met; nothing where nothing is asked or it is not known.
fn verdict(bar: Bar, ratio: f64, exits: f64) -> String {
    let met = |met: bool| if met { "✓" } else { "**missed**" };
    match bar {
        Bar::None => String::new(),
        Bar::Work(part) => format!(
            "{:.3} of bare's work, at least {part} {}",
            1.0 / ratio,
            met(1.0 / ratio >= part)
        ),
        Bar::Instructions(most) => format!("at most {most}× {}", met(ratio <= most)),
        Bar::Exits(..) if exits.is_nan() => String::new(),
        Bar::Exits(first, then) => format!(
            "at most {first} exits {}, then {then} {}",
            met(exits <= first),
            met(exits <= then)
        ),
    }
}

fn ratio(value: f64) -> String {
    match value {
        0.0..2.0 => format!("{value:.3}"),
        2.0..10.0 => format!("{value:.2}"),
        _ => format!("{value:.1}"),
    }
}

fn number(value: f64) -> String {
    match value {
        1e9.. => format!("{:.3} G", value / 1e9),
        1e6.. => format!("{:.2} M", value / 1e6),
        1e4.. => format!("{:.1} k", value / 1e3),
        100.0.. => format!("{value:.0}"),
        1.0.. => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::metal::counts::{Cause, Ticks};
    use crate::bench::metal::rows;

    fn counted() -> Counted {
        let mut counted = Counted::default();
        for row in rows::ROWS {
            let rounds = row.difference().unwrap_or(1);
            let counts = |instructions: u64, exits: u64| {
                let mut counts = Counts {
                    instructions: rounds * instructions,
                    guest: rounds * 1000,
                    exits: rounds * exits,
                    ..Counts::default()
                };
                let cause = Cause {
                    exits: rounds * exits,
                    instructions: rounds * exits * 50,
                };
                counts.causes.insert("CSR".to_owned(), cause);
                counts.csrs.insert("sstatus".to_owned(), rounds * exits);
                counts
            };
            (counted.ours).insert((row.name, Place::Bare), counts(1000, 0));
            (counted.ours).insert((row.name, Place::Monitor), counts(1500, 10));
            let ticks = |ticks| Ticks { rounds: 2, ticks };
            for (place, count) in [(Place::Bare, 1000), (Place::Monitor, 1001)] {
                let qemu = counted.qemu.entry(place).or_default();
                if matches!(row.work, Work::Kernel { .. }) {
                    qemu.insert(row.name.to_owned(), ticks(count));
                }
            }
        }
        counted
    }

    #[test]
    fn the_table_says_what_is_met() {
        let rows = rows::choose(&[]).unwrap();
        let mut text = String::new();
        ratios(&mut text, &rows, &counted()).unwrap();
        let line = |title: &str| text.lines().find(|line| line.contains(title)).unwrap();
        assert!(line("| boot").contains("| 1.500 | 10.0 | at most 2× ✓ | | | |"));
        let integer = line("| integer");
        assert!(integer.contains("0.667 of bare's work, at least 0.99 **missed**"));
        assert!(integer.ends_with("1.001, 0.999 of bare's work, at least 0.99 ✓ |"));
        assert!(line("like xv6").contains("at most 16 exits ✓, then 5 **missed**"));
        assert!(line("| fork |").contains("| 1.500 | 10.0 |  | | | |"));
        let cells = |line: &str| line.matches('|').count();
        assert!(text.lines().all(|l| cells(l) == cells(integer)), "{text}");
    }

    #[test]
    fn causes_are_for_one_round() {
        let rows = rows::choose(&["fork".to_owned()]).unwrap();
        let mut text = String::new();
        causes(&mut text, &rows, &counted()).unwrap();
        let line = text.lines().last().unwrap();
        assert!(line.contains("the guest 66.7 %, exits 33.3 %, outside of exits 0.0 %"));
        assert!(line.ends_with("| CSR 10.0 × 50 (sstatus 10.0) |"), "{line}");
    }
}
