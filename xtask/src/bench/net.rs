//! `cargo xtask bench --net`: a plain TCP stream to and from the same Debian guest, on Ringer's
//! `--net user` and on QEMU's user networking, in turns. Writes docs/NET-BENCH.md.
//!
//! The host times all: a transfer begins when the guest's request is there, or ours is sent, and
//! ends when the last byte has arrived and the connection is closed. The guest has only busybox:
//! `wget` fetches from the host, and its `httpd` sends to the host through a published port.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
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
/// Transfers in each direction for each start of a machine.
const TRANSFERS: usize = 3;
/// Megabytes in each.
const MEGABYTES: usize = 64;
/// A machine that takes longer for anything hangs.
const PATIENCE: Duration = Duration::from_secs(240);

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Machine {
    Ringer,
    Qemu,
}

impl Machine {
    fn name(self) -> &'static str {
        match self {
            Self::Ringer => "Ringer",
            Self::Qemu => "QEMU",
        }
    }
    /// What starts it, with a guest that runs `work` and whose port 80 is `port` of this host.
    fn command(self, work: &str, port: u16) -> Command {
        let debian = root().join("build/debian");
        let append = format!("console=ttyS0 quiet ringer.run=\"{work}\"");
        let mut command = match self {
            Self::Ringer => {
                let mut command = Command::new(root().join("target/release/ringer"));
                command
                    .args(["run", "--memory", "1G", "--net", "user,host-loopback"])
                    .args(["--publish", &format!("{port}:80"), "--append", &append])
                    .args(["--kernel".as_ref(), debian.join("Image").as_os_str()])
                    .args([
                        "--initrd".as_ref(),
                        debian.join("initrd.cpio.zst").as_os_str(),
                    ]);
                command
            }
            Self::Qemu => {
                let mut command = Command::new(QEMU);
                let forward = format!("user,id=net,hostfwd=tcp:127.0.0.1:{port}-:80");
                command
                    .args(["-M", "virt", "-m", "1G", "-nographic", "-append", &append])
                    .args([
                        "-netdev",
                        &forward,
                        "-device",
                        "virtio-net-device,netdev=net",
                    ])
                    .args(["-kernel".as_ref(), debian.join("Image").as_os_str()])
                    .args([
                        "-initrd".as_ref(),
                        debian.join("initrd.cpio.zst").as_os_str(),
                    ]);
                command
            }
        };
        command
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

/// Megabytes in a second, of all transfers in each direction.
#[derive(Default)]
struct Rates {
    to_guest: Vec<f64>,
    from_guest: Vec<f64>,
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
    let debian = root().join("build/debian");
    if !debian.join("initrd.cpio.zst").exists() {
        debian::run(&debian::Arguments::default())?;
    }
    let (mut ringer, mut qemu) = (Rates::default(), Rates::default());
    for run in 1..=runs {
        for (machine, rates) in [(Machine::Ringer, &mut ringer), (Machine::Qemu, &mut qemu)] {
            say(&format!("run {run} of {runs}: {}", machine.name()));
            measure(machine, rates).with_context(|| format!("{} failed", machine.name()))?;
        }
    }
    let text = write(sh, &ringer, &qemu)?;
    println!("{text}");
    fs::write(root().join(REPORT), text).with_context(|| format!("cannot write {REPORT}"))?;
    say(&format!("written: {REPORT}"));
    Ok(())
}

/// Starts a machine once and times its transfers.
fn measure(machine: Machine, rates: &mut Rates) -> Result<()> {
    let server = TcpListener::bind("127.0.0.1:0")?;
    let port = server.local_addr()?.port();
    // Free now, and hardly taken by somebody else in a moment.
    let published = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let work = format!(
        "dd if=/dev/zero of=/tmp/file bs=1M count={MEGABYTES} 2>/dev/null; httpd -h /tmp; \
         for i in $(seq {TRANSFERS}); do wget -q -O /dev/null http://10.0.2.2:{port}/; done; \
         sleep 1000"
    );
    let started = machine.command(&work, published).spawn();
    let mut running = Running(started.context("it does not start")?);
    for _ in 0..TRANSFERS {
        let client = accept(&server, &mut running)?;
        rates.to_guest.push(serve(client)?);
    }
    for _ in 0..TRANSFERS {
        rates.from_guest.push(fetch(published)?);
    }
    Ok(())
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

/// Fetches the guest's file; returns the rate.
fn fetch(port: u16) -> Result<f64> {
    let mut guest = TcpStream::connect(("127.0.0.1", port))?;
    guest.set_read_timeout(Some(PATIENCE))?;
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

fn write(sh: &Shell, ringer: &Rates, qemu: &Rates) -> Result<String> {
    let row = |what: &str, ours: &[f64], theirs: &[f64]| {
        let (ours, theirs) = (median(ours), median(theirs));
        format!(
            "| {what} | {ours:.0} | {theirs:.0} | **{:.1}** |\n",
            ours / theirs
        )
    };
    let rows = row("host to guest", &ringer.to_guest, &qemu.to_guest)
        + &row("guest to host", &ringer.from_guest, &qemu.from_guest);
    let count = ringer.to_guest.len();
    let (commit, version) = (commit(sh), qemu_version(sh)?);
    Ok(format!(
        "# Throughput of `--net user`\n\n\
         Written by `cargo xtask bench --net`: one plain TCP stream of {MEGABYTES} MiB between a \
         server on the host's\nloopback and busybox in the same Debian guest (one hart, 1 GiB), \
         medians of {count} transfers, the\nmachines in turns. MiB/s; the last column says how \
         often as fast as QEMU's `-netdev user` Ringer is.\n\n\
         - Ringer {commit}\n- {version}\n\n\
         | stream | Ringer | QEMU | Ringer / QEMU |\n|---|---|---|---|\n{rows}"
    ))
}
