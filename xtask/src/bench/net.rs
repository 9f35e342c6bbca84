//! `cargo xtask bench --net`: streams, questions with answers, and calls between this host and the
//! same Debian guest, on Ringer's `--net user` and on QEMU's user networking, in turns. Writes
//! docs/NET-BENCH.md.
//!
//! The host times all. A stream begins when the guest's request is there, or ours is sent, and
//! ends when the last byte has arrived and the connection is closed: the guest's `wget` fetches
//! from the host, and its `httpd` sends to the host through a published port. Questions of one byte
//! go to `echo-server` in the guest (guests/echo), through published ports, too.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use xshell::{Shell, cmd};

use super::machine::QEMU;
use super::median;
use super::report::{commit, qemu_version};
use crate::debian;
use crate::toolchain::{have, root, say};

/// Where the report goes.
const REPORT: &str = "docs/NET-BENCH.md";
/// What is measured, and in what.
const ROWS: [(&str, &str); 5] = [
    ("a TCP stream to the guest", "MiB/s"),
    ("a TCP stream from the guest", "MiB/s"),
    ("a byte there and back by TCP", "a second"),
    ("a byte there and back by UDP", "a second"),
    ("calls by TCP, each with a byte there and back", "a second"),
];
/// How often each is measured for each start of a machine.
const TIMES: usize = 3;
/// Megabytes of a stream.
const MEGABYTES: usize = 64;
/// How long questions are asked.
const ASKING: Duration = Duration::from_millis(700);
/// A machine that takes longer for anything hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// Datagrams may be lost; more than so many in a row are not.
const LOSSES: usize = 20;
/// When a datagram counts as lost.
const LOST: Duration = Duration::from_millis(500);
/// The guest's ports of `httpd` and `echo-server`.
const HTTP: u16 = 80;
const ECHO: u16 = 7;

/// What is compared.
#[derive(Clone, Copy)]
enum Machine {
    Ringer,
    Qemu,
}

/// Ports of this host that lead into the guest.
#[derive(Clone, Copy)]
struct Ports {
    http: u16,
    echo: u16,
    /// Its datagrams.
    echo_udp: u16,
}

/// All values of each row.
type Samples = [Vec<f64>; ROWS.len()];

impl Machine {
    fn name(self) -> &'static str {
        match self {
            Self::Ringer => "Ringer",
            Self::Qemu => "QEMU",
        }
    }
    /// What starts it, with a guest that runs `work`.
    fn command(self, work: &str, ports: Ports) -> Command {
        let debian = root().join("build/debian");
        let append = format!("console=ttyS0 quiet ringer.run=\"{work}\"");
        let Ports {
            http,
            echo,
            echo_udp,
        } = ports;
        let mut command = match self {
            Self::Ringer => {
                let mut command = Command::new(root().join("target/release/ringer"));
                command
                    .args(["run", "--memory", "1G", "--net", "user,host-loopback"])
                    .args(["--publish", &format!("{http}:{HTTP}")])
                    .args(["--publish", &format!("{echo}:{ECHO}")])
                    .args(["--publish", &format!("{echo_udp}:{ECHO}/udp")])
                    .args(["--append", &append]);
                command
            }
            Self::Qemu => {
                let forward = |protocol: &str, port: u16, to: u16| {
                    format!(",hostfwd={protocol}:127.0.0.1:{port}-:{to}")
                };
                let network = "user,id=net".to_string()
                    + &forward("tcp", http, HTTP)
                    + &forward("tcp", echo, ECHO)
                    + &forward("udp", echo_udp, ECHO);
                let mut command = Command::new(QEMU);
                command
                    .args(["-M", "virt", "-m", "1G", "-nographic", "-append", &append])
                    .args(["-netdev", &network])
                    .args(["-device", "virtio-net-device,netdev=net"]);
                command
            }
        };
        let dashes = match self {
            Self::Ringer => "--",
            Self::Qemu => "-",
        };
        command
            .arg(format!("{dashes}kernel"))
            .arg(debian.join("Image"))
            .arg(format!("{dashes}initrd"))
            .arg(debian.join("initrd.cpio.zst"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }
}

/// A machine that is ended when this goes.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the command.
pub fn run(sh: &Shell, runs: usize) -> Result<()> {
    ensure!(runs > 0, "--runs must be at least 1");
    ensure!(
        have(QEMU),
        "{QEMU} is missing: there is nothing to compare with. Install Debian's qemu-system-riscv"
    );
    cmd!(sh, "cargo build -q --release -p ringer")
        .quiet()
        .run()?;
    // Builds the initramfs anew, with guests/echo as it is now.
    debian::run(&debian::Arguments::default())?;
    let (mut ringer, mut qemu) = (Samples::default(), Samples::default());
    for run in 1..=runs {
        for (machine, samples) in [(Machine::Ringer, &mut ringer), (Machine::Qemu, &mut qemu)] {
            say(&format!("run {run} of {runs}: {}", machine.name()));
            measure(machine, samples).with_context(|| format!("{} failed", machine.name()))?;
        }
    }
    let text = write(sh, &ringer, &qemu)?;
    println!("{text}");
    fs::write(root().join(REPORT), text).with_context(|| format!("cannot write {REPORT}"))?;
    say(&format!("written: {REPORT}"));
    Ok(())
}

/// Starts a machine once and takes a few samples of each row.
fn measure(machine: Machine, samples: &mut Samples) -> Result<()> {
    let server = TcpListener::bind(local(0))?;
    let port = server.local_addr()?.port();
    let ports = free_ports()?;
    let work = format!(
        "dd if=/dev/zero of=/tmp/file bs=1M count={MEGABYTES} 2>/dev/null; httpd -h /tmp; \
         echo-server {ECHO}; \
         for i in $(seq {TIMES}); do wget -q -O /dev/null http://10.0.2.2:{port}/; done; \
         sleep 1000"
    );
    let started = machine.command(&work, ports).spawn();
    let mut running = Running(started.context("it does not start")?);
    let [to_guest, from_guest, tcp, udp, calls] = samples;
    for _ in 0..TIMES {
        let client = accept(&server, &mut running)?;
        to_guest.push(serve(client).context("a stream to the guest")?);
    }
    for _ in 0..TIMES {
        from_guest.push(fetch(ports.http).context("a stream from the guest")?);
        tcp.push(ask_tcp(ports.echo).context("a question by TCP")?);
        udp.push(ask_udp(ports.echo_udp).context("a question by UDP")?);
        calls.push(call(ports.echo).context("a call")?);
    }
    Ok(())
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Free now, and hardly taken by somebody else in a moment.
fn free_ports() -> Result<Ports> {
    let http = TcpListener::bind(local(0))?;
    let echo = TcpListener::bind(local(0))?;
    let echo_udp = UdpSocket::bind(local(0))?;
    Ok(Ports {
        http: http.local_addr()?.port(),
        echo: echo.local_addr()?.port(),
        echo_udp: echo_udp.local_addr()?.port(),
    })
}

/// Waits for the guest to call.
fn accept(server: &TcpListener, running: &mut Running) -> Result<TcpStream> {
    server.set_nonblocking(true)?;
    let start = Instant::now();
    loop {
        match server.accept() {
            Ok((client, _)) => {
                client.set_nonblocking(false)?;
                client.set_read_timeout(Some(PATIENCE))?;
                client.set_write_timeout(Some(PATIENCE))?;
                return Ok(client);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(status) = running.0.try_wait()? {
            bail!("it ended early ({status})");
        }
        ensure!(start.elapsed() < PATIENCE, "the guest does not call");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Answers a request of the guest; returns the rate.
fn serve(mut client: TcpStream) -> Result<f64> {
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        let len = client.read(&mut piece)?;
        ensure!(len > 0, "the guest's request ends early");
        request.extend(piece.iter().take(len));
    }
    let start = Instant::now();
    let length = MEGABYTES << 20;
    write!(
        client,
        "HTTP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\n"
    )?;
    let chunk = vec![0; 1 << 20];
    for _ in 0..MEGABYTES {
        client.write_all(&chunk)?;
    }
    client.shutdown(Shutdown::Write)?;
    // The guest closes when it has everything.
    while client.read(&mut piece)? > 0 {}
    Ok(MEGABYTES as f64 / start.elapsed().as_secs_f64())
}

fn connect(port: u16) -> Result<TcpStream> {
    let guest = TcpStream::connect(local(port))?;
    guest.set_nodelay(true)?;
    guest.set_read_timeout(Some(PATIENCE))?;
    Ok(guest)
}

/// Fetches the guest's file; returns the rate.
fn fetch(port: u16) -> Result<f64> {
    let mut guest = connect(port)?;
    let start = Instant::now();
    guest.write_all(b"GET /file HTTP/1.0\r\n\r\n")?;
    let mut chunk = vec![0; 1 << 20];
    let mut total = 0;
    loop {
        match guest.read(&mut chunk)? {
            0 => break,
            len => total += len,
        }
    }
    ensure!(
        total >= MEGABYTES << 20,
        "the guest sent {total} bytes of its file"
    );
    Ok(total as f64 / f64::from(1 << 20) / start.elapsed().as_secs_f64())
}

/// Does it again and again for a while; returns how often in a second.
fn rate(mut once: impl FnMut() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < ASKING {
        once()?;
        count += 1;
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}

fn ask_tcp(port: u16) -> Result<f64> {
    let mut guest = connect(port)?;
    rate(|| {
        guest.write_all(b"?")?;
        Ok(guest.read_exact(&mut [0])?)
    })
}

fn call(port: u16) -> Result<f64> {
    rate(|| {
        let mut guest = connect(port)?;
        guest.write_all(b"?")?;
        Ok(guest.read_exact(&mut [0])?)
    })
}

fn ask_udp(port: u16) -> Result<f64> {
    let socket = UdpSocket::bind(local(0))?;
    socket.connect(local(port))?;
    socket.set_read_timeout(Some(LOST))?;
    rate(|| {
        for _ in 0..LOSSES {
            socket.send(b"?")?;
            match socket.recv(&mut [0; 2]) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        bail!("the guest does not answer datagrams")
    })
}

fn write(sh: &Shell, ringer: &Samples, qemu: &Samples) -> Result<String> {
    let mut rows = String::new();
    for (((what, unit), ours), theirs) in ROWS.iter().zip(ringer).zip(qemu) {
        let (a, b) = (median(ours), median(theirs));
        rows += &format!("| {what} | {unit} | {a:.0} | {b:.0} | **{:.1}** |\n", a / b);
    }
    let count = ringer.first().map_or(0, Vec::len);
    let (commit, version) = (commit(sh), qemu_version(sh)?);
    Ok(format!(
        "# Speed of `--net user`\n\n\
         Written by `cargo xtask bench --net`: between a program on this host and busybox or \
         `echo-server` in the\nsame Debian guest (one hart, 1 GiB). A stream has {MEGABYTES} MiB. \
         Medians of {count} samples, the machines in\nturns; the last column says how often as \
         fast as QEMU's `-netdev user` Ringer is (asked: not below 1).\n\n\
         - Ringer {commit}\n- {version}\n\n\
         | | | Ringer | QEMU | Ringer / QEMU |\n|---|---|---|---|---|\n{rows}"
    ))
}
