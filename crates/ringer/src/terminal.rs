//! The terminal that Ringer was started on: raw while the guest has it, and always restored,
//! also after a panic or a deadly signal.

use std::io::{self, IsTerminal};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios};

/// What the terminal was like before the first change, and how it is now.
struct Saved {
    before: Option<Termios>,
    raw: bool,
}

/// A terminal belongs to the process, and a panic hook has no other way to find it.
static SAVED: Mutex<Saved> = Mutex::new(Saved {
    before: None,
    raw: false,
});

fn saved() -> MutexGuard<'static, Saved> {
    SAVED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Restores the terminal when it goes, for good: nobody can make it raw afterwards.
#[derive(Debug)]
pub struct Terminal(());

impl Terminal {
    /// Takes charge of standard input if it is a terminal.
    pub fn open() -> Option<Self> {
        if !io::stdin().is_terminal() {
            return None;
        }
        let before = rustix::termios::tcgetattr(rustix::stdio::stdin()).ok()?;
        saved().before = Some(before);
        restore_on_panic();
        Some(Self(()))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        set(false);
        saved().before = None;
    }
}

/// Every key goes to the guest at once. Nothing happens when nobody is in charge of a terminal.
pub fn raw() {
    set(true);
}

/// Lines are edited and echoed, for the monitor prompt.
pub fn cooked() {
    set(false);
}

/// Makes the terminal raw again if it was before a stop (SIGTSTP) and continuation.
pub fn reapply() {
    let was_raw = saved().raw;
    set(was_raw);
}

/// Restores the terminal for a stop, but remembers that it was raw.
pub fn suspend() {
    let saved = saved();
    if let Some(before) = &saved.before {
        apply(before);
    }
}

/// Restores the terminal without waiting for anybody, for a process that ends at once.
pub fn restore_if_possible() {
    if let Ok(saved) = SAVED.try_lock()
        && let Some(before) = &saved.before
    {
        apply(before);
    }
}

fn apply(termios: &Termios) {
    // The terminal may be gone (SIGHUP); then there is nothing to restore.
    let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, termios);
}

fn set(raw: bool) {
    let mut saved = saved();
    let Some(before) = &saved.before else { return };
    let mut termios = before.clone();
    if raw {
        termios.make_raw();
        // Output keeps its post-processing: bare-metal guests and our own messages end lines
        // with "\n" alone.
        termios.output_modes = before.output_modes;
        termios.local_modes.remove(LocalModes::ISIG);
        termios.special_codes[SpecialCodeIndex::VMIN] = 1;
        termios.special_codes[SpecialCodeIndex::VTIME] = 0;
    }
    apply(&termios);
    saved.raw = raw;
}

/// Restores the terminal from a signal handler: without waiting for anything.
pub fn restore_at_once() {
    if let Ok(saved) = SAVED.try_lock()
        && let Some(before) = &saved.before
    {
        let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, before);
    }
}

fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let earlier = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            cooked();
            earlier(info);
        }));
    });
}

/// What a typed byte means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    /// A byte for the guest.
    Guest(u8),
    /// Ctrl-A x.
    Quit,
    /// Ctrl-A c.
    Monitor,
    /// Ctrl-A d.
    Detach,
    /// Ctrl-A h, or an unknown key after Ctrl-A.
    Help,
}

/// The escape key.
const CTRL_A: u8 = 1;

/// What Ctrl-A h says.
pub const ESCAPE_HELP: &str =
    "Ctrl-A x: quit   Ctrl-A c: monitor prompt   Ctrl-A a: send Ctrl-A   Ctrl-A h: this help";

/// Finds Ctrl-A and what follows it in typed bytes.
#[derive(Default, Debug)]
pub struct EscapeParser {
    escaped: bool,
}

impl EscapeParser {
    /// Takes the next byte; `None` if it is the first half of an escape.
    pub fn next(&mut self, byte: u8) -> Option<Key> {
        if !self.escaped {
            if byte == CTRL_A {
                self.escaped = true;
                return None;
            }
            return Some(Key::Guest(byte));
        }
        self.escaped = false;
        Some(match byte {
            b'x' | b'X' => Key::Quit,
            b'c' | b'C' => Key::Monitor,
            b'd' | b'D' => Key::Detach,
            // Like a terminal multiplexer, also the key itself again.
            b'a' | b'A' | CTRL_A => Key::Guest(CTRL_A),
            _ => Key::Help,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_found_and_all_else_passes() {
        let mut parser = EscapeParser::default();
        let keys: Vec<Key> = b"ab\x01a\x01\x01\x01x\x01c\x01d\x01?\xffz"
            .iter()
            .filter_map(|&b| parser.next(b))
            .collect();
        assert_eq!(
            keys,
            [
                Key::Guest(b'a'),
                Key::Guest(b'b'),
                Key::Guest(1),
                Key::Guest(1),
                Key::Quit,
                Key::Monitor,
                Key::Detach,
                Key::Help,
                Key::Guest(0xff),
                Key::Guest(b'z'),
            ]
        );
    }
}
