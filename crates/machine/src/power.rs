//! How a guest ends its own run: the switch that the test device and the SBI throw.

use alloc::sync::Arc;

use ringer_hart::Lines;
use ringer_hart::bus::request;

use crate::lock::Lock;

/// What a guest asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shutdown {
    /// Switch the machine off.
    PowerOff,
    /// Start it again.
    Reset,
    /// Switch it off, and report this code as a failure.
    Fail(u16),
}

/// The switch. The first request counts until it is taken; all harts are asked to yield, so
/// that whoever runs them sees it.
pub struct PowerSwitch {
    asked: Lock<Option<Shutdown>>,
    lines: Arc<[Lines]>,
}

impl PowerSwitch {
    /// A switch nobody has touched, on a machine with these harts.
    pub fn new(lines: Arc<[Lines]>) -> Self {
        Self {
            asked: Lock::new(None),
            lines,
        }
    }
    /// A guest asks for `shutdown`.
    pub fn request(&self, shutdown: Shutdown) {
        self.asked.lock().get_or_insert(shutdown);
        for lines in self.lines.iter() {
            lines.request(request::YIELD);
        }
    }
    /// What was asked, if anything; the switch is untouched again.
    pub fn take(&self) -> Option<Shutdown> {
        self.asked.lock().take()
    }
}
