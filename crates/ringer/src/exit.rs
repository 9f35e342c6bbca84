//! How a run ends, and the exit status that tells it to the shell.

use std::fmt;
use std::path::PathBuf;

/// Exit statuses. Those from 1 to 99 are the guest's own: the code with which a test program
/// reported failure.
pub mod status {
    /// The guest powered itself off, a test program passed, the machine was saved, or a recording
    /// was replayed to its end.
    pub const SUCCESS: u8 = 0;
    /// The command line or the configuration makes no sense; no guest has run.
    pub const USAGE: u8 = 2;
    /// The largest code of a guest's that is passed on; larger ones are reported as this.
    pub const GUEST_MAX: u8 = 99;
    /// Ringer could not do its work: a file is missing or malformed, the host refuses something.
    pub const MONITOR: u8 = 100;
    /// The guest asked for one more reset than `--resets` allows.
    pub const RESET_LIMIT: u8 = 102;
    /// The guest reported failure without a code, or cannot go on.
    pub const CRASH: u8 = 103;
    /// The operator stopped the machine: Ctrl-A x, `quit`, or a signal that was insisted on.
    pub const STOPPED: u8 = 104;
    /// `--timeout` ran out.
    pub const TIMEOUT: u8 = 124;
}

/// What `--help` says about exit statuses.
pub const HELP: &str = "\
Exit status:
  0        the guest powered off, a test program passed, or the machine was saved
  1-99     the code with which the guest's test program reported failure (HTIF, semihosting,
           the test device); larger codes are reported as 99
  2        the command line or the configuration file makes no sense
  100      Ringer could not do its work: a file is missing or malformed, the host refuses
  102      the guest asked for one more reset than --resets allows
  103      the guest crashed: it reported failure without a code, or cannot go on
  104      the operator stopped the machine (Ctrl-A x, quit, a signal)
  124      --timeout ran out";

/// Why a machine is not running any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The guest powered itself off.
    PoweredOff,
    /// A test program ended with this code; zero is success.
    Code(u64),
    /// The guest reported failure, or cannot go on.
    Crashed(String),
    /// The guest asked for a reset, and has had as many as are allowed.
    ResetLimit(u64),
    /// The operator stopped it.
    Stopped(&'static str),
    /// A signal asked the guest to power off, and it did not in this time.
    StayedOn {
        /// The signal.
        signal: &'static str,
        /// How long the guest had.
        seconds: u64,
    },
    /// A command that the agent in the guest ran ended with this status.
    Command(u8),
    /// A replay has come to the end of its recording.
    Replayed,
    /// The machine was saved, to be resumed later.
    Saved(PathBuf),
    /// `--timeout` ran out.
    TimedOut,
    /// The machine was left to a process in the background: it runs, or else that process has said
    /// why not and ended with this status.
    Detached(u8),
}

impl Outcome {
    /// The exit status that tells it.
    pub fn status(&self) -> u8 {
        match self {
            Self::PoweredOff | Self::Saved(_) | Self::Replayed => status::SUCCESS,
            Self::Code(code) => u8::try_from(*code)
                .unwrap_or(status::GUEST_MAX)
                .min(status::GUEST_MAX),
            Self::Command(status) => *status,
            Self::Crashed(_) => status::CRASH,
            Self::ResetLimit(_) => status::RESET_LIMIT,
            Self::Stopped(_) | Self::StayedOn { .. } => status::STOPPED,
            Self::TimedOut => status::TIMEOUT,
            Self::Detached(status) => *status,
        }
    }
    /// Whether it is worth a line on standard error.
    pub fn is_remarkable(&self) -> bool {
        !matches!(
            self,
            Self::PoweredOff | Self::Code(0) | Self::Detached(_) | Self::Command(_)
        )
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PoweredOff => write!(f, "the guest powered off"),
            Self::Code(0) => write!(f, "the guest's test program passed"),
            Self::Code(code) => write!(f, "the guest reported failure, code {code}"),
            Self::Command(status) => write!(f, "the command ended with status {status}"),
            Self::Crashed(why) => write!(f, "the guest crashed: {why}"),
            Self::ResetLimit(limit) => write!(
                f,
                "the guest asked for a reset, and --resets {limit} allows no more"
            ),
            Self::Stopped(by) => write!(f, "stopped by {by}"),
            Self::StayedOn { signal, seconds } => write!(
                f,
                "stopped by {signal}: the guest was asked to power off and did not within {seconds} s"
            ),
            Self::Replayed => write!(f, "the recording ends here"),
            Self::Saved(dir) => write!(
                f,
                "saved to {0}; resume with `ringer run --restore {0}`",
                dir.display()
            ),
            Self::TimedOut => write!(f, "--timeout ran out, the guest was still running"),
            Self::Detached(_) => write!(f, "the machine was left to the background"),
        }
    }
}

/// Why Ringer could not do what it was asked. Shown as one line: the cause and what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// The command line or configuration makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Something that Ringer needs is missing, malformed or refused.
    #[error("{0}")]
    Monitor(String),
}

impl Failure {
    /// A failure in Ringer's own work.
    pub fn monitor(why: impl fmt::Display) -> Self {
        Self::Monitor(why.to_string())
    }
    /// A mistake in the command line or the configuration.
    pub fn usage(why: impl fmt::Display) -> Self {
        Self::Usage(why.to_string())
    }
    /// The exit status that tells it.
    pub fn status(&self) -> u8 {
        match self {
            Self::Usage(_) => status::USAGE,
            Self::Monitor(_) => status::MONITOR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asked_for_the_end_is_named() {
        let outcome = Outcome::StayedOn {
            signal: "SIGHUP",
            seconds: 10,
        };
        assert_eq!(
            outcome.to_string(),
            "stopped by SIGHUP: the guest was asked to power off and did not within 10 s"
        );
        assert_eq!(outcome.status(), status::STOPPED);
    }

    #[test]
    fn guest_codes_never_collide_with_ringers_own() {
        assert_eq!(Outcome::Code(0).status(), 0);
        assert_eq!(Outcome::Code(7).status(), 7);
        assert_eq!(Outcome::Code(99).status(), 99);
        assert_eq!(Outcome::Code(100).status(), 99);
        assert_eq!(Outcome::Code(256).status(), 99);
        assert_eq!(Outcome::Code(u64::MAX).status(), 99);
    }
}
