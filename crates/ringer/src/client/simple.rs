//! `ringer stop`, `stats` and `wait`: one question each.

use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use super::args::{StatsArgs, StopArgs, WaitArgs};
use super::find;
use super::peer::{Peer, PeerError};
use crate::control::place::Folder;
use crate::control::{Action, Answer};
use crate::exit::{Failure, status};

/// How long a machine may take for an answer that needs no work.
const PATIENCE: Duration = Duration::from_secs(40);
/// How often a guest is asked whether it is ready.
const INTERVAL: Duration = Duration::from_millis(20);

/// What the client's talks run on.
pub fn runtime() -> Result<Runtime, Failure> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::monitor)
}

/// What a machine's refusal comes to.
pub fn fail(name: &str, error: PeerError) -> Failure {
    Failure::monitor(format_args!("{name}: {error}"))
}

/// Ends machines, one after the other.
pub fn stop(folder: &Folder, args: &StopArgs) -> Result<u8, Failure> {
    let mut worst = status::SUCCESS;
    for name in &args.names {
        let found = find(folder, Some(name))?;
        let peer = Peer::new(folder.socket(&found.name));
        let action = Action::Stop { force: args.force };
        let answer = runtime()?
            .block_on(peer.act_within(PATIENCE, &action))
            .map_err(|error| fail(name, error))?;
        if let Answer::Ended { outcome, status } = answer {
            println!("{name}: {outcome}");
            worst = worst.max(status);
        }
        // The name is free when this returns.
        while folder.is_running(name).map_err(Failure::monitor)? {
            std::thread::sleep(INTERVAL);
        }
    }
    Ok(worst)
}

/// Prints counters.
pub fn stats(folder: &Folder, args: &StatsArgs) -> Result<u8, Failure> {
    let found = find(folder, args.name.as_deref())?;
    let peer = Peer::new(folder.socket(&found.name));
    let answer = runtime()?
        .block_on(peer.act_within(PATIENCE, &Action::Stats {}))
        .map_err(|error| fail(&found.name, error))?;
    match answer {
        Answer::Stats(report) if args.json => {
            let text = serde_json::to_string_pretty(&report).map_err(Failure::monitor)?;
            println!("{text}");
        }
        answer => print!("{answer}"),
    }
    Ok(status::SUCCESS)
}

/// Waits until a guest is ready.
pub fn wait(folder: &Folder, args: &WaitArgs) -> Result<u8, Failure> {
    let deadline = match args.timeout.map(Duration::try_from_secs_f64) {
        None => None,
        Some(Ok(timeout)) => Instant::now().checked_add(timeout),
        Some(Err(_)) => return Err(Failure::usage("--timeout must be a number of seconds")),
    };
    let found = find(folder, args.name.as_deref())?;
    let peer = Peer::new(folder.socket(&found.name));
    let runtime = runtime()?;
    loop {
        match runtime.block_on(peer.is_ready()) {
            Ok(true) => return Ok(status::SUCCESS),
            Ok(false) => {}
            Err(_) if !folder.is_running(&found.name).map_err(Failure::monitor)? => {
                return Err(Failure::monitor(format_args!(
                    "{}: the machine ended before its guest was ready",
                    found.name
                )));
            }
            // It starts still, and does not listen yet.
            Err(_) => {}
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            eprintln!("ringer: {}: its guest is not ready yet", found.name);
            return Ok(status::TIMEOUT);
        }
        std::thread::sleep(INTERVAL);
    }
}
