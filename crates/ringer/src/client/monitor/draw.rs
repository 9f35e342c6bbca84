//! The monitor's picture.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Block, Cell, Gauge, Row, Sparkline, Table};

use super::view::View;
use crate::control::answer::{HartActivity, RunState};
use crate::size::Size;
use crate::stats::grouped;

/// The whole picture.
pub fn draw(frame: &mut Frame<'_>, view: &View) {
    let harts = view.latest().harts.len() as u16;
    let [title, top, bottom, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(harts + 3),
        Constraint::Min(4),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    draw_title(frame, title, view);
    draw_harts(frame, top, view);
    let [left, right] =
        Layout::horizontal([Constraint::Min(50), Constraint::Percentage(40)]).areas(bottom);
    draw_counters(frame, left, view);
    draw_right(frame, right, view);
    let help = "q quit   p pause or resume   arrows: scroll the counters";
    frame.render_widget(Line::from(help).dim(), keys);
}

fn draw_title(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let status = &view.latest().status;
    let state = match status.state {
        RunState::Running => status.state.to_string().green(),
        RunState::Paused | RunState::Stopping => status.state.to_string().yellow(),
    };
    let ready = match status.ready {
        true => "ready".green(),
        false => "not ready yet".yellow(),
    };
    let line = Line::from(vec![
        status.name.clone().bold(),
        format!("  {}  ", status.guest).into(),
        state,
        ", ".into(),
        ready,
        format!("  up {:.0} s  {}", status.seconds, status.engine.name()).into(),
    ]);
    frame.render_widget(line, area);
}

fn draw_harts(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let rows = view.latest().harts.iter().map(|hart| {
        let activity = match hart.activity {
            HartActivity::Running => "running".green(),
            HartActivity::Waiting => "waiting".into(),
            HartActivity::Stopped => "stopped".dim(),
        };
        Row::new([
            Cell::from(hart.hart.to_string()),
            Cell::from(hart.mode.clone()),
            Cell::from(hart.pc.to_string()),
            Cell::from(activity),
            Cell::from(format!("{:>8.1}", view.hart_speed(hart))),
            Cell::from(format!("{:>20}", grouped(hart.instructions))),
        ])
    });
    let widths = [4, 4, 18, 8, 8, 20].map(Constraint::Length);
    let header = Row::new([
        "hart",
        "mode",
        "pc",
        "activity",
        "    MIPS",
        "        instructions",
    ]);
    let table = Table::new(rows, widths)
        .header(header.style(Style::new().bold()))
        .block(Block::bordered().title("harts"));
    frame.render_widget(table, area);
}

fn draw_counters(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let rows = view
        .counters()
        .into_iter()
        .skip(view.scrolled())
        .map(|line| match line {
            Err(heading) => Row::new([heading]).style(Style::new().bold()),
            Ok(counter) => Row::new([
                format!("  {}", counter.name),
                format!("{:>12}", grouped(counter.rate.round() as u64)),
                format!("{:>18}", grouped(counter.total)),
            ]),
        });
    let widths = [
        Constraint::Min(16),
        Constraint::Length(12),
        Constraint::Length(18),
    ];
    let header = Row::new(["", "  per second", "             total"]);
    let table = Table::new(rows, widths)
        .header(header.style(Style::new().bold()))
        .block(Block::bordered().title("exits and other events by cause"));
    frame.render_widget(table, area);
}

fn draw_right(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let [speed, memory, io] = Layout::vertical([
        Constraint::Min(4),
        Constraint::Length(3),
        Constraint::Length(view.latest().report.io.len() as u16 + 3),
    ])
    .areas(area);
    let speeds = view.speeds();
    let now = speeds.last().copied().unwrap_or(0);
    let room = usize::from(speed.width.saturating_sub(2));
    let shown = speeds
        .get(speeds.len().saturating_sub(room)..)
        .unwrap_or_default();
    let sparkline = Sparkline::default()
        .data(shown)
        .block(Block::bordered().title(format!("MIPS: {}", grouped(now))));
    frame.render_widget(sparkline, speed);

    let resident = view.latest().report.resident;
    let of = view.latest().status.memory;
    let share = resident as f64 / of.max(1) as f64;
    let label = format!(
        "{} MiB of host memory, guest RAM {}",
        resident >> 20,
        Size(of)
    );
    let gauge = Gauge::default()
        .ratio(share.clamp(0.0, 1.0))
        .label(label)
        .block(Block::bordered().title("memory"));
    frame.render_widget(gauge, memory);

    let rows = view
        .transfers()
        .into_iter()
        .map(|(device, read, written)| Row::new([device, per_second(read), per_second(written)]));
    let widths = [
        Constraint::Min(6),
        Constraint::Length(13),
        Constraint::Length(13),
    ];
    let header = Row::new(["", "    read", "    written"]);
    let table = Table::new(rows, widths)
        .header(header.style(Style::new().bold()))
        .block(Block::bordered().title("disks and networks"));
    frame.render_widget(table, io);
}

/// Bytes in a second, for people.
fn per_second(bytes: f64) -> String {
    match bytes {
        bytes if bytes >= 1e6 => format!("{:>8.1} MB/s", bytes / 1e6),
        bytes if bytes >= 1e3 => format!("{:>8.1} kB/s", bytes / 1e3),
        bytes => format!("{bytes:>8.0} B/s "),
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::sample;
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn picture(width: u16, height: u16) -> String {
        let mut view = View::new(sample(1.0, 1_000_000));
        view.add(sample(2.0, 51_000_000));
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, &view)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn all_that_matters_is_in_the_picture() {
        let picture = picture(120, 30);
        for text in [
            "web",
            "running",
            "ready",
            "0x0000000080200000",
            "50.0",
            "51,000,000",
            "breakpoint",
            "50,000",
            "disk0",
            "50.0 MB/s",
            "64 MiB",
            "MIPS: 50",
            "q quit",
        ] {
            assert!(picture.contains(text), "no {text:?} in\n{picture}");
        }
    }

    #[test]
    fn any_terminal_will_do() {
        for (width, height) in [(1, 1), (3, 40), (200, 2), (20, 8), (300, 100)] {
            picture(width, height);
        }
    }
}
