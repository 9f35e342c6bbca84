//! Ctrl-C during long work on files: the work ends at a place where it can be ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::exit::Failure;

/// Whether somebody wants the work to end.
#[derive(Clone)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Signals are noted from here on.
    pub fn watch() -> Result<Self, Failure> {
        let wanted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, wanted.clone()).map_err(Failure::monitor)?;
        }
        Ok(Self(wanted))
    }
    /// Whether the work shall end.
    pub fn is_wanted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
