//! Asking a guest to power off, and what happens if it does not.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ringer_machine::virtio::ButtonControl;

use super::conductor::Conductor;
use crate::control::ReplyTo;
use crate::control::answer::Refused;
use crate::exit::{Failure, Outcome};
use crate::machine::MachineClock;
use crate::runner::Vm;

/// How long a guest may take that hears of its power button, to end all that runs in it.
const SHUTDOWN: Duration = Duration::from_secs(20);

/// How long a guest may take that was told to power off at once.
const GRACE: Duration = Duration::from_secs(10);

/// Time for a guest to act on a SysRq command.
const SYSRQ_PAUSE: Duration = Duration::from_millis(700);

/// A guest was asked to power off, and has until then.
pub(super) struct Asked {
    pub(super) until: Instant,
    patience: Duration,
    /// The signal by which it is over then in any case. Without one the machine runs on.
    insists: Option<&'static str>,
    /// Who waits for the end.
    pub(super) waiting: Vec<ReplyTo>,
}

impl Conductor {
    /// The first time the guest is asked to power off, or the machine is saved; the second time
    /// it is over.
    pub(super) fn asked_to_end(
        &mut self,
        signal: &'static str,
    ) -> Result<Option<Outcome>, Failure> {
        if let Some(dir) = self.config.save.clone() {
            return match self.save(&dir) {
                Err(failure) if !self.save_failed => {
                    self.save_failed = true;
                    eprint!(
                        "\r\nringer: {failure}; the guest runs on, and a second {signal} ends it\r\n"
                    );
                    Ok(None)
                }
                result => result.map(Some),
            };
        }
        let asked = self.asked.as_ref();
        let insisted = asked.is_some_and(|asked| asked.insists.is_some());
        if insisted || self.threads.is_paused() {
            return Ok(Some(Outcome::Stopped(signal)));
        }
        self.ask_to_power_off().insists = Some(signal);
        Ok(None)
    }

    /// Asks the guest, unless it was asked already.
    pub(super) fn ask_to_power_off(&mut self) -> &mut Asked {
        self.asked.get_or_insert_with(|| {
            let patience = ask_to_power_off(Arc::clone(&self.vm));
            Asked {
                until: Instant::now() + patience,
                patience,
                insists: None,
                waiting: Vec::new(),
            }
        })
    }

    /// The guest has had its time, if that is over.
    pub(super) fn give_up_asking(&mut self, now: Instant) -> Option<Outcome> {
        let asked = self.asked.take_if(|asked| now >= asked.until)?;
        if let Some(signal) = asked.insists {
            return Some(Outcome::StayedOn {
                signal,
                seconds: asked.patience.as_secs(),
            });
        }
        let why = format!(
            "the guest was asked to power off and did not within {} s; it runs on, and --force ends it",
            asked.patience.as_secs()
        );
        for reply_to in asked.waiting {
            reply_to(Err(Refused::because(&why)));
        }
        None
    }
}

/// Presses the power button, if the guest has a driver for it. If not, or to no avail, a Linux guest
/// still hears SysRq commands on its serial console: sync, remount read-only, power off. Each
/// starts work that the next must not overtake. Returns how long all of it may take.
fn ask_to_power_off(vm: Arc<Vm>) -> Duration {
    let button = vm.machine.button.clone();
    let button = button.filter(ButtonControl::is_connected);
    let shutdown = button.as_ref().map_or(Duration::ZERO, |_| SHUTDOWN);
    thread::spawn(move || {
        if let Some(button) = button {
            button.press();
            vm.machine.board.poll();
            thread::sleep(shutdown);
        }
        for key in [b's', b'u', b'o'] {
            vm.send_break_and(key);
            thread::sleep(SYSRQ_PAUSE);
        }
    });
    shutdown + GRACE
}

impl Vm {
    fn send_break_and(&self, key: u8) {
        match &self.machine.clock {
            MachineClock::Host(_) => self.machine.board.uart().send_break_and(key),
            MachineClock::Virtual(_) => {
                self.inputs.send_break_and(key);
                self.call_in();
            }
        }
    }
}
