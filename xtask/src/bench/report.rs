//! The report of the measurements, in Markdown.

use std::fmt::Write as _;
use std::fs;

use anyhow::Result;
use xshell::{Shell, cmd};

use super::machine::{Column, QEMU};
use super::rows::{Group, HARTS, NativeBar, Row};
use super::{Arguments, Measured, median};

/// What the geometric mean of all ratios to QEMU has to be.
const MEAN_BAR: f64 = 4.0;
/// What Ringer may need beside the guest's RAM, in MiB.
const MEMORY_BAR: f64 = 150.0;

/// The whole report.
pub fn write(sh: &Shell, arguments: &Arguments, measured: &Measured) -> Result<String> {
    let mut text = String::from("# Benchmarks\n\nWritten by `cargo xtask bench`.\n\n");
    machine(&mut text, sh, arguments, measured)?;
    for failure in &measured.failures {
        writeln!(text, "- **Failed:** {}", failure.replace('\n', " "))?;
    }
    writeln!(
        text,
        "\n![How often as fast as QEMU Ringer is, by row](bench.svg)\n"
    )?;
    table(&mut text, measured)?;
    text.push('\n');
    summary(&mut text, measured)?;
    Ok(text)
}

/// Which Ringer was measured.
pub fn commit(sh: &Shell) -> String {
    let commit = cmd!(sh, "git rev-parse --short HEAD")
        .quiet()
        .ignore_stderr()
        .read();
    commit.unwrap_or_else(|_| "without git".into())
}

/// Which QEMU, in its own words.
pub fn qemu_version(sh: &Shell) -> Result<String> {
    let version = cmd!(sh, "{QEMU} --version").quiet().read()?;
    Ok(version.lines().next().unwrap_or_default().to_string())
}

/// What was measured where, and how.
fn machine(
    text: &mut String,
    sh: &Shell,
    arguments: &Arguments,
    measured: &Measured,
) -> Result<()> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name\t: "));
    writeln!(text, "- Ringer {}", commit(sh))?;
    if measured.columns.contains(&Column::Qemu) {
        writeln!(text, "- {}", qemu_version(sh)?)?;
    } else {
        writeln!(
            text,
            "- **QEMU was not installed: nothing to compare with**"
        )?;
    }
    writeln!(text, "- {} × {}", cores(), cpu.unwrap_or("unknown CPU"))?;
    writeln!(
        text,
        "- Debian's kernel and busybox on both machines, 1 GiB of RAM, one hart where nothing else \
         is said; native is the same source compiled for this host by its gcc, and its own shell \
         (`/bin/sh`, or busybox if `/bin/busybox` is there)"
    )?;
    writeln!(
        text,
        "- medians of {} runs in turns, each benchmark {} s; rounds per second, more is better, \
         except the boot, which is the time from the start of the process until the guest's \
         `/init` speaks; ± is the distance of the extremes",
        arguments.runs, arguments.seconds
    )?;
    Ok(())
}

fn table(text: &mut String, measured: &Measured) -> Result<()> {
    let mut header = String::from("| |");
    let mut line = String::from("|---|");
    for column in &measured.columns {
        write!(header, " {} |", column.title())?;
        line.push_str("---:|");
    }
    let ringer = measured.ringer().title();
    writeln!(
        text,
        "{header} {ringer} ÷ QEMU | asked | {ringer} ÷ native | asked |\n{line}---:|---|---:|---|"
    )?;
    for row in measured.rows.iter().copied() {
        write!(text, "| {} |", row.title)?;
        for &column in &measured.columns {
            match measured.values(row, column) {
                Some(values) => write!(text, " {} |", cell(row, values))?,
                None => text.push_str(" |"),
            }
        }
        match measured.speed(row, Column::Qemu) {
            Some(speed) => write!(
                text,
                " {speed:.2}× | {}× {} |",
                row.bar,
                verdict(speed >= row.bar)
            )?,
            None => write!(text, " | {}× |", row.bar)?,
        }
        let native = measured
            .speed(row, Column::Native)
            .map(|speed| 100.0 * speed);
        match (row.native_bar, native) {
            (NativeBar::NotCompared, _) | (_, None) => writeln!(text, " | |")?,
            (NativeBar::Shown, Some(percent)) => writeln!(text, " {percent:.1} % | |")?,
            (NativeBar::AtLeast(part), Some(percent)) => writeln!(
                text,
                " {percent:.1} % | {:.0} % {} |",
                100.0 * part,
                verdict(percent >= 100.0 * part)
            )?,
        }
    }
    Ok(())
}

/// What follows from the table.
fn summary(text: &mut String, measured: &Measured) -> Result<()> {
    let speeds: Vec<(&Row, f64)> = measured
        .rows
        .iter()
        .filter_map(|&row| Some((row, measured.speed(row, Column::Qemu)?)))
        .collect();
    if !speeds.is_empty() {
        let mean = geometric_mean(speeds.iter().map(|(_, speed)| *speed));
        writeln!(
            text,
            "- Geometric mean of {} ÷ QEMU over all {} rows: {mean:.2}× (asked: {MEAN_BAR}× {})",
            measured.ringer().title(),
            speeds.len(),
            verdict(mean >= MEAN_BAR)
        )?;
        let slower: Vec<&str> = speeds
            .iter()
            .filter(|(_, speed)| *speed < 1.0)
            .map(|(row, _)| row.title)
            .collect();
        match slower.is_empty() {
            true => writeln!(text, "- Slower than QEMU: nothing (asked: nothing)")?,
            false => writeln!(
                text,
                "- Slower than QEMU: {} (asked: nothing)",
                slower.join("; ")
            )?,
        }
    }
    for row in measured
        .rows
        .iter()
        .filter(|row| row.group == Group::ManyHarts)
    {
        let scaling: Vec<String> = measured
            .columns
            .iter()
            // The host's kernel is another one, and does not tell how well it can be done.
            .filter(|column| **column != Column::Native || row.native_bar != NativeBar::NotCompared)
            .filter_map(|&column| {
                let factor = scaling(measured, row, column)?;
                Some(format!("{} {factor:.2}×", column.title()))
            })
            .collect();
        if !scaling.is_empty() {
            writeln!(
                text,
                "- {HARTS} processes on {HARTS} harts ÷ one on one hart, {}, {} cores: {}",
                row.kernel(),
                cores(),
                scaling.join(", ")
            )?;
        }
    }
    for (&harts, memory) in &measured.memory {
        let mebibytes = memory.mebibytes();
        if mebibytes > 0.0 {
            writeln!(
                text,
                "- Monitor's own memory, {} {}: {mebibytes:.1} MiB at its peak, beside the guest's \
                 RAM (asked: less than {MEMORY_BAR} MiB {})",
                harts,
                if harts == 1 { "hart" } else { "harts" },
                verdict(mebibytes < MEMORY_BAR)
            )?;
        }
    }
    Ok(())
}

/// How often as much several harts do as one.
fn scaling(measured: &Measured, row: &Row, column: Column) -> Option<f64> {
    let one = measured
        .rows
        .iter()
        .find(|other| other.group == Group::OneHart && other.kernel() == row.kernel())?;
    let many = median(measured.values(row, column)?);
    Some(many / median(measured.values(one, column)?))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn verdict(met: bool) -> &'static str {
    if met { "✓" } else { "**missed**" }
}

fn cell(row: &Row, values: &[f64]) -> String {
    let unit = match row.group {
        Group::Boot => " s",
        Group::OneHart | Group::ManyHarts => "",
    };
    let spread = 100.0 * spread(values);
    format!("{}{unit} ±{spread:.0}%", number(median(values)))
}

/// How far apart the runs were, as a part of the median.
fn spread(values: &[f64]) -> f64 {
    let most = values.iter().copied().fold(f64::MIN, f64::max);
    let least = values.iter().copied().fold(f64::MAX, f64::min);
    (most - least) / median(values)
}

fn number(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn geometric_mean(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let count = values.clone().count() as f64;
    (values.map(f64::ln).sum::<f64>() / count).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::machine::Engine;
    use crate::bench::rows;

    const RINGER: Column = Column::Ringer(Engine::Translate);

    fn measured() -> Measured {
        let columns = vec![RINGER, Column::Qemu, Column::Native];
        let mut measured = Measured::new(columns, rows::choose(&[]).unwrap());
        for row in measured.rows.clone() {
            let (ringer, qemu, native) = match row.name {
                "boot" => (1.0, 2.0, None),
                "chase" => (90.0, 100.0, Some(1000.0)),
                "integer" => (300.0, 100.0, Some(600.0)),
                "integer-4" => (570.0, 200.0, Some(1200.0)),
                _ => (800.0, 100.0, Some(1000.0)),
            };
            measured.add(row, RINGER, ringer);
            measured.add(row, Column::Qemu, qemu);
            if let Some(native) = native {
                measured.add(row, Column::Native, native);
            }
        }
        measured
    }

    #[test]
    fn means_and_medians() {
        assert!((geometric_mean([2.0, 8.0].into_iter()) - 4.0).abs() < 1e-12);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(spread(&[3.0, 1.0, 2.0]), 1.0);
    }

    #[test]
    fn the_table_says_what_is_met() {
        let mut text = String::new();
        table(&mut text, &measured()).unwrap();
        let line = |title: &str| text.lines().find(|l| l.contains(title)).unwrap();
        assert_eq!(
            line("boot"),
            "| boot to /init | 1.00 s ±0% | 2.00 s ±0% | | 2.00× | 2.5× **missed** | | |"
        );
        assert!(line("| integer").ends_with("| 3.00× | 2.5× ✓ | 50.0 % | 35 % ✓ |"));
        assert!(line("chase").ends_with("| 0.90× | 1× **missed** | 9.0 % | |"));
        assert!(line("| fork |").ends_with("| 8.00× | 1× ✓ | | |"));
        let cells = |line: &str| line.matches('|').count();
        assert!(text.lines().all(|l| cells(l) == cells(line("boot"))));
    }

    #[test]
    fn the_summary_names_slower_rows_and_scaling() {
        let mut text = String::new();
        summary(&mut text, &measured()).unwrap();
        assert!(text.contains("Slower than QEMU: chase (4 MiB at random) (asked"));
        assert!(text.contains("ringer 1.90×, QEMU TCG 2.00×, native 2.00×"));
        assert!(text.contains("over all 16 rows"));
    }

    #[test]
    fn without_qemu_there_is_still_a_table() {
        let mut measured = measured();
        measured.columns.retain(|&column| column != Column::Qemu);
        for values in measured.samples.values_mut() {
            values.remove(&Column::Qemu);
        }
        let mut text = String::new();
        table(&mut text, &measured).unwrap();
        summary(&mut text, &measured).unwrap();
        assert!(text.contains("| | 2.5× | 50.0 % | 35 % ✓ |"), "{text}");
        assert!(!text.contains("Geometric"));
    }
}
