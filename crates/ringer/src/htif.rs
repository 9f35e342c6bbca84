//! HTIF, by which bare RISC-V test programs talk to a simulator: two words in memory, found by
//! the symbols `tohost` and `fromhost`.
//!
//! `tohost` holds device (bits 63:56), command (55:48) and payload (47:0). Device 0 command 0:
//! an odd payload ends the run with the code `payload >> 1`; an even one is the address of a
//! system call's eight words. Device 1: command 0 reads a character, command 1 writes one.

use std::sync::Mutex;

use ringer_hart::{GuestPhys, Ram};
use ringer_machine::backend::ConsoleBackend;

use crate::loader::Symbols;

/// Linux's number of `write`, which the proxied system calls use.
const SYS_WRITE: u64 = 64;
/// Linux's number of `exit`.
const SYS_EXIT: u64 = 93;
/// `-ENOSYS`.
const NOT_IMPLEMENTED: u64 = -38i64 as u64;
/// `-EFAULT`.
const BAD_ADDRESS: u64 = -14i64 as u64;
/// `-EBADF`.
const BAD_FILE: u64 = -9i64 as u64;
/// The most that one `write` moves; the program is told how much it was, and calls again.
const WRITE_MAX: u64 = 64 << 10;

/// One machine's HTIF.
pub struct Htif {
    tohost: GuestPhys,
    /// Programs that only exit have no `fromhost`.
    fromhost: Option<GuestPhys>,
    host: Mutex<Host>,
}

struct Host {
    console: Box<dyn ConsoleBackend>,
    /// A command to device 0 that stood in `tohost` at the last look; 0 for none. Many programs
    /// write `tohost` in two halves, and the low half of a character alone looks like a command
    /// to device 0: so these are taken up when seen twice.
    seen: u64,
}

impl Htif {
    /// The HTIF of a program with these symbols, if it has one.
    pub fn new(symbols: &Symbols, console: Box<dyn ConsoleBackend>) -> Option<Self> {
        let aligned = |address: &u64| address.is_multiple_of(8);
        Some(Self {
            tohost: GuestPhys(symbols.tohost.filter(aligned)?),
            fromhost: symbols.fromhost.filter(aligned).map(GuestPhys),
            host: Mutex::new(Host { console, seen: 0 }),
        })
    }
    /// Where the program leaves its commands.
    pub fn tohost(&self) -> GuestPhys {
        self.tohost
    }
    /// Takes up what the program has asked since the last time. `Some` is its exit code.
    pub fn poll(&self, ram: &Ram) -> Option<u64> {
        let command = ram.load::<u64>(self.tohost).filter(|&word| word != 0)?;
        // Two harts' threads may both look: only one may act.
        let mut host = self
            .host
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let seen = std::mem::take(&mut host.seen);
        if command >> 48 == 0 && seen != command {
            host.seen = command;
            return None;
        }
        let console = &mut host.console;
        if ram.compare_exchange(self.tohost, command, 0u64) != Some(Ok(command)) {
            return None;
        }
        let payload = command & 0xffff_ffff_ffff;
        match (command >> 56, command >> 48 & 0xff) {
            (0, 0) if payload & 1 != 0 => return Some(payload >> 1),
            (0, 0) => {
                let (result, exit) = system_call(ram, GuestPhys(payload), &mut **console);
                if exit.is_some() {
                    return exit;
                }
                ram.store(GuestPhys(payload), result);
                self.reply(ram, 1);
            }
            (1, 0) => {
                let mut byte = [0];
                if console.read(&mut byte) == 1 {
                    // The reply carries the character with bit 8 set.
                    self.reply(ram, 1 << 56 | 0x100 | u64::from(byte[0]));
                } else {
                    // Nothing typed yet: the request stays, and is looked at again.
                    ram.store(self.tohost, command);
                }
            }
            (1, 1) => {
                console.write(&[payload as u8]);
                self.reply(ram, 1 << 56 | 1 << 48);
            }
            // An unknown device does not answer; the program can see that it was taken.
            _ => {}
        }
        None
    }
    fn reply(&self, ram: &Ram, word: u64) {
        if let Some(fromhost) = self.fromhost {
            ram.store(fromhost, word);
        }
    }
}

/// A proxied system call: its result, and an exit code if it was `exit`.
fn system_call(ram: &Ram, at: GuestPhys, console: &mut dyn ConsoleBackend) -> (u64, Option<u64>) {
    let word = |index: u64| ram.load::<u64>(at.offset(8 * index));
    let (Some(number), Some(a0), Some(a1), Some(a2)) = (word(0), word(1), word(2), word(3)) else {
        return (BAD_ADDRESS, None);
    };
    match number {
        SYS_WRITE if a0 == 1 || a0 == 2 => {
            let len = a2.min(WRITE_MAX);
            let mut bytes = vec![0; len as usize];
            match ram.read(GuestPhys(a1), &mut bytes) {
                Some(()) => {
                    console.write(&bytes);
                    (len, None)
                }
                None if len == 0 => (0, None),
                None => (BAD_ADDRESS, None),
            }
        }
        SYS_WRITE => (BAD_FILE, None),
        SYS_EXIT => (0, Some(a0)),
        _ => (NOT_IMPLEMENTED, None),
    }
}

/// A conformance test's signature: the words from `begin_signature` to `end_signature`, one
/// 8-digit hexadecimal number a line, the last one filled up with zeroes as Spike does. `None` if
/// the range is not RAM.
pub fn signature(ram: &Ram, begin: u64, end: u64) -> Option<String> {
    let len = end.checked_sub(begin)?;
    if len > 0 {
        ram.offset(GuestPhys(begin), len)?;
    }
    let mut text = String::new();
    for at in (begin..end).step_by(4) {
        let mut word = [0; 4];
        let bytes = word.get_mut(..end.saturating_sub(at).min(4) as usize)?;
        ram.read(GuestPhys(at), bytes)?;
        text.push_str(&format!("{:08x}\n", u32::from_le_bytes(word)));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::HostMemory;
    use std::sync::Arc;

    const BASE: u64 = 0x8000_0000;
    const SYMBOLS: Symbols = Symbols {
        tohost: Some(BASE + 0x100),
        fromhost: Some(BASE + 0x140),
        begin_signature: None,
        end_signature: None,
    };

    #[derive(Clone, Default)]
    struct Recorder(Arc<Mutex<(Vec<u8>, Vec<u8>)>>);
    impl ConsoleBackend for Recorder {
        fn write(&mut self, bytes: &[u8]) {
            self.0.lock().unwrap().0.extend(bytes);
        }
        fn read(&mut self, into: &mut [u8]) -> usize {
            match self.0.lock().unwrap().1.pop() {
                Some(byte) => {
                    into[0] = byte;
                    1
                }
                None => 0,
            }
        }
    }

    fn machine() -> (Ram, Recorder, Htif) {
        let memory = HostMemory::new(1 << 20).unwrap();
        let recorder = Recorder::default();
        let htif = Htif::new(&SYMBOLS, Box::new(recorder.clone())).unwrap();
        // The memory is never unmapped, only given back; keep it for the test.
        let ram = memory.ram(GuestPhys(BASE));
        std::mem::forget(memory);
        (ram, recorder, htif)
    }

    fn tohost(ram: &Ram, word: u64) {
        ram.store(GuestPhys(BASE + 0x100), word).unwrap();
    }
    /// Looks until a command to device 0 is taken up.
    fn look_twice(htif: &Htif, ram: &Ram) -> Option<u64> {
        assert_eq!(htif.poll(ram), None);
        htif.poll(ram)
    }
    fn fromhost(ram: &Ram) -> u64 {
        ram.load(GuestPhys(BASE + 0x140)).unwrap()
    }

    #[test]
    fn exit_codes_follow_the_riscv_tests_convention() {
        let (ram, _, htif) = machine();
        assert_eq!(htif.poll(&ram), None);
        tohost(&ram, 1);
        assert_eq!(look_twice(&htif, &ram), Some(0));
        tohost(&ram, 7 << 1 | 1);
        assert_eq!(look_twice(&htif, &ram), Some(7));
    }

    #[test]
    fn half_a_character_is_no_command() {
        let (ram, recorder, htif) = machine();
        for byte in *b"RING" {
            ram.store(GuestPhys(BASE + 0x100), u32::from(byte));
            assert_eq!(htif.poll(&ram), None);
            ram.store(GuestPhys(BASE + 0x104), 0x0101_0000u32);
            assert_eq!(htif.poll(&ram), None);
        }
        assert_eq!(recorder.0.lock().unwrap().0, b"RING");
        tohost(&ram, 3);
        assert_eq!(htif.poll(&ram), None);
        tohost(&ram, 5);
        assert_eq!(htif.poll(&ram), None, "another command than the one seen");
        assert_eq!(htif.poll(&ram), Some(2));
    }

    #[test]
    fn characters_and_writes_reach_the_console() {
        let (ram, recorder, htif) = machine();
        tohost(&ram, 1 << 56 | 1 << 48 | u64::from(b'A'));
        assert_eq!(htif.poll(&ram), None);
        assert_eq!(fromhost(&ram), 1 << 56 | 1 << 48);
        ram.write(GuestPhys(BASE + 0x400), b"hello").unwrap();
        for (n, word) in [64, 1, BASE + 0x400, 5].into_iter().enumerate() {
            ram.store::<u64>(GuestPhys(BASE + 0x200 + 8 * n as u64), word);
        }
        tohost(&ram, BASE + 0x200);
        assert_eq!(look_twice(&htif, &ram), None);
        assert_eq!(fromhost(&ram), 1);
        assert_eq!(ram.load::<u64>(GuestPhys(BASE + 0x200)), Some(5));
        assert_eq!(recorder.0.lock().unwrap().0, b"Ahello");
    }

    #[test]
    fn a_read_waits_for_a_key() {
        let (ram, recorder, htif) = machine();
        tohost(&ram, 1 << 56);
        assert_eq!(htif.poll(&ram), None);
        assert_eq!(fromhost(&ram), 0);
        recorder.0.lock().unwrap().1.push(b'k');
        assert_eq!(htif.poll(&ram), None);
        assert_eq!(fromhost(&ram), 1 << 56 | 0x100 | u64::from(b'k'));
    }

    #[test]
    fn hostile_requests_are_answered_with_errors() {
        let (ram, _, htif) = machine();
        for address in [2, 0xffff_ffff_fff8, BASE + (1 << 20) - 8, BASE + 0x202] {
            tohost(&ram, address);
            assert_eq!(look_twice(&htif, &ram), None);
            assert_eq!(ram.load::<u64>(GuestPhys(BASE + 0x100)), Some(0), "taken");
        }
        for (a0, a1, a2) in [
            (1, u64::MAX, u64::MAX),
            (1, BASE + (1 << 20) - 1, 2),
            (7, BASE, 1),
        ] {
            for (n, word) in [64, a0, a1, a2].into_iter().enumerate() {
                ram.store::<u64>(GuestPhys(BASE + 0x200 + 8 * n as u64), word);
            }
            tohost(&ram, BASE + 0x200);
            assert_eq!(look_twice(&htif, &ram), None);
            let result = ram.load::<u64>(GuestPhys(BASE + 0x200)).unwrap();
            assert!((result as i64) < 0, "{result:#x}");
        }
    }

    #[test]
    fn signatures_are_words_in_hex() {
        let (ram, ..) = machine();
        ram.store::<u32>(GuestPhys(BASE + 0x10), 0xdead_beef);
        ram.store::<u32>(GuestPhys(BASE + 0x14), 0xA);
        assert_eq!(
            signature(&ram, BASE + 0x10, BASE + 0x18).unwrap(),
            "deadbeef\n0000000a\n"
        );
        assert_eq!(
            signature(&ram, BASE + 0x11, BASE + 0x16).unwrap(),
            "0adeadbe\n00000000\n"
        );
        assert_eq!(signature(&ram, BASE, BASE).unwrap(), "");
        assert_eq!(signature(&ram, BASE + 8, BASE), None);
        assert_eq!(signature(&ram, 0, 4), None);
        assert_eq!(signature(&ram, BASE, BASE + (2 << 20)), None);
    }
}
