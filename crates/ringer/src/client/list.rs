//! `ringer ps`: the machines that run.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use super::args::PsArgs;
use super::peer::Peer;
use crate::control::answer::Status;
use crate::control::place::{Folder, Found};
use crate::control::{Action, Answer};
use crate::exit::{Failure, status};
use crate::size::Size;

/// How long a machine may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(1);

/// A line of the list.
#[derive(Clone, PartialEq, Debug, Serialize)]
struct Row {
    name: String,
    pid: Option<u32>,
    /// As [`Status::state`], or `silent`.
    state: String,
    ready: bool,
    harts: usize,
    memory: u64,
    seconds: Option<f64>,
    guest: String,
    /// As [`Status::published`].
    published: Vec<String>,
}

pub fn run(folder: &Folder, args: &PsArgs) -> Result<u8, Failure> {
    let machines = folder.machines().map_err(Failure::monitor)?;
    let rows = super::simple::runtime()?.block_on(ask_all(folder, machines));
    if args.json {
        let text = serde_json::to_string_pretty(&rows).map_err(Failure::monitor)?;
        println!("{text}");
    } else if rows.is_empty() {
        println!("no machine runs; `ringer run` starts one");
    } else {
        print!("{}", table(&rows));
    }
    Ok(status::SUCCESS)
}

/// Asks all machines at once, so that a silent one holds nobody up.
async fn ask_all(folder: &Folder, machines: Vec<Found>) -> Vec<Row> {
    let asked: Vec<_> = machines
        .into_iter()
        .map(|found| {
            let peer = Peer::new(folder.socket(&found.name));
            tokio::spawn(async move {
                let answer = peer.act_within(PATIENCE, &Action::Status {}).await;
                row(found, answer.ok())
            })
        })
        .collect();
    let mut rows = Vec::new();
    for asking in asked {
        rows.extend(asking.await.ok());
    }
    rows
}

fn row(found: Found, answer: Option<Answer>) -> Row {
    let Some(Answer::Status(Status {
        name,
        pid,
        guest,
        state,
        ready,
        harts,
        memory,
        seconds,
        published,
        ..
    })) = answer
    else {
        return Row {
            name: found.name,
            pid: found.pid,
            state: "silent".to_string(),
            ready: false,
            harts: found.summary.harts,
            memory: found.summary.memory,
            seconds: None,
            guest: found.summary.guest,
            published: Vec::new(),
        };
    };
    Row {
        name,
        pid: Some(pid),
        state: state.to_string(),
        ready,
        harts,
        memory,
        seconds: Some(seconds),
        guest,
        published,
    }
}

fn table(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let width = width.max("NAME".len());
    let mut out = format!(
        "{:<width$}  {:>7}  {:<8}  {:<5}  {:>5}  {:>8}  {:>8}  GUEST, PUBLISHED\n",
        "NAME", "PID", "STATE", "READY", "HARTS", "MEMORY", "UP"
    );
    for row in rows {
        let pid = row
            .pid
            .map_or_else(|| "?".to_string(), |pid| pid.to_string());
        let ready = if row.ready { "yes" } else { "no" };
        let up = row.seconds.map_or_else(|| "?".to_string(), short_time);
        let _ = writeln!(
            out,
            "{:<width$}  {pid:>7}  {:<8}  {ready:<5}  {:>5}  {:>8}  {up:>8}  {}{}",
            row.name,
            row.state,
            row.harts,
            Size(row.memory).to_string(),
            row.guest,
            row.published
                .iter()
                .fold(String::new(), |text, port| text + "  " + port)
        );
    }
    out
}

/// `12s`, `5m 3s`, `2h 10m`, `3d 4h`.
fn short_time(seconds: f64) -> String {
    let seconds = seconds as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {}m", minutes % 60),
        (_, _, _) => format!("{days}d {}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lines_up() {
        let found = Found {
            name: "a-long-name".to_string(),
            pid: Some(12),
            summary: crate::control::place::Summary {
                guest: "Image".to_string(),
                harts: 4,
                memory: 1 << 30,
            },
        };
        let silent = row(found, None);
        assert_eq!(silent.state, "silent");
        let text = table(&[silent]);
        let columns: Vec<_> = text.lines().map(|line| line.find(['G', 'I'])).collect();
        assert!(text.contains("silent"));
        assert_eq!(
            text.lines().next().unwrap().find("GUEST"),
            text.lines().nth(1).unwrap().find("Image"),
            "{text} {columns:?}"
        );
    }

    #[test]
    fn times_are_short() {
        assert_eq!(short_time(9.9), "9s");
        assert_eq!(short_time(303.0), "5m 3s");
        assert_eq!(short_time(7800.0), "2h 10m");
        assert_eq!(short_time(100_000.0), "1d 3h");
    }
}
