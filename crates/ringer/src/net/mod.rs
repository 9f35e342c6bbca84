//! Networks behind network devices.

pub mod tap;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ringer_machine::board::Board;
use rustix::event::{PollFd, PollFlags};

pub use tap::{Tap, TapError};

/// How long frames wait that a guest has no room for.
const BUSY: Duration = Duration::from_millis(1);

/// Lets the board's devices take frames up when they come in.
pub fn watch(taps: Vec<Tap>, board: Arc<Board>) {
    if taps.is_empty() {
        return;
    }
    thread::spawn(move || {
        let ready = |timeout: Option<&rustix::event::Timespec>| {
            let mut fds: Vec<PollFd<'_>> = taps
                .iter()
                .map(|tap| PollFd::new(tap, PollFlags::IN))
                .collect();
            matches!(rustix::event::poll(&mut fds, timeout), Ok(count) if count > 0)
        };
        let at_once = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        loop {
            if ready(None) {
                board.poll();
            }
            if ready(Some(&at_once)) {
                thread::sleep(BUSY);
            }
        }
    });
}
