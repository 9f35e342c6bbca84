//! When a file that guest RAM is mapped from is cut short, or its disk fails: the machine cannot
//! go on, and says why. One of the few modules with `unsafe`.

use signal_hook::consts::SIGBUS;

use crate::exit::{Failure, status};
use crate::terminal;

const WHY: &[u8] = b"\nringer: the saved machine that this one goes on from was cut short or cannot be read any more; restore it from another copy\n";

/// From here on the process ends so, instead of by the signal.
pub fn watch() -> Result<(), Failure> {
    let handler = || {
        terminal::restore_at_once();
        let _ = rustix::io::write(rustix::stdio::stderr(), WHY);
        signal_hook::low_level::exit(status::MONITOR.into());
    };
    // SAFETY: a signal handler may only do what is async-signal-safe: this one takes a lock only
    // if it is free, and makes the system calls ioctl, write and exit_group. It does not return.
    unsafe { signal_hook::low_level::register(SIGBUS, handler) }
        .map(|_| ())
        .map_err(Failure::monitor)
}
