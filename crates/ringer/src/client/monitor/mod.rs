//! `ringer monitor`: a machine at work, on the whole terminal.

mod draw;
mod view;

use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use tokio::runtime::Runtime;

use super::args::MonitorArgs;
use super::peer::{Peer, PeerError};
use super::{find, simple};
use crate::control::answer::RunState;
use crate::control::place::Folder;
use crate::control::{Action, Answer};
use crate::exit::{Failure, status};
use view::{Sample, View};

/// How often the machine is looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

pub fn run(folder: &Folder, args: &MonitorArgs) -> Result<u8, Failure> {
    let found = find(folder, args.name.as_deref())?;
    let peer = Peer::new(folder.socket(&found.name));
    let runtime = simple::runtime()?;
    let fail = |error: PeerError| Failure::monitor(format_args!("{}: {error}", found.name));
    // Asked once before the terminal changes, so that a silent machine is one line of text.
    let first = runtime.block_on(sample(&peer)).map_err(fail)?;
    let mut terminal = ratatui::try_init()
        .map_err(|error| Failure::monitor(format_args!("the monitor needs a terminal: {error}")))?;
    let result = watch(&mut terminal, &runtime, &peer, first);
    ratatui::restore();
    match result {
        Ok(()) => Ok(status::SUCCESS),
        // It has most likely ended while it was watched.
        Err(Left::Peer(_)) if matches!(folder.is_running(&found.name), Ok(false)) => {
            println!("{}: the machine has ended", found.name);
            Ok(status::SUCCESS)
        }
        Err(Left::Peer(error)) => Err(fail(error)),
        Err(Left::Terminal(error)) => Err(Failure::monitor(error)),
    }
}

/// Why the view was left, but for `q`.
enum Left {
    Peer(PeerError),
    Terminal(std::io::Error),
}

fn watch(
    terminal: &mut DefaultTerminal,
    runtime: &Runtime,
    peer: &Peer,
    first: Sample,
) -> Result<(), Left> {
    let mut view = View::new(first);
    let mut next = Instant::now() + INTERVAL;
    loop {
        terminal
            .draw(|frame| draw::draw(frame, &view))
            .map_err(Left::Terminal)?;
        let left = next.saturating_duration_since(Instant::now());
        if event::poll(left).map_err(Left::Terminal)? {
            match wish(&event::read().map_err(Left::Terminal)?) {
                Some(Wish::Quit) => return Ok(()),
                Some(Wish::Up) => view.scroll_up(),
                Some(Wish::Down) => view.scroll_down(),
                Some(Wish::PauseOrResume) => {
                    let action = match view.latest().status.state {
                        RunState::Paused => Action::Resume {},
                        _ => Action::Pause {},
                    };
                    let done = runtime.block_on(peer.act_within(PATIENCE, &action));
                    done.map_err(Left::Peer)?;
                    next = Instant::now();
                }
                None => {}
            }
        }
        if Instant::now() >= next {
            view.add(runtime.block_on(sample(peer)).map_err(Left::Peer)?);
            next = Instant::now() + INTERVAL;
        }
    }
}

/// What a key stands for.
enum Wish {
    Quit,
    Up,
    Down,
    PauseOrResume,
}

fn wish(event: &Event) -> Option<Wish> {
    let Event::Key(key) = event else { return None };
    if key.kind != KeyEventKind::Press {
        return None;
    }
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => Some(Wish::Quit),
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Wish::Quit),
        KeyCode::Char('k') | KeyCode::Up => Some(Wish::Up),
        KeyCode::Char('j') | KeyCode::Down => Some(Wish::Down),
        KeyCode::Char('p') => Some(Wish::PauseOrResume),
        _ => None,
    }
}

async fn sample(peer: &Peer) -> Result<Sample, PeerError> {
    let odd = || PeerError::Silent("it answers something else than it was asked".to_string());
    let Answer::Status(status) = peer.act_within(PATIENCE, &Action::Status {}).await? else {
        return Err(odd());
    };
    let Answer::Harts { harts } = peer.act_within(PATIENCE, &Action::Harts {}).await? else {
        return Err(odd());
    };
    let Answer::Stats(report) = peer.act_within(PATIENCE, &Action::Stats {}).await? else {
        return Err(odd());
    };
    Ok(Sample {
        status,
        harts,
        report,
    })
}
