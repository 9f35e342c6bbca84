//! A client of the gdb remote serial protocol, as far as lockstep needs it.

use std::io::{BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// Bytes of memory in one packet: QEMU takes packets of 4 KiB, in hexadecimal.
const CHUNK: usize = 1024;

/// A connection to a gdb stub.
///
/// Acknowledgements are never sent: a stub that waits for one takes the next packet instead, and
/// so several requests can be under way at once.
pub struct Rsp {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
}

impl Rsp {
    /// Connects to the stub that listens at `path`.
    pub fn connect(path: &Path) -> Result<Self> {
        let writer = UnixStream::connect(path)?;
        writer.set_read_timeout(Some(Duration::from_secs(10)))?;
        let reader = BufReader::new(writer.try_clone()?);
        Ok(Self { reader, writer })
    }

    /// Sends requests, all at once, and returns the replies in order.
    pub fn requests<S: AsRef<str>>(&mut self, payloads: &[S]) -> Result<Vec<String>> {
        let mut bytes = Vec::new();
        for payload in payloads {
            let payload = payload.as_ref().as_bytes();
            let sum = payload
                .iter()
                .fold(0u8, |sum, byte| sum.wrapping_add(*byte));
            bytes.push(b'$');
            bytes.extend_from_slice(payload);
            write!(bytes, "#{sum:02x}")?;
        }
        self.writer.write_all(&bytes)?;
        payloads.iter().map(|_| self.reply()).collect()
    }

    /// Sends one request and returns the reply.
    pub fn request(&mut self, payload: &str) -> Result<String> {
        Ok(self.requests(&[payload])?.remove(0))
    }

    /// Sends a request that must be answered by `OK`.
    pub fn command(&mut self, payload: &str) -> Result<()> {
        let reply = self.request(payload)?;
        ensure!(
            reply == "OK",
            "the gdb stub answers {reply:?} to {payload:?}"
        );
        Ok(())
    }

    /// Stops a running machine.
    pub fn interrupt(&mut self) -> Result<()> {
        self.writer.write_all(&[3])?;
        self.reply().map(drop)
    }

    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        match self.reader.read_exact(&mut byte) {
            Ok(()) => Ok(byte[0]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                bail!("the gdb stub does not answer: the program does not stop?")
            }
            Err(e) => Err(e).context("the gdb stub is gone"),
        }
    }

    fn reply(&mut self) -> Result<String> {
        while self.byte()? != b'$' {}
        let mut payload = Vec::new();
        loop {
            match self.byte()? {
                b'#' => break,
                byte => payload.push(byte),
            }
        }
        self.byte()?;
        self.byte()?;
        Ok(String::from_utf8(payload)?)
    }

    /// Reads a register by its number; `None` if the stub cannot.
    pub fn registers(&mut self, numbers: &[u32]) -> Result<Vec<Option<u64>>> {
        let payloads: Vec<String> = numbers.iter().map(|n| format!("p{n:x}")).collect();
        Ok(self
            .requests(&payloads)?
            .iter()
            .map(|reply| number(reply))
            .collect())
    }

    /// Writes a register by its number.
    pub fn set_register(&mut self, register: u32, value: u64) -> Result<()> {
        self.command(&format!("P{register:x}={:016x}", value.swap_bytes()))
    }

    /// The general registers `x0` to `x31` and `pc`.
    pub fn general(&mut self) -> Result<[u64; 33]> {
        let reply = self.request("g")?;
        let mut registers = [0; 33];
        for (register, text) in registers.iter_mut().zip(reply.as_bytes().chunks(16)) {
            let text = std::str::from_utf8(text)?;
            *register = number(text)
                .with_context(|| format!("the gdb stub sends {text:?} as a register"))?;
        }
        Ok(registers)
    }

    /// Writes memory at an address as the stopped hart sees it.
    pub fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<()> {
        let mut payloads = Vec::new();
        for (index, chunk) in bytes.chunks(CHUNK).enumerate() {
            let at = addr + (index * CHUNK) as u64;
            let mut payload = format!("M{at:x},{:x}:", chunk.len());
            for byte in chunk {
                payload.push_str(&format!("{byte:02x}"));
            }
            payloads.push(payload);
        }
        for reply in self.requests(&payloads)? {
            ensure!(
                reply == "OK",
                "QEMU cannot write memory at {addr:#x}: {reply}"
            );
        }
        Ok(())
    }

    /// Runs a command of QEMU's monitor.
    pub fn monitor(&mut self, command: &str) -> Result<()> {
        let mut payload = String::from("qRcmd,");
        for byte in command.bytes() {
            payload.push_str(&format!("{byte:02x}"));
        }
        self.command(&payload)
    }
}

/// A little-endian number of up to 8 bytes, in hexadecimal.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || text.len() > 16 || !text.len().is_multiple_of(2) {
        return None;
    }
    let mut value = 0;
    for index in (0..text.len()).step_by(2) {
        let byte = u64::from_str_radix(text.get(index..index + 2)?, 16).ok()?;
        value |= byte << (4 * index);
    }
    Some(value)
}
