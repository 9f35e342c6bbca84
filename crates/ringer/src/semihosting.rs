//! Semihosting: a bare program asks its debugger for a console, the time and an end
//! (RISC-V Semihosting 1.0, with the calls of Arm's specification). Host files stay out of reach.

use std::time::Instant;

use ringer_machine::backend::ConsoleBackend;
use ringer_machine::clock::{Clock, TICKS_PER_SECOND};

/// The guest's memory as the calling program sees it, through its own translation.
pub trait GuestMemory {
    /// Reads; false, and unspecified content, if it is not all accessible.
    fn read(&self, address: u64, into: &mut [u8]) -> bool;
    /// Writes; false if it is not all accessible.
    fn write(&self, address: u64, from: &[u8]) -> bool;
}

/// What a call leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// This goes into a0, and the program goes on.
    Value(u64),
    /// The program ends with this code.
    Exit(u64),
}

/// Numbers of the calls.
mod call {
    pub const OPEN: u64 = 0x01;
    pub const CLOSE: u64 = 0x02;
    pub const WRITEC: u64 = 0x03;
    pub const WRITE0: u64 = 0x04;
    pub const WRITE: u64 = 0x05;
    pub const READ: u64 = 0x06;
    pub const READC: u64 = 0x07;
    pub const ISERROR: u64 = 0x08;
    pub const ISTTY: u64 = 0x09;
    pub const SEEK: u64 = 0x0a;
    pub const FLEN: u64 = 0x0c;
    pub const CLOCK: u64 = 0x10;
    pub const TIME: u64 = 0x11;
    pub const ERRNO: u64 = 0x13;
    pub const GET_CMDLINE: u64 = 0x15;
    pub const HEAPINFO: u64 = 0x16;
    pub const EXIT: u64 = 0x18;
    pub const EXIT_EXTENDED: u64 = 0x20;
    pub const ELAPSED: u64 = 0x30;
    pub const TICKFREQ: u64 = 0x31;
}

/// "The application ended by itself" among the reasons of SYS_EXIT.
const APPLICATION_EXIT: u64 = 0x20026;
/// What a call that failed returns.
const FAILED: u64 = u64::MAX;
const EBADF: u64 = 9;
const EFAULT: u64 = 14;
const EINVAL: u64 = 22;
const ENOENT: u64 = 2;
const ENOSYS: u64 = 38;
const ESPIPE: u64 = 29;

/// Handles of the three streams that `:tt` opens.
const STDIN: u64 = 1;
const STDOUT: u64 = 2;
const STDERR: u64 = 3;

/// The most that one call moves or one string has.
const MOST: u64 = 1 << 20;

/// One machine's semihosting host.
pub struct Semihosting {
    console: Box<dyn ConsoleBackend>,
    command_line: String,
    errno: u64,
    started: Option<Instant>,
}

impl Semihosting {
    /// A host on `console`; `repeatable` takes all times from the guest's clock.
    pub fn new(console: Box<dyn ConsoleBackend>, command_line: String, repeatable: bool) -> Self {
        Self {
            console,
            command_line,
            errno: 0,
            started: (!repeatable).then(Instant::now),
        }
    }
    /// Answers the call `number` with argument `a1`.
    pub fn answer(
        &mut self,
        number: u64,
        a1: u64,
        memory: &dyn GuestMemory,
        clock: &dyn Clock,
    ) -> Reply {
        let result = match number {
            call::EXIT => {
                // On 64-bit the argument is a block: a reason and a code.
                let Some(reason) = word(memory, a1, 0) else {
                    return Reply::Exit(1);
                };
                let code = word(memory, a1, 1).unwrap_or(1);
                return Reply::Exit(exit_code(reason, code));
            }
            call::EXIT_EXTENDED => {
                let reason = word(memory, a1, 0).unwrap_or(0);
                let code = word(memory, a1, 1).unwrap_or(1);
                return Reply::Exit(exit_code(reason, code));
            }
            call::OPEN => self.open(a1, memory),
            call::CLOSE => word(memory, a1, 0)
                .ok_or(EFAULT)
                .and_then(stream)
                .map(|_| 0),
            call::WRITEC => {
                let mut byte = [0];
                if memory.read(a1, &mut byte) {
                    self.console.write(&byte);
                    Ok(0)
                } else {
                    Err(EFAULT)
                }
            }
            call::WRITE0 => self.write0(a1, memory),
            call::WRITE => self.write(a1, memory),
            call::READ => self.read(a1, memory),
            call::READC => {
                let mut byte = [0];
                match self.console.read(&mut byte) {
                    1 => Ok(u64::from(byte[0])),
                    _ => Err(0),
                }
            }
            call::ISERROR => Ok(word(memory, a1, 0).is_none_or(|w| (w as i64) < 0).into()),
            call::ISTTY => word(memory, a1, 0)
                .ok_or(EFAULT)
                .and_then(stream)
                .map(|_| 1),
            call::SEEK => Err(ESPIPE),
            call::FLEN => word(memory, a1, 0)
                .ok_or(EFAULT)
                .and_then(stream)
                .map(|_| 0),
            call::CLOCK => Ok(self.hundredths(clock)),
            call::TIME => Ok(self.seconds(clock)),
            call::ERRNO => return Reply::Value(self.errno),
            call::GET_CMDLINE => self.get_command_line(a1, memory),
            call::HEAPINFO => {
                // Four zeroes: the program knows better where its heap and stack are.
                match word(memory, a1, 0) {
                    Some(block) if memory.write(block, &[0; 32]) => Ok(0),
                    _ => Err(EFAULT),
                }
            }
            call::ELAPSED => {
                if memory.write(a1, &clock.ticks().to_le_bytes()) {
                    Ok(0)
                } else {
                    Err(EFAULT)
                }
            }
            call::TICKFREQ => Ok(TICKS_PER_SECOND),
            _ => Err(ENOSYS),
        };
        match result {
            Ok(value) => Reply::Value(value),
            Err(errno) => {
                self.errno = errno;
                Reply::Value(FAILED)
            }
        }
    }

    fn hundredths(&self, clock: &dyn Clock) -> u64 {
        match self.started {
            Some(started) => (started.elapsed().as_millis() / 10) as u64,
            None => clock.ticks() / (TICKS_PER_SECOND / 100),
        }
    }
    fn seconds(&self, clock: &dyn Clock) -> u64 {
        clock.wall_nanos() / 1_000_000_000
    }
    fn open(&self, a1: u64, memory: &dyn GuestMemory) -> Result<u64, u64> {
        let name = word(memory, a1, 0).ok_or(EFAULT)?;
        let mode = word(memory, a1, 1).ok_or(EFAULT)?;
        let len = word(memory, a1, 2).ok_or(EFAULT)?;
        let mut bytes = [0; 3];
        if len != 3 || !memory.read(name, &mut bytes) || &bytes != b":tt" {
            return Err(ENOENT);
        }
        match mode {
            0..4 => Ok(STDIN),
            4..8 => Ok(STDOUT),
            8..12 => Ok(STDERR),
            _ => Err(EINVAL),
        }
    }
    fn write0(&mut self, a1: u64, memory: &dyn GuestMemory) -> Result<u64, u64> {
        let mut text = Vec::new();
        for at in 0..MOST {
            let mut byte = [0];
            if !memory.read(a1.wrapping_add(at), &mut byte) {
                return Err(EFAULT);
            }
            if byte[0] == 0 {
                break;
            }
            text.push(byte[0]);
        }
        self.console.write(&text);
        Ok(0)
    }
    /// Returns how many bytes were *not* written.
    fn write(&mut self, a1: u64, memory: &dyn GuestMemory) -> Result<u64, u64> {
        let handle = word(memory, a1, 0).ok_or(EFAULT)?;
        let from = word(memory, a1, 1).ok_or(EFAULT)?;
        let len = word(memory, a1, 2).ok_or(EFAULT)?;
        if stream(handle)? == STDIN {
            return Err(EBADF);
        }
        let now = len.min(MOST);
        let mut bytes = vec![0; now as usize];
        if !memory.read(from, &mut bytes) {
            return Err(EFAULT);
        }
        self.console.write(&bytes);
        Ok(len - now)
    }
    /// Returns how many bytes were *not* read.
    fn read(&mut self, a1: u64, memory: &dyn GuestMemory) -> Result<u64, u64> {
        let handle = word(memory, a1, 0).ok_or(EFAULT)?;
        let to = word(memory, a1, 1).ok_or(EFAULT)?;
        let len = word(memory, a1, 2).ok_or(EFAULT)?;
        if stream(handle)? != STDIN {
            return Err(EBADF);
        }
        let mut bytes = vec![0; len.min(MOST) as usize];
        let got = self.console.read(&mut bytes);
        let bytes = bytes.get(..got).ok_or(EINVAL)?;
        if !memory.write(to, bytes) {
            return Err(EFAULT);
        }
        Ok(len - got as u64)
    }
    fn get_command_line(&self, a1: u64, memory: &dyn GuestMemory) -> Result<u64, u64> {
        let buffer = word(memory, a1, 0).ok_or(EFAULT)?;
        let room = word(memory, a1, 1).ok_or(EFAULT)?;
        let mut text = self.command_line.clone().into_bytes();
        let len = text.len() as u64;
        text.push(0);
        if room < len + 1 {
            return Err(EINVAL);
        }
        let length_at = a1.wrapping_add(8);
        if memory.write(buffer, &text) && memory.write(length_at, &len.to_le_bytes()) {
            Ok(0)
        } else {
            Err(EFAULT)
        }
    }
}

fn exit_code(reason: u64, code: u64) -> u64 {
    match reason {
        APPLICATION_EXIT => code,
        // Another reason is a failure, whatever the code.
        _ => code.max(1),
    }
}

fn word(memory: &dyn GuestMemory, block: u64, index: u64) -> Option<u64> {
    let mut bytes = [0; 8];
    memory
        .read(block.wrapping_add(8 * index), &mut bytes)
        .then(|| u64::from_le_bytes(bytes))
}

fn stream(handle: u64) -> Result<u64, u64> {
    match handle {
        STDIN..=STDERR => Ok(handle),
        _ => Err(EBADF),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringer_machine::clock::VirtualClock;
    use std::cell::RefCell;
    use std::sync::{Arc, Mutex};

    struct Bytes(RefCell<Vec<u8>>);
    impl GuestMemory for Bytes {
        fn read(&self, address: u64, into: &mut [u8]) -> bool {
            let memory = self.0.borrow();
            let end = address.checked_add(into.len() as u64);
            match end.and_then(|end| memory.get(address as usize..end as usize)) {
                Some(from) => {
                    into.copy_from_slice(from);
                    true
                }
                None => false,
            }
        }
        fn write(&self, address: u64, from: &[u8]) -> bool {
            let mut memory = self.0.borrow_mut();
            let end = address.checked_add(from.len() as u64);
            match end.and_then(|end| memory.get_mut(address as usize..end as usize)) {
                Some(to) => {
                    to.copy_from_slice(from);
                    true
                }
                None => false,
            }
        }
    }

    #[derive(Clone, Default)]
    struct Recorder(Arc<Mutex<Vec<u8>>>);
    impl ConsoleBackend for Recorder {
        fn write(&mut self, bytes: &[u8]) {
            self.0.lock().unwrap().extend(bytes);
        }
        fn read(&mut self, into: &mut [u8]) -> usize {
            into[0] = b'!';
            1
        }
    }

    fn host() -> (Semihosting, Recorder, Bytes) {
        let recorder = Recorder::default();
        let host = Semihosting::new(Box::new(recorder.clone()), "prog -x".into(), true);
        (host, recorder, Bytes(RefCell::new(vec![0; 4096])))
    }
    fn put(memory: &Bytes, words: &[u64]) {
        for (n, word) in words.iter().enumerate() {
            assert!(memory.write(8 * n as u64, &word.to_le_bytes()));
        }
    }

    #[test]
    fn console_calls() {
        let (mut host, recorder, memory) = host();
        let clock = VirtualClock::default();
        memory.write(0x100, b"hello\0");
        assert_eq!(
            host.answer(call::WRITE0, 0x100, &memory, &clock),
            Reply::Value(0)
        );
        assert_eq!(
            host.answer(call::WRITEC, 0x104, &memory, &clock),
            Reply::Value(0)
        );
        memory.write(0x200, b":tt");
        put(&memory, &[0x200, 4, 3]);
        assert_eq!(
            host.answer(call::OPEN, 0, &memory, &clock),
            Reply::Value(STDOUT)
        );
        put(&memory, &[STDOUT, 0x100, 2]);
        assert_eq!(
            host.answer(call::WRITE, 0, &memory, &clock),
            Reply::Value(0)
        );
        assert_eq!(recorder.0.lock().unwrap().as_slice(), b"hello\x6fhe");
        put(&memory, &[STDIN, 0x300, 5]);
        assert_eq!(host.answer(call::READ, 0, &memory, &clock), Reply::Value(4));
        assert_eq!(memory.0.borrow()[0x300], b'!');
        put(&memory, &[0x300, 64]);
        assert_eq!(
            host.answer(call::GET_CMDLINE, 0, &memory, &clock),
            Reply::Value(0)
        );
        assert_eq!(&memory.0.borrow()[0x300..0x308], b"prog -x\0");
        assert_eq!(memory.0.borrow()[8], 7);
    }

    #[test]
    fn exits() {
        let (mut host, _, memory) = host();
        let clock = VirtualClock::default();
        put(&memory, &[APPLICATION_EXIT, 0]);
        assert_eq!(host.answer(call::EXIT, 0, &memory, &clock), Reply::Exit(0));
        put(&memory, &[APPLICATION_EXIT, 42]);
        assert_eq!(
            host.answer(call::EXIT_EXTENDED, 0, &memory, &clock),
            Reply::Exit(42)
        );
        put(&memory, &[0x20023, 0]);
        assert_eq!(host.answer(call::EXIT, 0, &memory, &clock), Reply::Exit(1));
    }

    #[test]
    fn any_number_and_pointer_is_answered() {
        let (mut host, _, memory) = host();
        let clock = VirtualClock::default();
        for number in 0..0x140 {
            for a1 in [0, 4095, 4096, u64::MAX, u64::MAX - 7] {
                let _ = host.answer(number, a1, &memory, &clock);
            }
        }
        put(&memory, &[STDOUT, u64::MAX, u64::MAX]);
        assert_eq!(
            host.answer(call::WRITE, 0, &memory, &clock),
            Reply::Value(FAILED)
        );
        assert_eq!(
            host.answer(call::ERRNO, 0, &memory, &clock),
            Reply::Value(EFAULT)
        );
    }
}
