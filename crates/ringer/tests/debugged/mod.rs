//! A guest that counts, and a client that speaks gdb's protocol to its stub.
#![allow(dead_code, reason = "not every test file uses all of it")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ringer_isa::asm::Assembler;
use ringer_isa::asm::register::{A0, S0, T0, T1, ZERO};
use ringer_isa::{Op, csr};
use tempfile::TempDir;

pub const RAM: u64 = 0x8000_0000;
const TEST_DEVICE: u64 = 0x0010_0000;
/// Where each hart counts, in a word of its own.
pub const PAGE: u64 = RAM + 0x20_0000;
/// Where the loop begins: `ld t1, 0(s0)`.
pub const LOOP: u64 = RAM + 0x100;
/// Behind its store.
pub const NEXT: u64 = LOOP + 10;

/// How long anything may take; only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The harts count, each in its own word. At the start of RAM the run ends with the code in `a0`.
pub fn program() -> Vec<u8> {
    let mut asm = Assembler::new(RAM);
    // If a0 is the hart's number it has just been reset.
    asm.csrr(T0, csr::MHARTID);
    let (count, idle) = (asm.label(), asm.label());
    asm.branch(Op::Beq, T0, A0, count);
    asm.i(Op::Slli, A0, A0, 16)
        .li(T1, 0x3333)
        .r(Op::Or, T1, T1, A0);
    asm.li(T0, TEST_DEVICE).store(Op::Sw, T1, 0, T0);
    asm.bind(idle);
    asm.j(idle);
    asm.bind(count);
    asm.i(Op::Slli, T0, T0, 3)
        .li(S0, PAGE)
        .r(Op::Add, S0, S0, T0);
    asm.li(T0, 3 << 13).csrs(csr::MSTATUS, T0);
    asm.unary(Op::FcvtDL, ringer_isa::asm::register::FT0, ZERO);
    let looping = asm.label();
    asm.j(looping);
    asm.align(0x100);
    asm.bind(looping);
    asm.load(Op::Ld, T1, 0, S0);
    // c.addi t1, 1
    asm.half(0x0305);
    asm.store(Op::Sd, T1, 0, S0);
    asm.j(looping);
    asm.finish().unwrap()
}

/// Whether gdb is here; if not, says so. `cargo xtask test` installs it.
pub fn have_gdb() -> bool {
    let found = Command::new("gdb-multiarch").arg("--version").output();
    if found.is_err() {
        eprintln!("SKIPPED: there is no gdb-multiarch here: apt-get install gdb-multiarch");
    }
    found.is_ok()
}

/// A running guest with a stub.
pub struct Guest {
    child: Child,
    socket: PathBuf,
    _dir: TempDir,
}

impl Guest {
    /// Two harts, which wait for gdb.
    pub fn start(extra: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (image, socket) = (dir.path().join("guest"), dir.path().join("gdb"));
        std::fs::write(&image, program()).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_ringer"))
            .args([
                "run",
                "--harts",
                "2",
                "--memory",
                "16M",
                "--no-control",
                "--gdb-wait",
            ])
            .arg(format!("--gdb=unix:{}", socket.display()))
            .arg("--bios")
            .arg(&image)
            .args(extra)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            socket,
            _dir: dir,
        }
    }
    /// As gdb takes it.
    pub fn address(&self) -> String {
        self.socket.display().to_string()
    }
    /// A client that has said hello.
    pub fn connect(&self) -> Client {
        let mut client = self.connect_raw();
        let features = client.ask("qSupported:multiprocess+;swbreak+;hwbreak+;vContSupported+");
        assert!(features.contains("PacketSize"), "{features}");
        assert_eq!(client.ask("QStartNoAckMode"), "OK");
        client.acknowledges = false;
        assert!(client.ask("vCont?").contains("vCont;c"));
        client
    }
    /// A connection on which nothing was said.
    pub fn connect_raw(&self) -> Client {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match UnixStream::connect(&self.socket) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    return Client {
                        stream,
                        acknowledges: true,
                        stop: String::new(),
                    };
                }
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    /// What gdb says to a script.
    pub fn run_gdb(&self, script: &str) -> String {
        let file = self.socket.with_extension("script");
        std::fs::write(&file, script).unwrap();
        self.wait_for_stub();
        let output = Command::new("gdb-multiarch")
            .args(["-nx", "-batch", "-ex", "set pagination off", "-x"])
            .arg(&file)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        text(&output.stdout) + &text(&output.stderr)
    }
    fn wait_for_stub(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.socket.exists() {
            assert!(Instant::now() < deadline, "no stub");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    /// The exit status.
    pub fn end(&mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What speaks gdb's protocol.
pub struct Client {
    stream: UnixStream,
    acknowledges: bool,
    /// The last stop.
    stop: String,
}

impl Client {
    /// Bytes as they are; a peer that has hung up is no matter.
    pub fn raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }
    /// A packet around `body`.
    pub fn packet(&mut self, body: &[u8]) {
        let sum = body.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        let end = format!("#{sum:02x}");
        self.raw(&[b"$", body, end.as_bytes()].concat());
    }
    pub fn send(&mut self, text: &str) {
        self.packet(text.as_bytes());
    }
    /// Ctrl-C.
    pub fn interrupt(&mut self) {
        self.raw(&[3]);
    }
    fn byte(&mut self) -> u8 {
        let mut byte = [0];
        self.stream.read_exact(&mut byte).unwrap();
        byte[0]
    }
    /// The next packet's text, with repetitions written out.
    pub fn reply(&mut self) -> String {
        while self.byte() != b'$' {}
        let mut text = Vec::new();
        loop {
            match self.byte() {
                b'#' => break,
                b'*' => {
                    let more = self.byte() - 29;
                    let last = *text.last().unwrap();
                    text.extend(std::iter::repeat_n(last, more.into()));
                }
                b'}' => text.push(self.byte() ^ 0x20),
                byte => text.push(byte),
            }
        }
        self.byte();
        self.byte();
        if self.acknowledges {
            self.raw(b"+");
        }
        String::from_utf8(text).unwrap()
    }
    /// What is answered.
    pub fn ask(&mut self, text: &str) -> String {
        self.send(text);
        self.reply()
    }
    /// Lets harts run until one stops.
    pub fn resume(&mut self, text: &str) -> String {
        self.stop = self.ask(text);
        self.stop.clone()
    }
    /// The thread that stopped last.
    pub fn thread(&self) -> u64 {
        let (_, rest) = self.stop.split_once("thread:p01.").unwrap();
        let digits = rest.split(';').next().unwrap();
        u64::from_str_radix(digits, 16).unwrap()
    }
    /// Runs to a breakpoint at `address`.
    pub fn stop_at(&mut self, address: u64) {
        self.stop_at_kind('0', address);
    }
    /// As [`Client::stop_at`], by a breakpoint of this kind.
    pub fn stop_at_kind(&mut self, kind: char, address: u64) {
        assert_eq!(self.ask(&format!("Z{kind},{address:x},4")), "OK");
        let stop = self.resume("vCont;c");
        let word = if kind == '0' { "swbreak" } else { "hwbreak" };
        assert!(stop.starts_with("T05") && stop.contains(word), "{stop}");
        self.ask(&format!("Hgp1.{}", self.thread()));
        assert_eq!(self.pc(), address);
        assert_eq!(self.ask(&format!("z{kind},{address:x},4")), "OK");
    }
    pub fn pc(&mut self) -> u64 {
        let hex = self.ask("p20");
        u64::from_str_radix(&hex, 16).unwrap().swap_bytes()
    }
    /// A word of memory.
    pub fn word(&mut self, address: u64) -> u64 {
        let hex = self.ask(&format!("m{address:x},8"));
        u64::from_str_radix(&hex, 16).unwrap().swap_bytes()
    }
    /// All of target.xml.
    pub fn description(&mut self) -> String {
        let mut text = String::new();
        loop {
            let part = self.ask(&format!(
                "qXfer:features:read:target.xml:{:x},800",
                text.len()
            ));
            text.push_str(&part[1..]);
            if part.starts_with('l') {
                return text;
            }
        }
    }
    /// What a monitor command says.
    pub fn monitor(&mut self, command: &str) -> String {
        let hex: String = command.bytes().map(|byte| format!("{byte:02x}")).collect();
        let mut text = String::new();
        self.send(&format!("qRcmd,{hex}"));
        loop {
            let reply = self.reply();
            if reply == "OK" {
                return text;
            }
            let hex = reply.strip_prefix('O').unwrap().as_bytes();
            text.extend(hex.chunks(2).map(|pair| {
                let pair = std::str::from_utf8(pair).unwrap();
                char::from(u8::from_str_radix(pair, 16).unwrap())
            }));
        }
    }
}
