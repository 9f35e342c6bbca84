//! The bytes to and from gdb.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long gdb may take to read what it is sent.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connected gdb.
pub struct Connection {
    socket: OwnedFd,
    input: VecDeque<u8>,
    output: Vec<u8>,
}

impl Connection {
    /// Over this socket.
    pub fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            input: VecDeque::new(),
            output: Vec::new(),
        }
    }
    /// The next byte, if one comes in time.
    pub fn next(&mut self, patience: Duration) -> io::Result<Option<u8>> {
        if self.input.is_empty() && self.is_ready(PollFlags::IN, patience)? {
            let mut chunk = [0; 4096];
            match rustix::io::read(&self.socket, &mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => self.input.extend(chunk.get(..len).unwrap_or_default()),
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.input.pop_front())
    }
    fn is_ready(&self, flags: PollFlags, patience: Duration) -> io::Result<bool> {
        let mut fds = [PollFd::new(&self.socket, flags)];
        let timeout = Timespec {
            tv_sec: patience.as_secs() as i64,
            tv_nsec: patience.subsec_nanos().into(),
        };
        match poll(&mut fds, Some(&timeout)) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
    fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
        use rustix::net::SendFlags;
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        while !bytes.is_empty() {
            match rustix::net::send(&self.socket, bytes, flags) {
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    if !self.is_ready(PollFlags::OUT, PATIENCE)? {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl gdbstub::conn::Connection for Connection {
    type Error = io::Error;
    fn write(&mut self, byte: u8) -> io::Result<()> {
        self.output.push(byte);
        Ok(())
    }
    fn flush(&mut self) -> io::Result<()> {
        let output = std::mem::take(&mut self.output);
        self.send(&output)
    }
}
